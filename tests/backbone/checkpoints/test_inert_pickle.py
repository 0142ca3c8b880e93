"""Pickles are read and not run."""

import argparse
import datetime
import os
import pathlib
import pickle
import subprocess
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from models.backbone.checkpoints import inert_pickle
from models.backbone.registry import backbone_class
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import assert_same

M0 = backbone_class("EfficientViT_M0")


class Call:
    """Pickled as a call of `function` that whoever loads it makes."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def attacks(marker):
    """Objects whose loading leaves something at the path `marker`."""
    marker = str(marker)
    return {
        "os.mkdir": Call(os.mkdir, marker),
        "exec": Call(exec, f"import os; os.mkdir({marker!r})"),
        "eval": Call(eval, f"__import__('os').mkdir({marker!r})"),
        "subprocess": Call(subprocess.check_call, ["mkdir", marker]),
        "torch.save": Call(torch.save, 1, marker),
        "numpy.save": Call(np.save, f"{marker}.npy", 1),
    }


# calls into packages that models call too are let go like a model's own data; those elsewhere condemn the file
CONDEMNED, LET_GO = ["os.mkdir", "exec", "eval", "subprocess"], ["torch.save", "numpy.save"]


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def malicious(tmp_path):
    """Write a file, see it read or refused, and see that nothing else appeared beside it."""

    def read(content, refused, **options):
        path = tmp_path / "malicious.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path, **options)
        try:
            if refused:
                with pytest.raises(ValueError, match=f"the weights file .*malicious.pth {refused}"):
                    M0(weights=str(path))
            else:
                M0(weights=str(path))
        finally:
            assert list(tmp_path.iterdir()) == [path], "something ran"

    return read


@pytest.mark.parametrize("name", CONDEMNED + LET_GO)
def test_the_attacks_of_this_file_are_real(name, marker):
    pickle.loads(pickle.dumps(attacks(marker)[name]))
    assert [path.stem for path in marker.parent.iterdir()] == ["marker"]


@pytest.mark.parametrize("name", CONDEMNED)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda attack: attack,
        lambda attack: {"model": attack},
        lambda attack: {"model": M0().state_dict(), "date": attack},
        lambda attack: {"model": M0().state_dict(), "hooks": OrderedDict({0: attack})},
    ],
    ids=["bare", "as the model", "beside the model", "inside a container"],
)
def test_a_malicious_file_is_refused_and_does_not_run(name, wrap, marker, malicious):
    malicious(wrap(attacks(marker)[name]), refused=r"cannot be read safely .* it wants to call [\w.]+, which no model")


@pytest.mark.parametrize("name", LET_GO)
def test_calls_that_a_model_might_make_do_not_run_either(name, marker, malicious):
    malicious({"model": attacks(marker)[name]}, refused="holds no tensors by name")
    malicious({"model": M0().state_dict(), "date": attacks(marker)[name]}, refused="")


@pytest.mark.parametrize("name", CONDEMNED + LET_GO)
def test_other_formats_do_not_run_either(name, marker, malicious):
    attack = attacks(marker)[name]
    malicious(pickle.dumps(attack), refused="is a bare pickle")
    malicious(attack, refused="is a bare pickle, or of torch before 1.6", _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("function", ["_rebuild_tensor_v2", "_rebuild_parameter"])
def test_torch_functions_cannot_be_altered(tmp_path, function):
    """A pickle may set attributes of what it names, a function's defaults for example."""
    program = pickle.PROTO + b"\x02ctorch._utils\n" + function.encode() + b"\n}X\x05\x00\x00\x00spoilK\x01sb."
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(AttributeError):
        inert_pickle.load(str(tmp_path / "a.pth"))
    assert not hasattr(getattr(torch._utils, function), "spoil")


def test_what_training_saves_beside_the_model(tmp_path):
    source = build()
    content = {
        "model": source,
        "optimizer": torch.optim.SGD(source.parameters(), 0.1, momentum=0.9).state_dict(),
        "best_fitness": np.array([0.5]),
        "fitness": np.float64(0.5),
        "opt": argparse.Namespace(weights=pathlib.Path("a")),
        "date": datetime.datetime(2024, 1, 1),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "set": {1, 2},
        "ordered": OrderedDict(a=1),
        "size": torch.Size([1, 2]),
        "empty": torch.empty(0),
    }
    torch.save(content, tmp_path / "last.pt")
    loaded = inert_pickle.load(str(tmp_path / "last.pt"))
    assert (loaded["ordered"], loaded["size"], loaded["empty"].numel()) == ({"a": 1}, (1, 2), 0)
    state = inert_pickle.tensors_of(loaded["model"])
    expected = source.state_dict()
    assert_same({name: state[name] for name in expected}, expected)  # beside buffers that are in no state dict


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4),
        torch.randn(3, 4).t(),
        torch.randn(6)[1::2],
        torch.tensor(1.5),
        torch.empty(0, 3),
        nn.Parameter(torch.randn(2)),
        *(torch.tensor([0, 1, 100]).to(dtype) for _, dtype in inert_pickle.STORAGES.values()),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}",
)
def test_tensors(tmp_path, tensor):
    torch.save({"tensor": tensor}, tmp_path / "tensor.pt")
    found = inert_pickle.load(str(tmp_path / "tensor.pt"))["tensor"]
    assert found.dtype == tensor.dtype
    assert torch.equal(found, tensor)


def test_tensors_that_share_memory_are_read_once(tmp_path):
    shared = torch.randn(10)
    torch.save([shared[:5], shared[2:]], tmp_path / "shared.pt")
    first, second = inert_pickle.load(str(tmp_path / "shared.pt"))
    assert first.data_ptr() + 2 * first.element_size() == second.data_ptr()


def test_a_torchscript_export_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name in ("script/data.pkl", "script/constants.pkl"):
            archive.writestr(name, pickle.dumps({}))
    with pytest.raises(ValueError, match="it is a TorchScript export; take the checkpoint"):
        M0(weights=str(tmp_path / "script.pt"))


@pytest.mark.parametrize("names", [["a.txt"], ["a/data.pkl", "b/data.pkl"]], ids=str)
def test_another_zip_archive_is_refused(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps({}))
    with pytest.raises(ValueError, match=r"a zip archive, but not one of torch.save"):
        M0(weights=str(tmp_path / "other.zip"))


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    torch.save({"tensor": torch.zeros(4)}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "less.pt", "w") as less:
        for name in whole.namelist():
            less.writestr(name, whole.read(name)[: 8 if "/data/" in name else None])
    with pytest.raises(RuntimeError, match="out of bounds"):
        inert_pickle.load(str(tmp_path / "less.pt"))
