"""Run inside a YOLOv5 checkout, in a process of its own, for tests/hosts/test_last_epoch.py.

Use: python last_epoch_probe.py PACKAGE_PREFIX train VAL_MODULE OPTIONS...
     python last_epoch_probe.py PACKAGE_PREFIX rebuild TRAINED.pt REBUILT.pt
"""

import importlib
import runpy
import sys

PREFIX, TASK, *ARGUMENTS = sys.argv[1:]


def train(val_module, *options):
    """Run the host's train.py, but round what it validates to half precision, in which it saves."""
    validation = importlib.import_module(PREFIX + val_module)
    entry = "run" if val_module == "val" else "test"  # as v5.0 calls both
    validate = getattr(validation, entry)

    def validate_rounded(*arguments, model, **settings):
        model.half().float()  # in place: it has to be the model of the training, with all that clings to it
        return validate(*arguments, model=model, **settings)

    setattr(validation, entry, validate_rounded)
    sys.argv[1:] = options
    runpy.run_module(f"{PREFIX}train", run_name="__main__", alter_sys=True)


def rebuild(trained, rebuilt):
    """Build the network of a checkpoint anew, and save it with nothing of the old one but its state_dict."""
    import torch

    checkpoint = torch.load(trained)
    model = checkpoint["model"].float()
    fresh = importlib.import_module(f"{PREFIX}models.yolo").Model(model.yaml)
    fresh.load_state_dict(model.state_dict())
    fresh.nc, fresh.names = model.nc, model.names  # which train.py attaches
    torch.save({**checkpoint, "model": fresh.half()}, rebuilt)


{"train": train, "rebuild": rebuild}[TASK](*ARGUMENTS)
