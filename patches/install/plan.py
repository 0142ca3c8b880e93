"""What applying or reverting would change in a checkout, worked out before anything is written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Callable, Mapping, Sequence

from .. import PROJECT
from ..errors import PatchError
from ..source.blocks import HOST
from ..source.edits import EDITS, YOLO, Edit
from ..source.removal import Removal, words
from ..source.rewrite import EditedLinesError, rewrite, stock_of
from ..source.syntax import parse
from .checkout import Checkout, decode
from .leftovers import remaining_entries, unknown_files
from .payload import PACKAGE, is_in_room, payload
from .record import NAME as RECORD
from .record import Record, checksum, digest, read_record
from .room import require_folders, require_no_module, require_room_for_ours, require_separate

LOST = (
    "{name} stays. It is not from this version. It may be from another version, or your own: the record of what was "
    "installed is lost, so the patch cannot tell"
)
TRACES = (f"# >>> {PROJECT} ".encode(), HOST.encode())  # one is in every patched file, whatever its encoding


@dataclass(frozen=True)
class Change:
    """One file, named from the checkout's root, before and after; None where it does not exist.

    Attributes:
        with_folder: whether its folder goes with it, if nothing else is left there but Python's caches.
    """

    name: str
    before: bytes | None
    after: bytes | None
    with_folder: bool = False


@dataclass
class Plan:
    """Changes in the order in which they are to be made.

    Attributes:
        kept: files of ours that stay because the user has edited them.
        lost: inserted lines that the user has edited, and that are dropped.
        remaining: what else stays where our files were, because it is not known as ours.
        notes: what the user should know besides.
        is_original: whether, after reverting, each file of the host is known to be as it was before the patch.
    """

    changes: list[Change] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_original: bool = False

    def add(self, name: str, before: bytes | None, after: bytes | None) -> None:
        """Append a change unless it changes nothing."""
        if before != after:
            self.changes.append(Change(name, before, after, with_folder=after is None and is_in_room(name)))

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
    require_separate(checkout)
    checkout.require_folder(PACKAGE)
    plan = Plan()
    record = read_record(checkout, force)
    links = checkout.links([edit.name for edit in EDITS])
    plan.notes += [f"{name} is a link to {file}, which is patched" for name, file in links.items()]
    edits = [edit for edit in EDITS if edit.name not in links]
    hosts: list[HostFile] = []
    collect_edited(edits, lambda edit: hosts.extend(host_files(checkout, edit, record, force, plan)))
    yolo = hosts[-1]
    text, _ = decode(yolo.stock, yolo.name)
    ours = payload(checkout, parse(text, str(checkout.root / yolo.name)))
    plan.notes += ours.notes
    patched = is_patched(checkout)
    for folder in require_folders(checkout, ours.files):
        require_no_module(checkout, folder, record.files)
    require_room_for_ours(checkout, ours.files, record, patched, force)
    if patched and not record.files:
        plan.notes += [LOST.format(name=name) for name in unknown_files(checkout, ours.files)]

    found_folder = record.found_folder if record.files or patched else (checkout.root / PACKAGE).is_dir()
    after = Record(
        {name: [digest(content)] for name, content in ours.files.items()},
        known_lines(record, hosts),
        found_folder,
        record.originals if record.files or patched else {host.name: checksum(host.stock) for host in hosts},
    )
    files = file_changes(checkout, ours.files, record, after, force)
    plan.kept += files.kept
    if files.changes or any(host.current != host.patched for host in hosts):
        for host in reversed(hosts):
            plan.add(host.name, host.current, host.stock)
        plan.changes += files.changes
        for host in hosts:
            plan.add(host.name, host.stock, host.patched)
    return plan


def known_lines(record: Record, hosts: Sequence[HostFile]) -> dict[str, list[str]]:
    """Return the statements that were ever inserted into each file, and those that are now."""
    lines = {name: set(known) for name, known in record.lines.items()}
    for host in hosts:
        known = lines.setdefault(host.name, set())
        texts = [words(statement) for statement in known]  # how they are set in does not count
        known.update(statement for statement in host.statements if words(statement) not in texts)
    return {name: sorted(lines[name]) for name in sorted(lines)}


def file_changes(checkout: Checkout, files: Mapping[str, bytes], record: Record, new: Record, force: bool) -> Plan:
    """Plan the changes to our files and, in front of and behind them, to the record.

    The first record knows what is there and what comes, so that every file is known as ours however far a run gets.
    A file of another version that the user has edited is kept, and stays in the record until it is gone.
    """
    plan = Plan()
    for name, content in files.items():
        current = checkout.read(name)
        if current is None or digest(current) != digest(content):
            plan.add(name, current, content)
    dropped = {name: checkout.read(name) for name in sorted(record.files.keys() - files.keys())}
    for name, current in dropped.items():
        if current is not None and (force or record.knows(name, current)):
            plan.add(name, current, None)
        elif current is not None:
            plan.kept.append(name)
    after = replace(new, files={**new.files, **{name: record.files[name] for name in plan.kept}})
    deleted = {name: record.files[name] for name, current in dropped.items() if current is None}
    if not plan.changes and record == replace(after, files={**after.files, **deleted}):
        return plan
    names = {**record.files, **after.files}
    both = {name: sorted({*record.files.get(name, []), *after.files.get(name, [])}) for name in names}
    between = replace(after, files=both) if plan.changes else after
    before = checkout.read(RECORD)
    around = [
        Change(RECORD, before, between.content()),
        *plan.changes,
        Change(RECORD, between.content(), after.content()),
    ]
    plan.changes = [change for change in around if change.before != change.after]
    return plan


def plan_revert(checkout: Checkout, force: bool = False) -> Plan:
    """Plan the removal: the host's files first, models/yolo.py before the others, then ours, the record last.

    Files of ours that the user has edited are kept, unless `force` is given.
    """
    require_separate(checkout)
    checkout.require_folder(PACKAGE)
    plan = Plan()
    record = read_record(checkout, force)
    patched = is_patched(checkout)
    require_folders(checkout, record.files)
    links = checkout.links([edit.name for edit in EDITS])
    edits = [edit for edit in reversed(EDITS) if edit.name not in links]
    stocks: dict[str, bytes | None] = {}

    def take_out(edit: Edit) -> None:
        try:
            content = checkout.read(edit.name)
        except PatchError as error:
            if edit.required:
                raise
            plan.notes.append(f"{edit.name} is left as it is ({error.kind})")
            return
        stocks[edit.name] = content
        if content is not None and has_lines_of_ours(content):
            stock, encoding = stock_text(checkout, edit, content, record, force, plan)
            stocks[edit.name] = stock.encode(encoding)
            plan.add(edit.name, content, stocks[edit.name])

    collect_edited(edits, take_out)
    checksums = {name: checksum(stock) for name, stock in stocks.items() if stock is not None}
    plan.is_original = bool(record.originals) and record.originals.items() <= checksums.items()
    plan_removal(checkout, record, patched, force, plan)
    return plan


def plan_removal(checkout: Checkout, record: Record, is_patched: bool, force: bool, plan: Plan) -> None:
    """Add the removal of our files, and of the record last, to the plan that reverts the host's files.

    A record that is lost is written first, so that a run that is cut off can be completed.
    """
    written = checkout.read(RECORD)
    known = record
    if is_patched and not record.files:
        known = record_of_this_version(checkout)
        plan.changes.insert(0, Change(RECORD, written, known.content()))
        written = known.content()
    for name in known.files:
        current = checkout.read(name)
        if current is not None and (known.knows(name, current) or (force and record.files)):
            plan.add(name, current, None)
        elif current is not None and record.files:
            plan.kept.append(name)
    if written is not None:
        plan.changes.append(Change(RECORD, written, None, with_folder=not record.found_folder))
    if plan.changes:
        removed = {change.name for change in plan.changes if change.after is None}
        plan.remaining = remaining_entries(checkout, {*removed, *plan.kept}, record.found_folder)
        if not record.files:
            plan.remaining += [name for name in unknown_files(checkout, known.files) if name not in plan.remaining]


def collect_edited(edits: Sequence[Edit], work: Callable[[Edit], None]) -> None:
    """Do something with each file, and name the edited lines of all files together, as --force would drop them all.

    Raises:
        EditedLinesError: the message names the lines of every file.
        PatchError: as `work` does.
    """
    removals: dict[str, Removal] = {}
    for edit in edits:
        try:
            work(edit)
        except EditedLinesError as error:
            removals.update(error.removals)
    if removals:
        raise EditedLinesError(removals)


def is_patched(checkout: Checkout) -> bool:
    """Whether a file of the host has lines of ours."""
    for edit in EDITS:
        with suppress(PatchError):  # a file that is left as it is
            if has_lines_of_ours(checkout.read(edit.name) or b""):
                return True
    return False


def record_of_this_version(checkout: Checkout) -> Record:
    """Return what the record would say, for a checkout that has lost it, or whose models/yolo.py is not understood."""
    try:
        content = checkout.read(YOLO.name) or b""
        filename = str(checkout.root / YOLO.name)
        host = parse(stock_of(decode(content, filename)[0], filename, force=True)[0], filename)
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
        if edit.required or has_lines_of_ours(content or b""):
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


def has_lines_of_ours(content: bytes) -> bool:
    """Whether a file of the host has lines of ours."""
    return any(trace in content for trace in TRACES)
