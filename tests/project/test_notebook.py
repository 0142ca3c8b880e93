"""The notebook as a file: stripped, with commands that exist, and with cells that do what is said of them.

tests/runtimes/test_notebook.py executes it.
"""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.conftest import MINIHOST

NOTEBOOK = json.loads((REPOSITORY / "examples" / "train_on_your_photographs.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
TEXT = "\n\n".join("".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown")


def cell_with(text):
    """Return the one cell of code that holds a text."""
    (code,) = [code for code in CODE if text in code]
    return code


def calls(name):
    """Yield the arguments that are texts, of each call of a function."""
    for code in CODE:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                words = [getattr(argument, "value", None) for argument in node.args]
                yield [word for word in words if isinstance(word, str)]


def test_it_is_a_notebook_of_the_version_that_gives_cells_names():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(names)) == len(names) > 20
    assert all(re.fullmatch(r"[\w-]{1,64}", name) for name in names)


def test_outputs_are_stripped():
    for cell in NOTEBOOK["cells"]:
        of_code = {"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}
        rest = {key: value for key, value in cell.items() if key not in ("cell_type", "id", "source")}
        assert rest == {"metadata": {}, **of_code}


def test_its_metadata_are_those_that_a_hosted_notebook_wants():
    assert NOTEBOOK["metadata"] == {
        "accelerator": "GPU",
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert NOTEBOOK.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}


def test_cells_are_short_and_each_is_introduced():
    kinds = [cell["cell_type"] for cell in NOTEBOOK["cells"]]
    assert max(code.count("\n") for code in CODE) < 30
    assert "code code" not in " ".join(kinds)


def test_the_files_that_its_text_names_exist():
    pages = re.findall(r"`(docs/[^`]+)`", TEXT)
    assert pages
    assert [page for page in pages if not (REPOSITORY / page).is_file()] == []


@pytest.mark.newest_release
def test_its_commands_exist(real_checkout):
    commands = list(calls("in_yolov5"))
    assert [command[0] for command in commands] == ["train", "val", "detect", "models.backbone", "export"]
    shared = {word for code in CODE for word in re.findall(r'"(--[\w-]+)"', code)}
    for program, *words in commands:
        ours = REPOSITORY / "models" / "backbone" / "__main__.py"
        source = ours if program == "models.backbone" else real_checkout / f"{program}.py"
        text = source.read_text(encoding="utf-8").replace("'", '"')
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in text] == []
        shared -= {word for word in shared if f'"{word}"' in text}
    assert shared == {"--depth", "--quiet"}, "these are of git and pip"


def test_its_other_commands_exist():
    first = [command[0] for command in calls("run") if command]
    assert set(first) == {"git", "python", "best.torchscript"}  # the last one's program is pnnx's own
    assert ["python", "apply_patch.py"] in calls("run")
    assert (REPOSITORY / "apply_patch.py").is_file()


def test_settings_may_come_from_the_environment(monkeypatch):
    names = {}
    monkeypatch.setenv("NOTEBOOK_SETTINGS", '{"EPOCHS": 1, "IMAGE_SIZE": 64}')
    exec(cell_with("NOTEBOOK_SETTINGS"), names)
    assert (names["EPOCHS"], names["IMAGE_SIZE"], names["WEIGHTS"]) == (1, 64, True)
    monkeypatch.setenv("NOTEBOOK_SETTINGS", '{"IMAGE_SIZE": 100}')
    with pytest.raises(AssertionError, match="must be a multiple of 32"):
        exec(cell_with("NOTEBOOK_SETTINGS"), names)


@pytest.fixture
def helper():
    """What the cell defines that runs commands."""
    names = {}
    exec(cell_with("def run("), names)
    return names


def test_a_command_is_shown_with_what_it_prints(helper, capsys):
    helper["run"](
        "python", "-c", "import sys; print('out'); sys.stdout.flush(); print('err', end='\\r', file=sys.stderr)"
    )
    assert capsys.readouterr().out.splitlines()[1:] == ["out", "err"]


def test_a_command_that_fails_stops_the_notebook(helper):
    with pytest.raises(RuntimeError, match=r"failed, and says why above: python -c '1 / 0'"):
        helper["run"]("python", "-c", "1 / 0")


def fetched(helper, **settings):
    """Run the cell that fetches the project and YOLOv5, and return its names."""
    names = {**helper, "PATCH": "", "YOLOV5": str(MINIHOST), **settings}
    exec(cell_with('apply_patch.py").is_file'), names)
    return names


@pytest.mark.parametrize("place", [".", "examples"])
def test_a_clone_of_the_project_is_found(helper, tmp_path, monkeypatch, place):
    (tmp_path / "apply_patch.py").touch()
    (tmp_path / place).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    names = fetched(helper)
    assert names["patch"] == tmp_path
    assert names["yolov5"] == tmp_path / "build" / "notebook" / "yolov5"
    assert (names["yolov5"] / "models" / "yolo.py").is_file()


def test_the_project_and_yolov5_are_cloned(helper, tmp_path, monkeypatch):
    for name in ("project", "yolov5"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "apply_patch.py").touch()
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
            subprocess.run(git, cwd=tmp_path / name, check=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ValueError, match="write its address into PATCH"):
        fetched(helper)
    names = fetched(helper, PATCH=f"file://{tmp_path}/project", YOLOV5=f"file://{tmp_path}/yolov5")
    assert names["patch"] == tmp_path / "here" / "yolov5-efficientvit"
    assert (names["yolov5"] / ".git").is_dir()
    assert fetched(helper)["patch"] == names["patch"], "a second time, it is there"


LAYOUTS = {
    "as the text shows": ("train: images/train\nval: images/val\nnames: [cat, dog]\n", "images/{}"),
    "names by number": ("train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n", "images/{}"),
    "with a relative path": ("path: set\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n", "set/images/{}"),
    "with a full path": (
        "path: FOLDER/set\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n",
        "set/images/{}",
    ),
    "of Roboflow": ("train: ../train/images\nval: ../val/images\nnames: [cat, dog]\n", "{}/images"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_photographs_and_labels_are_found(name, tmp_path, capsys):
    yaml = pytest.importorskip("yaml")
    text, images = LAYOUTS[name]
    for split in ("train", "val"):
        folder = tmp_path / images.format(split)
        labels = Path(str(folder).replace("images", "labels"))
        folder.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.jpg").touch()
        (labels / "0.txt").write_text("1 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.1 0.1\n")
        (labels / "1.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text(text.replace("FOLDER", str(tmp_path)))
    (tmp_path / "work").mkdir()
    names = {"Path": Path, "DATA": str(tmp_path / "data.yaml"), "work": tmp_path / "work"}
    exec(cell_with("yaml.safe_load(source"), names)
    written = yaml.safe_load((tmp_path / "work" / "data.yaml").read_text())
    assert [written[split] for split in ("train", "val")] == [
        str(tmp_path / images.format(split)) for split in ("train", "val")
    ]
    capsys.readouterr()
    exec(cell_with("Counter("), names)
    counted = "{}: 3 photographs, 1 of them without a box; {{'dog': 2, 'cat': 1}}\n"
    assert capsys.readouterr().out == counted.format("train") + counted.format("val")
    shutil.rmtree(Path(written["val"].replace("images", "labels")))
    with pytest.raises(ValueError, match="val has no boxes"):
        exec(cell_with("Counter("), names)
