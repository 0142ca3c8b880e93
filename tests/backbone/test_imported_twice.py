"""A checkout's package imported under two names, as YOLOv5's pip package does for a clone's checkpoints."""

import importlib
import pickle
import pickletools
import shutil
import sys

import pytest
import torch

from models.backbone.contract import Backbone
from models.backbone.efficientvit.network import EfficientViT_M0
from tests import REPOSITORY


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose folder is on the path beside the folder above it, under a name of its own."""
    root = tmp_path / "host_of_two_names"
    shutil.copytree(REPOSITORY / "models", root / "models", ignore=shutil.ignore_patterns("__pycache__", "*.yaml"))
    for folder in (root, root / "models"):
        (folder / "__init__.py").touch()
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "models"}
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(root), *sys.path])
    yield f"{root.name}."
    for name in [name for name in sys.modules if name.partition(".")[0] in ("models", root.name)]:
        del sys.modules[name]
    sys.modules.update(ours)


def load(prefix, name):
    return importlib.import_module(f"{prefix}models.backbone.{name}")


@pytest.mark.parametrize("first_is_package", [True, False])
def test_the_lines_of_one_name_know_the_backbones_of_the_other(package, first_is_package):
    names = [package, ""] if first_is_package else ["", package]
    first, second = (load(prefix, "efficientvit.network").EfficientViT_M0 for prefix in names)
    assert first is not second
    for prefix in names:
        for layer in (first(), second()):
            assert isinstance(layer, load(prefix, "yolo").Backbone)
            load(prefix, "yolo").fuse_backbones([layer])
            assert not [norm for norm in layer.modules() if isinstance(norm, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize("frozen_epochs", [0, 2])
def test_a_pickle_names_the_modules_of_its_own_name_alone(package, frozen_epochs):
    """Or a checkpoint that one program has written would not open in the other."""
    for prefix in (package, ""):
        backbone = load(prefix, "efficientvit.network").EfficientViT_M0(frozen_stages=3, frozen_epochs=frozen_epochs)
        operations = pickletools.genops(pickle.dumps(backbone, protocol=2))
        classes = [argument for operation, argument, _ in operations if operation.name == "GLOBAL"]
        ours = [name for name in classes if "models.backbone" in name]
        assert len(ours) > 3
        assert {name.partition("models.backbone")[0] for name in ours} == {prefix}


def test_paused_parameters_are_known_under_either_name(package):
    kinds = {load(prefix, "frozen").PausedParameter for prefix in (package, "")}
    assert len(kinds) == 1


def test_files_of_two_checkouts_share_nothing(package):
    assert load("", "contract").Backbone is load(package, "contract").Backbone
    assert load("", "contract").Backbone is not Backbone
    assert not isinstance(EfficientViT_M0(), load("", "contract").Backbone)
