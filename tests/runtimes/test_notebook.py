"""The notebook, executed from top to bottom in an environment of its own: small, on the CPU, without a network.

Left out of plain `pytest`: `make test-exports` sets the environment up, and runs this.
"""

import json
import os
import re
import shutil

import pytest

from demo.host import Host, scores
from tests import REPOSITORY, TESTS
from tests.runtimes.exported import ROUNDING, MissingRuntimeError, program, run

pytestmark = [pytest.mark.exports, pytest.mark.newest_release]

NOTEBOOK = "train_on_your_photographs.ipynb"
SMALL = {"WEIGHTS": "", "IMAGE_SIZE": 64, "EPOCHS": 1, "BATCH_SIZE": 8, "SHAPES": 16}
WITHOUT_NETWORK = {
    **{f"{protocol}_proxy": "http://127.0.0.1:9" for protocol in ("http", "https")},
    "GIT_ALLOW_PROTOCOL": "file",
    "PIP_NO_INDEX": "1",
}
OF_HOST = [
    "YOLOV5_CONFIG_DIR",
    "YOLO_CONFIG_DIR",
    "YOLO_OFFLINE",
    "YOLOv5_AUTOINSTALL",
]  # a font; the rest it sets itself
DIFFERENCE = re.compile(
    r"^(.+) \(1, \d+, 9\): boxes differ from PyTorch's by up to (\S+) pixels, scores by (\S+)$", re.M
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of this project, as in a clone, as far as the notebook wants it."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(REPOSITORY / "apply_patch.py", folder)
    for name in ("patches", "models", "demo", "examples"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def cells(project, real_checkout, tmp_path_factory):
    """The cells, with their outputs."""
    try:
        python = program("notebook")
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    of_host = Host(real_checkout, elsewhere / "config").environment
    environment = {
        **os.environ,
        **{name: of_host[name] for name in OF_HOST},
        **WITHOUT_NETWORK,
        "NOTEBOOK_SETTINGS": json.dumps({**SMALL, "YOLOV5": str(real_checkout)}),
    }
    script, result = TESTS / "runtimes" / "run_notebook.py", elsewhere / "result.ipynb"
    run(python, script, project / "examples" / NOTEBOOK, result, env=environment)
    return json.loads(result.read_text(encoding="utf-8"))["cells"]


def printed_by(cells, code):
    """Return what the one cell printed that holds this code."""
    (cell,) = [cell for cell in cells if cell["cell_type"] == "code" and code in "".join(cell["source"])]
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def test_every_cell_is_executed(cells):
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_the_data_are_counted(cells):
    train, val = printed_by(cells, "Counter(").splitlines()
    assert train.startswith("train: 16 photographs, 0 of them without a box; {")
    assert val.startswith("val: 8 photographs, 0 of them without a box; {")


@pytest.mark.parametrize("program", ["train", "val"])
def test_the_scores_are_printed(cells, program):
    assert all(0 <= score <= 1 for score in scores(printed_by(cells, f'in_yolov5("{program}"')))


def test_pictures_are_shown_of_data_curves_detections_attention_and_the_exported_file(cells):
    kinds = [kind for cell in cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert kinds.count("image/png") == 5


def test_the_exported_files_give_what_pytorch_gives(cells):
    found = DIFFERENCE.findall(printed_by(cells, "by_onnx, "))
    assert [runtime for runtime, _, _ in found] == ["ONNX Runtime", "NCNN"]
    for _, boxes, confidences in found:
        assert float(boxes) < ROUNDING * SMALL["IMAGE_SIZE"]
        assert float(confidences) < ROUNDING


def test_the_files_to_keep_are_there(cells):
    paths = re.findall(r"MiB  (.+)$", printed_by(cells, "MiB  {file}"), re.M)
    assert all(os.path.getsize(path) > 1000 for path in paths)
    assert {os.path.basename(path) for path in paths} - {"best.onnx.data"} == {
        "best.pt",
        "best.onnx",
        "best.ncnn.param",
        "best.ncnn.bin",
    }


def test_nothing_is_written_beside_the_build_folder(cells, project):
    assert (project / "build" / "notebook" / "yolov5" / "models" / "backbone").is_dir()
    files = {path.relative_to(project) for path in project.rglob("*") if path.is_file()}
    outside = {path for path in files if not {"build", "__pycache__"} & set(path.parts)}
    assert [str(path) for path in outside if not (REPOSITORY / path).is_file()] == []
