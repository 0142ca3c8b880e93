"""The layers of the code: imports run one way between them, no folder has many modules, and no file is long."""

import ast
from collections import Counter
from pathlib import PurePosixPath

import pytest

from tests import REPOSITORY

MODULES_IN_A_FOLDER, LINES_IN_A_FILE = 9, 320

# From the top layer down. A folder or a module imports from itself and from lower layers only; those in one set are
# independent of each other.
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
LAYERS = {"patches": PATCHES, "models/backbone": BACKBONE}


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


def part_of(module):
    """Return the folder or the module at the top of a package that a module belongs to."""
    return module.split("/")[0]


@pytest.mark.parametrize("name", LAYERS)
def test_imports_run_one_way_between_layers(name):
    layer = {part: number for number, parts in enumerate(LAYERS[name]) for part in parts}
    graph = graph_of(name)
    assert {part_of(module) for module in graph} == layer.keys()
    assert sum(map(len, graph.values())) > len(graph), "the imports were read"
    for module, imported in graph.items():
        for other in imported:
            allowed = part_of(other) == part_of(module) or layer[part_of(other)] > layer[part_of(module)]
            assert allowed, f"{name}/{module}.py imports {other}, which is not below it"


@pytest.mark.parametrize("name", LAYERS)
def test_no_module_imports_itself_in_a_circle(name):
    graph = graph_of(name)
    while graph:
        leaves = {module for module, imported in graph.items() if not imported & graph.keys() - {module}}
        assert leaves, f"these import each other in a circle: {', '.join(sorted(graph))}"
        graph = {module: imported for module, imported in graph.items() if module not in leaves}


def test_a_circle_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "REPOSITORY", tmp_path)
    (tmp_path / "patches" / "part").mkdir(parents=True)
    (tmp_path / "patches" / "a.py").write_text("def late():\n    from .part.b import x\n")
    (tmp_path / "patches" / "part" / "b.py").write_text("from .. import a\n")
    with pytest.raises(AssertionError, match="in a circle: a, part/b"):
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
