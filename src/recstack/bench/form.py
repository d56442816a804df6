"""A model as a person who knows the framework would write it there.

The pooled embeddings of features that are alike are one call, whose result (rows, features, dim)
the next layers read in place; a chain of equal tanh layers is an RNN. What is left are the model's
own ops. Models with ragged, padded, weighted or user-scope features have no such form yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.bench.contender import Unsupported
from recstack.bench.recurrences import Rnn, recurrences
from recstack.bench.tables import Floats, joined
from recstack.model import Model
from recstack.model.ops import Concat, Constant, EmbeddingBag, FeatureOp, Op, Stack
from recstack.rows import RowFormat


@dataclass(frozen=True, eq=False)
class Group:
    """Pooled features that one call reads: all with `length` indices per row.

    places: their positions among the sparse inputs. bases: the row of `table` that index 0 of each
    stands for. starts: where each begins in a batch's values, in indices per row.
    """

    table: Floats
    length: int
    places: tuple[int, ...]
    bases: NDArray[np.int64]
    starts: tuple[int, ...]

    def indices(self, batch: Batch) -> NDArray[Any]:
        """(rows, features, length) int32 or int64 rows of `table`, contiguous."""
        n, length = batch.rows, self.length
        parts = [batch.values[s * n : s * n + n * length].reshape(n, length) for s in self.starts]
        dtype = np.int32 if len(self.table) < 1 << 31 else np.int64
        stacked: NDArray[Any] = np.stack(parts, axis=1).astype(dtype)
        stacked += self.bases.astype(dtype)[:, None]
        return stacked


@dataclass(frozen=True, slots=True)
class Pooled:
    """Features [first, first + count) of a group, side by side or (flat False) one below another.

    Shape (count * dim,) or (count, dim).
    """

    output: str
    group: int
    first: int
    count: int
    flat: bool


@dataclass(frozen=True, eq=False)
class Form:
    """The steps over one batch of item-scope rows; see `form_of`."""

    model: Model
    groups: tuple[Group, ...]
    steps: tuple[Op | Pooled | Rnn, ...]

    def columns(self, name: str) -> slice:
        """Where a dense input lies among the columns of `batch.dense`."""
        at = 0
        for item in self.model.dense:
            if item.name == name:
                return slice(at, at + item.width)
            at += item.width
        raise AssertionError(f"no dense input {name!r}")


def form_of(model: Model) -> Form:
    """The form of `model`; Unsupported where it has none."""
    if any(item.scope == "user" for item in model.dense):
        raise Unsupported("a dense input belongs to the user")
    groups, where = _groups(model)
    steps = _Steps(where)
    chains, covered = recurrences(model)
    for op in model.ops:
        if op.output in chains:
            rnn = chains[op.output]
            steps.add(replace(rnn, inputs=(steps.sequence(rnn.inputs),)))
        elif not isinstance(op, FeatureOp) and op.output not in covered:
            steps.add_op(op, model)
    kept = _live(steps.made, model.outputs)
    constant = [s.output for s in kept if isinstance(s, Constant)]
    if constant:
        raise Unsupported(f"value {constant[0]!r} is the same for every row")
    return Form(model, tuple(groups), tuple(kept))


class _Steps:
    """Collects steps; bags are read as parts of their group's result."""

    def __init__(self, where: dict[str, tuple[int, int]]) -> None:
        self.where = where
        self.made: list[Op | Pooled | Rnn] = []
        self._pooled: dict[tuple[int, int, int, bool], str] = {}

    def add(self, step: Op | Pooled | Rnn) -> None:
        """Add a step whose inputs are values."""
        self.made.append(step)

    def add_op(self, op: Op, model: Model) -> None:
        """Add an op that may read bags."""
        runs = _runs(op.inputs, self.where)
        bags = len(runs) == 1 and runs[0][0] in self.where
        if isinstance(op, Stack) and bags and op.axis in (0, -2):
            group, first = self.where[runs[0][0]]
            self.add(Pooled(op.output, group, first, len(runs[0]), flat=False))
            return
        vectors = all(n in self.where or len(model.values[n].shape) == 1 for n in op.inputs)
        if not (isinstance(op, Concat) and vectors):
            runs = [[name] for name in op.inputs]
        read = tuple(self.bags(r, flat=True) if r[0] in self.where else r[0] for r in runs)
        self.add(op.model_copy(update={"inputs": read}))

    def sequence(self, names: Sequence[str]) -> str:
        """The value (L, d) that `names` are the entries of."""
        if len(names) == 1 and names[0] not in self.where:
            return names[0]
        if len(runs := _runs(names, self.where)) != 1:
            raise Unsupported(f"the entries of a sequence, {names[0]!r} ..., lie apart")
        return self.bags(runs[0], flat=False)

    def bags(self, names: Sequence[str], flat: bool) -> str:
        """The value of these neighbouring bags, made when first asked for."""
        group, first = self.where[names[0]]
        key = (group, first, len(names), flat)
        if key not in self._pooled:
            self._pooled[key] = f"pooled {group} {first} {len(names)} {flat}"
            self.add(Pooled(self._pooled[key], *key))
        return self._pooled[key]


def _reads(step: Op | Pooled | Rnn) -> tuple[str, ...]:
    return () if isinstance(step, Pooled) else step.inputs


def _live(steps: Sequence[Op | Pooled | Rnn], outputs: Sequence[str]) -> list[Op | Pooled | Rnn]:
    """The steps that the outputs depend on, in order."""
    needed, kept = set(outputs), []
    for step in reversed(steps):
        if step.output in needed:
            kept.append(step)
            needed.update(_reads(step))
    return kept[::-1]


def _groups(model: Model) -> tuple[list[Group], dict[str, tuple[int, int]]]:
    """The groups, and (group, position in it) of each bag."""
    starts = np.cumsum([0, *(f.length for f in model.sparse)])
    places = {feature.name: i for i, feature in enumerate(model.sparse)}
    members: dict[tuple[int, int], list[EmbeddingBag]] = {}
    for op in model.ops:
        if isinstance(op, FeatureOp):
            dim, length = _checked(model, op, places)
            members.setdefault((dim, length), []).append(op)  # type: ignore[arg-type]
    groups: list[Group] = []
    where: dict[str, tuple[int, int]] = {}
    for (_, length), bags in members.items():
        names = list(dict.fromkeys(bag.table for bag in bags))
        if stored := [n for n in names if model.table_formats[n] is not RowFormat.FP32]:
            raise Unsupported(f"table {stored[0]!r} is stored as {model.table_formats[stored[0]]}")
        table, begins = joined([model.weights[name] for name in names])
        begin = dict(zip(names, begins, strict=True))
        for i, bag in enumerate(bags):
            where[bag.output] = (len(groups), i)
        at = tuple(places[bag.inputs[0]] for bag in bags)
        groups.append(
            Group(
                table=table,
                length=length,
                places=at,
                bases=np.array([begin[b.table] + b.row_offset for b in bags], np.int64),
                starts=tuple(int(starts[p]) for p in at),
            )
        )
    return groups, where


def _checked(model: Model, op: FeatureOp, places: dict[str, int]) -> tuple[int, int]:
    """Width and length of a bag; Unsupported unless it is a plain sum or mean of a fixed bag."""
    feature = model.sparse[places[op.inputs[0]]]
    if not isinstance(op, EmbeddingBag) or op.pooling == "none":
        raise Unsupported(f"feature {feature.name!r} is read as a sequence")
    plain = op.pooling == "sum" or (op.pooling == "mean" and feature.length == 1)
    if not plain or op.padding_index is not None:
        raise Unsupported(f"feature {feature.name!r}: only plain sums have a form here")
    if not feature.fixed or feature.scope != "item":
        raise Unsupported(f"feature {feature.name!r} is ragged or belongs to the user")
    return model.shapes[op.table][1], feature.length


def _runs(names: Sequence[str], where: dict[str, tuple[int, int]]) -> list[list[str]]:
    """`names` cut into runs of bags that lie side by side; other values stand alone."""
    runs = [[name] for name in names[:1]]
    for before, name in pairwise(names):
        a, b = where.get(before), where.get(name)
        if a is not None and b == (a[0], a[1] + 1):
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs
