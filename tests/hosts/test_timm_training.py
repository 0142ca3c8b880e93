"""Models of timm through real YOLOv5: an epoch with validation, at two image sizes, for each rule of image sizes."""

import re

import pytest
import yaml

pytest.importorskip("timm", reason="timm is not installed, and only TimmBackbone rows need it")

# the model and its strides, then which size rule it stands for
MODELS = {
    "test_resnet": ([8, 16, 32], "any size"),
    "inception_v3": ([8, 16, 32], "from 96"),
    "halonet_h1": ([8, 16, 32], "multiples of 256"),
    "deepseek_vit_412m": ([14], "multiples of 224"),
    "efficientformerv2_s0": ([8, 16, 32], "one size"),
    "test_vit_relpos": ([16], "one size, one level"),
}


@pytest.fixture
def train(patched, tmp_path):
    """Trains a model for one epoch at an image size, and returns what YOLOv5 printed."""
    from demo.dataset import write_dataset  # needs Pillow

    def run(model, strides, image_size):
        config = yaml.safe_load((patched.root / "models" / "yolov5-timm.yaml").read_text(encoding="ascii"))
        config["backbone"][0][3] = [model, False, strides, image_size]
        if len(strides) == 1:  # the neck of the yaml joins three levels
            config["backbone"] = config["backbone"][:1]
            config["head"] = [[-1, 1, "Conv", [64, 1, 1]], [[5], 1, "Detect", ["nc", "anchors"]]]
            config["anchors"] = config["anchors"][1:2]
        config["width_multiple"] = 0.25
        cfg = tmp_path / f"{model}.yaml"
        cfg.write_text(yaml.safe_dump(config))
        data = write_dataset(tmp_path / f"shapes{image_size}", image_size, {"train": 2, "val": 3, "unseen": 1})
        settings = ["--cfg", cfg, "--weights", "", "--data", data, "--img-size", image_size, "--epochs", 1]
        settings += ["--batch-size", 2, "--workers", 0, "--device", "cpu", "--project", tmp_path, "--name", image_size]
        if "--noplots" in (patched.root / "train.py").read_text(encoding="utf-8"):
            settings += ["--noplots"]
        printed = patched.run("train", settings)
        assert re.search(r"^\s*all\s+3\s", printed, re.MULTILINE), "the row of all classes, on the three images"
        return data, tmp_path / str(image_size) / "weights" / "last.pt"

    return run


@pytest.mark.newest_release
def test_a_model_of_one_size_trains_and_is_validated(train):
    """YOLOv5 validates at 160 pixels here."""
    train("efficientformerv2_s0", [8, 16, 32], 128)


@pytest.mark.training
@pytest.mark.parametrize("image_size", [64, 256])
@pytest.mark.parametrize("model", MODELS)
def test_an_epoch_at_each_size_rule(train, model, image_size):
    train(model, MODELS[model][0], image_size)


@pytest.mark.training
def test_a_model_of_one_size_works_at_the_usual_size(train, patched, tmp_path):
    """Validates at 672 pixels, detects, with and without augmentation, and exports."""
    data, weights = train("efficientformerv2_s0", [8, 16, 32], 640)
    common = ["--weights", weights, "--img-size", 640, "--device", "cpu"]
    for more in ([], ["--augment"]):
        patched.run(patched.val_module, [*common, "--data", data, "--project", tmp_path, "--name", "val", *more])
        source = data.parent / "images" / "unseen"
        patched.run("detect", [*common, "--source", source, "--project", tmp_path, "--name", "detect", *more])
    patched.run("export", [*common, "--include", "torchscript"])
    assert weights.with_suffix(".torchscript").is_file() or weights.with_suffix(".torchscript.pt").is_file()
