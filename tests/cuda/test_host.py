"""YOLOv5's own commands on a GPU, on drawn images."""

import re

import pytest

from tests.hosts.test_training import Runs, has, scores

pytestmark = [pytest.mark.cuda, pytest.mark.newest_release]

SIZE = 128  # pixels


@pytest.fixture(scope="module")
def runs(patched, device, tmp_path_factory):
    from demo.dataset import write_dataset  # needs Pillow

    folder = tmp_path_factory.mktemp("cuda")
    small = device.type == "cpu"
    counts = {"train": 8, "val": 4, "unseen": 1} if small else {"train": 64, "val": 16, "unseen": 4}
    data = write_dataset(folder / "shapes", SIZE, counts)
    return Runs(patched, data, folder, "0" if device.type == "cuda" else "cpu", 64 if small else SIZE)


@pytest.fixture(scope="module")
def trained(runs):
    output = runs.train(epochs=2)
    return runs.folder / "train" / "weights" / "last.pt", output


def test_training_in_mixed_precision(runs, trained, device):
    weights, output = trained
    assert weights.is_file()
    assert "Traceback" not in output
    if device.type == "cuda":
        assert re.search(r"AMP: .*checks passed", output), output[-3000:]
    epochs = re.findall(r"^ +\d/1 +\S+ +(\S+) +(\S+) +(\S+)", re.sub(r"\r|\x1b\[K", "\n", output), re.MULTILINE)
    assert epochs
    assert all(0 < float(loss) < 10 for losses in epochs for loss in losses), epochs[-1]


@pytest.mark.parametrize("options", [[], ["--half"]], ids=" ".join)
def test_validation(runs, trained, options):
    assert len(scores(runs.val(trained[0], *options, name="val"))) == 4


def test_detection(runs, trained):
    runs.detect(trained[0], "--half")
    assert list((runs.folder / "detect").iterdir())


def test_resuming(runs):
    assert runs.train_killed_and_resumed() == {"1", "2"}


def test_automatic_batch_size(runs, device):
    if device.type == "cpu":
        pytest.skip("YOLOv5 finds a batch size on a GPU only")
    if not has(runs.host, "check_train_batch_size"):
        pytest.skip("this release finds no batch size")
    output = runs.train("--batch-size", -1, name="auto")
    found = re.search(r"AutoBatch: .*Using batch-size (\d+)", output)
    assert found, output[-3000:]
    assert int(found[1]) > 4


def test_timm_backbone(runs):
    yaml = runs.host.root / "models" / "resnet18.yaml"
    text = (yaml.parent / "yolov5-timm.yaml").read_text(encoding="utf-8")
    yaml.write_text(text.replace("convnext_tiny, True", "resnet18, False"), encoding="utf-8")
    output = runs.train(cfg=str(yaml), name="timm")
    assert (runs.folder / "timm" / "weights" / "last.pt").is_file()
    assert "Traceback" not in output
