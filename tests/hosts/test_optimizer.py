"""Real YOLOv5 trains every parameter of a backbone, with each optimizer that the release has."""

import json

import pytest
import yaml

from tests import TESTS
from tests.hosts.test_training import has

WEIGHT_DECAY = 0.0005  # of YOLOv5's hyperparameters, for its nominal batch of 64


@pytest.fixture(scope="session")
def trained(patched, tmp_path_factory):
    """The probe's result for a backbone of timm with layer scales and layer norms, and what training printed."""
    pytest.importorskip("timm")
    from demo.dataset import write_dataset  # needs Pillow

    folder = tmp_path_factory.mktemp("optimizer")
    write_dataset(folder, 64, {"train": 8, "val": 4})
    config = yaml.safe_load((patched.root / "models" / "yolov5-timm.yaml").read_text())
    config["backbone"][0][3] = ["test_convnext", False]
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    hyperparameters = sorted((patched.root / "data").rglob("hyp.scratch*.yaml"))[-1].read_text(encoding="utf-8")
    assert "lr0: 0.01" in hyperparameters
    (folder / "hyp.yaml").write_text(hyperparameters.replace("lr0: 0.01", "lr0: 1.0"))  # a warm-up starts at 0.1 %
    optimizers, result = folder / "optimizers.json", folder / "result.json"
    optimizers.write_text(json.dumps(optimizer_options((patched.root / "train.py").read_text(encoding="utf-8"))))
    plots = ["--noplots"] if has(patched, "--noplots") else []
    script = TESTS / "optimizer_probe.py"
    done = patched.python(script, patched.prefix, folder, optimizers, result, *plots)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(result.read_text()), done.stdout + done.stderr


def optimizer_options(train):
    """Return the options of a train.py, given as text, that choose each optimizer it has."""
    names = ["Adam", "AdamW"] if "--optimizer" in train else []
    options = {"SGD": [], **{name: ["--optimizer", name] for name in names}}
    return {**options, "Adam": ["--adam"]} if "--adam" in train else options


@pytest.fixture(params=["SGD", "Adam", "AdamW"])
def parameters(trained, request):
    """What the probe saw of each parameter of the backbone, with one of the optimizers."""
    if request.param not in trained[0]:
        pytest.skip(f"this release has no {request.param}")
    return trained[0][request.param]


def test_every_parameter_is_trained(parameters):
    assert sum(name.endswith("gamma") for name in parameters) == 9, "the layer scales, which older releases leave out"
    assert [name for name, seen in parameters.items() if not seen["moved"]] == []


def test_weights_of_layers_alone_decay(parameters):
    def decays(name, dimensions):
        return [WEIGHT_DECAY if name.endswith("weight") and dimensions > 1 else 0]

    expected = {name: decays(name, seen["dimensions"]) for name, seen in parameters.items()}
    assert {name: seen["decays"] for name, seen in parameters.items()} == expected


def test_the_log_says_so(trained):
    results, output = trained
    assert output.count("TimmBackbone: the optimizer takes ") == len(results)
