"""Mutated sources: the patch applies and reverts exactly, or refuses and leaves everything; it never does worse."""

import contextlib
import importlib.util
import re
import signal
import sys
import warnings

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from patches.errors import PatchError
from patches.install.checkout import Checkout
from patches.install.plan import plan_apply, plan_revert
from patches.trial.probe import tensors
from tests.compare_maps import assert_same
from tests.conftest import MINIHOST, RELEASES
from tests.examples import examples
from tests.mutations import encode, mutate

EXAMPLES = 500  # a minute; thousands are worth their time when something in patches/ has changed
STRAY_END = re.compile(r"^.*# <<< yolov5-efficientvit$\n?", re.MULTILINE)  # it is ours, and does not come back
STOCK = {"backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "C3", [8]]], "head": [[[-1, 0], 1, "Concat", [1]]]}
SOURCES = [
    (MINIHOST / "models" / "yolo.py").read_text(encoding="utf-8"),
    *((release / "models" / "yolo.py").read_text(encoding="utf-8") for release in RELEASES),
]


@pytest.fixture(scope="module")
def seen():
    """Counts outcomes; both must be frequent, or the mutations are too gentle or too wild to show anything."""
    counts = {"applied": 0, "refused": 0, "ran": 0}
    yield counts
    if counts["applied"] + counts["refused"] >= EXAMPLES:
        assert min(counts["applied"], counts["refused"]) > EXAMPLES / 5, counts
        assert counts["ran"] > EXAMPLES / 20, counts


@pytest.fixture
def common(monkeypatch):
    """Lets a source of the miniature host be run here: makes its models.common importable."""
    spec = importlib.util.spec_from_file_location("models.common", MINIHOST / "models" / "common.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "models.common", module)


def put(checkout, changes):
    """Write what a plan changes in the host's file."""
    for change in changes:
        if change.name == "models/yolo.py":
            (checkout / change.name).write_bytes(change.after)


@examples(EXAMPLES)
@hypothesis.given(data=st.data())
def test_applied_and_reverts_exactly_or_refused_and_untouched(checkout, common, seen, data):
    def choose(options):
        return options[data.draw(st.integers(0, len(options) - 1))]

    mini = choose([True, True, True, False])
    source = SOURCES[0] if mini else choose(SOURCES)
    text = mutate(source, choose, choose([1, 1, 2, 3, 5]))
    original = encode(STRAY_END.sub("", text), choose)
    host = checkout / "models" / "yolo.py"
    host.write_bytes(original)
    try:
        changes = plan_apply(Checkout(checkout)).net_changes()
    except PatchError:
        seen["refused"] += 1
        assert host.read_bytes() == original
        return
    seen["applied"] += 1
    put(checkout, changes)
    patched = host.read_bytes()
    assert patched != original
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compile(patched, "yolo.py", "exec", dont_inherit=True)
    again = plan_apply(Checkout(checkout)).net_changes()
    assert "models/yolo.py" not in [change.name for change in again]
    put(checkout, plan_revert(Checkout(checkout)).changes)
    assert host.read_bytes() == original
    if mini and b"renamed" not in original:
        expected = run(original)
        if expected:
            seen["ran"] += 1
            assert_same(run(patched), expected)
        elif expected is not None:  # a mutant whose layers put out nothing
            assert run(patched) == []


def run(content):
    """Build the stock model with a source and return the tensors it puts out; None if the source does not do it."""

    def too_long(*_):
        raise TimeoutError

    namespace = {"__name__": "mutant"}
    torch.manual_seed(0)
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 2)  # a mutant may never end
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            exec(compile(content, "mutant", "exec", dont_inherit=True), namespace)
            return list(tensors(namespace["Net"](STOCK)(torch.ones(1, 3, 8, 8))))
    except Exception:
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
