"""Real YOLOv5 trains what a row freezes for the first epochs, from then on; also when it resumes."""

import json

import pytest
import torch
import yaml

from tests.backbone.efficientvit.test_network import build
from tests.hosts.test_training import Runs

FROZEN_EPOCHS = 1
FROZEN = ("stem.", "stages.0.")
CHANGED = """
import json, sys, torch
start = torch.load(sys.argv[1])
model = torch.load(sys.argv[2])["model"].model[0]
end = {name: value.half().float() for name, value in model.state_dict().items()}
changed = [name for name, value in start.items() if not torch.equal(value.half().float(), end[name])]
print("changed:", json.dumps(changed))
"""


@pytest.fixture(scope="session")
def runs(patched, tmp_path_factory):
    from demo.dataset import write_dataset  # needs Pillow

    folder = tmp_path_factory.mktemp("frozen_epochs")
    data = write_dataset(folder / "shapes", 64, {"train": 4, "val": 2})
    hyperparameters = yaml.safe_load(sorted((patched.root / "data").rglob("hyp.scratch*.yaml"))[-1].read_text("utf-8"))
    hyperparameters.update(warmup_epochs=0.0, lr0=0.1)
    (folder / "hyp.yaml").write_text(yaml.safe_dump(hyperparameters))
    torch.save(build().state_dict(), folder / "start.pth")
    return Runs(patched, data, folder)


def test_stages_are_trained_when_their_epochs_are_over(runs):
    assert trained_parts(runs, 2) == (1, {"running_mean", "conv.weight"})


@pytest.mark.newest_release
def test_and_no_sooner(runs):
    assert trained_parts(runs, FROZEN_EPOCHS) == (0, set())


def trained_parts(runs, epochs):
    """Train, and return how often the log tells of the release, and which kinds of frozen tensors have changed."""
    config = yaml.safe_load((runs.host.root / "models" / "yolov5-efficientvit.yaml").read_text(encoding="utf-8"))
    row = {"weights": str(runs.folder / "start.pth"), "frozen_stages": 2, "frozen_epochs": FROZEN_EPOCHS}
    config["backbone"][0][3] = [row]
    path = runs.folder / f"frozen{epochs}.yaml"
    path.write_text(yaml.safe_dump(config))

    hyp = ["--hyp", runs.folder / "hyp.yaml"]
    output = runs.train(*hyp, cfg=str(path), epochs=epochs, name=f"train{epochs}")
    assert "Traceback" not in output
    count = sum(name.startswith(FROZEN) for name, _ in build().named_parameters())
    message = f"EfficientViT_M0: {count} tensors are no longer frozen, batch norms included (epoch 1, counted from 0)"

    weights = runs.folder / f"train{epochs}" / "weights" / "last.pt"
    done = runs.host.python("-c", CHANGED, runs.folder / "start.pth", weights)
    assert done.returncode == 0, done.stderr
    changed = json.loads(done.stdout.rpartition("changed: ")[2])
    assert any(name.startswith("stages.2.") and name.endswith("running_mean") for name in changed)
    thawed = [name for name in changed if name.startswith(FROZEN)]
    kinds = {kind for kind in ("running_mean", "conv.weight") for name in thawed if name.endswith(kind)}
    return output.count(message), kinds
