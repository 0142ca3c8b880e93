"""Plans what applying or reverting changes in a checkout, before anything is written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Callable, Mapping, Sequence

from .. import PROJECT
from ..errors import PatchError
from ..source.blocks import HOST
from ..source.edits import EDITS, YOLO, Edit
from ..source.removal import Removal
from ..source.rewrite import EditedLinesError, rewrite, stock_of
from ..source.syntax import parse
from .checkout import Checkout, decode
from .conflicts import require_folders, require_no_conflicts, require_no_module, require_separate
from .leftovers import remaining_entries, unknown_files
from .payload import PACKAGE, is_in_subfolder, payload
from .record import NAME as RECORD
from .record import Record, checksum, digest, read_record

UNKNOWN_FILE = (
    "{name} stays. It is not from this version. It may be from another version, or your own: the record of what was "
    "installed is lost, so the patch cannot tell"
)
TRACES = (f"# >>> {PROJECT} ".encode(), HOST.encode())  # every patched file has one of them, in any encoding


@dataclass(frozen=True)
class Change:
    """The content of one file before and after, None if it does not exist; its name is relative to the checkout.

    Attributes:
        with_folder: whether its folder is removed with it, if only Python's caches are left there.
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
        remaining: other files that stay where our files were, because the patch does not know them.
        notes: further notes for the user.
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
            self.changes.append(Change(name, before, after, with_folder=after is None and is_in_subfolder(name)))

    def net_changes(self) -> list[Change]:
        """Return one change per file, from its first state to its last."""
        first = {change.name: change.before for change in reversed(self.changes)}
        last = {change.name: change.after for change in self.changes}
        return [Change(name, first[name], last[name]) for name in last if first[name] != last[name]]


@dataclass(frozen=True)
class HostFile:
    """A file of the host as it is, without the patch and with it, and the statements that the patch inserts."""

    name: str
    current: bytes
    stock: bytes
    patched: bytes
    statements: list[str]


def plan_apply(checkout: Checkout, force: bool = False) -> Plan:
    """Plan the installation so that the checkout works at every moment.

    An earlier patch is reverted first; then our files change, then the host's files, models/yolo.py last.

    Raises:
        PatchError: models/yolo.py cannot be patched, or a file conflicts with ours.
    """
    require_separate(checkout)
    checkout.require_folder(PACKAGE)
    plan = Plan()
    record = read_record(checkout, force)
    hosts = find_hosts(checkout, record, force, plan)
    yolo = hosts[-1]
    text, _ = decode(yolo.stock, yolo.name)
    ours = payload(checkout, parse(text, str(checkout.root / yolo.name)))
    plan.notes += ours.notes
    patched = is_patched(checkout)
    for folder in require_folders(checkout, ours.files):
        require_no_module(checkout, folder, record.files)
    require_no_conflicts(checkout, ours.files, record, patched, force)
    if patched and not record.files:
        plan.notes += [UNKNOWN_FILE.format(name=name) for name in unknown_files(checkout, ours.files)]

    found_folder = record.found_folder if record.files or patched else (checkout.root / PACKAGE).is_dir()
    after = Record(
        {name: [digest(content)] for name, content in ours.files.items()},
        record.lines_with({host.name: host.statements for host in hosts}),
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


def find_hosts(checkout: Checkout, record: Record, force: bool, plan: Plan) -> list[HostFile]:
    """Return the files of the host that can be patched, models/yolo.py last; enter notes on the others into the plan.

    Raises:
        PatchError: models/yolo.py cannot be patched, or a patched file cannot be patched again.
    """
    links = checkout.links([edit.name for edit in EDITS])
    plan.notes += [f"{name} is a link to {file}, which is patched" for name, file in links.items()]
    hosts: list[HostFile] = []

    def find(edit: Edit) -> None:
        if host := host_file(checkout, edit, record, force, plan):
            hosts.append(host)

    collect_edited([edit for edit in EDITS if edit.name not in links], find)
    return hosts


def file_changes(checkout: Checkout, files: Mapping[str, bytes], record: Record, new: Record, force: bool) -> Plan:
    """Plan the changes to our files and, before and after them, to the record.

    The first record has the old and the new files, so that every file is known as ours if the run is cut off. A file of
    another version that the user has edited is kept, and stays in the record until it is gone.
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

    A lost record is written first, so that a run that is cut off can be completed.
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
    """Call `work` for each edit, and raise one error for the edited lines of all files: --force drops them all.

    Raises:
        EditedLinesError: the message names the lines of every file.
        PatchError: another error of `work`.
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
    """Return the record of this version's files for a checkout that has lost it; an empty one if there is no plan."""
    try:
        content = checkout.read(YOLO.name) or b""
        filename = str(checkout.root / YOLO.name)
        host = parse(stock_of(decode(content, filename)[0], filename, force=True)[0], filename)
        return Record({name: [digest(content)] for name, content in payload(checkout, host).files.items()})
    except (PatchError, IndexError):
        return Record()


def host_file(checkout: Checkout, edit: Edit, record: Record, force: bool, plan: Plan) -> HostFile | None:
    """Return a file of the host with its patched text, or None if it is missing or not understood."""
    filename = str(checkout.root / edit.name)
    content = None
    try:
        content = checkout.read(edit.name)
        if content is None:
            return None
        stock, encoding = stock_text(checkout, edit, content, record, force, plan)
        result = rewrite(stock, filename, edit)
    except PatchError as error:
        if edit.required or has_lines_of_ours(content or b""):
            raise
        plan.notes.append(f"{edit.name} is left as it is ({error.kind}): {'; '.join(edit.purposes.values())}")
        return None
    for name in edit.purposes.keys() - {block.name for block in result.blocks}:
        plan.notes.append(f"{edit.name} lacks the place of one insertion: {edit.purposes[name]}")
    is_current = result.matches_up_to_formatting(content.decode(encoding))
    patched = content if is_current else result.patched.encode(encoding)
    return HostFile(edit.name, content, stock.encode(encoding), patched, result.statements())


def stock_text(
    checkout: Checkout, edit: Edit, content: bytes, record: Record, force: bool, plan: Plan
) -> tuple[str, str]:
    """Return a host's file without our lines, and its encoding; enter dropped lines into the plan.

    Raises:
        PatchError: our lines were edited, and `force` is not given.
    """
    filename = str(checkout.root / edit.name)
    text, encoding = decode(content, filename)
    stock, lost = stock_of(text, filename, edit, record.lines.get(edit.name, []), force)
    plan.lost += [f"{edit.name}, {line}" for line in lost]
    return stock, encoding


def has_lines_of_ours(content: bytes) -> bool:
    """Whether a file of the host has lines of ours."""
    return any(trace in content for trace in TRACES)
