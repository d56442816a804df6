"""The user's part of a layer once per query, not once per row: a rewrite, model in, model out.

A linear over a concatenation of user and item values, y = act(W [u1, i1, u2, i2] + b), becomes

    s = Wu [u1, u2]                          user scope: once per query
    y = act(Wi [i1, i2], going on from s, + b)   item scope: once per row

Every output stays one chain of multiply-adds, over the user's columns first: where these came first
anyway the scores are the same bit for bit, else the same to rounding. The multiply-adds are never
more than before, and with one row per query as many; nothing has to be decided at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

import numpy as np

from recstack.engine.native.graph import Graph
from recstack.model import Model, build
from recstack.model.ops import Concat, Linear, Op, Reshape, Shape, Slice, Stack
from recstack.model.ops.base import WeightShapes

# Multiply-adds per row below which a step more costs small batches more than it saves large ones.
MIN_MACS = 64
# Copying a float per row costs about as much as this many multiply-adds.
MACS_PER_COPY = 8


class ResumedLinear(Linear):
    """activation(sums + x @ weight.T + bias): inputs x (in,) and sums (out,), a user-scope value.

    Of the native engine's own plans only; no model on disk has it. Each output's chain of
    multiply-adds goes on from its element of `sums`. columns: those of the whole layer's input that
    x is; `sums` are made of the others.
    """

    columns: tuple[int, ...]
    arity: ClassVar[tuple[int, int]] = (2, 2)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        """(out,), which `sums` has too."""
        return super().shape(inputs[:1], weights)


def hoist_user_parts(model: Model) -> Model:
    """`model` with linears over user and item values split into a per-query and a per-row part."""
    graph = _Hoisting(model)
    if not graph.hoisted:
        return model
    rewritten = _Rewritten(graph)
    for op in model.ops:
        if isinstance(op, Linear) and op.output in graph.hoisted:
            rewritten.hoist(op)
        else:
            rewritten.ops.append(op)
    ops = _without_dead_moves(rewritten.ops, model.outputs)
    return build(model.description.model_copy(update={"ops": ops}), rewritten.weights)


class _Hoisting(Graph):
    """The model as it was, and what is to be hoisted.

    hoisted: outputs of the linears to split. kept: joined values that something still reads whole.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.hoisted: set[str] = set()
        self.kept: set[str] = set()
        for op in reversed(model.ops):
            if _joins(model, op):
                self._choose(op.output)

    def scope(self, name: str) -> str:
        return self.model.values[name].scope

    def leaves(self, name: str) -> list[str]:
        """Values whose elements, one after the other, are those of `name`; mixed scopes part."""
        op = self.makers.get(name)
        if op is None or self.scope(name) != "item" or not _joins(self.model, op):
            return [name]
        parts = [leaf for source in op.inputs for leaf in self.leaves(source)]
        return parts if any(self.scope(leaf) != "item" for leaf in parts) else [name]

    def columns(self, name: str) -> tuple[list[int], list[int]]:
        """The columns of `name` that are the user's (or constant), and the item's."""
        user: list[int] = []
        item: list[int] = []
        at = 0
        for leaf in self.leaves(name):
            n = self.model.values[leaf].elements
            (item if self.scope(leaf) == "item" else user).extend(range(at, at + n))
            at += n
        return user, item

    def _choose(self, x: str) -> None:
        """Which linears over the joined value `x` are hoisted, its other readers being decided."""
        readers = self.readers.get(x, [])
        whole = x in self.model.outputs or any(
            op.output in self.kept if _joins(self.model, op) else not isinstance(op, Linear)
            for op in readers
        )
        linears = [op for op in readers if isinstance(op, Linear)]
        chosen = {op.output for op in linears if self._worth_hoisting(op, x, whole)}
        self.hoisted |= chosen
        if whole or len(chosen) < len(linears):
            self.kept.add(x)

    def _worth_hoisting(self, op: Linear, x: str, whole: bool) -> bool:
        """Whether `op` reads user and item values, and the user's part is worth a step."""
        scopes = {self.scope(leaf) for leaf in self.leaves(x)}
        if len(self.model.values[x].shape) != 1 or not {"user", "item"} <= scopes:
            return False
        user, item = self.columns(x)
        if not user or not item:
            return False
        macs = len(user) * self.model.values[op.output].elements
        copies = len(item) if whole and not _contiguous(item) else 0
        saved_copies = 0 if whole else len(user)
        return macs + MACS_PER_COPY * (saved_copies - copies) >= MIN_MACS


@dataclass
class _Rewritten:
    """The new ops and weights so far; the two halves of each concatenation are made once."""

    graph: _Hoisting
    ops: list[Op] = field(default_factory=list)
    halves: dict[str, tuple[str, str]] = field(default_factory=dict)
    flat: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.weights = dict(self.graph.model.weights)

    def hoist(self, op: Linear) -> None:
        """Add the two parts of `op`."""
        user, item = self.graph.columns(op.inputs[0])
        weight = self.weights[op.weight]
        names = f"{op.output}:user.weight", f"{op.output}:item.weight"
        for name, columns in zip(names, (user, item), strict=True):
            self.weights[name] = np.ascontiguousarray(weight[:, columns])
        users, items = self._halves(op.inputs[0])
        sums = f"{op.output}:user"
        self.ops.append(Linear(output=sums, inputs=(users,), weight=names[0]))
        self.ops.append(
            ResumedLinear(
                output=op.output,
                inputs=(items, sums),
                weight=names[1],
                bias=op.bias,
                activation=op.activation,
                columns=tuple(item),
            )
        )

    def _halves(self, x: str) -> tuple[str, str]:
        """The user's and the item's columns of `x` as two values."""
        if x not in self.halves:
            leaves = self.graph.leaves(x)
            users = [leaf for leaf in leaves if self.graph.scope(leaf) != "item"]
            items = [leaf for leaf in leaves if self.graph.scope(leaf) == "item"]
            columns = self.graph.columns(x)[1]
            if len(items) > 1 and _contiguous(columns) and x in self.graph.kept:
                item = f"{x}:item"
                self.ops.append(
                    Slice(output=item, inputs=(x,), axis=0, start=columns[0], stop=columns[-1] + 1)
                )
            else:
                item = self._joined(f"{x}:item", items)
            self.halves[x] = self._joined(f"{x}:user", users), item
        return self.halves[x]

    def _joined(self, name: str, parts: list[str]) -> str:
        """The parts side by side, (n,)."""
        flat = tuple(self._flat(part) for part in parts)
        if len(flat) == 1:
            return flat[0]
        self.ops.append(Concat(output=name, inputs=flat, axis=0))
        return name

    def _flat(self, name: str) -> str:
        """The value as (n,)."""
        value = self.graph.model.values[name]
        if len(value.shape) == 1:
            return name
        if name not in self.flat:
            self.flat[name] = f"{name}:flat"
            shape = (value.elements,)
            self.ops.append(Reshape(output=self.flat[name], inputs=(name,), shape_to=shape))
        return self.flat[name]


def _joins(model: Model, op: Op) -> bool:
    """Whether the op's result is its inputs' elements, one input after the other."""
    if isinstance(op, Concat | Stack):
        shape = model.values[op.output].shape
        return prod(shape[: op.axis % len(shape)]) == 1
    return isinstance(op, Reshape)


def _contiguous(columns: Sequence[int]) -> bool:
    return columns[-1] - columns[0] + 1 == len(columns)


def _without_dead_moves(ops: Sequence[Op], outputs: Sequence[str]) -> tuple[Op, ...]:
    """`ops` without concatenations and reshapes that nothing reads any more."""
    read, kept = set(outputs), []
    for op in reversed(ops):
        if op.output not in read and isinstance(op, Concat | Stack | Reshape):
            continue
        read.update(op.inputs)
        kept.append(op)
    return tuple(reversed(kept))
