"""`make demo` from end to end, with few images and one epoch, how it runs commands, and the data set that it draws."""

import json
import re
from pathlib import Path

import pytest


def test_the_data_set_is_the_same_each_time_and_its_labels_fit(tmp_path):
    pytest.importorskip("PIL")
    from demo.dataset import write_dataset

    counts = {"train": 4, "val": 2, "unseen": 2}
    one, other = (write_dataset(tmp_path / name, 64, counts).parent for name in ("one", "other"))
    files = sorted(path.relative_to(one) for path in one.rglob("*.*") if path.name != "data.yaml")
    assert len(files) == 2 * sum(counts.values())
    for name in files:
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for path in (one / "labels").rglob("*.txt"):
        for line in path.read_text().splitlines():
            kind, x, y, width, height = map(float, line.split())
            assert kind in range(4)
            assert 0 < width < 0.5
            assert width / 2 <= x <= 1 - width / 2
            assert height / 2 <= y <= 1 - height / 2


@pytest.mark.parametrize("where", [".", "yolov5", "../.."])
def test_a_checkout_in_the_folder_that_is_emptied_is_refused(where, tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    pytest.importorskip("matplotlib")
    from demo.__main__ import BUILD, copy_checkout

    monkeypatch.chdir(tmp_path)
    yolo = BUILD / where / "models" / "yolo.py"
    yolo.parent.mkdir(parents=True)
    yolo.write_text("kept")
    with pytest.raises(SystemExit, match="Give a checkout elsewhere"):
        copy_checkout(BUILD / where)
    assert yolo.read_text() == "kept"


@pytest.fixture(params=["clone", "package"])
def host(request, tmp_path):
    """A checkout with one command, which prints a line, then what it was given, and fails if asked to."""
    pytest.importorskip("matplotlib")
    from demo.host import Host

    root = tmp_path / "yolov5"
    root.mkdir()
    if request.param == "package":
        (root / "__init__.py").touch()
    code = (
        "import os, sys\nprint('first')\nsys.stderr.write(f\"{__name__} {sys.argv[1:]} {os.environ['WANDB_MODE']}\\n\")"
    )
    (root / "train.py").write_text(code + "\nsys.exit(int(sys.argv[1]))\n")
    return Host(root, tmp_path / "config")


def test_a_command_shows_and_returns_its_output(host, capsys):
    expected = "first\n__main__ ['0', 'x.yaml'] disabled\n"
    printed = host.run("train", [0, "x.yaml"])
    assert sorted(printed.splitlines()) == sorted(expected.splitlines())
    assert capsys.readouterr().out == printed


def test_a_command_that_fails_ends_the_demonstration(host):
    with pytest.raises(SystemExit, match="train 3 failed with exit code 3"):
        host.run("train", [3])


@pytest.mark.newest_release
def test_the_demonstration_runs(real_checkout, tmp_path, monkeypatch, capsys):
    from PIL import Image

    import demo.__main__ as demo
    from tests.warm_host import WarmHost

    monkeypatch.setattr(demo, "Host", WarmHost)
    monkeypatch.chdir(tmp_path)
    assert demo.main([str(real_checkout.absolute()), "--epochs", "1", "--images", "32", "--compare"]) == 0
    message = capsys.readouterr().out.partition("=== done")[2]

    with Image.open(message.split()[-1]) as sheet:
        assert sheet.size == (6 * 243 - 3, 2 * 243 - 3)
    trained = json.loads((tmp_path / "build" / "demo" / "result.json").read_text())
    assert trained[0]["model"] == "yolov5-efficientvit.yaml"
    assert [row["epochs"] for row in trained] == [1, 2][: len(trained)]
    for row in trained:
        assert re.search(rf"^{row['model']} +{row['parameters']:,} +{row['epochs']} ", message, re.MULTILINE)
        assert Path(row["folder"], "weights", "best.pt").is_file()
