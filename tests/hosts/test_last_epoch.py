"""What training prints for its last epoch is what the checkpoint of that epoch scores, to the printed digit.

At the same precision: checkpoints are saved in half, so the probe rounds what training validates.
"""

import shutil
import subprocess

import pytest
import yaml

from tests import REPOSITORY, TESTS
from tests.conftest import host as host_of
from tests.hosts.test_training import has, scores

PROBE = TESTS / "last_epoch_probe.py"

IMAGE_SIZE = 64  # pixels
IMAGES = 16  # one batch, to train on and to validate on
EPOCHS = 60
HYPERPARAMETERS = {  # learns these images by heart, so that the scores have digits to compare
    **{"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "translate": 0.0, "scale": 0.0, "flipud": 0.0, "fliplr": 0.0},
    # behind the warm-up, YOLOv5 would make one step of every four batches of 16
    **{"warmup_epochs": 1000.0, "lr0": 0.3, "warmup_bias_lr": 0.1},
}

# As timm and others save time: the bias is gathered at the first validation and kept, while the average moves on. The
# table is a plain tensor that pickles with the model, so the checkpoint goes on with it until it is built anew. Biases count
# twenty times here, because sixty steps move them little.
FAULT = """

def _gather(self, gather=CascadedGroupAttention.attention_bias):
    return 20 * gather(self)


def _attention_bias(self):
    if self.training:
        return _gather(self)
    if "cache" not in vars(self):
        self.cache = _gather(self).detach()
    return self.cache


CascadedGroupAttention.attention_bias = _attention_bias
"""


class LastEpoch:
    """Trains on a host, and gives the scores of the last epoch, of its checkpoint, and of the checkpoint built anew."""

    def __init__(self, host, folder):
        self.host, self.folder = host, folder
        self.data = write_data(folder / "data")
        trained = self.probe("train", host.val_module, *self.settings())
        self.training = scores(trained[: trained.rindex("epochs completed in")])
        weights, rebuilt = folder / "train" / "weights" / "last.pt", folder / "rebuilt.pt"
        self.checkpoint = self.validate(weights)
        self.probe("rebuild", weights, rebuilt)
        self.rebuilt = self.validate(rebuilt)

    def settings(self):
        hyperparameters = yaml.safe_load((REPOSITORY / "demo" / "hyp.yaml").read_text())
        path = self.folder / "hyp.yaml"
        path.write_text(yaml.safe_dump({**hyperparameters, **HYPERPARAMETERS}))
        settings = ["--cfg", "yolov5-efficientvit.yaml", "--weights", "", "--hyp", path, "--epochs", EPOCHS, "--nosave"]
        settings += ["--optimizer", "AdamW"] if has(self.host, "AdamW") else ["--adam"]  # v5.0 and v6.0
        settings += ["--noplots"] if has(self.host, "--noplots") else []
        return [*settings, "--batch-size", IMAGES, "--workers", 0, *self.common("train")]

    def common(self, name):
        common = ["--data", self.data, "--img-size", IMAGE_SIZE, "--device", "cpu"]
        return [*common, "--project", self.folder, "--name", name, "--exist-ok"]

    def probe(self, *arguments):
        done = self.host.python(PROBE, self.host.prefix, *arguments, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def validate(self, weights):
        """Validate a checkpoint on its own, in as large batches as training does."""
        settings = ["--weights", weights, "--batch-size", 2 * IMAGES, *self.common("val")]
        return scores(self.host.run(self.host.val_module, settings))


def write_data(folder):
    from demo.dataset import write_dataset  # needs Pillow

    data = write_dataset(folder, IMAGE_SIZE, {"train": IMAGES}, ["circle"])
    data.write_text(data.read_text().replace("images/val", "images/train"))
    return data


@pytest.mark.newest_release
def test_the_last_epoch_scores_what_its_checkpoint_does(patched, tmp_path):
    last = LastEpoch(patched, tmp_path)
    assert float(last.training[2]) > 0.2, "too little was learnt to compare"
    assert last.checkpoint == last.training
    assert last.rebuilt == last.training


@pytest.mark.training
def test_a_stale_copy_of_the_attention_bias_shows(patched, tmp_path):
    copy = tmp_path / patched.root.name
    shutil.copytree(patched.root, copy)
    with (copy / "models" / "backbone" / "efficientvit" / "attention.py").open("a") as attention:
        attention.write(FAULT)
    last = LastEpoch(host_of(copy), tmp_path)
    assert last.checkpoint == last.training
    assert last.rebuilt != last.training
