"""A checkout whose owner edits it: keeps account of which lines and files are the owner's, whatever the patch does.

This is the oracle of tests/patches/install/test_state_machine.py. It recognises the patch's lines by their markers right
after a run, and from then on follows the owner's edits. It shares no code with the patch.
"""

import re
import shutil
import subprocess

from tests.patches.install.test_transaction import tree

HOSTS = ("train.py", "segment/train.py", "classify/train.py", "models/tf.py", "models/yolo.py")
PACKAGE, RECORD = "models/backbone", "models/backbone/installed.txt"
BEGIN, END = re.compile(r"\s*# >>> yolov5-efficientvit "), re.compile(r"\s*# <<< yolov5-efficientvit")
STAGED = ".yolov5-efficientvit-new"
MINE, OURS, EDITED = "the owner's", "the patch's", "the patch's, edited by the owner"


def compiles(text):
    try:
        compile(text, "", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def mark(lines):
    """Return the owner of each line, by the markers."""
    whose, inside = [], False
    for line in lines:
        inside = inside or bool(BEGIN.match(line))
        whose.append(OURS if inside else MINE)
        inside = inside and not END.match(line)
    return whose


def words(text):
    return sorted(re.findall(r"\w+", text))


class HostFile:
    """A file of the host.

    Attributes:
        own: the owner's text, which is left when the patch is removed.
        whose: the owner of each line on disk; None once a formatter has changed the patch's lines too.
    """

    def __init__(self, path):
        self.path = path
        self.restored()

    def restored(self):
        """Note that the file has no lines of the patch."""
        self.own, self.whose = self.text(), [MINE] * len(self.lines())

    def text(self):
        return self.path.read_bytes().decode("utf-8")

    def lines(self):
        return self.text().splitlines(keepends=True)

    def count(self, whose):
        return (self.whose or []).count(whose)

    def edited(self):
        """Return the lines of the patch that the owner has edited."""
        return [line.strip() for line, whose in zip(self.lines(), self.whose or ()) if whose == EDITED]

    def is_loose(self):
        """Whether a marker above or below an edited line is missing; the line may then be the owner's."""
        kinds = [bool(BEGIN.match(line)) for line in self.lines() if BEGIN.match(line) or END.match(line)]
        outside = any(whose == EDITED and mine == MINE for whose, mine in zip(self.whose or (), mark(self.lines())))
        return outside or bool(self.edited() and kinds != [True, False] * (len(kinds) // 2))

    def save(self, lines, whose):
        """Let the owner save the file if it is valid Python; return whether it is."""
        if not compiles("".join(lines)):
            return False
        self.path.write_bytes("".join(lines).encode("utf-8"))
        self.whose = whose
        self.own = "".join(line for line, its_owner in zip(lines, whose) if its_owner == MINE)
        return True

    def edited_around(self, number):
        """Return the owner of each line after a line of the patch is deleted: the rest of its block counts as edited."""
        lines, whose = self.lines(), list(self.whose)
        for step in (-1, 1):
            other = number + step
            while 0 <= other < len(lines) and not (BEGIN.match(lines[other]) or END.match(lines[other])):
                whose[other] = EDITED if whose[other] == OURS else whose[other]
                other += step
        return whose[:number] + whose[number + 1 :]

    def append(self, line):
        self.path.write_bytes((self.text() + line).encode("utf-8"))
        self.own += line
        self.whose = self.whose and [*self.whose, MINE]

    def format(self, formatter):
        """Format the file, and the owner's text by itself."""
        was_patched = self.whose is None or self.count(OURS)
        self.path.write_bytes(formatter(self.text().replace("\r\n", "\n")).encode("utf-8"))
        self.own = formatter(self.own.replace("\r\n", "\n"))
        if was_patched:
            self.whose = None
        else:
            self.restored()

    def written(self):
        """Check what a run has written: all of the owner's lines, in their order."""
        lines = self.lines()
        whose = mark(lines)
        own = "".join(line for line, its_owner in zip(lines, whose) if its_owner == MINE)
        if self.whose is None:  # formatters may have put blank lines around the patch's, or sorted imports otherwise
            assert words(own) == words(self.own), f"{self.path}: the owner's lines are not as they were"
        else:
            assert own == self.own, f"{self.path}: the owner's lines are not as they were"
        self.own, self.whose = own, whose


class OwnedCheckout:
    """A checkout in git.

    Attributes:
        hosts: the host's files by name.
        files: the owner's files by name.
        edited_files: files of the patch that the owner has edited.
        released: the host's files as committed in git.
        original: the host's files before the patch.
    """

    def __init__(self, host, root):
        names = [*HOSTS, "__init__.py", "models/__init__.py", "models/common.py", "models/experimental.py"]
        for name in [name for name in names if (host / name).is_file()]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(host / name, root / name)
        self.root = root
        self.hosts = {name: HostFile(root / name) for name in HOSTS if (root / name).is_file()}
        self.files, self.edited_files = {}, {}
        self.released = self.original = self.contents()
        self.git("init", "--quiet")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "as released")

    def git(self, *arguments):
        settings = {
            "user.name": "x",
            "user.email": "x@example.org",
            "commit.gpgsign": "false",
            "core.autocrlf": "false",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        subprocess.run(["git", *options, *arguments], cwd=self.root, check=True, capture_output=True)

    def contents(self):
        return {name: file.path.read_bytes() for name, file in self.hosts.items()}

    def tree(self):
        """Return the files, without folders, git's files, and staged files that a killed run has left."""
        files = {name: entry for name, entry in tree(self.root).items() if entry is not None}
        return {name: entry for name, entry in files.items() if not re.search(f"^[.]git/|__pycache__|{STAGED}", name)}

    def is_patched(self):
        return any(file.whose is None or file.count(OURS) or file.count(EDITED) for file in self.hosts.values())

    def is_formatted(self):
        return any(file.whose is None for file in self.hosts.values())

    def edited_lines(self):
        """Return the edited lines; without a record also those of an older version, which look the same."""
        edited = [line for file in self.hosts.values() for line in file.edited()]
        if not (self.root / RECORD).is_file():
            edited += [line.strip() for file in self.hosts.values() for line in file.lines() if "OldRows" in line]
        return edited

    def reasons_to_refuse(self):
        """Return the owner's edits for which the patch may refuse to run."""
        depending = [name for name, file in self.hosts.items() if not compiles(file.own)]
        installed = [*(self.root / PACKAGE).glob("**/*.py"), *(self.root / "models").glob("*.yaml")]
        package = not (self.root / RECORD).is_file() and bool(installed)
        return [*self.edited_lines(), *self.edited_files, *depending, *["a package without a record"] * package]

    def check_files(self):
        """Check that the owner's files are unchanged."""
        for name, content in {**self.files, **self.edited_files}.items():
            assert (self.root / name).read_bytes() == content, f"{name} is lost"

    def written(self, before):
        """Check what a run has written since the files had the contents `before`."""
        for name, content in self.contents().items():
            if content != before[name]:
                self.hosts[name].written()
        self.check_files()
