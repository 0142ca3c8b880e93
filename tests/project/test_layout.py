"""The folders show the architecture: imports run one way between them, none has many modules, and no file is long."""

import ast
from collections import Counter
from pathlib import PurePosixPath

import pytest

from tests import REPOSITORY

MODULES_IN_A_FOLDER, LINES_IN_A_FILE = 9, 320

# Each room, a folder or a module, imports itself and those to its right. Rooms in one set do not know each other.
PATCHES = [
    {"command"},
    {"show"},
    {"report"},
    {"text"},
    {"trial"},
    {"install"},
    {"source"},
    {"errors", "output"},
    {"__init__"},
]
BACKBONE = [
    {"__main__"},
    {"tools"},
    {"yolo", "looking"},
    {"timm_backbone", "efficientvit"},
    {"registry", "checkpoints"},
    {"frozen"},
    {"contract", "normalization"},
    {"batch_norm", "exporting", "imported_twice"},
    {"__init__"},
]
ROOMS = {"patches": PATCHES, "models/backbone": BACKBONE}


def imports_of(path, package):
    """Yield the modules of the package that a module imports, also inside functions, by their path in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {name.split(".")[0] for name in names} & {"models", "patches"}, f"{path}: import with a dot"
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = PurePosixPath(path.relative_to(package).as_posix()).parents[node.level - 1]
            names = [node.module.replace(".", "/")] if node.module else [alias.name for alias in node.names]
            for name in names:
                module = package / folder / name
                is_module = module.with_suffix(".py").is_file() or module.is_dir()
                yield str(folder / name) if is_module else str(folder / "__init__")


def graph_of(name):
    """Return, for each module of a package, the modules that it imports."""
    package = REPOSITORY / name
    return {
        str(PurePosixPath(path.relative_to(package).as_posix()).with_suffix("")): set(imports_of(path, package))
        for path in sorted(package.rglob("*.py"))
    }


def room_of(module):
    return module.split("/")[0]


@pytest.mark.parametrize("name", ROOMS)
def test_imports_run_one_way_between_rooms(name):
    floor = {room: number for number, rooms in enumerate(ROOMS[name]) for room in rooms}
    graph = graph_of(name)
    assert {room_of(module) for module in graph} == floor.keys()
    assert sum(map(len, graph.values())) > len(graph), "the imports were read"
    for module, imported in graph.items():
        for other in imported:
            allowed = room_of(other) == room_of(module) or floor[room_of(other)] > floor[room_of(module)]
            assert allowed, f"{name}/{module}.py imports {other}, which is not below it"


@pytest.mark.parametrize("name", ROOMS)
def test_no_module_imports_itself_in_a_circle(name):
    graph = graph_of(name)
    while graph:
        leaves = {module for module, imported in graph.items() if not imported & graph.keys() - {module}}
        assert leaves, f"these import each other in a circle: {', '.join(sorted(graph))}"
        graph = {module: imported for module, imported in graph.items() if module not in leaves}


def test_a_circle_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "REPOSITORY", tmp_path)
    (tmp_path / "patches" / "room").mkdir(parents=True)
    (tmp_path / "patches" / "a.py").write_text("def late():\n    from .room.b import x\n")
    (tmp_path / "patches" / "room" / "b.py").write_text("from .. import a\n")
    with pytest.raises(AssertionError, match="in a circle: a, room/b"):
        test_no_module_imports_itself_in_a_circle("patches")


def python_files():
    """Return every Python file of the project; not those of environments and of unpacked releases."""
    left_out = {"build"}
    files = [*REPOSITORY.glob("*.py")]
    for folder in REPOSITORY.iterdir():
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in left_out:
            files += [
                path
                for path in folder.rglob("*.py")
                if not any(part.startswith(".") for part in path.parts[len(REPOSITORY.parts) :])
            ]
    return files


def test_no_folder_has_many_modules():
    counts = Counter(
        path.parent for path in python_files() if path.relative_to(REPOSITORY).parts[0] in ("models", "patches")
    )
    assert len(counts) > 5
    assert {str(folder): count for folder, count in counts.items() if count > MODULES_IN_A_FOLDER} == {}


def test_no_file_is_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert len(lengths) > 100
    assert {str(path): length for path, length in lengths.items() if length > LINES_IN_A_FILE} == {}
