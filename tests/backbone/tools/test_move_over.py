"""Detectors trained with pasted code, read without that code, compute here what they computed there."""

import inspect
import json
import os
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from models.backbone.__main__ import main
from models.backbone.registry import backbone_class
from models.backbone.tools import move_over
from tests import TESTS, golden, pasted
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import assert_same, largest_error

# a yaml in the snippet's manner: the args mean pretrained and frozen_stages there, and nothing here
YAML = {"nc": 2, "ch": 3, "backbone": [[-1, 1, "EfficientViT_M0", ["gone.pth", 0]]], "head": []}


class TinyDetector(nn.Module):
    """What the checkout's class is to the tool: built from a yaml, with strides, and the backbone first in `model`."""

    def __init__(self, yaml, ch=3):
        super().__init__()
        name, args = yaml["backbone"][0][2], [*yaml["backbone"][0][3]]
        if yaml.get("unknown"):
            raise KeyError(yaml["unknown"])
        by_name = args.pop() if args and isinstance(args[-1], dict) else {}
        self.model = nn.Sequential(backbone_class(name)(ch, *args, **by_name), nn.Conv2d(8, 8, 1))
        self.yaml, self.names = yaml, [str(number) for number in range(yaml["nc"])]
        self.stride = torch.tensor([8.0, 16.0, 32.0])


@pytest.fixture(autouse=True)
def host(monkeypatch):
    module = types.ModuleType("models.yolo")
    module.DetectionModel = module.Model = TinyDetector
    monkeypatch.setitem(sys.modules, "models.yolo", module)
    return module


def state_of(tensors):
    head = nn.Conv2d(8, 8, 1).state_dict()
    return {**{f"model.0.{k}": v for k, v in tensors.items()}, **{f"model.1.{k}": v for k, v in head.items()}}


@pytest.fixture
def save(tmp_path):
    """Save an old detector; tensors of M0 unless others are given."""

    def save_old(state=None, **options):
        if state is None:
            state = state_of(golden.checkpoint("detector/m0"))
        pasted.save(tmp_path / "old.pt", state, **{"yaml": YAML, "stride": torch.tensor([8.0, 16.0, 32.0]), **options})
        return tmp_path / "old.pt"

    return save_old


def open_whole(path):
    """Load a whole model, which torch before 1.13 always does."""
    return torch.load(
        path, **({"weights_only": False} if "weights_only" in inspect.signature(torch.load).parameters else {})
    )


def run(old, *options, capsys):
    """Run the command line; its exit code, the new checkpoint if there is one, stdout and stderr."""
    new = old.with_name("new.pt")
    code = main(["move-over", str(old), str(new), *map(str, options)])
    captured = capsys.readouterr()
    return code, open_whole(new) if new.exists() else None, captured.out, captured.err


@pytest.mark.parametrize("variant", range(6))
def test_features_are_those_of_the_reference(save, variant):
    """The variant is told from the tensors, whatever the yaml calls it; the tolerance is that of test_golden.py."""
    old = save(state_of(golden.checkpoint(f"detector/m{variant}")), eps=1e-5)
    model, move = move_over.move_over(old)
    assert move.variant == f"EfficientViT_M{variant}"
    with torch.no_grad():
        maps = model.model[0](golden.image(256, 320, variant))
    assert len(maps) == 3
    for stride, found in zip((8, 16), maps):
        c = found.shape[1]
        channels, _ = golden.features(f"detector/m{variant}", 256, 320, stride)
        assert largest_error(found[0, [0, c // 3, 2 * c // 3, c - 1]], channels) < 1e-5


@pytest.fixture
def trained():
    return build()


@pytest.fixture
def trained_state(trained):
    names = pasted.old_names(0)
    state = state_of({names[key]: value for key, value in trained.state_dict().items() if key in names})
    indices = torch.arange(49 * 49).reshape(49, 49) % 49
    attentions = [key for key in state if key.endswith("attention_biases")]
    return {**state, **{key[: -len("attention_biases")] + "attention_bias_idxs": indices for key in attentions}}


def test_the_eps_that_yolov5_gave_is_kept(save, trained, trained_state, capsys):
    expected = trained.eval()
    for part in expected.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-3
    image = torch.rand(1, 3, 64, 96)
    code, new, out, _ = run(save(trained_state, eps=1e-3), capsys=capsys)
    assert code == 0
    assert "112 batch norms of the backbone had another eps" in out
    with torch.no_grad():
        assert largest_error(new["model"].model[0](image), expected(image)) <= 5e-6
        fresh = TinyDetector(new["model"].yaml)  # as train.py --weights builds it
        fresh.load_state_dict(new["model"].state_dict())
        assert largest_error(fresh.eval().model[0](image), expected(image)) <= 5e-6


def test_what_the_new_checkpoint_holds(save, tmp_path, trained_state, capsys):
    names, hyp = {0: "cat", 1: "dog"}, {"lr0": 0.01}
    saved_hyp = {**hyp, "fl_gamma": np.float64(0)}  # of NumPy, which is not imported for what a file holds
    code, new, out, _ = run(save(trained_state, names=names, hyp=saved_hyp, eps=1e-5), capsys=capsys)
    assert code == 0
    assert new["epoch"] == -1
    assert new["ema"] is new["optimizer"] is new["updates"] is None
    model = new["model"]
    assert (model.names, model.nc, model.hyp) == (["cat", "dog"], 2, hyp)
    assert model.yaml["backbone"] == [[-1, 1, "EfficientViT_M0", []]]
    assert not model.training
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    moved_back = pasted.old_state(model)
    assert_same(moved_back, {name: trained_state[name] for name in moved_back})
    count = len(model.state_dict()) - 2  # the snippet has no mean and deviation of images
    assert model.model[0].normalization.is_neutral
    expected = f"{tmp_path / 'new.pt'}: EfficientViT_M0, all {count} tensors of {tmp_path / 'old.pt'}"
    assert out == expected + "; give it to --weights\n"


def test_a_stale_cache_of_biases_is_told_and_not_taken(save, trained_state, capsys):
    _, new, out, _ = run(save(trained_state, cache=0.0), capsys=capsys)
    biases = {key: value for key, value in trained_state.items() if key.endswith("attention_biases")}
    indexed = max(value.abs().max().item() for value in biases.values())
    assert f"the cached attention biases are up to {indexed:.3g} from the trained ones" in out
    assert torch.equal(new["model"].model[0].stages[0].blocks[0].attention.bias, next(iter(biases.values())))


@pytest.mark.parametrize("wrap", ["ema", "model"])
def test_the_average_or_the_model_is_taken(save, wrap, capsys):
    assert run(save(wrap=wrap), capsys=capsys)[0] == 0


def test_a_yaml_of_ones_own_keeps_the_number_of_classes(save, tmp_path, capsys):
    cfg = tmp_path / "own.yaml"
    cfg.write_text("nc: 80\nbackbone: [[-1, 1, EfficientViT_M0, []]]\nhead: []\n")
    code, new, _, _ = run(save(yaml=None), "--cfg", cfg, capsys=capsys)
    assert code == 0
    assert new["model"].yaml["nc"] == 80
    (tmp_path / "new.pt").unlink()
    assert run(save(), "--cfg", cfg, capsys=capsys)[1]["model"].yaml["nc"] == 2


def test_other_query_kernels_stand_in_the_new_yaml(save, capsys):
    state = state_of(golden.checkpoint("detector/m0"))
    for key in list(state):
        if ".dws." in key and key.endswith("c.weight"):
            state[key] = torch.rand(16, 1, 5, 5)
    code, new, out, _ = run(save(state), capsys=capsys)
    assert code == 0
    assert "query kernels are (5, 5, 5, 5)" in out
    assert new["model"].yaml["backbone"][0][3] == [{"query_kernels": [5, 5, 5, 5]}]


def without(name):
    def alter(state):
        del state[name]

    return alter


def resized(name):
    def alter(state):
        state[name] = torch.rand(5)

    return alter


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (without("model.1.bias"), "tensors in .*old.pt are not those of its yaml here: 1 missing: model.1.bias. Give"),
        (resized("model.1.bias"), "1 of another shape: model.1.bias"),
        (lambda state: state.update({"model.2.weight": torch.rand(1)}), "1 unexpected: model.2.weight"),
        (lambda state: state.update({"model.3.stem.conv1.conv.weight": torch.rand(1)}), "holds several backbones"),
        (resized("model.0.blocks1.0.dw0.m.c.weight"), r"widths \(5, 128, 192\) fit no EfficientViT from M0 to M5"),
    ],
    ids=["missing", "of another shape", "unexpected", "two backbones", "of no variant"],
)
def test_a_detector_that_does_not_fit_is_refused(save, alter, message):
    state = state_of(golden.checkpoint("detector/m0"))
    alter(state)
    with pytest.raises(ValueError, match=message):
        move_over.move_over(save(state))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"yaml": None},
            "has no yaml with backbone rows; give the model yaml that the detector was trained with as --cfg",
        ),
        ({"yaml": {**YAML, "unknown": "SPPX"}}, r"cannot build the yaml of .*KeyError: 'SPPX'"),
        (
            {"stride": torch.tensor([16.0, 32.0, 64.0])},
            r"trained with strides \[16.0, 32.0, 64.0\], but its yaml gives",
        ),
        ({"class_name": "SegmentationModel"}, "is a SegmentationModel, which this YOLOv5 lacks"),
    ],
    ids=["no yaml", "a module that is not here", "other strides", "another class"],
)
def test_a_yaml_that_does_not_fit_is_refused(save, options, message):
    with pytest.raises(ValueError, match=message):
        move_over.move_over(save(**options))


def test_what_is_no_old_detector_is_refused(save, tmp_path, capsys):
    path = tmp_path / "old.pt"
    torch.save({"model": golden.checkpoint("detector/m0")}, path)
    assert "holds no whole YOLOv5 model; give a best.pt" in run(path, capsys=capsys)[3]
    torch.save({"model": TinyDetector({**YAML, "backbone": [[-1, 1, "EfficientViT_M0", []]]})}, path)
    assert "was made with this project; it needs no moving" in run(path, capsys=capsys)[3]
    save({"model.0.conv.weight": torch.rand(8, 3, 3, 3)})
    assert "holds no EfficientViT backbone" in run(path, capsys=capsys)[3]
    state = {f"model.1.{name}": value for name, value in golden.checkpoint("detector/m0").items()}
    save({"model.0.weight": torch.rand(1), **state})
    assert "has its backbone at model.1. and not at model.0." in run(path, capsys=capsys)[3]


def test_nothing_is_overwritten(save, tmp_path, capsys):
    (tmp_path / "new.pt").write_text("mine")
    assert main(["move-over", str(save()), str(tmp_path / "new.pt")]) == 1
    assert "new.pt exists already; name another file" in capsys.readouterr().err
    assert (tmp_path / "new.pt").read_text() == "mine"


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_the_file_runs(save, tmp_path, capsys):
    old = save(names=Attack(tmp_path / "marker"))
    code, new, _, err = run(old, capsys=capsys)
    assert (code, new) == (1, None)
    assert "it wants to call posix.mkdir" in err or "it wants to call nt.mkdir" in err
    assert not (tmp_path / "marker").exists()


@pytest.fixture(scope="session")
def moved(patched, tmp_path_factory):
    folder = tmp_path_factory.mktemp("moved")
    yaml = patched.root / "models" / "yolov5-efficientvit.yaml"
    done = patched.python(TESTS / "move_probe.py", patched.prefix, yaml, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "result.json").read_text())


def test_a_whole_detector_in_real_yolov5(moved):
    assert moved["code"] == 0
    assert moved["error"] < 5e-6  # float32 arithmetic in another order, with fused layers
    assert moved["norms left"] == 0
    assert (moved["names"], moved["nc"]) == (["a", "b", "c"], 3)
    assert moved["strides"] == [8, 16, 32]
