"""Matrix products, and attention written as them."""

from __future__ import annotations

import math
from string import ascii_letters

from recstack.model import ops
from recstack.model.importing import move
from recstack.model.importing.broadcast import align, binary
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.translators.dense import linear_over
from recstack.model.importing.translators.einsum import contracted
from recstack.model.importing.translators.elementwise import scaled
from recstack.model.importing.translators.reduce import reduced
from recstack.model.importing.translators.views import permuted
from recstack.model.importing.values import (
    Columns,
    Const,
    MixesRows,
    Rows,
    Unsupported,
    Value,
    rank,
    removed,
)


@translates("matmul mm bmm mv")
def matmul(b: Builder, call: Call) -> Value:
    """A matrix product."""
    return product(b, call["self"], call.get("other", call.get("mat2", call.get("vec"))))


def product(b: Builder, one: Value, two: Value) -> Rows:
    """one @ two as torch.matmul does it."""
    if isinstance(two, Const) and two.tensor.ndim <= 2:
        x = b.rows(one)
        if two.tensor.ndim == 2:
            return linear_over(b, x, Const(two.tensor.t()))
        out = linear_over(b, x, Const(two.tensor[None]))
        shape = out.shape[:-1]
        return Rows(b.reshape(out.name, shape), shape, removed(out, [-1]), out.merged)
    if isinstance(one, Const) and one.tensor.ndim == 2:
        x = b.rows(two)
        flipped = permuted(b, x, [*range(rank(x) - 2), rank(x) - 1, rank(x) - 2])
        if flipped.axis != rank(flipped) - 1:
            out = linear_over(b, b.rows(flipped), one)
            back = permuted(b, out, [*range(rank(x) - 2), rank(x) - 1, rank(x) - 2])
            return b.rows(back)
    ranks = [v.tensor.ndim if isinstance(v, Const) else rank(move.laid(v)) for v in (one, two)]
    for v, n in zip((one, two), ranks, strict=True):
        if isinstance(v, Rows | Columns) and v.axis >= n - 2:
            raise MixesRows("multiplies every row with every other row")
    if ranks[0] == 1:
        letters = ascii_letters[: ranks[1]]
        return contracted(b, [one, two], [letters[-2], letters], letters[:-2] + letters[-1])
    if min(ranks) < 2:
        raise Unsupported("a product with a vector of each row")
    both = align(b, [one, two])
    return both.wrap(b, b.emit(ops.Matmul, both.names))


@translates("linalg_vecdot inner")
def inner(b: Builder, call: Call) -> Value:
    """Products summed over the last axis; `inner` of each with each."""
    one, two = call.get("self", call.get("x")), call.get("other", call.get("y"))
    if call.operator == "aten.inner":
        dims = [v.tensor.ndim if isinstance(v, Const) else rank(move.laid(v)) for v in (one, two)]
        a, c = ascii_letters[: dims[0] - 1], ascii_letters[dims[0] : dims[0] + dims[1] - 1]
        return contracted(b, [one, two], [a + "Z", c + "Z"], a + c)
    return reduced(b, "sum", binary(b, "mul", one, two), call.get("dim", -1), False)


@translates("addmm")
def addmm(b: Builder, call: Call) -> Value:
    """beta * self + alpha * (mat1 @ mat2); a linear layer where it is one."""
    bias, weight = call["self"], call["mat2"]
    if (
        (call.get("beta", 1), call.get("alpha", 1)) == (1, 1)
        and isinstance(bias, Const)
        and isinstance(weight, Const)
        and bias.tensor.shape == weight.tensor.shape[1:]
    ):
        return linear_over(b, b.rows(call["mat1"]), Const(weight.tensor.t()), bias)
    return _added(b, call, product(b, call["mat1"], weight))


@translates("baddbmm")
def baddbmm(b: Builder, call: Call) -> Value:
    """beta * self + alpha * (batch1 @ batch2)."""
    return _added(b, call, product(b, call["batch1"], call["batch2"]))


def _added(b: Builder, call: Call, made: Value) -> Value:
    """beta * self + alpha * made; without self where beta is 0, as torch has it."""
    out = scaled(b, made, call.get("alpha", 1))
    if call.get("beta", 1) == 0:
        return out
    return binary(b, "add", out, scaled(b, call["self"], call.get("beta", 1)))


@translates("scaled_dot_product_attention")
def attention(b: Builder, call: Call) -> Value:
    """softmax(query @ key.T * scale + mask) @ value."""
    import torch

    query, key, value = (b.rows(call[k]) for k in ("query", "key", "value"))
    if call.get("enable_gqa", False):
        raise Unsupported("grouped queries")
    scale = call.get("scale", 1 / math.sqrt(query.shape[-1]))
    flipped = permuted(b, key, [*range(rank(key) - 2), rank(key) - 1, rank(key) - 2])
    scores: Value = binary(b, "mul", product(b, query, flipped), scale)
    mask = call.get("attn_mask")
    mask = b.rows(mask) if isinstance(mask, Columns) else mask
    if call.get("is_causal", False):
        size = (query.shape[-2], key.shape[-2])
        mask = Const(torch.zeros(size).masked_fill(~torch.ones(size).tril().bool(), -torch.inf))
    if isinstance(mask, Const) and str(mask.tensor.dtype) == "torch.bool":
        mask = Const(torch.zeros(mask.tensor.shape).masked_fill(~mask.tensor, -torch.inf))
    elif isinstance(mask, Rows) and mask.dtype == "bool":
        three = align(b, [mask, Const(torch.tensor(0.0)), Const(torch.tensor(-torch.inf))])
        mask = three.wrap(b, b.emit(ops.Where, three.names))
    if mask is not None:
        scores = binary(b, "add", scores, mask)
    weights = b.like(scores, b.emit(ops.Softmax, [scores.name], axis=-1))
    return product(b, weights, value)
