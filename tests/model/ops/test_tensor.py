from __future__ import annotations

from typing import Any

import pytest

from recstack.errors import ModelError
from recstack.model.ops import (
    Binary,
    Clamp,
    Concat,
    Constant,
    Expand,
    Index,
    Matmul,
    Opaque,
    Reduce,
    Reshape,
    Slice,
    Stack,
    Transpose,
    Unary,
    Where,
)

A: dict[str, Any] = {"output": "y", "inputs": ("a",)}
AB: dict[str, Any] = {"output": "y", "inputs": ("a", "b")}
ABC: dict[str, Any] = {"output": "y", "inputs": ("a", "b", "c")}

GOOD = [
    (Constant(output="y", weight="w"), [], (3, 2)),
    (Unary(**A, fn="gelu"), [(2, 3)], (2, 3)),
    (Binary(**AB, fn="add"), [(2, 1), (3,)], (2, 3)),
    (Binary(**AB, fn="eq"), [(), (3,)], (3,)),
    (Binary(**A, fn="pow", scalar=2.0), [(3,)], (3,)),
    (Binary(**A, fn="sub", scalar=1.0, scalar_first=True), [(3,)], (3,)),
    (Clamp(**A, low=0.0), [(3,)], (3,)),
    (Where(**ABC), [(1,), (2, 3), (3,)], (2, 3)),
    (Reduce(**A, fn="sum", axes=(0,)), [(2, 3)], (3,)),
    (Reduce(**A, fn="max", axes=(-1,), keepdims=True), [(2, 3)], (2, 1)),
    (Reduce(**A, fn="mean", axes=(1, 0)), [(2, 3)], ()),
    (Reduce(**A, fn="sum", axes=(0,)), [(0, 3)], (3,)),
    (Matmul(**AB), [(2, 3), (3, 4)], (2, 4)),
    (Matmul(**AB), [(5, 1, 2, 3), (6, 3, 4)], (5, 6, 2, 4)),
    (Concat(**AB), [(2, 3), (2, 4)], (2, 7)),
    (Concat(**AB, axis=0), [(2, 3), (0, 3)], (2, 3)),
    (Concat(**A), [(2, 3)], (2, 3)),
    (Stack(**AB), [(3,), (3,)], (2, 3)),
    (Stack(**AB, axis=-1), [(3,), (3,)], (3, 2)),
    (Reshape(**A, shape_to=(3, 2)), [(2, 3)], (3, 2)),
    (Reshape(**A, shape_to=()), [(1,)], ()),
    (Transpose(**A, axes=(1, 0)), [(2, 3)], (3, 2)),
    (Transpose(**A, axes=()), [()], ()),
    (Slice(**A, axis=-1, start=1, stop=6, step=2), [(2, 7)], (2, 3)),
    (Slice(**A, axis=0, start=2, stop=2), [(2, 7)], (0, 7)),
    (Index(**A, axis=1, indices=(0, 0, 6)), [(2, 7)], (2, 3)),
    (Index(**A, axis=0, indices=()), [(2, 7)], (0, 7)),
    (Expand(**A, shape_to=(4, 2, 3)), [(2, 1)], (4, 2, 3)),
    (Opaque(**A, target="aten.cumsum.default", entry_shape=(2, 3)), [(6,)], (2, 3)),
]
BAD = [
    (Binary(**AB, fn="add"), [(2,), (3,)], "shapes that broadcast together, got [(2,), (3,)]"),
    (Binary(**AB, fn="add", scalar=1.0), [(3,), (3,)], "one input and a scalar, or two inputs"),
    (Binary(**A, fn="add"), [(3,)], "one input and a scalar, or two inputs"),
    (Where(**ABC), [(2,), (2, 3), (3,)], "shapes that broadcast together"),
    (Where(**AB), [(2,), (2,)], "3 to 3 inputs, got 2"),
    (Reduce(**A, fn="sum", axes=(2,)), [(2, 3)], "an axis of a shape with 2 axes, got 2"),
    (Reduce(**A, fn="sum", axes=(0, -2)), [(2, 3)], "different axes, got (0, -2)"),
    (Reduce(**A, fn="max", axes=(0,)), [(0, 3)], "axes that are not empty"),
    (Matmul(**AB), [(2, 3), (4, 3)], "operands (..., m, k) and (..., k, n)"),
    (Matmul(**AB), [(3,), (3, 4)], "operands (..., m, k) and (..., k, n)"),
    (Matmul(**AB), [(2, 2, 3), (3, 3, 4)], "shapes that broadcast together"),
    (Concat(**AB), [(2, 3), (3, 3)], "agree with (2, 3) but for axis 1, got (3, 3)"),
    (Concat(**AB), [(2, 3), (3,)], "agree with (2, 3)"),
    (Concat(**AB, axis=2), [(2, 3), (2, 3)], "an axis of a shape with 2 axes"),
    (Concat(**A), [()], "an axis of a shape with 0 axes"),
    (Stack(**AB), [(3,), (4,)], "inputs of shape (3,)"),
    (Stack(**AB, axis=2), [(3,), (3,)], "an axis of a shape with 2 axes"),
    (Reshape(**A, shape_to=(4,)), [(2, 3)], "a shape of 6 elements, got (4,)"),
    (Reshape(**A, shape_to=(-2, -3)), [(2, 3)], "sizes >= 0, got (-2, -3)"),
    (Transpose(**A, axes=(0,)), [(2, 3)], "an order of 2 axes, got (0,)"),
    (Transpose(**A, axes=(0, 0)), [(2, 3)], "an order of 2 axes"),
    (Slice(**A, axis=0, start=1, stop=3), [(2, 3)], "start <= stop <= 2, got (1, 3)"),
    (Slice(**A, axis=0, start=2, stop=1), [(2, 3)], "start <= stop <= 2"),
    (Slice(**A, axis=2, start=0, stop=1), [(2, 3)], "an axis of a shape with 2 axes"),
    (Index(**A, axis=0, indices=(2,)), [(2, 3)], "indices in [0, 2), got (2,)"),
    (Index(**A, axis=0, indices=(-1,)), [(2, 3)], "indices in [0, 2)"),
    (Expand(**A, shape_to=(3,)), [(2, 3)], "a shape that (2, 3) broadcasts to, got (3,)"),
    (Expand(**A, shape_to=(3,)), [(2,)], "shapes that broadcast together"),
    (Expand(**A, shape_to=(1 << 20, 1 << 20)), [(1,)], "at most 67108864 elements"),
    (Opaque(**A, target="os.system", entry_shape=(1,)), [(1,)], "the aten namespace"),
    (Opaque(**A, target="aten.x", entry_shape=(1 << 40,)), [(1,)], "at most 67108864"),
]


@pytest.mark.parametrize(("op", "inputs", "shape"), GOOD)
def test_shape(infer: Any, op: Any, inputs: Any, shape: Any) -> None:
    assert infer(op, *inputs, w=(3, 2)) == shape


@pytest.mark.parametrize(("op", "inputs", "message"), BAD)
def test_misfits(infer: Any, op: Any, inputs: Any, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        infer(op, *inputs)
    assert message in str(caught.value) and "ops[" in caught.value.where


@pytest.mark.parametrize(
    ("op", "inputs", "flops"),
    [
        (Matmul(**AB), [(5, 2, 3), (3, 4)], 240),
        (Reduce(**A, fn="sum", axes=(0,)), [(2, 3)], 6),
        (Binary(**AB, fn="add"), [(2, 1), (3,)], 6),
        (Concat(**AB), [(2,), (3,)], 0),
        (Constant(output="y", weight="w"), [], 0),
    ],
)
def test_cost(cost: Any, op: Any, inputs: Any, flops: int) -> None:
    found = cost(op, *inputs, w=(3, 2))
    assert found.flops == flops
    assert found.macs == (flops // 2 if op.kind == "matmul" else 0)
