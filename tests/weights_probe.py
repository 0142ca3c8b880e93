"""Run inside a patched YOLOv5 checkout, in a process of its own: what becomes of loaded weights, as JSON.

Use: python weights_probe.py PACKAGE_PREFIX ROOT FOLDER; FOLDER holds data.yaml, and receives result.json.
"""

import copy
import importlib
import json
import runpy
import sys
from pathlib import Path

import timm
import torch
import yaml
from compare_maps import largest_error
from randomise import randomise
from torchvision.transforms.functional import normalize

PREFIX, ROOT, FOLDER = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
sys.modules["thop"] = None  # with it, the host counts the operations of each model, which takes longer than to build it
CONFIG = ROOT / "models" / "yolov5-efficientvit.yaml"
SIZE = 448  # at stem_stride 16 the maps have 28, 14 and 7 cells, so that timm has 7x7 windows in each stage, as we have


class StopTrainingError(Exception):
    pass


def start_training(*options):
    """Run the host's train.py until it has an optimizer; return its model and that."""

    def stop(optimizer, *_, **__):
        seen.update(optimizer=optimizer, model=sys._getframe(1).f_locals["model"])
        raise StopTrainingError

    seen, scheduler = {}, torch.optim.lr_scheduler.LambdaLR
    torch.optim.lr_scheduler.LambdaLR = stop  # every release makes one right after its optimizer
    sys.argv = ["train.py", "--data", str(FOLDER / "data.yaml"), "--img-size", "64", "--batch-size", "4", "--device"]
    sys.argv += ["cpu", "--project", str(FOLDER / "runs"), *map(str, options)]
    try:
        runpy.run_module(f"{PREFIX}train", run_name="__main__")
    except StopTrainingError:
        pass
    finally:
        torch.optim.lr_scheduler.LambdaLR = scheduler
    return seen["model"], seen["optimizer"]


def optimizer_groups():
    """Return each backbone parameter's weight decays by group of the host's optimizer."""
    model, optimizer = start_training("--cfg", CONFIG, "--weights", "")
    names = {id(parameter): name for name, parameter in model.model[0].named_parameters()}
    decays = {name: [] for name in names.values()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) in names:
                decays[names[id(parameter)]].append(group["weight_decay"])
    return decays


def build(name, *args, nc=80):
    """Let the host build a detector of `nc` classes whose backbone row is `name` with `args`."""
    config = yaml.safe_load(CONFIG.read_text())
    config["backbone"][0][2:] = [name, list(args)]
    return importlib.import_module(f"{PREFIX}models.yolo").Model(config, nc=nc)


def maps_inside(model, image):
    """The backbone's maps while the whole detector runs."""
    seen = []
    hook = model.model[0].register_forward_hook(lambda module, inputs, maps: seen.extend(maps))
    with torch.no_grad():
        model.eval()(image)
    hook.remove()
    return seen


def errors_against_timm():
    """For each variant, the error of the features that the host has after its own initialisation."""
    errors = {}
    for variant in range(6):
        torch.manual_seed(variant)
        reference = timm.create_model(f"efficientvit_m{variant}", pretrained=False, img_size=SIZE).eval()
        randomise(reference)
        path = FOLDER / f"timm-m{variant}.pth"
        torch.save(reference.state_dict(), path)
        model = build(f"EfficientViT_M{variant}", str(path), 0, 16)
        image = torch.rand(1, 3, SIZE, SIZE)
        with torch.no_grad():
            normalised = normalize(image, reference.pretrained_cfg["mean"], reference.pretrained_cfg["std"])
            expected = reference.forward_intermediates(normalised, intermediates_only=True)
        assert len(expected) == 3
        errors[f"M{variant}"] = largest_error(maps_inside(model, image), expected)
    return errors


def differences(found, expected):
    return [name for name, value in expected.items() if not torch.equal(value, found[name])]


def checkpoint_of_training():
    """A .pt as the host's train.py writes it, whose EMA is not the model; what differs once it is read back."""
    torch_utils = importlib.import_module(f"{PREFIX}utils.torch_utils")
    model, average = build("EfficientViT_M0"), build("EfficientViT_M0")
    randomise(model.model[0])
    randomise(average.model[0])
    ema = torch_utils.ModelEMA(average)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    content = {"epoch": 3, "best_fitness": 0.5, "model": copy.deepcopy(model).half(), "ema": ema.ema.half()}
    torch.save({**content, "updates": 3, "optimizer": optimizer.state_dict()}, FOLDER / "last.pt")
    loaded = build("EfficientViT_M0", str(FOLDER / "last.pt")).model[0]
    return {
        "differences": differences(loaded.state_dict(), ema.ema.model[0].float().state_dict()),
        "notes": loaded.notes,
    }


def transfers():
    """What a training has of a checkpoint whose backbone began with a weights file that is gone, by its options.

    The file is timm's M0, whose query kernels are 5, 5, 5, 5, as ImageNet's are.
    """
    weights = FOLDER / "runs" / "exp" / "weights"  # of the training before, which --resume asks for its options
    weights.mkdir(parents=True, exist_ok=True)
    model = build("EfficientViT_M0", str(FOLDER / "timm-m0.pth"), nc=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1).state_dict()
    content = {"epoch": 0, "best_fitness": 0.5, "model": model.half(), "ema": None, "optimizer": optimizer}
    torch.save(content, weights / "last.pt")
    (FOLDER / "timm-m0.pth").unlink()
    expected, seen = model.float().state_dict(), {}
    routes = {
        "--weights": ["--weights", weights / "last.pt"],
        "--weights --cfg": ["--weights", weights / "last.pt", "--cfg", CONFIG],
        "--resume": ["--resume", weights / "last.pt"],
    }
    for route, options in routes.items():
        found = start_training(*options)[0]
        seen[route] = {
            "differences": differences(found.state_dict(), expected),
            "weights in the yaml": found.yaml["backbone"][0][3][:1],
        }
    torch.save({**content, "model": build("EfficientViT_M1")}, weights / "other.pt")
    start_training("--weights", weights / "other.pt", "--cfg", CONFIG)
    return seen


def frozen_training():
    """One step as the host's train.py makes it, of a model with frozen_stages 2; which parts moved, model and EMA."""
    torch_utils = importlib.import_module(f"{PREFIX}utils.torch_utils")
    model = build("EfficientViT_M0", "", 2)
    randomise(model.model[0])
    for parameter in model.parameters():
        parameter.requires_grad = True  # train.py does, whatever was frozen before
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    ema = torch_utils.ModelEMA(model)
    before = copy.deepcopy(model.model[0].state_dict())
    model.train()
    sum(output.float().square().mean() for output in model(torch.rand(2, 3, 64, 64))).backward()
    optimizer.step()
    ema.update(model)
    moved = differences(model.model[0].state_dict(), before)
    follows = [
        name
        for name, value in ema.ema.model[0].state_dict().items()
        if not torch.allclose(value.float(), before[name].float(), rtol=1e-6, atol=0)  # d * v + (1 - d) * v, rounded
    ]
    return {"model": moved, "average": follows}


RESULT = {
    "errors against timm": errors_against_timm(),
    "checkpoint": checkpoint_of_training(),
    "frozen": frozen_training(),
    "decays": optimizer_groups(),
    "transfers": transfers(),
}
(FOLDER / "result.json").write_text(json.dumps(RESULT))
