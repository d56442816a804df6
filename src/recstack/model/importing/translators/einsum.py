"""einsum of one or two tensors with a batch axis, and constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from recstack.model import ops
from recstack.model.importing.broadcast import binary
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.values import (
    Columns,
    Const,
    MixesRows,
    Rows,
    Unsupported,
    Value,
    rank,
)


@dataclass(frozen=True, slots=True)
class _Term:
    """A value of an entry whose axes are `letters`."""

    name: str
    letters: str


@translates("einsum")
def einsum(b: Builder, call: Call) -> Value:
    """Products summed over letters; the batch letter stands in every tensor with a batch axis."""
    left, arrow, right = call["equation"].replace(" ", "").partition("->")
    spelled, dots = _without_dots(left.split(","), call["tensors"])
    if not arrow:
        every = "".join(spelled)
        right = "..." + "".join(sorted(c for c in set(every) - set(dots) if every.count(c) == 1))
    return contracted(b, call["tensors"], spelled, right.replace("...", dots))


def contracted(b: Builder, tensors: Sequence[Value], spelled: Sequence[str], right: str) -> Rows:
    """The product of tensors whose axes are `spelled`, summed over what is not in `right`."""
    row = _batch_letter(tensors, spelled)
    if row not in right:
        raise MixesRows("sums over the batch axis")
    terms = [_term(b, v, s, row) for v, s in zip(tensors, spelled, strict=True)]
    wanted = right.replace(row, "")
    while len(terms) > 1:
        later = wanted + "".join(t.letters for t in terms[2:])
        terms = [_contract(b, terms[0], terms[1], later), *terms[2:]]
    name = _arrange(b, _sum_out(b, terms[0], wanted), wanted).name
    return Rows(name, b.shapes[name], right.index(row))


def _without_dots(spelled: list[str], tensors: Sequence[Value]) -> tuple[list[str], str]:
    """Letters in place of `...`, the same counted from the right, and the longest such run."""
    ranks = [_rank(v) - len(s.replace("...", "")) for v, s in zip(tensors, spelled, strict=True)]
    most = max([n for n, s in zip(ranks, spelled, strict=True) if "..." in s], default=0)
    used = set("".join(spelled))
    dots = "".join([c for c in ascii_letters if c not in used][:most])
    filled = [s.replace("...", dots[most - n :]) for s, n in zip(spelled, ranks, strict=True)]
    return filled, dots


def _rank(v: Value) -> int:
    return rank(v) if isinstance(v, Rows | Columns) else v.tensor.ndim


def _batch_letter(tensors: Sequence[Value], spelled: Sequence[str]) -> str:
    found = set()
    for v, letters in zip(tensors, spelled, strict=True):
        if isinstance(v, Rows | Columns):
            if v.merged or rank(v) != len(letters):
                raise Unsupported("an einsum over a merged batch axis")
            found.add(letters[v.axis])
    if len(found) != 1:
        raise MixesRows("combines every row with every other row")
    return found.pop()


def _term(b: Builder, v: Value, letters: str, row: str) -> _Term:
    if len(set(letters)) != len(letters):
        raise Unsupported("an einsum over a diagonal")
    if isinstance(v, Const):
        if row in letters:
            raise MixesRows("combines rows with a constant of the batch size")
        return _Term(b.constant(v), letters)
    return _Term(b.rows(v).name, letters.replace(row, ""))


def linear_of(b: Builder, name: str, weight: NDArray[np.float32]) -> str:
    """name @ weight.T, weight (out, in)."""
    import torch

    stored = b.weight(Const(torch.from_numpy(np.array(weight))))
    return b.emit(ops.Linear, [name], weight=stored)


@translates("tensordot")
def tensordot(b: Builder, call: Call) -> Value:
    """A product summed over pairs of axes."""
    tensors = [call["self"], call["other"]]
    letters = iter(ascii_letters)
    one = [next(letters) for _ in range(_rank(tensors[0]))]
    two = [next(letters) for _ in range(_rank(tensors[1]))]
    for i, j in zip(call["dims_self"], call["dims_other"], strict=True):
        two[j] = one[i]
    right = "".join(c for c in one + two if (c in one) != (c in two))
    return contracted(b, tensors, ["".join(one), "".join(two)], right)


@translates("bilinear")
def bilinear(b: Builder, call: Call) -> Value:
    """x1 @ weight[o] @ x2 for each output o, and a bias."""
    lead = ascii_letters[: rank(b.rows(call["input1"])) - 1]
    tensors = [call["input1"], call["weight"], call["input2"]]
    out = contracted(b, tensors, [lead + "X", "ZXY", lead + "Y"], lead + "Z")
    return out if call.get("bias") is None else binary(b, "add", out, call["bias"])


def _sum_out(b: Builder, t: _Term, kept: str) -> _Term:
    """`t` summed over the letters that are not kept."""
    gone = [i for i, c in enumerate(t.letters) if c not in kept]
    if not gone:
        return t
    letters = "".join(c for c in t.letters if c in kept)
    return _Term(b.reduce("sum", t.name, gone), letters)


def _arrange(b: Builder, t: _Term, order: str) -> _Term:
    return _Term(b.transpose(t.name, [t.letters.index(c) for c in order]), order)


def _contract(b: Builder, one: _Term, two: _Term, later: str) -> _Term:
    """The product of two terms, summed over the letters that nothing later needs."""
    one = _sum_out(b, one, later + two.letters)
    two = _sum_out(b, two, later + one.letters)
    shared = [c for c in one.letters if c in two.letters]
    both = "".join(c for c in shared if c in later)
    inner = "".join(c for c in shared if c not in later)
    rows = "".join(c for c in one.letters if c not in shared)
    columns = "".join(c for c in two.letters if c not in shared)
    size = dict(zip(one.letters, b.shapes[one.name], strict=True))
    for letter, n in zip(two.letters, b.shapes[two.name], strict=True):
        if size.setdefault(letter, n) != n:
            raise Unsupported("an einsum that broadcasts an axis of size 1")

    def shape(letters: str) -> tuple[int, ...]:
        return tuple(size[c] for c in letters)

    def count(letters: str) -> int:
        total = 1
        for n in shape(letters):
            total *= n
        return total

    fixed = b.constant_value(two.name) if inner and not both else None
    if fixed is not None:
        a = b.reshape(_arrange(b, one, rows + inner).name, (*shape(rows), count(inner)))
        order = [two.letters.index(c) for c in columns + inner]
        weight = fixed.transpose(order).reshape(count(columns), count(inner))
        out = linear_of(b, a, weight)
        return _Term(b.reshape(out, shape(rows + columns)), rows + columns)
    if inner and not both and b.constant_value(one.name) is not None:
        return _contract(b, two, one, later)
    a = _arrange(b, one, both + rows + inner).name
    c = _arrange(b, two, both + inner + columns).name
    a = b.reshape(a, (*shape(both), count(rows), count(inner)))
    c = b.reshape(c, (*shape(both), count(inner), count(columns)))
    out = b.emit(ops.Matmul, [a, c]) if inner else b.binary("mul", a, c)
    letters = both + rows + columns
    return _Term(b.reshape(out, shape(letters)), letters)
