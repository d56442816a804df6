"""A plan under construction: steps, and where every value lies.

A value lies in a workspace buffer, in the batch's dense columns, in the output, or is a constant.
A value that only feeds a concatenation is written straight into its place there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.engine.precision import FP32, LayerPrecision
from recstack.model import Model
from recstack.model.ops import Op

ScopeName = Literal["user", "item"]
KINDS = {"item": 0, "user": 1, "dense": 2, "user_dense": 3, "output": 4, "constant": 5}
OWN = 6
NO_TURN = -1
LINE_FLOATS = 16
WAY_FLOATS = 256
FOREVER = 1 << 60


@dataclass(slots=True, eq=False)
class Buffer:
    """`width` floats per entry of workspace or output, live from step `first` to `last`.

    own: in the workspace of the thread that runs the steps, which are of one turn (turns.py).
    """

    kind: Literal["item", "user", "output"]
    width: int
    first: int = FOREVER
    last: int = -1
    offset: int = 0
    own: bool = False

    def touch(self, step: int) -> None:
        """Keep the buffer live at `step`."""
        self.first, self.last = min(self.first, step), max(self.last, step)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where one value lies: entry e at column + e * stride of its buffer, input or constant."""

    kind: str
    column: int = 0
    stride: int = 0
    buffer: Buffer | None = None
    data: NDArray[np.float32] | None = None

    @property
    def native_kind(self) -> int:
        """Operand::Kind of native/program/step.h."""
        return OWN if self.buffer and self.buffer.own else KINDS[self.kind]

    def part(self, column: int) -> Place:
        """The place of what starts `column` floats further on in each entry."""
        if self.data is not None:
            return Place(self.kind, 0, 0, None, self.data.reshape(-1)[column:])
        return Place(self.kind, self.column + column, self.stride, self.buffer)


@dataclass(frozen=True, slots=True)
class Step:
    """One native step (see native/program/steps_*.cc); the last operand is written.

    `value` names the value of the model that the step works for.
    """

    kind: str
    scope: ScopeName
    operands: tuple[Place, ...]
    ints: tuple[int, ...] = ()
    floats: tuple[float, ...] = ()
    weights: tuple[NDArray[Any], ...] = ()
    value: str = ""
    turn: int = NO_TURN

    def to_native(self) -> tuple[Any, ...]:
        """The tuple that `_native.Program` takes."""
        operands = [
            (p.native_kind, p.buffer.offset if p.buffer else 0, p.column, p.stride, p.data)
            for p in self.operands
        ]
        return (
            self.kind,
            self.scope == "user",
            operands,
            list(self.ints),
            list(self.floats),
            list(self.weights),
            self.turn,
        )


def _native_weight(weight: NDArray[Any]) -> NDArray[Any]:
    """Contiguous float32, or uint8 as it is: a table's rows in another format."""
    return np.ascontiguousarray(weight, None if weight.dtype == np.uint8 else np.float32)


@dataclass(slots=True)
class Plan:
    """Steps in order, the buffers they use, and the places of all values so far."""

    model: Model
    constants: dict[str, NDArray[np.float32]]
    hoist: bool = True
    precisions: Mapping[str, LayerPrecision] = field(default_factory=dict)  # by output of the op
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by output of the op
    steps: list[Step] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    gathered: dict[str, Place] = field(default_factory=dict)
    makers: dict[str, Op] = field(default_factory=dict)
    waiting: dict[str, Callable[[], None]] = field(default_factory=dict)  # late bags, by the first
    lowering: str = ""  # the value whose op is being lowered

    def __post_init__(self) -> None:
        self.makers = {op.output: op for op in self.model.ops}

    @property
    def precision(self) -> LayerPrecision:
        """Of the op that is being lowered."""
        return self.precisions.get(self.lowering, FP32)

    def emit(
        self,
        kind: str,
        scope: ScopeName,
        operands: Sequence[Place],
        ints: Sequence[int] = (),
        floats: Sequence[float] = (),
        weights: Sequence[NDArray[Any]] = (),
    ) -> None:
        """Append a step and keep its operands' buffers live.

        All user steps run before all item steps, so what an item step reads of the user workspace
        stays live to the end.
        """
        for place in operands:
            if place.buffer is not None:
                place.buffer.touch(len(self.steps))
                if place.buffer.kind == "user" and scope == "item":
                    place.buffer.touch(FOREVER)
        self.steps.append(
            Step(
                kind,
                scope,
                tuple(operands),
                tuple(int(i) for i in ints),
                tuple(floats),
                tuple(_native_weight(w) for w in weights),
                self.lowering,
            )
        )

    def new_buffer(self, scope: ScopeName, width: int, *, dense: bool = False) -> Place:
        """A fresh buffer. Wide ones get odd strides, lest rows share cache sets, unless `dense`."""
        if not dense and width >= LINE_FLOATS:
            width = -(-width // LINE_FLOATS) * LINE_FLOATS
            width += LINE_FLOATS if width % WAY_FLOATS == 0 else 0
        buffer = Buffer(scope, width)
        self.buffers.append(buffer)
        return Place(scope, 0, width, buffer)

    def scope_of(self, name: str) -> ScopeName:
        """The scope that the op making `name` runs in."""
        scope = self.model.values[name].scope
        assert scope != "const", "constants are folded before planning"
        return scope

    def operand(self, name: str, scope: ScopeName, *, in_place: bool = False) -> Place:
        """The value as an op of `scope` reads it; user values are spread over rows for item ops.

        in_place: the step finds each row's query itself (`Context::entry`), so nothing is spread.
        """
        if name in self.constants:
            return Place("constant", data=self.constants[name])
        place = self.places[name]
        if in_place or scope == "user" or self.model.values[name].scope != "user":
            return place
        if name not in self.gathered:
            value = self.model.values[name]
            self.gathered[name] = self.spread(place, value.elements, dense=len(value.shape) > 1)
        return self.gathered[name]

    def spread(self, place: Place, elements: int, *, dense: bool = False) -> Place:
        """A copy of a user-scope value of so many `elements` in every row of its query."""
        out = self.new_buffer("item", elements, dense=dense)
        self.emit("gather_user", "item", [place, out], [elements])
        return out

    def scope_to_project(self, name: str, scope: ScopeName) -> ScopeName:
        """Where a product with `name` alone belongs that an op of `scope` needs: user if it can."""
        own = self.model.values[name].scope if name not in self.constants else scope
        return "user" if own == "user" and self.hoist else scope

    def result(self, name: str) -> Place:
        """Where the op that makes `name` is to write."""
        if name not in self.places:
            value = self.model.values[name]
            self.places[name] = self.new_buffer(
                self.scope_of(name), value.elements, dense=len(value.shape) > 1
            )
        return self.places[name]

    def workspace_floats(self, scope: ScopeName) -> int:
        """Give each buffer of `scope` its offset, sharing space over time; returns the total."""
        live = sorted(
            (b for b in self.buffers if b.kind == scope and b.last >= 0), key=lambda b: b.first
        )
        placed: list[Buffer] = []
        for buffer in live:
            buffer.offset = 0
            overlapping = sorted(
                (b for b in placed if b.last >= buffer.first), key=lambda b: b.offset
            )
            for other in overlapping:
                if buffer.offset + buffer.width <= other.offset:
                    break
                buffer.offset = max(buffer.offset, other.offset + other.width)
            placed.append(buffer)
        return max((b.offset + b.width for b in placed), default=0)
