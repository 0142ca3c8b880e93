"""What applying or reverting would change in a checkout, worked out before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

from . import PROJECT
from .blocks import HOST
from .checkout import Checkout, decode
from .edits import EDITS, YOLO, Edit
from .errors import PatchError
from .guards import require_room_for_ours
from .payload import payload
from .record import NAME as RECORD
from .record import Record, digest, read_record
from .rewrite import rewrite, stock_of
from .syntax import parse

TRACES = (f"# >>> {PROJECT} ".encode(), HOST.encode())  # one is in every patched file, whatever its encoding


@dataclass(frozen=True)
class Change:
    """One file, named from the checkout's root, before and after; None where it does not exist."""

    name: str
    before: bytes | None
    after: bytes | None


@dataclass
class Plan:
    """Changes in the order in which they are to be made.

    Attributes:
        kept: files of ours that stay because the user has edited them.
        lost: inserted lines that the user has edited, and that are dropped.
        notes: what the user should know besides.
    """

    changes: list[Change] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, before: bytes | None, after: bytes | None) -> None:
        """Append a change unless it changes nothing."""
        if before != after:
            self.changes.append(Change(name, before, after))

    def net_changes(self) -> list[Change]:
        """Return one change a file, from what it is to what it becomes."""
        first = {change.name: change.before for change in reversed(self.changes)}
        last = {change.name: change.after for change in self.changes}
        return [Change(name, first[name], last[name]) for name in last if first[name] != last[name]]


@dataclass(frozen=True)
class HostFile:
    """A file of the host: as it is, without the patch, and with it, as bytes; and the statements it gets."""

    name: str
    current: bytes
    stock: bytes
    patched: bytes
    statements: list[str]


def plan_apply(checkout: Checkout, force: bool = False) -> Plan:
    """Plan the installation so that the checkout works at every instant.

    What is patched already is first taken back, then our files change, then the host's files, models/yolo.py last.

    Raises:
        PatchError: models/yolo.py cannot be patched, or something stands in the way.
    """
    plan = Plan()
    record = read_record(checkout, force)
    hosts = [host for edit in EDITS for host in host_files(checkout, edit, record, force, plan)]
    yolo = hosts[-1]
    text, _ = decode(yolo.stock, yolo.name)
    ours = payload(checkout, parse(text, str(checkout.root / yolo.name)))
    plan.notes += ours.notes
    require_room_for_ours(checkout, ours.files, record, force)

    files = file_changes(checkout, ours.files, record, {host.name: host.statements for host in hosts})
    if files or any(host.current != host.patched for host in hosts):
        for host in reversed(hosts):
            plan.add(host.name, host.current, host.stock)
        plan.changes += files
        for host in hosts:
            plan.add(host.name, host.stock, host.patched)
    return plan


def file_changes(
    checkout: Checkout, files: Mapping[str, bytes], record: Record, lines: Mapping[str, list[str]]
) -> list[Change]:
    """Return the changes to our files and, in front of and behind them, to the record.

    The first record knows what is there and what comes, so that every file is known as ours however far a run gets.
    """
    plan = Plan()
    for name, content in files.items():
        current = checkout.read(name)
        if current is None or digest(current) != digest(content):
            plan.add(name, current, content)
    for name in record.files.keys() - files.keys():  # left by another version
        current = checkout.read(name)
        if current is not None and record.knows(name, current):
            plan.add(name, current, None)
    new = {name: [digest(content)] for name, content in files.items()}
    both = {name: sorted({*record.files.get(name, []), *new.get(name, [])}) for name in {**record.files, **new}}
    known = {name: sorted({*record.lines.get(name, []), *lines.get(name, [])}) for name in {**record.lines, **lines}}
    before, after = checkout.read(RECORD), Record(new, known).content()
    if not plan.changes and before is not None and digest(before) == digest(after):
        return []
    between = Record(both, known).content() if plan.changes else after
    around = [Change(RECORD, before, between), *plan.changes, Change(RECORD, between, after)]
    return [change for change in around if change.before != change.after]


def plan_revert(checkout: Checkout, force: bool = False) -> Plan:
    """Plan the removal: the host's files first, models/yolo.py before the others, then ours, the record last.

    Files of ours that the user has edited are kept, unless `force` is given.
    """
    plan = Plan()
    record = read_record(checkout, force)
    for edit in reversed(EDITS):
        try:
            content = checkout.read(edit.name)
        except PatchError as error:
            if edit.required:
                raise
            plan.notes.append(f"{edit.name} is left as it is ({error.kind})")
            continue
        if content is not None and is_patched(content):
            stock, encoding = stock_text(checkout, edit, content, record, force, plan)
            plan.add(edit.name, content, stock.encode(encoding))
    known = record if record.files else record_of_this_version(checkout)
    for name in known.files:
        current = checkout.read(name)
        if current is not None and (known.knows(name, current) or (force and record.files)):
            plan.add(name, current, None)
        elif current is not None and record.files:
            plan.kept.append(name)
    plan.add(RECORD, checkout.read(RECORD), None)
    return plan


def record_of_this_version(checkout: Checkout) -> Record:
    """Return what the record would say, for a checkout that has lost it, or whose models/yolo.py is not understood."""
    try:
        content = checkout.read(YOLO.name) or b""
        filename = str(checkout.root / YOLO.name)
        host = parse(stock_of(decode(content, filename)[0], filename, YOLO, force=True)[0], filename)
        return Record({name: [digest(content)] for name, content in payload(checkout, host).files.items()})
    except (PatchError, IndexError):
        return Record()


def host_files(checkout: Checkout, edit: Edit, record: Record, force: bool, plan: Plan) -> list[HostFile]:
    """Return a file of the host with what becomes of it; nothing for one that is not there, or not understood."""
    filename = str(checkout.root / edit.name)
    content = None
    try:
        content = checkout.read(edit.name)
        if content is None:
            return []
        stock, encoding = stock_text(checkout, edit, content, record, force, plan)
        result = rewrite(stock, filename, edit)
    except PatchError as error:
        if edit.required or is_patched(content or b""):
            raise
        plan.notes.append(f"{edit.name} is left as it is ({error.kind}): {'; '.join(edit.purposes.values())}")
        return []
    for name in edit.purposes.keys() - {block.name for block in result.blocks}:
        plan.notes.append(f"{edit.name} lacks the place of one insertion: {edit.purposes[name]}")
    is_current = result.is_but_formatted(content.decode(encoding))
    patched = content if is_current else result.patched.encode(encoding)
    return [HostFile(edit.name, content, stock.encode(encoding), patched, result.statements())]


def stock_text(
    checkout: Checkout, edit: Edit, content: bytes, record: Record, force: bool, plan: Plan
) -> tuple[str, str]:
    """Return a host's file without our lines, and its encoding; what it loses so goes into the plan.

    Raises:
        PatchError: our lines are not as they were put in, and `force` is not given.
    """
    filename = str(checkout.root / edit.name)
    text, encoding = decode(content, filename)
    stock, lost = stock_of(text, filename, edit, record.lines.get(edit.name, []), force)
    plan.lost += [f"{edit.name}, {line}" for line in lost]
    return stock, encoding


def is_patched(content: bytes) -> bool:
    """Whether a file of the host has lines of ours."""
    return any(trace in content for trace in TRACES)
