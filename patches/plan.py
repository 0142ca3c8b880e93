"""What applying or reverting would change in a checkout, worked out before anything is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from . import PROJECT, __version__, rewrite
from .checkout import HOST_FILE, Checkout, decode
from .errors import PatchError
from .payload import payload

RECORD = "models/backbone/installed.json"


@dataclass(frozen=True)
class Change:
    """One file, named from the checkout's root, before and after; None where it does not exist."""

    name: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are to be made, and files of ours that stay because the user edited them."""

    changes: list[Change]
    kept: list[str]


def plan_apply(checkout: Checkout) -> Plan:
    """Plan the installation: our files first and models/yolo.py last, so that the checkout works at every instant.

    Raises:
        PatchError: models/yolo.py cannot be patched, or a file that is not ours stands in the way.
    """
    host = host_change(checkout, rewrite.apply)
    files = payload(checkout)
    installed = read_record(checkout)
    changes = []
    for name, content in files.items():
        current = checkout.read(name)
        if not (current is None or current == content or digest(current) == installed.get(name)):
            raise PatchError(
                f"{checkout.root / name} exists and is not what this patch installs: it is yours, or you edited it. "
                "Move it away or give it another name, and run this again."
            )
        changes.append(Change(name, current, content))
    for name in installed.keys() - files.keys():  # left by another version
        if matches(checkout.read(name), installed[name]):
            changes.append(Change(name, checkout.read(name), None))
    record = {"project": PROJECT, "version": __version__, "sha256": {name: digest(files[name]) for name in files}}
    text = json.dumps(record, indent=1) + "\n"
    changes.append(Change(RECORD, checkout.read(RECORD), text.encode()))
    changes.append(host)
    return Plan([change for change in changes if change.before != change.after], [])


def plan_revert(checkout: Checkout) -> Plan:
    """Plan the removal: models/yolo.py first, then the files we installed; those the user edited since are kept."""
    changes = [host_change(checkout, rewrite.revert)]
    kept = []
    installed = {**{name: digest(content) for name, content in payload(checkout).items()}, **read_record(checkout)}
    for name, known in installed.items():
        current = checkout.read(name)
        if matches(current, known):
            changes.append(Change(name, current, None))
        elif current is not None:
            kept.append(name)
    changes.append(Change(RECORD, checkout.read(RECORD), None))
    return Plan([change for change in changes if change.before != change.after], kept)


def host_change(checkout: Checkout, rewriter: rewrite.Rewriter) -> Change:
    """Return what a rewriter makes of models/yolo.py."""
    content = checkout.read(HOST_FILE)
    assert content is not None
    filename = str(checkout.root / HOST_FILE)
    text, encoding = decode(content, filename)
    return Change(HOST_FILE, content, rewriter(text, filename).encode(encoding))


def read_record(checkout: Checkout) -> dict[str, str]:
    """Return the SHA-256 of each file as it was installed, by name; empty if nothing is recorded.

    Raises:
        PatchError: the record is damaged, or names a file outside models/.
    """
    content = checkout.read(RECORD)
    if content is None:
        return {}
    try:
        hashes = json.loads(content)["sha256"]
        if all(PurePosixPath(name).parts[0] == "models" and ".." not in name for name in hashes):
            return dict(hashes)
    except (ValueError, KeyError, TypeError, IndexError):
        pass
    raise PatchError(
        f"{checkout.root / RECORD}, the record of what was installed, is damaged. Delete models/backbone and the "
        "yolov5-efficientvit yamls, and run this again."
    )


def digest(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def matches(content: bytes | None, known: str) -> bool:
    """Whether a file is there and has this SHA-256."""
    return content is not None and digest(content) == known
