"""The yaml in somebody else's file is built only if it is none but a yaml: YOLOv5 evaluates what stands in it."""

import os
import re
import types
from pathlib import Path

import pytest
import torch

from models.backbone.__main__ import main
from models.backbone.tools.move_files import HARMLESS, require_harmless
from tests.backbone.tools.test_move_files import CFG
from tests.backbone.tools.test_move_over import YAML, host, save  # noqa: F401 - fixtures

CODE = [
    "__import__('os').mkdir('marker')",
    "open('marker', 'w')",
    "[x for x in ().__class__.__base__.__subclasses__()]",
    "nn.Module(exit())",
    "nn.SiLU().train()",
    "nn.functional.silu(1)",
    "torch.hub.load('a', 'b')",
    "nn.SiLU(\n)(1)",
    "os.abort",
    "'in quotes'",
    "old.pt",
    "x if y else z",
]
BASE = {"nc": 2, "ch": 3, "backbone": [[-1, 1, "EfficientViT_M0", []]], "head": []}
PLACES = {
    "module": lambda code: {**BASE, "head": [[-1, 1, code, []]]},
    "argument": lambda code: {**BASE, "head": [[-1, 1, "Conv", [(code,)]]]},
    "number": lambda code: {**BASE, "head": [[-1, code, "Conv", []]]},
    "activation": lambda code: {**BASE, "activation": code},
    "key": lambda code: {**BASE, code: 1},
}


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("place", PLACES)
def test_code_is_found_wherever_it_stands(code, place):
    require_harmless(PLACES[place]("Conv"), types.ModuleType("yolo"), "old.pt")
    with pytest.raises(ValueError, match=re.escape(f"holds {code!r}, which YOLOv5 would run")):
        require_harmless(PLACES[place](code), types.ModuleType("yolo"), "old.pt")


@pytest.mark.parametrize("name", ["exec", "eval", "__import__", "mkdir", "Path", "os", "nn", "nn.init", "nn.Parameter"])
def test_a_row_that_names_no_layer_is_code(name):
    """YOLOv5 calls what a row names, with the row's arguments."""
    yolo = types.ModuleType("yolo")
    yolo.os, yolo.mkdir, yolo.Path, yolo.nn, yolo.Conv = os, os.mkdir, Path, torch.nn, torch.nn.Conv2d
    for part in ("backbone", "head"):
        yaml = {**BASE, part: [[-1, 1, "Conv", [8]], [-1, 1, "nn.Upsample", []], [-1, 1, name, [8]]]}
        with pytest.raises(ValueError, match=f"holds '{name}', which YOLOv5 would run"):
            require_harmless(yaml, yolo, "old.pt")
    layers = [[-1, 1, known, ["nc", "None"]] for known in ("Conv", "nn.Upsample", "torch.nn.Identity", "Unknown")]
    require_harmless({**BASE, "head": layers, "activation": "nn.LeakyReLU(0.1)"}, yolo, "old.pt")


@pytest.mark.parametrize("place", PLACES)
def test_code_in_the_yaml_of_a_file_is_not_built(save, tmp_path, capsys, host, place):  # noqa: F811
    """YOLOv5 evaluates names and arguments in a yaml, and this one comes with a file that may be anybody's."""
    host.DetectionModel = lambda *_, **__: pytest.fail("it was built")
    old = save(yaml=PLACES[place](CODE[0]))
    assert main(["move-over", str(old), str(tmp_path / "new.pt")]) == 1
    assert f"holds {CODE[0]!r}, which YOLOv5 would run as code" in capsys.readouterr().err
    assert not (tmp_path / "new.pt").exists()


def test_a_yaml_of_the_user_is_built_as_it_is(save, tmp_path):  # noqa: F811
    cfg = tmp_path / "own.yaml"
    cfg.write_text(CFG + "activation: 'my.Activation(f(1))'\n")
    assert main(["move-over", str(save()), str(tmp_path / "new.pt"), "--cfg", str(cfg)]) == 0


def test_what_yamls_of_yolov5_hold_is_harmless():
    """Of the first row's arguments nothing is built."""
    for text in ("nn.Upsample", "None", "nearest", "nc", "anchors", "False", "nn.SiLU()", "torch.nn.LeakyReLU(0.1)"):
        assert HARMLESS.fullmatch(text)
    assert HARMLESS.fullmatch("nn.Hardswish(inplace=True)")


def test_a_path_of_pretrained_weights_is_no_code(save, tmp_path):  # noqa: F811
    yaml = {**YAML, "backbone": [[-1, 1, "EfficientViT_M0", ["weights (1).pth", 0]]]}
    assert main(["move-over", str(save(yaml=yaml)), str(tmp_path / "new.pt")]) == 0
