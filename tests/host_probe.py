"""Run inside a YOLOv5 checkout, in a process of its own: builds models and writes what it saw as JSON.

Use: python host_probe.py PACKAGE_PREFIX ROOT stock|patched RESULT.json
"""

import contextlib
import copy
import hashlib
import importlib.util
import io
import json
import logging
import sys
from pathlib import Path
from unittest import mock

import torch
import yaml
from compare_maps import assert_same, largest_error
from torch.nn.utils import prune

PREFIX, ROOT, STATE, RESULT = sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
yolo = importlib.import_module(f"{PREFIX}models.yolo")
torch_utils = importlib.import_module(f"{PREFIX}utils.torch_utils")
experimental = importlib.import_module(f"{PREFIX}models.experimental")

LOG = io.StringIO()
HANDLER = logging.StreamHandler(LOG)
for module in (yolo, torch_utils):
    logger = getattr(module, "LOGGER", None) or module.logger
    logger.handlers, logger.propagate = [HANDLER], False
    logger.setLevel(logging.INFO)

SIZES = [(32, 32), (64, 64), (96, 96), (160, 160), (224, 640), (333, 517), (640, 640)]


@contextlib.contextmanager
def without_operations():
    """Let the host not count the operations of a model: it does so of each one, and takes half of the time."""
    imported = sys.modules.pop("thop", None)
    sys.modules["thop"] = None  # up to v6.1, the host imports it for each model
    with mock.patch.object(torch_utils, "thop", None, create=True):
        yield
    del sys.modules["thop"]
    if imported:
        sys.modules["thop"] = imported


def build(config, **options):
    """Return a model and what the host logged while building it."""
    LOG.seek(0)
    LOG.truncate()
    torch.manual_seed(0)
    model = yolo.Model(config, **options)
    return model, LOG.getvalue()


def digest(tensors):
    state = hashlib.sha256()
    for tensor in tensors:
        state.update(tensor.detach().numpy().tobytes())
    return state.hexdigest()


def stock_models():
    """Every small stock yaml: its weights, an output and its layer table."""
    seen = {}
    for path in sorted((ROOT / "models").rglob("yolov5[ns]*.yaml")):
        with without_operations() if seen else contextlib.nullcontext():  # the first shows whether it counts them
            model, log = build(str(path))
        with torch.no_grad():
            output = model.eval()(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))[0]
        seen[path.name] = {"weights": digest(model.state_dict().values()), "output": digest([output]), "log": log}
    return seen


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def our_yaml(variant):
    return ROOT / "models" / ("yolov5-efficientvit.yaml" if variant == 0 else f"yolov5-efficientvit-m{variant}.yaml")


def counts():
    """Parameters of backbone and detector, each variant in the yaml of M0 and in its own."""
    design = yaml.safe_load(our_yaml(0).read_text())
    seen = []
    for variant in range(6):
        config = copy.deepcopy(design)
        config["backbone"][0][2] = f"EfficientViT_M{variant}"
        model, _ = build(config)
        own, _ = build(str(our_yaml(variant)))
        seen.append({"backbone": parameters(model.model[0]), "design": parameters(model), "own": parameters(own)})
    return seen


def randomise(model):
    """Let every residual branch of the backbone count."""
    for name, value in model.model[0].state_dict().items():
        if name.endswith(("bn.weight", "running_var")):
            value.uniform_(0.5, 1.5)


def forwards(model):
    """Shapes of the backbone's maps and of the detections at each size, the latter rounded up to the stride."""
    seen = {}
    with torch.no_grad():
        for height, width in SIZES:
            maps = model.model[0](torch.rand(1, 3, height, width))
            image = torch.rand(1, 3, -(-height // 32) * 32, -(-width // 32) * 32)
            detections = model(image)[0]
            assert detections.isfinite().all()
            seen[f"{height}x{width}"] = {"maps": [list(m.shape) for m in maps], "detections": list(detections.shape)}
    return seen


def train_step(config):
    """One step of the optimizer and of the host's moving average; what went wrong, by name."""
    model, _ = build(config)
    randomise(model)
    model.train()
    average = torch_utils.ModelEMA(model)
    average.ema.eval()(torch.rand(1, 3, 64, 64))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    sum(output.float().square().mean() for output in model(torch.rand(2, 3, 64, 64))).backward()
    wrong = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)  # as the host does
    optimizer.step()
    average.update(model)
    fresh, _ = build(config)
    fresh.load_state_dict(average.ema.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = average.ema(image)[0], fresh.eval()(image)[0]
    # not to the bit: the convolutions of the two models may lie in memory, and so be summed, differently
    return {"without a finite gradient": wrong, "error of the average": largest_error(found, expected)}


def norms_of(module):
    return [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]


def reload(model):
    """Save as the host's train.py does, load as its val.py and detect.py do, which fuses."""
    path = RESULT.parent / "checkpoint.pt"
    torch.save({"epoch": -1, "model": copy.deepcopy(model).half(), "ema": None, "optimizer": None}, path)
    return experimental.attempt_load(str(path), torch.device("cpu"))


def reload_as_detect(model):
    """As `reload`, inside `torch.inference_mode()`, as detect.py, val.py and export.py do since v6.2."""
    with torch.inference_mode():
        return reload(model)


def pruned(config):
    """A detector whose convolutions are pruned, for good as the host does it and by torch's hooks, as detect.py has it."""
    seen = {}
    for way in ("host", "hooks"):
        model, _ = build(config)
        randomise(model)
        image = torch.rand(1, 3, 96, 160)
        with torch.no_grad():
            if way == "host":
                torch_utils.prune(model, 0.3)
            else:
                for module in model.modules():
                    if isinstance(module, torch.nn.Conv2d):
                        prune.l1_unstructured(module, "weight", 0.3)
            expected = copy.deepcopy(model).half().float().eval()(image)[0]
            found = reload_as_detect(model).float()(image)[0]
        seen[way] = largest_error(found, expected)
    return seen


def timm_yamls():
    """The yamls for models of timm, with a small one: strides, and errors after a save and after fusing."""
    seen = {}
    for path in sorted((ROOT / "models").glob("yolov5-timm*.yaml")):
        config = yaml.safe_load(path.read_text())
        config["backbone"][0][3][:2] = ["test_resnet", False]
        model, _ = build(config)
        image = torch.rand(1, 3, 128, 192)
        with torch.no_grad():
            expected = model.eval()(image)[0]
            average = torch_utils.ModelEMA(model).ema
            assert_same(average(image)[0], expected)
            fused = model.fuse()(image)[0]
        seen[path.stem] = {
            "strides": model.stride.tolist(),
            "eps": sorted({norm.eps for norm in norms_of(average.model[0])}),
            "fuse error": largest_error(fused, expected),
            "norms left": len(norms_of(model.model[0])),
            "norms left in detect.py": len(norms_of(reload_as_detect(average).model[0])),
        }
    return seen


def segmenters():
    """Shapes of the boxes and the mask prototypes of each yaml for segmentation, and the error of fusing."""
    seen = {}
    for path in sorted((ROOT / "models" / "segment").glob("yolov5-efficientvit*.yaml")):
        torch.manual_seed(0)
        model = yolo.SegmentationModel(str(path)).eval()
        with torch.no_grad():
            image = torch.rand(1, 3, 64, 96)
            boxes, prototypes, *_ = model(image)
            fused = model.fuse()(image)[0]
        seen[path.stem] = {
            "backbone": type(model.model[0]).__name__,
            "boxes": list(boxes.shape),
            "prototypes": list(prototypes.shape),
            "fuse error": largest_error(fused, boxes),
        }
    return seen


def classifiers():
    """What the host logs, and the modules of the classifier, when it cuts one from our detector, by the cutoff."""
    seen = {}
    for cutoff in (2, 10):
        model, _ = build(str(our_yaml(0)))
        LOG.seek(0)
        LOG.truncate()
        classifier = yolo.ClassificationModel(model=model, nc=3, cutoff=cutoff)
        seen[cutoff] = {"log": LOG.getvalue(), "modules": [type(layer).__name__ for layer in classifier.model]}
    return seen


def ours():
    config = str(our_yaml(0))
    model, log = build(config)
    with without_operations():
        return {"log": log, **checks(config, model)}


def checks(config, model):
    """What becomes of our detector, built from `config`, in the hands of the host; the model is fused in the end."""
    seen = {"counts": counts(), "train step": train_step(config), "pruned": pruned(config)}
    randomise(model)
    model.eval()
    seen["forwards"] = forwards(model)
    six, _ = build(config, ch=6)
    image = torch.rand(1, 3, 96, 160)
    with torch.no_grad():
        seen["six channels"] = list(six.eval()(torch.rand(1, 6, 64, 64))[0].shape)
        expected = model(image)[0]
        for dtype in (torch.float16, torch.bfloat16):
            lower = copy.deepcopy(model).to(dtype)
            seen[str(dtype)] = bool(lower(image.to(dtype))[0].isfinite().all())
        reloaded = reload(model).float()
        half = copy.deepcopy(model).half().float()
        seen["reload error"] = largest_error(reloaded(image)[0], half(image)[0])
        norms = {"before": len(norms_of(model.model[0])), "reloaded": len(norms_of(reloaded.model[0]))}
        model.fuse()
        seen["fuse error"] = largest_error(model(image)[0], expected)
        seen["norms"] = {**norms, "fused": len(norms_of(model.model[0]))}
    return seen


result = {"stock": stock_models()}
if STATE == "patched":
    result["ours"] = ours()
    with without_operations():
        if hasattr(yolo, "SegmentationModel"):
            result["segmenters"] = segmenters()
        if hasattr(yolo, "ClassificationModel"):
            result["classifiers"] = classifiers()
        if importlib.util.find_spec("timm"):
            result["timm"] = timm_yamls()
RESULT.write_text(json.dumps(result))
