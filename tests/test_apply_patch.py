"""The command line on a copy of the miniature host."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import apply_patch
from patches import __version__
from patches.payload import PATTERNS
from patches.plan import digest

from .test_transaction import tree

REPOSITORY = Path(__file__).parents[1]
MINIHOST = Path(__file__).parent / "minihost"
OURS = sorted(path.relative_to(REPOSITORY).as_posix() for pattern in PATTERNS for path in REPOSITORY.glob(pattern))


@pytest.fixture
def checkout(tmp_path):
    shutil.copytree(MINIHOST, tmp_path / "host", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "host"


@pytest.fixture
def run(checkout, capsys):
    def run_main(*arguments, path=checkout):
        code = apply_patch.main([str(path), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main


def test_apply_check_apply_revert(checkout, run):
    original = tree(checkout)
    code, _, told = run("--check")
    assert code == 1
    assert "is not patched, or out of date" in told
    assert tree(checkout) == original

    code, out, told = run()
    assert (code, out) == (0, "")
    assert [line.split()[1] for line in told.splitlines() if line.startswith("created")] == [
        *OURS,
        "models/backbone/installed.json",
    ]
    assert "updated  models/yolo.py" in told
    assert f"cd {checkout} && python train.py --cfg yolov5-efficientvit.yaml --weights ''" in told
    patched = tree(checkout)
    assert {name for name in OURS if patched[name][0] == (REPOSITORY / name).read_bytes()} == set(OURS)

    assert run("--check")[0] == 0
    code, _, told = run()
    assert code == 0
    assert "nothing to do" in told
    assert tree(checkout) == patched

    code, _, told = run("--revert")
    assert code == 0
    assert tree(checkout) == original
    code, _, told = run("--revert")
    assert code == 0
    assert "not patched; nothing to do" in told
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


def test_a_host_without_sppf_gets_spp(checkout, run):
    common = checkout / "models" / "common.py"
    common.write_text(common.read_text().replace("class SPPF", "class SPP"))
    run()
    for name in OURS:
        if name.endswith(".yaml"):
            text = (checkout / name).read_text()
            assert "[-1, 1, SPP, [1024, [5, 9, 13]]]  # " in text
            assert "SPPF," not in text
    assert run("--check")[0] == 0


def test_the_pip_package_and_the_folder_it_lies_in(checkout, run, tmp_path):
    (tmp_path / "site").mkdir()
    package = checkout.rename(tmp_path / "site" / "yolov5")
    (package / "__init__.py").write_text("")
    host = package / "models" / "yolo.py"
    host.write_text(host.read_text(encoding="utf-8").replace("from models.", "from yolov5.models."), encoding="utf-8")
    code, _, told = run(path=tmp_path / "site")
    assert code == 0
    assert "from yolov5.models.backbone import host" in host.read_text(encoding="utf-8")
    assert f"cd {tmp_path / 'site'} && python -m yolov5.train" in told
    assert run("--check", path=package)[0] == 0


def test_an_edited_file_of_ours_is_kept(checkout, run):
    run()
    model = checkout / "models" / "yolov5-efficientvit.yaml"
    model.write_text(model.read_text().replace("nc: 80", "nc: 3"))
    before = tree(checkout)
    code, _, told = run()
    assert code == 2
    assert f"{model} exists and is not what this patch installs" in told
    assert tree(checkout) == before
    code, _, told = run("--revert")
    assert code == 0
    assert "kept     models/yolov5-efficientvit.yaml" in told
    assert "nc: 3" in model.read_text()
    assert not (checkout / "models" / "backbone").exists()


def test_upgrading_replaces_and_removes_files_of_the_old_version(checkout, run):
    run()
    record = checkout / "models" / "backbone" / "installed.json"
    old = b"# of an older version\n"
    for name in ("models/backbone/host.py", "models/backbone/dropped.py"):
        (checkout / name).write_bytes(old)
    text = record.read_text().replace(digest((REPOSITORY / "models/backbone/host.py").read_bytes()), digest(old))
    record.write_text(text.replace('"sha256": {', f'"sha256": {{"models/backbone/dropped.py": "{digest(old)}",'))
    assert run("--check")[0] == 1
    assert run()[0] == 0
    assert (checkout / "models/backbone/host.py").read_bytes() == (REPOSITORY / "models/backbone/host.py").read_bytes()
    assert not (checkout / "models/backbone/dropped.py").exists()
    assert run("--check")[0] == 0


def damage(checkout, what):
    """Make a checkout that must be refused, and return a part of the message."""
    host = checkout / "models" / "yolo.py"
    if what == "nothing there":
        shutil.rmtree(checkout)
        return f"{checkout} does not exist"
    if what == "no models/yolo.py":
        host.unlink()
        return f"{checkout} holds no models/yolo.py"
    if what == "not python":
        host.write_text("def (:\n")
        return "line 1: this is not valid Python"
    if what == "not text":
        host.write_bytes(b"\xff\xfe\x00")
        return "is not readable text"
    if what == "no anchors":
        host.write_text("import torch\n")
        return "found no forward"
    if what == "foreign file in the way":
        (checkout / "models" / "backbone").mkdir()
        (checkout / "models" / "backbone" / "host.py").write_text("mine = 1\n")
        return "host.py exists and is not what this patch installs"
    if what == "link out of the checkout":
        host.rename(checkout.parent / "elsewhere.py")
        host.symlink_to(checkout.parent / "elsewhere.py")
        return "is a link that leads out of the checkout"
    if what == "damaged record":
        (checkout / "models" / "backbone").mkdir()
        (checkout / "models" / "backbone" / "installed.json").write_text('{"sha256": {"../../etc/passwd": "0"}}')
        return "the record of what was installed, is damaged"
    assert what == "a file where our folder goes"
    (checkout / "models" / "backbone").write_text("")
    return "cannot be written: "


DAMAGES = [
    "nothing there",
    "no models/yolo.py",
    "not python",
    "not text",
    "no anchors",
    "foreign file in the way",
    "link out of the checkout",
    "damaged record",
    "a file where our folder goes",
]


@pytest.mark.parametrize("what", DAMAGES)
def test_refused_with_code_2_and_nothing_changed(checkout, run, what):
    message = damage(checkout, what)
    before = tree(checkout.parent)
    code, out, told = run()
    assert code == 2
    assert message in told
    assert told.startswith("error: ")
    assert told.count("error: ") == 1
    assert out == ""
    assert tree(checkout.parent) == before


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_an_unwritable_checkout(run):
    checkout = Path(tempfile.mkdtemp())  # not tmp_path, which lies in a folder that only its owner enters
    user = os.geteuid()
    try:
        shutil.copytree(MINIHOST, checkout, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for path in [checkout, *checkout.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = tree(checkout)
        if user == 0:
            os.seteuid(65534)  # permissions do not bind root
        code, _, told = run(path=checkout)
        assert code == 2
        assert "Permission denied. Nothing has been changed" in told
        assert tree(checkout) == before
    finally:
        os.seteuid(user)
        for path in [checkout, *checkout.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(checkout)


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
