"""The rewriter on the text of a miniature host, in many dresses."""

import ast

import pytest

from patches.errors import PatchError
from patches.source.blocks import split_lines
from patches.source.edits import EDITS
from patches.source.rewrite import apply, revert
from tests import TESTS

MINIHOST = TESTS / "minihost"
MINI = (MINIHOST / "models" / "yolo.py").read_text(encoding="utf-8")


def edited(*replacements):
    text = MINI
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


VALUE_LINE = "            value = layer(value)\n"
KEEP_LINE = "            results.append(value if layer.i in self.kept else None)\n"
RESET = "        if number == 0:\n            widths = []\n"
RETURN = "return nn.Sequential(*built), sorted(wanted)"
LOOP = 'for number, (source, repeats, kind, options) in enumerate(config["backbone"] + config["head"]):'

DRESSES = {
    "as it is": MINI,
    "crlf": MINI.replace("\n", "\r\n"),
    "cr": MINI.replace("\n", "\r"),
    "tabs": MINI.replace("    ", "\t"),
    "no final newline": MINI.rstrip("\n"),
    "form feed between functions": MINI.replace("\n\ndef parse", "\n\x0c\ndef parse"),
    "line separator in a string": edited(('"layers"', '"lay\u2028ers"')),
    "pip package": MINI.replace("from models.", "from yolov5.models."),
    "relative": MINI.replace("from models.", "from ."),
    "another iterable": edited((LOOP, LOOP.replace('config["backbone"] + config["head"]', "config"))),
    "print instead of a logger": MINI.replace("TABLE.info", "print"),
    "comments everywhere": MINI.replace("\n        for ", "  # before\n        # above\n        for "),
    "continued lines": edited(
        (
            "from models.common import C3, SPPF, Concat, Conv",
            "from models.common import (\n    C3,\n    SPPF,\n    Concat,\n    Conv,\n)",
        )
    ),
    "no fuse": edited(("def fuse(", "def melt(")),
    "two forwards": MINI.replace(
        "class Net(", MINI[MINI.index("class Net(") : MINI.index("def parse")].replace("Net", "A") + "class Net("
    ),
    "enumerated layers": edited(("for layer in self.model:", "for k, layer in enumerate(self.model):")),
    "run in two branches": edited(
        (VALUE_LINE, f"            if layer.i:\n    {VALUE_LINE}            else:\n    {VALUE_LINE}")
    ),
    "run inside try": edited((VALUE_LINE, f"            try:\n    {VALUE_LINE}            finally:\n                pass\n")),
    "timed before": edited((VALUE_LINE, f"            for _ in range(3):\n                _ = layer(value)\n{VALUE_LINE}")),
    "early exit": edited((VALUE_LINE, f"            if self.traced and layer.i == 9:\n                break\n{VALUE_LINE}")),
    "rows unpacked in the body": edited(
        (LOOP, LOOP.replace("(source, repeats, kind, options)", "row") + "\n        source, repeats, kind, options = row")
    ),
    "loop inside if": edited(
        (MINI[MINI.index(f"    {LOOP}") : MINI.index(f"    {RETURN}")], "    if config:\n" + "".join(
            f"    {line}\n" if line else "\n" for line in MINI[MINI.index(f"    {LOOP}") : MINI.index(f"    {RETURN}")].splitlines()
        ))
    ),
    "more returned": edited((RETURN, f"{RETURN}, len(built)")),
    "sequence made before": edited((RETURN, "net = nn.Sequential(*built)\n    return net, sorted(wanted)")),
    "image's channels kept": edited((RESET, ""), ("sum(widths[index] for index", "sum(widths[-1 if index == -1 else index + 1] for index")),
}  # fmt: skip


@pytest.mark.parametrize("source", DRESSES.values(), ids=DRESSES)
def test_applies_and_reverts_exactly(source):
    patched = apply(source)
    assert patched != source
    ast.parse(patched)
    assert revert(patched) == source
    assert apply(patched) == patched


@pytest.mark.parametrize("source", DRESSES.values(), ids=DRESSES)
def test_only_inserts(source):
    remaining = iter(split_lines(apply(source)))
    assert all(line in remaining for line in split_lines(source)), "the host's lines, all of them, in their order"


@pytest.mark.parametrize("source", DRESSES.values(), ids=DRESSES)
def test_line_ends_are_those_of_the_file(source):
    def ends(text):
        return {line[len(line.rstrip("\r\n")) :] for line in split_lines(text)}

    assert ends(apply(source)) == ends(source)


def test_reverting_what_is_not_patched_changes_nothing():
    assert revert(MINI) == MINI


def test_what_is_inserted():
    inserted = [line for line in split_lines(apply(MINI)) if line not in split_lines(MINI)]
    code = [line.strip() for line in inserted if not line.strip().startswith("#")]
    assert code == [
        "from models.backbone import yolo as backbone_host",
        "if isinstance(layer, backbone_host.Backbone):",
        "value = backbone_host.unpack_maps(layer, value, results, self.kept)",
        "backbone_host.fuse_backbones(self.model)",
        "backbone_rows = backbone_host.BackboneRows(TABLE.info)",
        "number = backbone_rows.layer_index(number, source, kind, options, widths)",
        "if backbone_rows.is_backbone(kind):",
        "widths = backbone_rows.build(number, source, repeats, kind, options, widths, wanted, built)",
        "continue",
        "backbone_host.warn_of_cut_neck(net, count, TABLE.info)",
    ]


@pytest.mark.parametrize(
    "new", ["net.model = net.model[:10]", "net.model = net.model[1:count]", "net.kept = net.model[:count]"]
)
def test_a_classifier_of_another_make_gets_no_block(new):
    patched = apply(edited(("net.model = net.model[:count]", new)))
    assert "warn_of_cut_neck" not in patched
    assert "unpack_maps" in patched


def test_a_logger_that_is_bound_too_late_is_not_used():
    late = edited((f"    {RETURN}", f"    report = TABLE\n    report.info('done')\n    {RETURN}")).replace(
        "TABLE.info(", "print("
    )
    assert "BackboneRows(print)" in apply(late)


def test_a_conflict_marker_in_a_string_is_none():
    assert apply(edited(("and names of its own.", "and names.\n<<<<<<< not one\n")))


def test_every_forward_and_fuse_is_patched():
    patched = apply(DRESSES["two forwards"])
    assert patched.count("unpack_maps") == patched.count("fuse_backbones") == 2
    assert apply(DRESSES["run in two branches"]).count("unpack_maps") == 2


def test_the_numbering_of_the_channels_is_reported():
    assert "BackboneRows(TABLE.info)\n" in apply(MINI)
    assert "BackboneRows(TABLE.info, image_channels_kept=True)\n" in apply(DRESSES["image's channels kept"])


@pytest.mark.parametrize(
    "edit", [edit for edit in EDITS if (MINIHOST / edit.name).is_file()], ids=lambda edit: edit.name
)
def test_each_file_of_the_host(edit):
    source = (MINIHOST / edit.name).read_text(encoding="utf-8")
    patched = apply(source, edit.name, edit)
    assert patched != source
    assert revert(patched, edit.name, edit) == source


TF = (MINIHOST / "models" / "tf.py").read_text(encoding="utf-8")
(TF_EDIT,) = (edit for edit in EDITS if edit.name == "models/tf.py")


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (
            EDITS[0],
            [
                "from models.backbone import yolo as backbone_host",
                "    backbone_host.warn_of_frozen_neck(net, LOG.info)",
                "    backbone_host.train_whole_backbones(stepper, net, print)",
                "        net = backbone_host.begin_epoch(net, turn, LOG.info)",
                '    backbone_host.forget_weights(kept["net"].yaml)',
                "    backbone_host.fit_backbones(net, values, LOG.info)",
            ],
        ),
        (
            TF_EDIT,
            [
                "from models.backbone.yolo import keras_rows as backbone_host",
                "    backbone_rows = backbone_host.TensorFlowRows(TABLE.info, image_channels_kept=True)",
                "    net = backbone_rows.number(net)",
                "        number = backbone_rows.layer_index(number, source, kind, options, widths)",
                "        if backbone_rows.is_backbone(kind):",
                "            widths = backbone_rows.build(number, source, repeats, kind, options, widths, wanted, built)",
                "            continue",
                "            if isinstance(layer, backbone_host.KerasBackbone):",
                "                value = backbone_host.unpack_maps(layer, value, results, self.kept)",
            ],
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_is_inserted_into_the_other_files(edit, code):
    source = (MINIHOST / edit.name).read_text()
    inserted = [line for line in apply(source, edit.name, edit).splitlines() if line not in source.splitlines()]
    assert [line for line in inserted if not line.strip().startswith("#")] == code


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("net.model[number]", "net.model[number + 1]", "found no parameter of parse_model of which its loop takes"),
        ("net.model[number]", "net.model[number] if net.model else None", "found no parameter"),
        ("keras.Sequential(built)", "Stack(built)", "found no 'nn.Sequential"),
        ("in self.model.layers", "in self.layers", "found no forward that .* over self.model.layers"),
    ],
)
def test_an_export_of_another_make_is_refused(old, new, message):
    assert TF.count(old) == 1
    with pytest.raises(PatchError, match=message):
        apply(TF.replace(old, new), TF_EDIT.name, TF_EDIT)


TRAIN = (MINIHOST / "train.py").read_text(encoding="utf-8")
GROUP = '    stepper.add_param_group({"params": others, "weight_decay": 0.1})\n'
CALL = "backbone_host.train_whole_backbones(stepper, net, print)"


def train_lines(old, new):
    """Return the lines of a patched train.py in which `old` is replaced, without indents and markers."""
    assert TRAIN.count(old) == 1
    patched = apply(TRAIN.replace(old, new), EDITS[0].name, EDITS[0])
    assert revert(patched, "train.py", EDITS[0]) == TRAIN.replace(old, new)
    return [line.strip() for line in patched.splitlines() if not line.strip().startswith("#")]


@pytest.mark.parametrize(
    ("new", "before"),
    [
        (GROUP * 2, GROUP.strip()),
        (GROUP + "    del others\n", GROUP.strip()),
        (f"    if others:\n    {GROUP}", GROUP.strip()),
        ("    stepper = smart_optimizer(net, 0.01)\n", "stepper = smart_optimizer(net, 0.01)"),
        ("    stepper = utils.smart_optimizer(\n        net\n    )\n", ")"),
    ],
    ids=["two groups", "something behind", "a branch", "smart_optimizer", "its module"],
)
def test_the_optimizer_is_completed_behind_its_last_group(new, before):
    lines = train_lines(GROUP, new)
    assert lines.count(CALL) == 1
    assert lines[lines.index(CALL) - 1] == before
    assert GROUP.strip() not in lines[lines.index(CALL) :]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (GROUP, ""),
        (GROUP, "    stepper = make_optimizer(net)\n"),
        (GROUP, "    self.stepper = smart_optimizer(net)\n"),
        ("in net.modules()", "in walk(net)"),
        (GROUP, f"    for layer in other.modules():\n        pass\n{GROUP}"),
        (GROUP, f"    for others in others:\n    {GROUP}"),
    ],
    ids=["no group", "another function", "an attribute", "another loop", "two models", "in a loop"],
)
def test_an_optimizer_of_another_make_gets_no_block(old, new):
    lines = train_lines(old, new)
    assert not [line for line in lines if "train_whole_backbones" in line]
    assert [line for line in lines if "warn_of_frozen_neck" in line]


@pytest.mark.parametrize("old", ["0.0.9", "7.1.0"])
def test_another_version_is_replaced_in_place(old):
    patched = apply(MINI)
    version = patched.split("yolov5-efficientvit ")[1].split(":")[0]
    assert apply(patched.replace(f" {version}:", f" {old}:")) == patched


REFUSED = {
    "not python": ("def (:", "yolo.py, line 1: this is not valid Python"),
    "null byte": (MINI + "\0", "this is not valid Python"),
    "too deep": (MINI + "x = " + "(" * 5000 + ")" * 5000 + "\n", "this is not valid Python"),
    "conflict markers": (edited((VALUE_LINE, "<<<<<<< HEAD\n" + VALUE_LINE)), "line 42: this is a conflict marker"),
    "empty": ("", "found no function parse_model"),
    "no import": (edited(("from models.common import", "from common import")), "no top-level import from models.common"),
    "no parse_model": (edited(("def parse_model(config", "def parse(config")), "no function parse_model"),
    "no row loop": (edited((LOOP, LOOP.replace("(source, repeats, kind, options)", "row"))), "found no loop over"),
    "five entries a row": (edited((LOOP, LOOP.replace("options)", "options, title)"))), "found no loop over"),
    "two row loops": (edited((f"    {LOOP}", f"    {LOOP}\n        pass\n    {LOOP}")), "lines 56 and 58: parse_model goes"),
    "no channels": (edited(("def parse_model(config, widths)", "def parse_model(config)")), "no second parameter"),
    "unknown numbering": (edited((RESET, "")), "found no clear numbering of widths"),
    "another return": (edited((RETURN, "return built")), "found no 'nn.Sequential"),
    "layers not in a list": (edited(("built.append(layer)", "built += [layer]")), "found no 'nn.Sequential"),
    "save not in a list": (edited(("wanted.extend(", "wanted.update(")), "found no 'save.extend"),
    "no forward": (edited(("value = layer(value)", "value = self.run(layer, value)")), "found no forward"),
    "run twice": (edited((VALUE_LINE, VALUE_LINE * 2)), "found no forward"),
    "run twice in a with": (edited((VALUE_LINE, f"            with layer:\n    {VALUE_LINE}    {VALUE_LINE}")), "found no forward"),
    "run in a loop": (edited((VALUE_LINE, f"            for _ in range(3):\n    {VALUE_LINE}")), "found no forward"),
    "run in a handler": (edited((VALUE_LINE, f"            try:\n    {VALUE_LINE}            except ValueError:\n    {VALUE_LINE}")), "found no forward"),
    "outputs kept otherwise": (edited((KEEP_LINE, "            results.append(value)\n")), "found no forward"),
    "kept by a count of the loop's own": (edited(("for layer in self.model:", "for k, layer in enumerate(self.model):"), ("layer.i in self.kept", "k in self.kept")), "found no forward"),
    "hand-made patch": (edited(("        results = []\n", "        is_backbone = False\n        results = []\n")), "line 34: is_backbone"),
    "hand-made patch, other hand": (edited((KEEP_LINE, KEEP_LINE + "            hasattr(layer, 'backbone')\n")), "belongs to a hand-made patch"),
    "names taken": (edited(("TABLE = ", "backbone_host = TABLE = ")), "line 11: backbone_host = TABLE"),
    "shared line": (edited((VALUE_LINE, "            value = layer(value); pass\n")), "shares its line with another"),
    "shared line, in front": (edited((VALUE_LINE, "            pass; value = layer(value)\n")), "shares its line with another"),
    "continued line": (edited((VALUE_LINE, "            if layer: \\\n                value = layer(value)\n")), "shares its line with another"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_and_says_why(source, message):
    with pytest.raises(PatchError, match=message):
        apply(source, "yolo.py")


def test_text_between_markers_of_another_tool_stays():
    source = "# >>> conda initialize >>>\nx = 1\n# <<< conda initialize <<<\n"
    assert revert(source, "yolo.py") == source
