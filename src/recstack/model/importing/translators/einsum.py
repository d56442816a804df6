"""einsum of one or two tensors with a batch axis, and constants."""

from __future__ import annotations

from dataclasses import dataclass

from recstack.model import ops
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
    equation = call["equation"].replace(" ", "")
    if "." in equation:
        raise Unsupported("an einsum with ...")
    left, arrow, right = equation.partition("->")
    spelled = left.split(",")
    if not arrow:
        every = "".join(spelled)
        right = "".join(sorted(c for c in set(every) if every.count(c) == 1))
    row = _batch_letter(call["tensors"], spelled)
    if row not in right:
        raise MixesRows("sums over the batch axis")
    terms = [_term(b, v, s, row) for v, s in zip(call["tensors"], spelled, strict=True)]
    wanted = right.replace(row, "")
    while len(terms) > 1:
        later = wanted + "".join(t.letters for t in terms[2:])
        terms = [_contract(b, terms[0], terms[1], later), *terms[2:]]
    name = _arrange(b, _sum_out(b, terms[0], wanted), wanted).name
    return Rows(name, b.shapes[name], right.index(row))


def _batch_letter(tensors: Value, spelled: list[str]) -> str:
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
    size |= dict(zip(two.letters, b.shapes[two.name], strict=True))

    def shape(letters: str) -> tuple[int, ...]:
        return tuple(size[c] for c in letters)

    def count(letters: str) -> int:
        total = 1
        for n in shape(letters):
            total *= n
        return total

    a = _arrange(b, one, both + rows + inner).name
    c = _arrange(b, two, both + inner + columns).name
    a = b.reshape(a, (*shape(both), count(rows), count(inner)))
    c = b.reshape(c, (*shape(both), count(inner), count(columns)))
    out = b.emit(ops.Matmul, [a, c]) if inner else b.binary("mul", a, c)
    letters = both + rows + columns
    return _Term(b.reshape(out, shape(letters)), letters)
