import os

import pytest
import torch

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which deterministic algorithms want, as YOLOv5 sets it


@pytest.fixture(scope="session")
def device(request):
    """The device of `--device`: a GPU, or the CPU for a dry run of the tests themselves."""
    name = request.config.getoption("--device")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device is here; `--device cpu` runs these tests on the CPU")
    return torch.device(name)


@pytest.fixture(autouse=True)
def exact(device):
    """No TF32, so that float32 means float32."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
