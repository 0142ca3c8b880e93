"""Each refusal: its message, exit code 2, and no byte changed."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from patches import __version__
from patches.install import payload, transaction
from patches.install.lock import locked
from patches.install.record import NAME as RECORD
from tests.conftest import MINIHOST
from tests.patches.install.test_apply_patch import without_originals
from tests.patches.install.test_transaction import tree


def edit(path, old, new, count=1):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def write(path, content=b""):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)


def move_behind_a_link(path):
    outside = path.parents[len(path.parts) - 1 - path.parts.index("host")] / "elsewhere"
    path.rename(outside)
    path.symlink_to(outside)


# What is done to a checkout, and what the refusal says of it.
UNPATCHED = {
    "nothing there": (shutil.rmtree, "{root} does not exist. Give the folder"),
    "no models/yolo.py": (lambda root: (root / "models/yolo.py").unlink(), "{root} holds no models/yolo.py"),
    "not python": (lambda root: write(root / "models/yolo.py", b"def (:\n"), "line 1: this is not valid Python"),
    "not text": (lambda root: write(root / "models/yolo.py", b"\xff\xfe\x00"), "is not readable text"),
    "unknown encoding": (lambda root: write(root / "models/yolo.py", b"# coding: klingon\n"), "is not readable text"),
    "no anchors": (lambda root: write(root / "models/yolo.py", b"import torch\n"), "found no function parse_model"),
    "conflict markers": (
        lambda root: edit(root / "models/yolo.py", "import copy", "<<<<<<< HEAD\nimport copy"),
        "line 3: this is a conflict marker (<<<<<<< HEAD)",
    ),
    "hand-made patch": (
        lambda root: edit(root / "models/yolo.py", "TABLE = ", "is_backbone = TABLE = "),
        "line 11: is_backbone belongs to a hand-made patch",
    ),
    "foreign file": (
        lambda root: write(root / "models/yolov5-efficientvit.yaml", b"nc: 3\n"),
        "yolov5-efficientvit.yaml exists and is not what this patch installs: it is yours",
    ),
    "foreign package": (
        lambda root: write(root / "models/backbone/__init__.py"),
        "models/backbone is of another project",
    ),
    "copied by hand": (
        lambda root: shutil.copytree(MINIHOST.parents[1] / "models/backbone", root / "models/backbone"),
        "models/backbone exists already. It is the same as in this project, but no record says that this patch installed it",
    ),
    "foreign module": (lambda root: write(root / "models/backbone.py"), "models/backbone.py is of another project"),
    "a folder in the place of our file": (
        lambda root: write(root / "models/yolov5-efficientvit.yaml/file"),
        "models/yolov5-efficientvit.yaml is a folder, not a file",
    ),
    "link to itself": (
        lambda root: (
            (root / "models/yolo.py").unlink(),
            (root / "models/backbone").symlink_to(root / "models/backbone"),
        ),
        "{root} holds no models/yolo.py",
    ),
    "our folder is a link to itself": (
        lambda root: (root / "models/backbone").symlink_to(root / "models/backbone"),
        "models/backbone",
    ),
    "class of our name": (
        lambda root: edit(
            root / "models/common.py", "class SPPF", "class EfficientViT_M0(nn.Module):\n    pass\n\n\nclass SPPF"
        ),
        "models/common.py has a class EfficientViT_M0 of its own",
    ),
    "our name in parse_model": (
        lambda root: edit(root / "models/yolo.py", '"C3": C3}', '"C3": C3, "TimmBackbone": TimmBackbone}'),
        "TimmBackbone belongs to a hand-made patch",
    ),
    "encoding that is no text": (
        lambda root: write(root / "models/yolo.py", b"# coding: rot13\n"),
        "is not readable text",
    ),
    "encoding with two ways to write one character": (
        lambda root: write(root / "models/yolo.py", b"# coding: cp932\n# \xfa\x54\n"),
        "its cp932 could not be written back byte for byte",
    ),
    "record of odd types": (
        lambda root: write(root / RECORD, b'{"sha256": {"models/backbone/a.py": [1]}, "blocks": {}}'),
        "the record of what was installed, is damaged",
    ),
    "record without end": (
        lambda root: write(root / RECORD, b"[" * 200_000),
        "the record of what was installed, is dam",
    ),
    "record that names the host's file": (
        lambda root: write(root / RECORD, b'{"sha256": {"models/common.py": []}, "blocks": {}}'),
        "the record of what was installed, is damaged",
    ),
    "file for a folder": (lambda root: write(root / "models/backbone"), "models/backbone is a file, not a folder"),
    "file behind a link": (
        lambda root: move_behind_a_link(root / "models/yolo.py"),
        "lies behind a link that leads out of the checkout, to {parent}/elsewhere",
    ),
    "folder behind a link": (
        lambda root: move_behind_a_link(root / "models"),
        "lies behind a link that leads out of the checkout, to {parent}/elsewhere",
    ),
    "record that leads out": (
        lambda root: write(root / RECORD, b'{"sha256": {"models/../../passwd": ["0"]}, "blocks": {}}'),
        "the record of what was installed, is damaged",
    ),
    "record cut off": (lambda root: write(root / RECORD, b'{"sha'), "the record of what was installed, is damaged"),
}
YOLO = "models/yolo.py"
PATCHED = {
    "edited line": (
        lambda root: edit(root / YOLO, "if backbone_rows.is_backbone(kind):", "if backbone_rows.is_backbone(kind, 1):"),
        f"these statements are not as yolov5-efficientvit {__version__} inserted them, as far as can be told:\n"
        "  {root}/models/yolo.py, line 72: if backbone_rows.is_backbone(kind, 1):\n  {root}/models/yolo.py, line 73: widths",
    ),
    "edited line in train.py": (
        lambda root: edit(root / "train.py", "warn_of_frozen_neck", "warn"),
        "inserted them, as far as can be told:\n  {root}/train.py, line 24: backbone_host.warn(net, LOG.info)\nKeep a copy",
    ),
    "edited without a record": (
        lambda root: (edit(root / YOLO, "backbone_rows.build(", "backbone_rows.make("), (root / RECORD).unlink()),
        "line 73: widths = backbone_rows.make(",
    ),
    "line of the user's inside ours": (
        lambda root: edit(root / YOLO, "is_backbone(kind):\n", "is_backbone(kind):\n            print(kind)\n"),
        "line 72: if backbone_rows.is_backbone(kind):\n",
    ),
    "line of the user's that uses our name": (
        lambda root: edit(root / YOLO, "TABLE = ", "print(backbone_host)\nTABLE = "),
        "line 14: print(backbone_host)\nuses a name of the patch, backbone_host or backbone_rows, but the patch did not",
    ),
}
FORCE_HELPS = {
    *("edited line", "edited line in train.py", "edited without a record"),
    *("record cut off", "record that leads out", "record of odd types", "record without end"),
    "record that names the host's file",
}


@pytest.mark.parametrize("what", UNPATCHED)
def test_of_an_unpatched_checkout(checkout, run, what):
    damage, message = UNPATCHED[what]
    damage(checkout)
    refused(checkout, run, [], message)
    assert (run("--force")[0] == 0) == (what in FORCE_HELPS)


@pytest.mark.parametrize("mode", [[], ["--check"], ["--revert"]], ids=str)
@pytest.mark.parametrize("what", PATCHED)
def test_of_a_patched_checkout(checkout, run, what, mode):
    run()
    damage, message = PATCHED[what]
    damage(checkout)
    refused(checkout, run, mode, message)


@pytest.mark.parametrize("what", [what for what in PATCHED if what in FORCE_HELPS])
@pytest.mark.parametrize("mode", [[], ["--revert"]], ids=str)
def test_force_puts_a_patched_checkout_right(checkout, run, what, mode):
    original = tree(checkout)
    run()
    patched = tree(checkout)
    PATCHED[what][0](checkout)
    assert run("--force", *mode)[0] == 0
    assert without_originals(tree(checkout)) == without_originals(original if mode else patched)


def refused(checkout, run, mode, message):
    before = tree(checkout.parent)
    code, out, stderr = run(*mode)
    assert (code, out) == (2, "")
    assert message.format(root=checkout, parent=checkout.parent) in stderr
    assert stderr.startswith("error: ")
    assert stderr.count("error: ") == 1
    assert tree(checkout.parent) == before


def test_a_second_run_at_the_same_moment(checkout, run):
    before = tree(checkout)
    for mode in ([], ["--revert"]):
        with locked(checkout):
            code, _, stderr = run(*mode)
        assert code == 2
        assert f"another apply_patch.py is at work on {checkout} at this moment. Wait" in stderr
        assert tree(checkout) == before
    assert run()[0] == 0


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_an_unwritable_checkout(run, monkeypatch):
    root, user = Path(tempfile.mkdtemp()), os.geteuid()  # not tmp_path, nor this project: only their owner may enter
    checkout = root / "host"
    monkeypatch.setattr(payload, "OUR_ROOT", root)
    try:
        shutil.copytree(MINIHOST.parents[1] / "models", root / "models")
        shutil.copytree(MINIHOST, checkout, ignore=shutil.ignore_patterns("__pycache__"))
        for path in [root, *root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = tree(checkout)
        if user == 0:
            os.seteuid(65534)  # permissions do not bind root
        code, _, stderr = run(path=checkout)
        assert code == 2
        assert "Permission denied. Nothing has been changed" in stderr
        assert tree(checkout) == before
    finally:
        os.seteuid(user)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(root)


def test_a_file_of_the_host_that_is_not_needed_is_left_as_it_is(checkout, run):
    (checkout / "train.py").write_text("import models\n")
    (checkout / "models" / "tf.py").write_bytes(b"\xff")
    code, _, stderr = run()
    assert code == 0
    reason = "no optimizer of the model's parameters, nor a loop that freezes some"
    assert f"Note: train.py is left as it is ({reason}): resuming a detector needs the weights file" in stderr
    assert "; nothing tells which tensors of a backbone --weights leaves out; --freeze gives no warning when" in stderr
    assert "; layer scales and the like of some timm backbones may stay untrained" in stderr
    assert "Note: models/tf.py is left as it is (not text): export to TensorFlow fails with a NameError" in stderr
    assert (checkout / "train.py").read_text() == "import models\n"
    assert run("--check")[0] == 0
    assert run("--revert")[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("config or", "config and", "resuming a detector needs the weights file that its backbone started from"),
        ("intersect_dicts(values", "common(values", "nothing tells which tensors of a backbone --weights leaves out"),
        ("parameter.requires_grad = False", "pass", "--freeze gives no warning when it reaches past the backbone"),
        ("add_param_group", "groups.append", "layer scales and the like of some timm backbones may stay untrained"),
        ("net.train()", "start(net)", "frozen_epochs never unfreezes the backbone"),
    ],
    ids=["rebuild", "load", "freeze", "optimizer", "epoch"],
)
def test_what_is_lost_where_one_place_of_a_file_is_missing_is_reported(checkout, run, old, new, lost):
    edit(checkout / "train.py", old, new)
    original = tree(checkout)
    code, _, stderr = run()
    assert code == 0
    assert [line for line in stderr.splitlines() if line.startswith("Note")] == [
        f"Note: train.py lacks the place of one insertion: {lost}"
    ]
    assert run("--check")[0] == 0
    assert run("--revert")[0] == 0
    assert tree(checkout) == original


def test_a_train_py_behind_a_link_is_left_as_it_is(checkout, run):
    move_behind_a_link(checkout / "train.py")
    original = tree(checkout)
    code, _, stderr = run()
    assert code == 0
    assert "Note: train.py is left as it is (link out of the checkout)" in stderr
    assert run("--revert")[0] == 0
    assert tree(checkout) == original


def test_a_file_that_was_changed_meanwhile_is_not_lost(checkout, run, monkeypatch):
    stage, host = transaction.stage, checkout / "models" / "yolo.py"

    def save_in_an_editor(*arguments):
        monkeypatch.setattr(transaction, "stage", stage)
        host.write_bytes(host.read_bytes() + b"# from my editor\n")
        return stage(*arguments)

    before = tree(checkout)
    monkeypatch.setattr(transaction, "stage", save_in_an_editor)
    code, _, stderr = run()
    assert code == 2
    assert f"{host} was changed by another program at this moment" in stderr
    assert host.read_bytes().endswith(b"# from my editor\n")
    after = tree(checkout)
    assert {name for name in after if after[name] != before.get(name)} == {"models/yolo.py"}
    assert run()[0] == 0


def test_a_copy_of_this_project_that_is_not_whole(checkout, run, monkeypatch, tmp_path):
    """Installing from it would break the checkout, or take a needed file for one of an older version."""
    run()
    before = tree(checkout)
    shutil.copytree(MINIHOST.parents[1] / "models", tmp_path / "part" / "models")
    (tmp_path / "part/models/backbone/yolo/layer_table.py").unlink()
    monkeypatch.setattr(payload, "OUR_ROOT", tmp_path / "part")
    for mode in ([], ["--check"], ["--force"]):
        code, _, stderr = run(*mode)
        assert code == 2
        assert "this copy of the project is incomplete; models/backbone/yolo/layer_table.py is missing" in stderr
        assert tree(checkout) == before
