"""The model under construction: ops, inputs and weights, each made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.model import ops
from recstack.model.importing.inputs import Inputs
from recstack.model.importing.values import (
    CELL,
    CLAMPED,
    FLOATS,
    TRUNCATED,
    TRUTH,
    Columns,
    Const,
    Merged,
    Rows,
    Unsupported,
    Value,
)
from recstack.model.ops.base import FeatureOp, Op, Shape

EXACT = 1 << 24  # integers up to here are exact in float32


class Builder:
    """Emits ops; an op equal to an earlier one is not emitted again.

    origins: for each op's output, the graph nodes that it came from.
    node: number and name of the graph node under translation.
    columns: of values that are columns of arguments as numbers, these columns.
    looked_up: columns, (argument, column), that are known to be indices; found: those that an
        embedding has read so far.
    """

    def __init__(self, inputs: Inputs, copy: bool = True) -> None:
        self.inputs = inputs
        self.ops: list[Op] = []
        self.shapes: dict[str, Shape] = {}
        self.weights: dict[str, NDArray[np.float32]] = {}
        self.origins: dict[str, frozenset[int]] = {}
        self.node: tuple[int, str] = (-1, "value")
        self.columns: dict[str, Columns] = {}
        self.looked_up: set[tuple[int, int]] = set()
        self.found: set[tuple[int, int]] = set()
        self._copy = copy
        self._made: dict[str, str] = {}
        self._producers: dict[str, Op] = {}
        self._tensors: dict[tuple[Any, ...], tuple[str, Any]] = {}
        self._taken: set[str] = set()

    def fresh(self, hint: str) -> str:
        """An unused name like `hint`."""
        names = (hint if i == 1 else f"{hint}:{i}" for i in count(1))
        name = next(n for n in names if n not in self._taken)
        self._taken.add(name)
        return name

    def reserve(self, names: Sequence[str]) -> None:
        """Keep `names` for inputs."""
        self._taken.update(names)

    def emit(self, cls: type[Op], inputs: Sequence[str] = (), **fields: Any) -> str:
        """The name of the value of this op."""
        draft = cls(output="?", inputs=tuple(inputs), **fields)
        key = draft.model_dump_json()
        if key in self._made and not isinstance(draft, ops.Opaque):
            name = self._made[key]
            self.origins[name] |= {self.node[0]}
            return name
        weight_shapes = {w: self.weights[w].shape for w in draft.weights()}
        if isinstance(draft, FeatureOp):
            feature = self.inputs.sparse(inputs[0])
            shape = draft.feature_shape(feature, weight_shapes)
        else:
            shape = draft.shape([self.shapes[n] for n in inputs], weight_shapes)
        name = self.fresh(self.node[1])
        op = draft.model_copy(update={"output": name})
        self.ops.append(op)
        self.shapes[name], self._producers[name], self._made[key] = shape, op, name
        self.origins[name] = frozenset({self.node[0]})
        return name

    def producer(self, name: str) -> Op | None:
        """The op that makes `name`; None for an input."""
        return self._producers.get(name)

    def weight(self, const: Const) -> str:
        """The name under which a constant is stored, as contiguous float32; shared once."""
        import torch

        t = const.tensor.detach()
        key = (t.data_ptr(), tuple(t.shape), t.stride(), t.dtype)
        if t.numel() and key in self._tensors:
            return self._tensors[key][0]
        if not t.dtype.is_floating_point and t.numel() and int(t.abs().max()) > EXACT:
            raise Unsupported(f"an integer constant above {EXACT}")
        flat = t.to(torch.float32).contiguous().cpu().numpy()
        if self._copy and np.shares_memory(flat, t.cpu().numpy()):
            flat = flat.copy()
        name = self.fresh(const.name or f"{self.node[1]}.constant")
        self.weights[name] = flat
        self._tensors[key] = (name, const.tensor)
        return name

    def is_looked_up(self, v: Columns) -> bool:
        """Whether an embedding reads all of these columns."""
        return set(map(tuple, v.cells[..., :2].reshape(-1, 2).tolist())) <= self.looked_up

    def indices(self, argument: int, start: int, count: int) -> str:
        """The sparse input of columns that an embedding reads."""
        self.found.update((argument, start + i) for i in range(count))
        return self.inputs.columns(argument, start, start + count).name

    def feature(self, cells: NDArray[np.int64]) -> str | None:
        """The sparse input of these columns, or None where they are not one run of columns."""
        flat = cells.reshape(-1, CELL)
        if len(runs(flat)) != 1 or flat[0, 2] != 0:
            return None
        argument, start = int(flat[0, 0]), int(flat[0, 1])
        return self.inputs.columns(argument, start, start + len(flat)).name

    # Values of an entry's shape, by name.

    def constant(self, const: Const) -> str:
        """A constant as a value."""
        return self.emit(ops.Constant, weight=self.weight(const))

    def number(self, x: float) -> str:
        """A number as a value of shape ()."""
        import torch

        return self.constant(Const(torch.tensor(float(x))))

    def constant_value(self, name: str) -> NDArray[np.float32] | None:
        """The entry of a value that is a constant, however laid out; None for another."""
        op = self.producer(name)
        if isinstance(op, ops.Constant):
            return self.weights[op.weight]
        if not isinstance(op, ops.Reshape | ops.Transpose | ops.Expand | ops.Slice | ops.Index):
            return None
        x = self.constant_value(op.inputs[0])
        if x is None or isinstance(op, ops.Reshape):
            return None if x is None else x.reshape(self.shapes[name])
        if isinstance(op, ops.Transpose):
            return x.transpose(op.axes)
        if isinstance(op, ops.Expand):
            return np.broadcast_to(x, self.shapes[name])
        taken = op.indices if isinstance(op, ops.Index) else range(op.start, op.stop, op.step)
        return x.take(list(taken), op.axis)

    def reshape(self, name: str, shape: Shape) -> str:
        """`name` under another shape."""
        source = self.producer(name)
        if isinstance(source, ops.Reshape):
            name = source.inputs[0]
        same = self.shapes[name] == tuple(shape)
        return name if same else self.emit(ops.Reshape, [name], shape_to=tuple(shape))

    def transpose(self, name: str, axes: Sequence[int]) -> str:
        """`name` with its axes in the order `axes`."""
        source = self.producer(name)
        if isinstance(source, ops.Transpose):
            name, axes = source.inputs[0], [source.axes[a] for a in axes]
        if list(axes) == list(range(len(axes))):
            return name
        shape = self.shapes[name]
        moved = [a for a in axes if shape[a] != 1]
        if moved == sorted(moved):
            return self.reshape(name, tuple(shape[a] for a in axes))
        return self.emit(ops.Transpose, [name], axes=tuple(axes))

    def slice(self, name: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Part of `name` along `axis`."""
        if (start, step) == (0, 1) and stop == self.shapes[name][axis]:
            return name
        return self.emit(ops.Slice, [name], axis=axis, start=start, stop=stop, step=step)

    def index(self, name: str, axis: int, indices: Sequence[int]) -> str:
        """`name` at `indices` along `axis`."""
        picked = [int(i) for i in indices]
        if picked and picked == list(range(picked[0], picked[-1] + 1)):
            return self.slice(name, axis, picked[0], picked[-1] + 1)
        return self.emit(ops.Index, [name], axis=axis, indices=tuple(picked))

    def expand(self, name: str, shape: Shape) -> str:
        """`name` broadcast to `shape`."""
        if self.shapes[name] == tuple(shape):
            return name
        return self.emit(ops.Expand, [name], shape_to=tuple(shape))

    def concat(self, names: Sequence[str], axis: int) -> str:
        """Values side by side along `axis`."""
        if len(names) == 1:
            return names[0]
        return self.emit(ops.Concat, names, axis=axis)

    def binary(self, fn: str, a: str, b: str | float, first: bool = False) -> str:
        """fn(a, b), or with a number b and `first` fn(b, a)."""
        if isinstance(b, str):
            return self.emit(ops.Binary, [a, b], fn=fn)
        if not np.isfinite(b):
            number = self.number(b)
            return self.emit(ops.Binary, [number, a] if first else [a, number], fn=fn)
        return self.emit(ops.Binary, [a], fn=fn, scalar=float(b), scalar_first=first)

    def unary(self, fn: str, a: str) -> str:
        """fn(a)."""
        return self.emit(ops.Unary, [a], fn=fn)

    def reduce(self, fn: str, a: str, axes: Sequence[int], keepdims: bool = False) -> str:
        """fn of `a` over `axes`."""
        return self.emit(ops.Reduce, [a], fn=fn, axes=tuple(axes), keepdims=keepdims)

    # Tensors.

    def rows(self, v: Value) -> Rows:
        """A tensor with a batch axis as floats; columns of arguments become dense inputs."""
        if isinstance(v, Rows):
            return v
        if isinstance(v, Columns):
            return self._numbers(v)
        raise Unsupported(f"expected a tensor with a batch axis, got {type(v).__name__}")

    def like(
        self, v: Rows, name: str, axis: int | None = None, merged: Merged | None = None
    ) -> Rows:
        """The value `name` laid out as `v` is, but for what is given."""
        at = v.axis if axis is None else axis
        return Rows(name, self.shapes[name], at, v.merged if merged is None else merged)

    def _numbers(self, v: Columns) -> Rows:
        """Columns as floats: slices of dense inputs, side by side."""
        import torch

        flat = v.cells.reshape(-1, CELL)
        cuts = np.flatnonzero(np.diff(flat[:, 0])) + 1
        parts = []
        for run in np.split(flat, cuts):
            item = self.inputs.dense(int(run[0, 0]))
            self.shapes[item.name] = (item.width,)
            self._taken.add(item.name)
            parts.append(self.index(item.name, 0, run[:, 1].tolist()))
        name = self.concat(parts, 0)
        name = self._where(flat[:, 3] & TRUNCATED, self.truncate, name)
        if flat[:, 2].any():
            name = self.binary("add", name, self.constant(Const(torch.from_numpy(flat[:, 2]))))
        name = self._where(flat[:, 3] & CLAMPED, lambda x: self.emit(ops.Clamp, [x], low=0.0), name)
        name = self.reshape(name, v.shape)
        whole = v.integer and not (v.cells[..., 3] & FLOATS).any()
        dtype = "bool" if v.is_all(TRUTH) else "int64" if whole else "float32"
        self.columns.setdefault(name, v)
        return Rows(name, v.shape, v.axis, v.merged, dtype)

    def truncate(self, name: str) -> str:
        """Floats rounded towards 0."""
        whole = self.unary("floor", self.unary("abs", name))
        return self.binary("mul", self.unary("sign", name), whole)

    def _where(self, chosen: NDArray[np.int64], change: Callable[[str], str], name: str) -> str:
        """`change` of the elements of `name` (n,) that are chosen."""
        import torch

        if chosen.all() or not chosen.any():
            return change(name) if chosen.any() else name
        mask = self.constant(Const(torch.from_numpy(chosen != 0)))
        return self.emit(ops.Where, [mask, change(name), name])


def runs(cells: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Columns (n, CELL) cut into runs of consecutive ones of one argument with one row offset."""
    steps = np.diff(cells[:, :3], axis=0)
    cuts = np.flatnonzero((steps != (0, 1, 0)).any(axis=1)) + 1
    return np.split(cells, cuts)
