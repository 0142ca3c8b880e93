"""Finds a network's tensors in a checkpoint below any keys of dictionaries and prefixes of names.

Training code saves tensors with prefixes: `module.` (DataParallel), `_orig_mod.` (torch.compile), `backbone.`
(OpenMMLab), `model.backbone.` (Lightning), `module.encoder_q.` beside `module.encoder_k.` (MoCo), a teacher beside a
student (DINO), the moving average beside the raw network.
"""

from __future__ import annotations

import re
from typing import Iterable, Mapping, NamedTuple, Sequence

from torch import Tensor

# Of two networks that fit, the one that is evaluated is preferred: first an averaged one, by its name.
PREFERRED = [re.compile(rf"(?:^|[._:])(?:{word})[._:]") for word in ("ema", "averaged?", "teacher", "encoder_q|query")]
PREFERRED += [re.compile(rf"^{key}:") for key in ("model", "state_dict")]


class Candidate(NamedTuple):
    """Tensors below one prefix.

    Attributes:
        place: the keys of the dictionaries around them, joined by dots; "" for none.
        prefix: of each name there.
        tensors: by their names without the prefix.
        others: how many tensors in the same place do not have the prefix.
        matched: how many of the wanted names are among them.
    """

    place: str
    prefix: str
    tensors: dict[str, Tensor]
    others: int
    matched: int

    def rank(self) -> int:
        """Return a sort key, smaller for preferred candidates."""
        name = f"{self.place}:{self.prefix}"
        return next((number for number, pattern in enumerate(PREFERRED) if pattern.search(name)), len(PREFERRED))

    def describe(self) -> str:
        """Return place and prefix in words."""
        place = f"in {self.place}" if self.place else ""
        prefix = f"behind {self.prefix}" if self.prefix else ""
        return " ".join(filter(None, (place, prefix))) or "at the top"


def candidate_below(place: str, prefix: str, tensors: Mapping[str, Tensor]) -> Candidate:
    """Return the tensors of one place whose names have a prefix, with `matched` 0."""
    start = len(prefix)
    inside = {name[start:]: value for name, value in tensors.items() if name.startswith(prefix)}
    return Candidate(place, prefix, inside, len(tensors) - len(inside), 0)


def choose(candidates: Sequence[Candidate], wanted: int, source: str) -> Candidate:
    """Return the only candidate, or the one that has all of the wanted names.

    Args:
        candidates: at least one.
        wanted: how many names a whole network has.
        source: the file, for messages.

    Raises:
        ValueError: none of several candidates has all names, or more than one does and none is preferred.
    """
    if len(candidates) == 1:
        return candidates[0]
    whole = [candidate for candidate in candidates if candidate.matched == wanted]
    best = min((candidate.rank() for candidate in whole), default=0)
    preferred = [candidate for candidate in whole if candidate.rank() == best]
    if len(preferred) == 1:
        return preferred[0]
    if whole:
        places = ", ".join(candidate.describe() for candidate in preferred)
        raise ValueError(f"{source} holds several backbones, {places}; save the wanted one alone")
    counts = ", ".join(f"{candidate.matched} {candidate.describe()}" for candidate in candidates)
    raise ValueError(
        f"{source} holds no whole network of this kind: of its {wanted} tensors there are {counts}. Give a checkpoint "
        "of this network, or save the wanted one alone, by its state_dict()"
    )


def shared_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes that at least half of the names have, including "", the longest first."""
    counts: dict[str, int] = {}
    names = list(names)
    for name in names:
        parts = name.split(".")
        for end in range(len(parts)):
            prefix = "".join(f"{part}." for part in parts[:end])
            counts[prefix] = counts.get(prefix, 0) + 1
    return sorted((prefix for prefix, count in counts.items() if 2 * count >= len(names)), key=len, reverse=True)
