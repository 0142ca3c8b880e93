"""Where an epoch of a train script begins: one place, or none."""

import ast

import pytest

from patches.source.training import find_epoch

LOOP = "for epoch in range(3):\n        model.train()\n"
OPTIMIZER = "optimizer = smart_optimizer(model, 1)\n    "


def place(body):
    """The line, the model and the number of what is found in a function of this body."""
    found = find_epoch(ast.parse(body))
    return found and (found.statement.lineno, found.model, found.source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f"def train(model):\n    {LOOP}", (3, "model", "epoch")),
        (f"def train():\n    model = Model()\n    {LOOP}", (3 + 1, "model", "epoch")),
        (
            f"def train():\n    model = teacher = Model()\n    {OPTIMIZER}for e in range(3):\n        teacher.train()\n        model.train()\n",
            (6, "model", "e"),
        ),
        (
            "def warm(model):\n    for i in range(9):\n        model.train()\n\n\n" f"def train(model):\n    {LOOP}",
            (8, "model", "epoch"),
        ),
        (
            "def train():\n    for fold in range(5):\n        model = Model()\n        model.train()\n"
            "        for epoch in range(3):\n            model.train()\n",
            (6, "model", "epoch"),
        ),
        (f"def train():\n    model = Model()\n\n    def loop():\n        {LOOP.replace('    ', '        ', 1)}", None),
        (f"def train():\n    global model\n    model = Model()\n    {LOOP}", None),
        ("def train(model):\n    for i in range(3):\n        model.train()\n    for j in range(3):\n        model.train()\n", None),
        ("def train(model):\n    for batch in loader:\n        model.train()\n", None),
        ("def train(model):\n    for epoch in range(3):\n        with progress:\n            model.train()\n", None),
    ],
    ids=["argument", "local", "teacher", "helper", "folds", "nested", "global", "two", "no numbers", "with"],
)  # fmt: skip
def test_the_place(source, expected):
    compile(source, "train.py", "exec")
    assert place(source) == expected
