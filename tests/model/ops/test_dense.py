from __future__ import annotations

from typing import Any

import pytest

from recstack.errors import ModelError
from recstack.model.ops import (
    BatchNorm,
    Cross,
    Dice,
    DotInteraction,
    LayerNorm,
    Linear,
    Prelu,
    Softmax,
)

A: dict[str, Any] = {"output": "y", "inputs": ("a",)}
AB: dict[str, Any] = {"output": "y", "inputs": ("a", "b")}
LINEAR = Linear(**A, weight="w")
BIASED = Linear(**A, weight="w", bias="v")
LOW_RANK = Cross(**AB, weight_v="v", weight_u="u", bias="bias")
FULL_RANK = Cross(**AB, weight_u="u")
NORM = LayerNorm(**A, weight="w", bias="v")
BATCH_NORM = BatchNorm(**A, mean="w", variance="v")
DICE = Dice(**A, alpha="w", mean="v", variance="u")
RANKS = {"v": (2, 6), "u": (6, 2), "bias": (6,)}

GOOD = [
    (LINEAR, [(4,)], {"w": (3, 4)}, (3,)),
    (LINEAR, [(7, 2, 4)], {"w": (3, 4)}, (7, 2, 3)),
    (BIASED, [(4,)], {"w": (1, 4), "v": (1,)}, (1,)),
    (DotInteraction(**A), [(4, 8)], {}, (6,)),
    (DotInteraction(**A), [(1, 8)], {}, (0,)),
    (DotInteraction(**A, self_pairs=True), [(4, 8)], {}, (10,)),
    (LOW_RANK, [(6,), (6,)], RANKS, (6,)),
    (FULL_RANK, [(6,), (6,)], {"u": (6, 6)}, (6,)),
    (NORM, [(3, 5)], {"w": (5,), "v": (5,)}, (3, 5)),
    (LayerNorm(**A), [(3,)], {}, (3,)),
    (BATCH_NORM, [(5,)], {"w": (5,), "v": (5,)}, (5,)),
    (BATCH_NORM.model_copy(update={"axis": 0}), [(3, 5)], {"w": (3,), "v": (3,)}, (3, 5)),
    (Prelu(**A, slope="w"), [(3, 5)], {"w": (5,)}, (3, 5)),
    (Prelu(**A, slope="w"), [(3, 5)], {"w": (1,)}, (3, 5)),
    (Prelu(**A, slope="w"), [()], {"w": (1,)}, ()),
    (Prelu(**A, slope="w", axis=0), [(3, 5)], {"w": (3,)}, (3, 5)),
    (DICE, [(2, 5)], {"w": (5,), "v": (5,), "u": (5,)}, (2, 5)),
    (Softmax(**A), [(2, 5)], {}, (2, 5)),
]
BAD = [
    (LINEAR, [(4,)], {"w": (3, 5)}, "input of width 5, got (4,)"),
    (LINEAR, [()], {"w": (3, 5)}, "input of width 5, got ()"),
    (LINEAR, [(4,)], {"w": (4,)}, "weight of shape (out, in), got (4,)"),
    (LINEAR, [(4,)], {"w": ()}, "weight of shape (out, in), got ()"),
    (BIASED, [(4,)], {"w": (3, 4), "v": (4,)}, "bias of shape (3,), got (4,)"),
    (BIASED, [(4,)], {"w": (3, 4)}, "name of a weight, got 'v'"),
    (DotInteraction(**A), [(4,)], {}, "vectors of shape (F, d), got (4,)"),
    (LOW_RANK, [(6,), (5,)], RANKS, "two inputs of one shape"),
    (LOW_RANK, [(2, 3), (2, 3)], RANKS, "two inputs of one shape"),
    (LOW_RANK, [(6,), (6,)], {**RANKS, "v": (2, 5)}, "input of width 5"),
    (LOW_RANK, [(6,), (6,)], {**RANKS, "u": (6, 3)}, "input of width 3"),
    (LOW_RANK, [(6,), (6,)], {**RANKS, "bias": (5,)}, "bias of shape (6,)"),
    (FULL_RANK, [(6,), (6,)], {"u": (5, 6)}, "weights that give (6,), got (5,)"),
    (NORM, [(3, 5)], {"w": (3,), "v": (5,)}, "weight 'w' of shape (5,), got (3,)"),
    (NORM, [()], {"w": (3,), "v": (5,)}, "at least one axis"),
    (BATCH_NORM, [(5,)], {"w": (5,), "v": (4,)}, "weight 'v' of shape (5,), got (4,)"),
    (BATCH_NORM, [()], {"w": (5,), "v": (4,)}, "an axis of a shape with 0 axes"),
    (Prelu(**A, slope="w"), [(3, 5)], {"w": (3,)}, "slope of shape (1,) or (5,), got (3,)"),
    (Prelu(**A, slope="w", axis=2), [(3, 5)], {"w": (1,)}, "an axis of a shape with 2 axes"),
    (DICE, [(5,)], {"w": (5,), "v": (5,), "u": (1,)}, "weight 'u' of shape (5,)"),
    (DICE, [()], {"w": (5,), "v": (5,), "u": (1,)}, "at least one axis"),
    (Softmax(**A, axis=1), [(5,)], {}, "an axis of a shape with 1 axes, got 1"),
]


@pytest.mark.parametrize(("op", "inputs", "weights", "shape"), GOOD)
def test_shape(infer: Any, op: Any, inputs: Any, weights: Any, shape: Any) -> None:
    assert infer(op, *inputs, **weights) == shape


@pytest.mark.parametrize(("op", "inputs", "weights", "message"), BAD)
def test_misfits(infer: Any, op: Any, inputs: Any, weights: Any, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        infer(op, *inputs, **weights)
    assert message in str(caught.value) and "ops[" in caught.value.where


@pytest.mark.parametrize(
    ("op", "inputs", "weights", "flops", "macs"),
    [
        (LINEAR, [(7, 4)], {"w": (3, 4)}, 168, 84),
        (LOW_RANK, [(6,), (6,)], RANKS, 48 + 12, 24),
        (DotInteraction(**A), [(4, 8)], {}, 96, 0),
        (NORM, [(5,)], {"w": (5,), "v": (5,)}, 35, 0),
        (Softmax(**A), [(5,)], {}, 25, 0),
    ],
)
def test_cost(cost: Any, op: Any, inputs: Any, weights: Any, flops: int, macs: int) -> None:
    found = cost(op, *inputs, **weights)
    assert (found.flops, found.macs) == (flops, macs)
