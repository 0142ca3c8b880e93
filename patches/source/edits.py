"""The insertions into each file of the host: blocks of a few lines that call `models/backbone/yolo/`."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Callable, Mapping, Sequence

from ..errors import AnchorMissingError, PatchError
from .blocks import HOST, ROWS, Block
from .forward import Forward, find_forwards
from .parse_loop import ParseLoop, find_parse_loop, weights_name
from .syntax import Lines, dotted_name, name_of, walk
from .training import Place, find_epoch, find_freeze, find_load, find_optimizer, find_rebuild

FORMER_MODULES = {"yolo": "host", "keras_rows": "tensorflow_host"}  # module names in earlier versions of the patch
OUR_CLASSES = re.compile(r"EfficientViT_M\d|TimmBackbone")  # in a patched checkout, yamls mean ours by these names


@dataclass(frozen=True, eq=False)
class Edit:
    """One file of the host, and a function that returns the blocks for it.

    Attributes:
        required: whether the patch cannot do without it; another file that lacks the places is left as it is.
        purposes: what goes wrong without a block, by the block's name.
    """

    name: str
    blocks: Callable[[ast.Module, Lines], Sequence[Block]]
    required: bool = False
    purposes: Mapping[str, str] = field(default_factory=dict)


def yolo_blocks(tree: ast.Module, lines: Lines) -> list[Block]:
    """Build backbones, unpack their maps, fuse them, and warn when a classifier cuts the neck."""
    refuse_other_patches(tree, lines.filename)
    parse = find_parse_loop(tree, lines.filename)
    forwards, fuse_loops = find_forwards(tree, lines.filename)
    blocks = [
        import_block(tree, lines),
        *parse_blocks(parse, lines, "BackboneRows"),
        *forward_blocks(forwards, lines, "Backbone", indent_step(parse.rows.loop, lines)),
    ]
    for loop in fuse_loops:
        blocks.append(Block(lines.before(loop), lines.indent(loop), "fuse", [f"{HOST}.fuse_backbones(self.model)"]))
    return blocks + cut_blocks(tree, lines, parse.log)


def cut_blocks(tree: ast.Module, lines: Lines, log: str) -> list[Block]:
    """Warn where a classifier keeps the first layers of a detector, perhaps with a part of its neck; since v6.2."""
    for function in walk(tree, ast.FunctionDef):
        for statement in function.body:
            cut = cut_model(statement)
            if cut:
                body = [f"{HOST}.warn_of_cut_neck({', '.join(cut)}, {log})"]
                return [Block(lines.before(statement), lines.indent(statement), "cut", body)]
    return []


def cut_model(statement: ast.stmt) -> tuple[str, str] | None:
    """Return x and n of `x.model = x.model[:n]`, or None for another statement."""
    if not (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Subscript)):
        return None
    kept, part = dotted_name(statement.targets[0]), statement.value.slice
    if not (kept and kept == dotted_name(statement.value.value) and isinstance(part, ast.Slice) and not part.lower):
        return None
    model, _, attribute = kept.rpartition(".")
    count = name_of(part.upper) if part.upper else None
    return (model, count) if count and model and attribute == "model" else None


def tf_blocks(tree: ast.Module, lines: Lines) -> list[Block]:
    """Let the TensorFlow export build Keras backbones from PyTorch ones, and its forward unpack their maps.

    It reads the PyTorch layer of a row from `model.model[i]`, so it gets a `model` that is numbered by layer index.
    """
    parse = find_parse_loop(tree, lines.filename)
    forwards, _ = find_forwards(tree, lines.filename, "self.model.layers")
    model = weights_name(parse.rows, lines.filename)
    return [
        import_block(tree, lines, ".yolo", "keras_rows"),
        *parse_blocks(parse, lines, "TensorFlowRows", [f"{model} = {ROWS}.number({model})"]),
        *forward_blocks(forwards, lines, "KerasBackbone", indent_step(parse.rows.loop, lines)),
    ]


def parse_blocks(parse: ParseLoop, lines: Lines, helper: str, setup: Sequence[str] = ()) -> list[Block]:
    """Let a `parse_model` shift the layer indices, and build the rows of backbones by our class `helper`.

    `setup` are further lines before the loop.
    """
    rows = parse.rows
    source_name, _, module, args = rows.row
    options = ", image_channels_kept=True" if parse.keeps_image_channels else ""
    step = indent_step(rows.loop, lines)
    build_args = [rows.index, *rows.row, parse.channels, parse.save, parse.layers]
    row = [
        f"{rows.index} = {ROWS}.layer_index({rows.index}, {source_name}, {module}, {args}, {parse.channels})",
        f"if {ROWS}.is_backbone({module}):",
        f"{step}{parse.channels} = {ROWS}.build({', '.join(build_args)})",
        f"{step}continue",
    ]
    row_line = lines.after(rows.start) if rows.start else lines.before(rows.loop.body[0])
    begin = [f"{ROWS} = {HOST}.{helper}({parse.log}{options})", *setup]
    return [
        Block(lines.before(rows.loop), lines.indent(rows.loop), "rows", begin),
        Block(row_line, lines.indent(rows.loop.body[0]), "row", row),
    ]


def forward_blocks(forwards: Sequence[Forward], lines: Lines, layer_class: str, step: str) -> list[Block]:
    """Let each loop that runs the layers unpack the maps of a backbone, an instance of `layer_class`."""
    blocks = []
    for forward in forwards:
        body = [
            f"if isinstance({forward.layer}, {HOST}.{layer_class}):",
            f"{step}{forward.value} = "
            f"{HOST}.unpack_maps({forward.layer}, {forward.value}, {forward.outputs}, {forward.save})",
        ]
        blocks += [Block(lines.after(run), lines.indent(run), "maps", body) for run in forward.runs]
    return blocks


def indent_step(loop: ast.For, lines: Lines) -> str:
    """Return the white space by which the body of a loop is indented."""
    return lines.indent(loop.body[0])[len(lines.indent(loop)) :]


def train_blocks(tree: ast.Module, lines: Lines) -> list[Block]:
    """Forget weights files, log what is not loaded, warn about `--freeze`, extend the optimizer, begin each epoch.

    A place that is missing gets no block.
    """
    calls: list[tuple[str, Place | None, Callable[[ast.stmt], int], str]] = [
        ("rebuild", find_rebuild(tree, "".join(lines.lines)), lines.before, "{host}.forget_weights({source})"),
        ("load", find_load(tree), lines.before, "{host}.fit_backbones({model}, {source}, {log})"),
        ("freeze", find_freeze(tree), lines.after, "{host}.warn_of_frozen_neck({model}, {log})"),
        ("optimizer", find_optimizer(tree), lines.after, "{host}.train_whole_backbones({source}, {model}, {log})"),
        ("epoch", find_epoch(tree), lines.before, "{model} = {host}.begin_epoch({model}, {source}, {log})"),
    ]
    blocks = []
    for name, place, line_of, call in calls:
        if place:
            body = [call.format(host=HOST, model=place.model, source=place.source, log=place.log)]
            blocks.append(Block(line_of(place.statement), lines.indent(place.statement), name, body))
    if not blocks:
        raise AnchorMissingError(lines.filename, "optimizer of the model's parameters, nor a loop that freezes some")
    return [import_block(tree, lines), *blocks]


def import_block(tree: ast.Module, lines: Lines, subpackage: str = "", module: str = "yolo") -> Block:
    """Import a module of ours above the file's first import from a sibling of models/yolo.py, and in the same style.

    Import sorters put it there too.
    """
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and models_package(node) is not None]
    if not imports:
        raise AnchorMissingError(lines.filename, "top-level import from models.common")
    first = imports[0]
    package = models_package(first)
    assert package
    dot = "" if package == "." else "."
    package = f"{package}{dot}backbone"
    former = [f"from {package} import {FORMER_MODULES[module]} as {HOST}"]
    body = [f"from {package}{subpackage} import {module} as {HOST}"]
    return Block(lines.before(first), lines.indent(first), "import", body, former)


def models_package(node: ast.ImportFrom) -> str | None:
    """Return the package in an import from a sibling of models/yolo.py: `models`, `yolov5.models`, `.` or None."""
    package, _, module = (node.module or "").rpartition(".")
    if node.level == 1 and not package and module in ("common", "experimental", "yolo"):
        return "."
    if node.level == 0 and package.split(".")[-1] == "models":
        return package
    return None


def refuse_other_patches(tree: ast.Module, filename: str) -> None:
    """Refuse a file with a hand-made patch for backbones of several maps.

    Raises:
        PatchError: the message shows the line.
    """
    for node in walk(tree, ast.expr):
        found = hand_made(node)
        if found:
            raise PatchError(
                "hand-made patch",
                f"{filename}, line {node.lineno}: {found} belongs to a hand-made patch for backbones of several "
                "maps, and two such patches do not go together. Take all of it out, or restore the file from its "
                "release, and run this again; docs/moving-over.md lists its parts, and brings a trained .pt over.",
            )


def hand_made(node: ast.expr) -> str:
    """Return the part of an expression that belongs to a hand-made patch, or ""."""
    if isinstance(node, ast.Name) and (node.id in ("is_backbone", "is_timm") or OUR_CLASSES.fullmatch(node.id)):
        return node.id
    if isinstance(node, ast.Call) and name_of(node.func) == "hasattr" and len(node.args) == 2:
        attribute = node.args[1]
        if isinstance(attribute, ast.Constant) and attribute.value == "backbone":
            return "hasattr(..., 'backbone')"
    return ""


YOLO = Edit("models/yolo.py", yolo_blocks, required=True)

LOAD = {
    "rebuild": "resuming a detector needs the weights file that its backbone started from",
    "load": "nothing tells which tensors of a backbone --weights leaves out",
}
FREEZE = {"freeze": "--freeze gives no warning when it reaches past the backbone"}
TRAIN = {
    "optimizer": "layer scales and the like of some timm backbones may stay untrained",
    "epoch": "frozen_epochs never unfreezes the backbone",
}

# In the order in which they are written: models/yolo.py last, because our yamls work from then on.
EDITS = (
    Edit("train.py", train_blocks, purposes={**LOAD, **FREEZE, **TRAIN}),
    Edit("segment/train.py", train_blocks, purposes={**LOAD, **FREEZE, **TRAIN}),
    Edit("classify/train.py", train_blocks, purposes=TRAIN),
    Edit("models/tf.py", tf_blocks, purposes={"rows": "export to TensorFlow fails with a NameError"}),
    YOLO,
)
