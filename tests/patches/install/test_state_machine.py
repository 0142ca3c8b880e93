"""Whatever an owner does in a patched checkout, in any order, no line or file of his is lost, and every answer is true.

STATE_MACHINE_EXAMPLES=2000 in the environment makes a long run of it; `pytest -s` prints how many runs and steps there were.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import apply_patch
from patches.install import transaction
from tests.conftest import MINIHOST
from tests.examples import examples
from tests.owned_checkout import EDITED, HOSTS, MINE, OURS, PACKAGE, RECORD, OwnedCheckout
from tests.patches.install.test_apply_patch import make_old

EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", 6))
MODES = {"apply": [], "check": ["--check"], "diff": ["--diff"], "revert": ["--revert"]}
FORCE = st.sampled_from([False, False, True])
LINES = ["# mine {}", "mine_{0} = {0}", "import os as mine_{}", "print({}, 'mine')"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run is done after it."""


def isort(text):
    import isort

    return isort.code(text, profile="black", combine_as_imports=True)


def black(text):
    import black

    with contextlib.suppress(black.NothingChanged):
        return black.format_file_contents(text, fast=True, mode=black.Mode(line_length=100))
    return text


def autopep8(text):
    import autopep8

    return autopep8.fix_code(text)


def ruff(text):
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode()


class Machine(RuleBasedStateMachine):
    """The steps; `host` and `steps`, a count of each, are set by the test."""

    @initialize(is_patched=st.sampled_from([True, True, False]))
    def start(self, is_patched):
        self.folder = tempfile.mkdtemp()
        self.checkout = OwnedCheckout(self.host, Path(self.folder, "yolov5"))
        self.root, self.number = self.checkout.root, 0
        self.steps["checkouts"] += 1
        if is_patched:
            assert self.run("apply")[0] == 0

    def teardown(self):
        """In the end the owner takes the patch out, and has his own tree."""
        try:
            if self.run("revert")[0] == 2 and self.run("revert", force=True)[0] == 2:
                depending = [name for name in self.checkout.reasons_to_refuse() if name in self.checkout.hosts]
                loose = [file for file in self.checkout.hosts.values() if file.is_loose()]
                assert depending or loose, (
                    "with --force only a line inside the patch's, or one of no block, is in the way"
                )
        finally:
            shutil.rmtree(self.folder)

    def call(self, mode, force=False):
        """Run the command line, and return the exit code and the JSON."""
        if mode == "apply" and not self.checkout.is_patched() and not (self.root / RECORD).is_file():
            self.checkout.original = self.checkout.contents()
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = apply_patch.main([str(self.root), *MODES[mode], *["--force"] * force, "--json"])
        return code, json.loads(out.buffer.getvalue())

    def run(self, mode, force=False):
        """Call it, check what is true of every run, and take in what it has written."""
        checkout = self.checkout
        before, contents = checkout.tree(), checkout.contents()
        edited, reasons = checkout.edited_lines(), checkout.reasons_to_refuse()
        code, seen = self.call(mode, force)
        self.steps[f"{mode}{' --force' * force}: exit code {code}"] += 1
        after = checkout.tree()
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        assert seen["exit_code"] == code
        assert (code == 2) == (seen["error"] is not None)
        assert code in ((0, 1, 2) if mode == "check" else (0, 2))
        assert code != 2 or reasons, seen["error"]["message"]
        if code or mode in ("check", "diff"):
            assert not changed
            return code, seen
        assert {change["file"] for change in seen["changes"]} == changed
        assert force or not seen["lost"]
        for line in seen["lost"]:
            assert line.partition(": ")[2] in edited, f"{line}: this is no line of the patch that was edited"
        if force:
            checkout.edited_files = {n: c for n, c in checkout.edited_files.items() if n in seen["kept"]}
        checkout.written(contents)
        if mode == "revert":
            self.check_reverted(seen)
        return code, seen

    def check_reverted(self, seen):
        """No line of the patch is left, and each file that is left where its own were is named."""
        assert not self.checkout.is_patched()
        named = {*seen["kept"], *seen["remaining"]}
        for name in self.checkout.tree():
            if name.startswith(f"{PACKAGE}/") and seen["changes"]:
                assert any(name == entry or name.startswith(f"{entry}/") for entry in named), f"{name} is left, unnamed"
        assert not seen["is_original"] or self.checkout.contents() == self.checkout.original

    # the patch

    @rule(force=FORCE)
    def apply(self, force):
        if self.run("apply", force)[0] == 0:
            assert self.run("check")[0] == 0
            assert self.run("apply")[1]["changes"] == []

    @rule(mode=st.sampled_from(["check", "diff"]), force=FORCE)
    def look(self, mode, force):
        self.run(mode, force)

    @rule(force=FORCE)
    def revert(self, force):
        if self.run("revert", force)[0] == 0:
            assert self.run("revert")[1]["changes"] == []

    @rule(mode=st.sampled_from(["apply", "revert"]), turn=st.integers(1, 60))
    def is_killed(self, mode, turn):
        """A run ends in front of one of its writes, and nothing is put back; the next one completes it."""
        calls, swap, put_back, contents = 0, transaction.swap, transaction.put_back, self.checkout.contents()

        def die(*_):
            raise Killed

        def count(*arguments):
            nonlocal calls
            calls += 1
            return swap(*arguments) if calls < turn else die()

        transaction.swap, transaction.put_back = count, die
        try:
            with contextlib.suppress(Killed):
                self.call(mode)
        finally:
            transaction.swap, transaction.put_back = swap, put_back
        self.steps[f"{mode}: killed"] += calls >= turn
        self.checkout.written(contents)

    def is_just_patched(self):
        names = [PACKAGE + "/yolo/__init__.py", RECORD]
        patched = (
            self.checkout.is_patched() and not self.checkout.is_formatted() and not self.checkout.reasons_to_refuse()
        )
        return (
            patched
            and all((self.root / name).is_file() for name in names)
            and not (self.root / PACKAGE / "attic").exists()
        )

    @precondition(is_just_patched)
    @rule()
    def was_patched_by_an_older_version(self):
        make_old(self.root)
        yolo = self.checkout.hosts["models/yolo.py"]
        yolo.own = yolo.own.replace("\r\n", "\n")  # as it is written there
        self.steps["older version"] += 1

    # the owner

    def new_line(self, data):
        self.number += 1
        return data.draw(st.sampled_from(LINES)).format(self.number)

    @rule(data=st.data(), name=st.sampled_from(HOSTS))
    def insert_a_line(self, data, name):
        """Anywhere, also between the patch's lines."""
        file = self.checkout.hosts.get(name)
        if file and file.whose:
            lines = file.lines()
            place = data.draw(st.integers(0, len(lines) - 1))
            following = next((line for line in lines[place:] if line.strip()), "")
            indent = following[: len(following) - len(following.lstrip())]
            line = f"{indent}{self.new_line(data)}\n"
            whose = [*file.whose[:place], MINE, *file.whose[place:]]
            self.steps["insert a line"] += file.save([*lines[:place], line, *lines[place:]], whose)

    @rule(data=st.data(), name=st.sampled_from(HOSTS))
    def append_a_line(self, data, name):
        if name in self.checkout.hosts and self.checkout.hosts[name].text().endswith("\n"):
            self.checkout.hosts[name].append(f"{self.new_line(data)}\n")
            self.steps["append a line"] += 1

    @rule(data=st.data(), name=st.sampled_from(HOSTS), deleted=st.booleans())
    def change_a_line_of_the_patch(self, data, name, deleted):
        """Edit a call of its own, or delete any line, a marker perhaps."""
        file = self.checkout.hosts.get(name)
        lines = file.lines() if file and file.whose else []
        numbers = [n for n, whose in enumerate(file.whose) if whose == OURS] if lines else []
        numbers = [n for n in numbers if deleted or ("_host." in lines[n] and lines[n].rstrip().endswith(")"))]
        if numbers:
            n = data.draw(st.sampled_from(numbers))
            new = [] if deleted else [lines[n].replace(")", ", None)", 1)]
            whose = [*file.whose[:n], *file.whose[n + 1 :]]
            if "# " not in lines[n]:  # no marker: what is left of its block is part of an edited statement, perhaps
                whose = file.edited_around(n)
            whose[n:n] = [EDITED] * len(new)
            self.steps["change a line of the patch"] += file.save([*lines[:n], *new, *lines[n + 1 :]], whose)

    @rule(folder=st.sampled_from([PACKAGE, f"{PACKAGE}/yolo", "models"]))
    def add_a_file(self, folder):
        if (self.root / folder).is_dir() and (folder == "models" or self.checkout.is_patched()):
            self.number += 1
            self.checkout.files[f"{folder}/mine_{self.number}.py"] = b"# mine\n"
            (self.root / folder / f"mine_{self.number}.py").write_bytes(b"# mine\n")
            self.steps["add a file"] += 1

    @precondition(lambda self: self.checkout.is_patched())
    @rule(data=st.data(), deleted=st.booleans())
    def change_a_file_of_the_patch(self, data, deleted):
        names = [name for name in self.checkout.tree() if name.startswith(PACKAGE) and name.endswith(".py")]
        names = sorted(name for name in names if name not in self.checkout.files and "dropped" not in name)
        if names:
            name = data.draw(st.sampled_from(names))
            self.checkout.edited_files.pop(name, None)
            content = (self.root / name).read_bytes() + b"# mine\n"
            (self.root / name).unlink()
            if not deleted:
                (self.root / name).write_bytes(content)
                self.checkout.edited_files[name] = content
            self.steps["change a file of the patch"] += 1

    @precondition(lambda self: (self.root / RECORD).is_file())
    @rule()
    def delete_the_record(self):
        (self.root / RECORD).unlink()
        self.steps["delete the record"] += 1

    @rule(name=st.sampled_from(HOSTS))
    def restore_a_file_from_git(self, name):
        if name in self.checkout.hosts:
            self.checkout.git("checkout", "--", name)
            self.checkout.hosts[name].restored()
            self.steps["restore a file"] += 1

    @rule(mode=st.sampled_from(["check", "diff"]))
    def stash_and_pop(self, mode):
        contents = self.checkout.contents()
        if contents != self.checkout.released:
            self.checkout.git("stash")
            before = self.checkout.tree()
            assert self.call(mode)[0] in (0, 1, 2)
            assert self.checkout.tree() == before
            self.checkout.git("stash", "pop")
            assert self.checkout.contents() == contents
            self.steps["stash and pop"] += 1

    @rule(name=st.sampled_from(HOSTS))
    def change_line_ends(self, name):
        file = self.checkout.hosts.get(name)
        if file and file.whose:
            lines = [line.rstrip("\r\n") + "\r\n" for line in file.lines()]
            self.steps["change line ends"] += file.save(lines, file.whose)

    @precondition(lambda self: not self.checkout.reasons_to_refuse())
    @rule(formatter=st.sampled_from([isort, black, autopep8, ruff]))
    def format(self, formatter):
        for file in self.checkout.hosts.values():
            file.format(formatter)
        self.steps[f"format: {formatter.__name__}"] += 1


def work_on(host, count, monkeypatch):
    """Let an owner work on copies of a host, and print how often each step was taken."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    steps = Counter()
    machine = type("Machine", (Machine,), {"host": host, "steps": steps})
    run_state_machine_as_test(machine, settings=examples(count))
    print(f"\n{host}: {json.dumps(steps, indent=1, sort_keys=True)}")
    assert steps["checkouts"] >= count


def test_no_line_of_the_owner_is_lost_in_the_miniature_host(monkeypatch):
    work_on(MINIHOST, EXAMPLES, monkeypatch)


@pytest.mark.newest_release
def test_no_line_of_the_owner_is_lost_in_real_yolov5(real_checkout, monkeypatch):
    work_on(real_checkout, EXAMPLES // 3, monkeypatch)
