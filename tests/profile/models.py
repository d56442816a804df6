"""Models small enough to count by hand."""

from __future__ import annotations

import numpy as np

from recstack.batch import DenseInput, Input, ScopeName, SparseInput
from recstack.model import Model, ModelDescription, build
from recstack.model.ops import Concat, Constant, EmbeddingBag, Linear, Matmul, Op, Reshape

Shapes = dict[str, tuple[int, ...]]


def make(inputs: tuple[Input, ...], ops: tuple[Op, ...], shapes: Shapes) -> Model:
    """A model whose score is the last op's result and whose weights are zeros."""
    description = ModelDescription(
        name="by-hand", inputs=inputs, ops=ops, outputs=(ops[-1].output,)
    )
    return build(description, {n: np.zeros(s, np.float32) for n, s in shapes.items()})


def mixed(scope: ScopeName = "item", length: int = 5, fixed: bool = True) -> Model:
    """Per row 5 lookups of 128 bytes in a table of 128,000, and two layers.

    w1 with its bias: 512 FLOP, 1088 bytes; bag: 160 FLOP; w2: 768 FLOP, 1536 bytes.
    """
    return make(
        (
            DenseInput(name="x", width=16),
            SparseInput(name="ids", length=length, scope=scope, fixed=fixed),
        ),
        (
            Linear(output="x1", inputs=("x",), weight="w1", bias="b1"),
            EmbeddingBag(output="bag", inputs=("ids",), table="table"),
            Concat(output="both", inputs=("x1", "bag")),
            Linear(output="score", inputs=("both",), weight="w2"),
        ),
        {"table": (1000, 32), "w1": (16, 16), "b1": (16,), "w2": (8, 48)},
    )


def layers(*widths: int, shared: bool = False) -> Model:
    """Layers without biases from widths[0] on; `shared`: all of them one weight."""
    ops, at = [], "x"
    for i in range(1, len(widths)):
        ops.append(Linear(output=f"h{i}", inputs=(at,), weight="w1" if shared else f"w{i}"))
        at = f"h{i}"
    shapes: Shapes = {
        f"w{i}": (widths[i], widths[i - 1]) for i in range(1, 2 if shared else len(widths))
    }
    return make((DenseInput(name="x", width=widths[0]),), tuple(ops), shapes)


def tables(*sizes: tuple[int, int, int]) -> Model:
    """One bag per (rows, floats per row, lookups), side by side."""
    names = [f"bag_{i}" for i in range(len(sizes))]
    return make(
        tuple(
            SparseInput(name=f"ids_{i}", length=n, fixed=True) for i, (*_, n) in enumerate(sizes)
        ),
        (
            *(
                EmbeddingBag(output=name, inputs=(f"ids_{i}",), table=f"table_{i}")
                for i, name in enumerate(names)
            ),
            Concat(output="all", inputs=tuple(names)),
        ),
        {f"table_{i}": (rows, dim) for i, (rows, dim, _) in enumerate(sizes)},
    )


def constant_weight() -> Model:
    """x (1, 16) times a constant (16, 8) that the model holds transposed nowhere: 512 bytes."""
    return make(
        (DenseInput(name="x", width=16),),
        (
            Constant(output="w", weight="w"),
            Reshape(output="x1", inputs=("x",), shape_to=(1, 16)),
            Matmul(output="score", inputs=("x1", "w")),
        ),
        {"w": (16, 8)},
    )
