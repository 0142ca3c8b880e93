"""The command line on a copy of the miniature host."""

import json
import subprocess
import sys

import pytest

from patches import __version__
from patches.install.checkout import Checkout
from patches.install.payload import HEADER, PATTERNS
from patches.install.plan import plan_apply
from patches.install.record import NAME as RECORD
from patches.install.record import digest
from tests import REPOSITORY
from tests.conftest import MINIHOST
from tests.patches.install.test_transaction import tree

HOSTS = ["train.py", "models/tf.py", "models/yolo.py"]
OURS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in PATTERNS
    if "segment" not in pattern  # the miniature host has no such folder
    for path in REPOSITORY.glob(pattern)
)


def test_apply_check_apply_revert(checkout, run):
    original = tree(checkout)
    code, _, message = run("--check")
    assert code == 1
    assert "is not patched, or out of date" in message
    assert tree(checkout) == original

    code, out, message = run("--verbose")
    assert (code, out) == (0, "")
    assert [line.split()[1] for line in message.splitlines() if line.startswith("created")] == [RECORD, *OURS]
    assert [line.split()[1] for line in message.splitlines() if line.startswith("updated")] == HOSTS
    assert f"cd {checkout} && python train.py --cfg yolov5-efficientvit.yaml --weights=''" in message
    patched = tree(checkout)
    for name in OURS:
        header = HEADER if name.endswith(".py") else b""
        assert patched[name][0] == header + (REPOSITORY / name).read_bytes()

    assert run("--check")[0] == 0
    code, _, message = run()
    assert code == 0
    assert "nothing to do" in message
    assert tree(checkout) == patched

    code, _, message = run("--revert")
    assert code == 0
    assert tree(checkout) == original
    code, _, message = run("--revert")
    assert code == 0
    assert "not patched; nothing to do" in message
    assert tree(checkout) == original


def test_the_patched_miniature_host_runs(checkout, run):
    assert run()[0] == 0
    script = """
import torch
from models.yolo import Net
config = {"backbone": [[-1, 1, "EfficientViT_M0", []]], "head": [[-1, 1, "Conv", [32]], [[3, -1], 1, "Concat", [1]]]}
config["head"][1][0] = [4, -1]
net = Net(config, 6).eval()
print([layer.i for layer in net.model], net.kept)
print(tuple(net(torch.zeros(1, 6, 64, 64)).shape), net.fuse().model[0].stem.conv1.fused)
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=checkout, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["[4, 5, 6] [4]", "(1, 224, 2, 2) True"]


def test_diff_prints_what_apply_would_do(checkout, run):
    original = tree(checkout)
    code, diff, _ = run("--diff")
    assert code == 0
    assert tree(checkout) == original
    subprocess.run(["git", "apply", "-p1"], input=diff.encode(), cwd=checkout, check=True)
    differing = {name for name, content in tree(checkout).items() if original.get(name) != content}
    run()
    assert {name for name, content in tree(checkout).items() if original.get(name) != content} == differing
    assert run("--diff")[1] == ""


def test_a_line_edited_by_the_user_survives(checkout, run):
    run()
    host = checkout / "models" / "yolo.py"
    host.write_text(host.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    assert run("--check")[0] == 0
    run("--revert")
    assert (
        host.read_text(encoding="utf-8") == (MINIHOST / "models" / "yolo.py").read_text(encoding="utf-8") + "# mine\n"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_encodings_come_back_exactly(checkout, run, encoding):
    host = checkout / "models" / "yolo.py"
    text = host.read_text(encoding="utf-8").replace("🚀", "目标检测")
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    host.write_bytes(f"# -*- coding: {declared} -*-\n{text}".encode(encoding))
    original = host.read_bytes()
    assert run()[0] == 0
    assert host.read_bytes() != original
    compile(host.read_bytes(), str(host), "exec")
    assert run("--revert")[0] == 0
    assert host.read_bytes() == original


def test_the_pip_package_and_the_folder_it_lies_in(checkout, run, tmp_path):
    (tmp_path / "site").mkdir()
    package = checkout.rename(tmp_path / "site" / "yolov5")
    (package / "__init__.py").write_text("")
    host = package / "models" / "yolo.py"
    host.write_text(host.read_text(encoding="utf-8").replace("from models.", "from yolov5.models."), encoding="utf-8")
    code, _, message = run(path=tmp_path / "site")
    assert code == 0
    assert "from yolov5.models.backbone import yolo as" in host.read_text(encoding="utf-8")
    assert f"cd {tmp_path / 'site'} && python -m yolov5.train" in message
    assert run("--check", path=package)[0] == 0


def test_an_edited_file_of_ours_is_kept_unless_forced(checkout, run):
    run()
    model = checkout / "models" / "yolov5-efficientvit.yaml"
    model.write_text(model.read_text().replace("nc: 80", "nc: 3"))
    before = tree(checkout)
    for mode in ([], ["--check"], ["--diff"]):
        code, _, message = run(*mode)
        assert code == 2
        assert f"{model} exists and is not what was installed: you have edited it" in message
        assert tree(checkout) == before
    assert run("--force")[0] == 0
    assert "nc: 80" in model.read_text()
    model.write_text(model.read_text().replace("nc: 80", "nc: 3"))
    code, _, message = run("--revert")
    assert code == 0
    assert "Kept models/yolov5-efficientvit.yaml: you have edited it." in message
    assert "nc: 3" in model.read_text()
    assert not (checkout / "models" / "backbone").exists()


def test_line_ends_that_git_has_changed_are_no_edit(checkout, run):
    run()
    for path in checkout.rglob("*.*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert run("--revert")[0] == 0
    assert {name.replace("/__pycache__", "") for name in tree(checkout)} == {
        name for name in tree(MINIHOST) if "pyc" not in name
    }


def make_old(checkout):
    """Turn an installation into that of an older version, whose lines call what its rows alone have."""
    record, host = checkout / RECORD, checkout / "models/backbone/yolo/__init__.py"
    fields = json.loads(record.read_text())
    host.write_bytes(host.read_bytes() + b"\n\nOldRows = BackboneRows\n")
    dropped = ["models/backbone/dropped.py", "models/backbone/attic/dropped.py"]
    (checkout / "models/backbone/attic").mkdir()
    for name in dropped:
        (checkout / name).write_bytes(b"# of an older version\n")
    for changed in ["models/backbone/yolo/__init__.py", *dropped]:
        fields["sha256"][changed] = [digest((checkout / changed).read_bytes())]
    yolo = checkout / "models" / "yolo.py"
    text = yolo.read_text(encoding="utf-8").replace(f" {__version__}:", " 0.0.9:").replace("BackboneRows", "OldRows")
    yolo.write_text(text, encoding="utf-8")
    statements = fields["lines"]["models/yolo.py"]
    fields["lines"]["models/yolo.py"] = [line.replace("BackboneRows", "OldRows") for line in statements]
    record.write_text(json.dumps(fields))


def without_originals(files):
    """Return the files; of the record, without the checksums of the files before the patch, which a lost one takes along."""
    if RECORD not in files:
        return files
    content, mode = files[RECORD]
    fields = json.loads(content)
    fields.pop("originals", None)
    return {**files, RECORD: (fields, mode)}


def upgraded(checkout):
    """Return the files; of the record, without the lines of the old version, which it knows for good."""
    files = tree(checkout)
    if RECORD in files:
        content, mode = files[RECORD]
        fields = json.loads(content)
        for name, lines in fields["lines"].items():
            fields["lines"][name] = [line for line in lines if "OldRows" not in line]
        files[RECORD] = json.dumps(fields), mode
    return files


def test_upgrading_replaces_and_removes_files_of_the_old_version(checkout, run):
    run()
    expected = upgraded(checkout)
    make_old(checkout)
    assert upgraded(checkout) != expected
    assert run("--check")[0] == 1
    code, _, message = run()
    assert code == 0
    assert "Removed 2 files below models/backbone/." in message
    assert message.count("models/yolo.py") == 1
    assert upgraded(checkout) == expected
    assert "OldRows" in (checkout / RECORD).read_text(), "git may bring the old lines back"
    make_old(checkout)
    assert run("--revert")[0] == 0
    assert tree(checkout) == tree_of_minihost()


def test_an_upgrade_takes_the_lines_out_before_it_changes_what_they_call(checkout, run):
    run()
    make_old(checkout)
    changes = plan_apply(Checkout(checkout)).changes
    names = [change.name for change in changes]
    assert names[0] == names[-1] == "models/yolo.py"
    assert changes[0].after == (MINIHOST / "models" / "yolo.py").read_bytes()
    assert (
        names.index(RECORD)
        < names.index("models/backbone/yolo/__init__.py")
        < len(names) - 1 - names[::-1].index(RECORD)
    )


def tree_of_minihost():
    return {name: content for name, content in tree(MINIHOST).items() if "__pycache__" not in name}


@pytest.mark.parametrize("mode", [[], ["--check"], ["--diff"], ["--revert"]], ids=str)
def test_json_on_every_mode(checkout, run, mode):
    code, out, message = run("--json", *mode)
    seen = json.loads(out)
    assert message == ""
    assert (seen["exit_code"], seen["mode"]) == (code, (mode or ["--apply"])[0][2:])
    assert (seen["checkout"], seen["version"], seen["error"]) == (str(checkout), __version__, None)
    actions = {change["file"]: change["action"] for change in seen["changes"]}
    assert actions == (
        {} if mode == ["--revert"] else {**dict.fromkeys([RECORD, *OURS], "create"), **dict.fromkeys(HOSTS, "update")}
    )
    assert bool(seen["diff"]) == (mode == ["--diff"])
    assert bool(seen["next_command"]) == (mode == [])


def test_json_of_a_refusal(checkout, run):
    (checkout / "models" / "yolo.py").write_text("import torch\n")
    code, out, message = run("--json")
    seen = json.loads(out)
    assert (code, message, seen["exit_code"], seen["error"]["kind"]) == (2, "", 2, "no function parse_model")


def test_command_line():
    command = [sys.executable, str(REPOSITORY / "apply_patch.py")]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, cwd="/")
    assert (version.returncode, version.stdout) == (0, f"yolov5-efficientvit {__version__}\n")
    both = subprocess.run([*command, ".", "--check", "--revert"], capture_output=True, text=True, cwd="/")
    assert both.returncode == 2
    assert subprocess.run(command, capture_output=True, cwd="/").returncode == 2


def test_only_the_standard_library_is_imported():
    script = "import sys, apply_patch; print([m for m in ('torch', 'numpy', 'yaml') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
