"""Files that hold tensors in some wrapping, and files that are no checkpoints."""

import json
import struct
import sys
import types

import pytest
import torch
from torch import nn

from models.backbone.registry import backbone_class
from tests import golden
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import assert_same

M0 = backbone_class("EfficientViT_M0")


@pytest.fixture
def refused(tmp_path):
    def message_about(content, name="bad.pth"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="the weights file .*bad") as caught:
            M0(weights=str(tmp_path / name))
        return str(caught.value)

    return message_about


@pytest.fixture
def saved(tmp_path):
    def save(content, **options):
        torch.save(content, tmp_path / "saved.pt", **options)
        return str(tmp_path / "saved.pt")

    return save


@pytest.fixture
def detector_class(monkeypatch):
    """A detector as YOLOv5 pickles one, of a class that cannot be imported when the file is read."""
    module = types.ModuleType("models.yolo_of_somebody")

    class Detector(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.model = nn.Sequential(backbone, nn.Conv2d(8, 8, 1))
            self.detect = Detector.forward  # as YOLOv5's Segment does; pickled as a call of getattr
            self.grid = [torch.empty(0)]
            self.names = {0: "shape"}

    Detector.__module__, Detector.__qualname__ = module.__name__, "Detector"
    module.Detector = Detector
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield Detector
    assert module.__name__ not in sys.modules, "the test has to remove it before reading"


def assert_same_tensors(backbone, source):
    assert_same(backbone.state_dict(), source.state_dict())


@pytest.mark.parametrize("key", ["model", "ema", "state_dict", "state_dict_ema", "model_ema"])
def test_a_state_dict_under_the_usual_keys(saved, key):
    source = build()
    assert_same_tensors(M0(weights=saved({"epoch": 3, key: source.state_dict()})), source)


@pytest.mark.parametrize("parallel", [False, True], ids=["plain", "DataParallel"])
def test_a_whole_detector_of_an_unknown_class(saved, detector_class, parallel):
    source, average = build(seed=0), build(seed=1)
    checkpoint = {"epoch": 3, "best_fitness": None, "model": detector_class(source), "ema": None}
    if parallel:
        checkpoint["model"] = nn.DataParallel(checkpoint["model"])
    path = saved(checkpoint)
    both = saved({**checkpoint, "ema": detector_class(average).half()}) if not parallel else None
    del sys.modules[detector_class.__module__]
    if both:
        assert_same_tensors(M0(weights=both), average.half().float())
    else:
        backbone = M0(weights=path)
        assert_same_tensors(backbone, source)
        assert "left out: 2 of other layers; " in backbone.notes


def test_the_backbone_alone_as_a_module(saved):
    source = build()
    assert_same_tensors(M0(weights=saved(source)), source)


@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "F32"), (torch.float16, "F16"), (torch.bfloat16, "BF16")])
def test_safetensors(tmp_path, dtype, name):
    """The file is written by hand: safetensors itself cannot write it with torch 1.8."""
    pytest.importorskip("safetensors")
    if dtype == torch.bfloat16 and not hasattr(torch, "frombuffer"):
        pytest.skip("with this torch safetensors reads NumPy's types only")
    source = build().to(dtype)
    header, data = {}, b""
    for key, value in source.state_dict().items():
        bits = value.view(torch.int16) if value.element_size() == 2 else value  # NumPy has no bfloat16
        content = bits.numpy().tobytes()
        header[key] = {"dtype": name if value.is_floating_point() else "I64", "shape": list(value.shape)}
        header[key]["data_offsets"] = [len(data), len(data) + len(content)]
        data += content
    text = json.dumps(header).encode()
    (tmp_path / "m0.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert_same_tensors(M0(weights=str(tmp_path / "m0.safetensors")), source.float())


def test_safetensors_without_the_package(tmp_path, monkeypatch):
    (tmp_path / "m0.safetensors").write_bytes(b"\0")
    for module in ("safetensors", "safetensors.torch", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match="needs the package safetensors: pip install safetensors"):
        M0(weights=str(tmp_path / "m0.safetensors"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "is an HTML or XML page"),
        (b"\n\n<html>", "is an HTML or XML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
        (b"PK\x03\x04 and no more", "is damaged, perhaps cut off"),
        (b"\x80\x02}q\x00.", "is a bare pickle, or of torch before 1.6"),
        (b"not a checkpoint", "is no checkpoint"),
    ],
    ids=["empty", "blank", "HTML", "HTML after blank lines", "Git LFS", "cut off", "pickle", "text"],
)
def test_a_file_that_is_no_checkpoint(refused, content, message):
    assert message in refused(content)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff" * 64], ids=["empty", "HTML", "noise"])
def test_a_bad_safetensors_file(refused, content):
    pytest.importorskip("safetensors")
    assert ("is empty" if not content else "cannot be read safely") in refused(content, "bad.safetensors")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99, 0.9999], ids=str)
def test_a_truncated_checkpoint(saved, refused, tmp_path, kept):
    path = saved(golden.checkpoint("classifier/m0"))
    content = (tmp_path / path).read_bytes()
    assert "is damaged, perhaps cut off" in refused(content[: int(kept * len(content))])


def test_a_checkpoint_with_a_flipped_bit(saved, refused, tmp_path):
    path = saved(golden.checkpoint("classifier/m0"))
    content = bytearray((tmp_path / path).read_bytes())
    content[len(content) // 2] ^= 1
    assert "cannot be read safely as a checkpoint (BadZipFile: Bad CRC-32" in refused(bytes(content))


def test_the_format_of_old_torch_is_refused(saved):
    with pytest.raises(ValueError, match=r"of torch before 1.6; save the state_dict\(\) anew"):
        M0(weights=saved(M0().state_dict(), _use_new_zipfile_serialization=False))


def test_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        M0(weights=str(tmp_path))


@pytest.mark.parametrize(
    "content", [{}, {"model": None}, [1, 2], {"epoch": 3}, {"model": {1: torch.zeros(1)}}], ids=str
)
def test_a_file_without_tensors_is_refused(saved, content):
    with pytest.raises(ValueError, match="holds no tensors by name"):
        M0(weights=saved(content))
