"""Real YOLOv5, patched: what a user does with it, on each release or on the checkout given by --yolov5."""

import json
import re
import shutil

import pytest

import apply_patch
from tests import TESTS
from tests.backbone.yolo.test_yamls import TIMM_LEVELS
from tests.conftest import block_names
from tests.hosts.test_training import has
from tests.patches.install.test_transaction import tree

# of the design: parameters of the backbone, and of a detector with the neck of M0's yaml
COUNTS = [
    (2_155_680, 3_131_677),
    (2_787_473, 3_769_614),
    (3_962_304, 4_973_661),
    (6_579_478, 7_672_339),
    (8_418_856, 9_569_125),
    (12_088_532, 13_246_993),
]
OWN_COUNTS = [3_131_677, 4_790_126, 7_396_637, 10_150_611, 15_480_773, 22_034_705]  # with each variant's own neck


def probe(host, state, folder):
    script, result = TESTS / "host_probe.py", folder / "result.json"
    done = host.python(script, host.prefix, host.root, state, result)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(result.read_text())


@pytest.fixture(scope="session")
def before(stock, tmp_path_factory):
    return probe(stock, "stock", tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="session")
def after(patched, tmp_path_factory):
    return probe(patched, "patched", tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="session")
def ours(after):
    return after["ours"]


def test_stock_models_are_bit_for_bit_the_same(before, after):
    assert len(before["stock"]) >= 1
    assert after["stock"] == before["stock"]


def test_layer_table(ours):
    rows = re.findall(r"^ *(\d+) +(-1|\[[-\d, ]+\]) +(\d+) +(\d+)  ([\w.]+)", ours["log"], re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(4, 21))
    assert [row[4].split(".")[-1] for row in rows[:2]] in (["EfficientViT_M0", "SPPF"], ["EfficientViT_M0", "SPP"])
    assert rows[0][1:4] == ("-1", "1", "2155680")
    assert rows[-1][4].endswith("Detect")


def test_parameters(ours):
    assert [(count["backbone"], count["design"]) for count in ours["counts"]] == COUNTS
    assert [count["own"] for count in ours["counts"]] == OWN_COUNTS


def test_summary_shows_gflops_where_stock_does(before, ours):
    assert ("GFLOP" in ours["log"]) == any("GFLOP" in stock["log"] for stock in before["stock"].values())


@pytest.mark.parametrize(
    "size", [(32, 32), (64, 64), (96, 96), (160, 160), (224, 640), (333, 517), (640, 640)], ids=str
)
def test_forward(ours, size):
    seen = ours["forwards"]["{}x{}".format(*size)]
    assert seen["maps"] == [[1, c, -(-size[0] // s), -(-size[1] // s)] for c, s in ((64, 8), (128, 16), (192, 32))]
    cells = -(-size[0] // 32) * -(-size[1] // 32)
    assert seen["detections"] == [1, 3 * cells * (16 + 4 + 1), 85]


def test_train_step(ours):
    assert ours["train step"]["without a finite gradient"] == []
    assert ours["train step"]["error of the average"] < 2e-6  # float32 rounding


def test_six_channels(ours):
    assert ours["six channels"] == [1, 252, 85]


@pytest.mark.parametrize("dtype", ["torch.float16", "torch.bfloat16"])
def test_lower_precision(ours, dtype):
    assert ours[dtype] is True


def test_fuse_and_reload(ours):
    assert ours["norms"] == {"before": 112, "reloaded": 0, "fused": 0}
    assert ours["fuse error"] < 1e-5
    assert ours["reload error"] < 1e-5


@pytest.mark.parametrize("way", ["host", "hooks"])
def test_a_pruned_detector_is_fused(ours, way):
    assert ours["pruned"][way] < 1e-5


def test_tensorflow_export_is_patched(patched):
    path = patched.root / "models" / "tf.py"
    if not path.is_file():
        pytest.skip("v5.0 exports to no format of TensorFlow")
    assert block_names(path.read_text(encoding="utf-8")) == ["import", "rows", "row", "maps"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train.py", ["import", "rebuild", "load", "freeze", "optimizer", "epoch"]),
        ("segment/train.py", ["import", "rebuild", "load", "freeze", "optimizer", "epoch"]),
        ("classify/train.py", ["import", "optimizer", "epoch"]),
    ],
)
def test_training_is_patched(patched, name, expected):
    path = patched.root / name
    if not path.is_file():
        pytest.skip(f"this release has no {name}")
    source = path.read_text(encoding="utf-8")
    assert block_names(source) == expected
    loads = source.find("smart_resume(ckpt" if "smart_resume(ckpt" in source else "optimizer.load_state_dict(")
    assert loads == -1 or source.index("train_whole_backbones") < loads, "a resumed run finds its parameters in place"


def test_segmentation_yamls(after):
    if "segmenters" not in after:
        pytest.skip("no segmentation before v7.0")
    names = ["yolov5-efficientvit-seg", *(f"yolov5-efficientvit-m{k}-seg" for k in range(1, 6))]
    assert sorted(after["segmenters"]) == sorted(names)
    for variant, name in enumerate(names):
        seen = after["segmenters"][name]
        assert seen["backbone"] == f"EfficientViT_M{variant}"
        assert seen["boxes"] == [1, 3 * (8 * 12 + 4 * 6 + 2 * 3), 5 + 80 + 32], "80 classes, 32 masks"
        assert seen["prototypes"] == [1, 32, 16, 24], "at a quarter of the image's size"
        assert seen["fuse error"] < 1e-5


def test_a_cut_inside_the_neck_is_reported(after):
    if "classifiers" not in after:
        pytest.skip("no classification before v6.2")
    backbone, inside = after["classifiers"]["2"], after["classifiers"]["10"]
    assert (backbone["log"], backbone["modules"]) == ("", ["EfficientViT_M0", "Classify"])
    assert "EfficientViT_M0 is one of them: --cutoff 10 keeps a part of the neck" in inside["log"]
    assert "use --cutoff 2." in inside["log"]
    assert len(inside["modules"]) == 10


def test_timm_yamls(after):
    if "timm" not in after:
        pytest.skip("timm is not installed, and only TimmBackbone rows need it")
    assert {name: seen["strides"] for name, seen in after["timm"].items()} == TIMM_LEVELS
    for seen in after["timm"].values():
        assert seen["eps"] == [1e-5]
        assert seen["fuse error"] < 1e-5
        assert seen["norms left"] == 0
        assert seen["norms left in detect.py"] == 0


def test_trains_validates_and_detects(patched, tmp_path, capfd):
    from demo.dataset import write_dataset  # needs Pillow

    data = write_dataset(tmp_path / "data", 64, {"train": 8, "val": 4})
    common = ["--img-size", 64, "--project", tmp_path, "--exist-ok", "--device", "cpu"]
    model = ["--cfg", "yolov5-efficientvit.yaml", "--weights", "", "--epochs", 1, "--batch-size", 4, "--workers", 0]
    model += ["--noplots"] if has(patched, "--noplots") else []  # which take longest; test_demo.py draws plots
    trained = patched.run("train", [*model, "--data", data, *common, "--name", "train"])
    assert "EfficientViT_M0" in trained
    weights = tmp_path / "train" / "weights" / "last.pt"
    validated = patched.run(patched.val_module, ["--weights", weights, "--data", data, *common, "--name", "val"])
    assert re.search(r"^\s*all\s+4\s", validated, re.MULTILINE)
    photographs = patched.root / "data" / "images"
    patched.run("detect", ["--weights", weights, "--source", photographs, *common, "--name", "detect"])
    assert len(list((tmp_path / "detect").iterdir())) == len(list(photographs.glob("*.jpg")))
    assert "Traceback" not in capfd.readouterr().out


def test_revert_gives_the_original_tree_back(stock, tmp_path):
    copy = tmp_path / stock.root.name
    shutil.copytree(stock.root, copy)
    original = tree(copy)
    assert apply_patch.main([str(copy), "--check"]) == 1
    assert apply_patch.main([str(copy)]) == 0
    assert apply_patch.main([str(copy), "--check"]) == 0
    once = tree(copy)
    assert apply_patch.main([str(copy)]) == 0
    assert tree(copy) == once
    assert apply_patch.main([str(copy), "--revert"]) == 0
    assert tree(copy) == original
