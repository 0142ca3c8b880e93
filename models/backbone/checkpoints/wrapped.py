"""Finds a network's tensors in a checkpoint, whatever wraps them there: keys of dictionaries, and prefixes of names.

Trainings save behind prefixes of their own: `module.` (DataParallel), `_orig_mod.` (torch.compile), `backbone.`
(OpenMMLab), `model.backbone.` (Lightning), `module.encoder_q.` beside `module.encoder_k.` (MoCo), a teacher beside a
student (DINO), the moving average beside the raw network.
"""

from __future__ import annotations

import re
from typing import Iterable, Mapping, NamedTuple, Sequence

from torch import Tensor

# Of two that fit, which one to take: the one that others evaluate. First the averaged one, by what it is called.
PREFERRED = [re.compile(rf"(?:^|[._:])(?:{word})[._:]") for word in ("ema", "averaged?", "teacher", "encoder_q|query")]
PREFERRED += [re.compile(rf"^{key}:") for key in ("model", "state_dict")]


class Found(NamedTuple):
    """Tensors below one prefix.

    Attributes:
        place: the keys of the dictionaries around them, with dots between; "" for none.
        prefix: what stands in front of each name there.
        tensors: by their names without the prefix.
        others: how many tensors stand in the same place without the prefix.
        matched: how many of the wanted names are among them.
    """

    place: str
    prefix: str
    tensors: dict[str, Tensor]
    others: int
    matched: int

    def rank(self) -> int:
        """Return a number that is smaller for what is preferred."""
        name = f"{self.place}:{self.prefix}"
        return next((number for number, pattern in enumerate(PREFERRED) if pattern.search(name)), len(PREFERRED))

    def describe(self) -> str:
        """Return where they stand, in words."""
        place = f"in {self.place}" if self.place else ""
        prefix = f"behind {self.prefix}" if self.prefix else ""
        return " ".join(filter(None, (place, prefix))) or "at the top"


def below(place: str, prefix: str, tensors: Mapping[str, Tensor]) -> Found:
    """Return the tensors of one place whose names begin with a prefix; none of them is matched yet."""
    start = len(prefix)
    inside = {name[start:]: value for name, value in tensors.items() if name.startswith(prefix)}
    return Found(place, prefix, inside, len(tensors) - len(inside), 0)


def choose(found: Sequence[Found], wanted: int, source: str) -> Found:
    """Return the one that has all of the wanted names, or the only one there is.

    Args:
        found: at least one.
        wanted: how many names a whole network has.
        source: the file, for messages.

    Raises:
        ValueError: none has all of them, or several have, and nothing tells which to take.
    """
    whole = [one for one in found if one.matched == wanted]
    best = min((one.rank() for one in whole), default=0)
    preferred = [one for one in whole if one.rank() == best]
    if len(preferred) == 1 or len(found) == 1:
        return (preferred or found)[0]
    if whole:
        places = ", ".join(one.describe() for one in preferred)
        raise ValueError(f"{source} holds several backbones, {places}; save the wanted one alone")
    counts = ", ".join(f"{one.matched} {one.describe()}" for one in found)
    raise ValueError(
        f"{source} holds no whole network of this kind: of its {wanted} tensors there are {counts}. Give a checkpoint "
        "of this network, or save the wanted one alone, by its state_dict()"
    )


def shared_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes that at least half of the names have, "" among them, the longest first."""
    counts: dict[str, int] = {}
    names = list(names)
    for name in names:
        parts = name.split(".")
        for end in range(len(parts)):
            prefix = "".join(f"{part}." for part in parts[:end])
            counts[prefix] = counts.get(prefix, 0) + 1
    return sorted((prefix for prefix, count in counts.items() if 2 * count >= len(names)), key=len, reverse=True)
