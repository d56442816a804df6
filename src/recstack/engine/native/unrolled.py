"""A plain RNN spelled step by step, recognised: one op for all positions.

    h_t = tanh(weight @ [x_t, h_(t-1)] + bias)      a concatenation and a tanh layer per step

Its inputs become one value: the one that they are slices of, or a stack, whose parts are then
written where the RNN reads them. Its states become one too when a stack of them all is what is
read, and none but the last when only that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from recstack.engine.native.graph import Graph
from recstack.engine.native.rnn import Rnn
from recstack.model import Model, build
from recstack.model.ops import Concat, Constant, Linear, Op, Reshape, Slice, Stack


@dataclass(frozen=True, slots=True)
class Cell:
    """One step: the layer, and what its concatenation joins."""

    layer: Linear
    x: str
    state: str

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the layer's weights."""
        return self.layer.weights()


def fuse_rnns(model: Model) -> Model:
    """Put an Rnn in place of every such chain of two steps or more."""
    graph = _Chains(model)
    fused: dict[str, tuple[Op, ...]] = {}
    gone: set[str] = set()
    for chain in graph.chains():
        ops = graph.fuse(chain)
        if ops:
            states = [cell.layer.output for cell in chain]
            fused[states[-1]] = ops
            gone.update(states[:-1], (cell.layer.inputs[0] for cell in chain), (ops[-1].output,))
            gone.discard(states[-1])
    if not fused:
        return model
    kept = [
        new for op in model.ops for new in fused.get(op.output, () if op.output in gone else (op,))
    ]
    ops = _without_unread_slices(kept, model.outputs)
    return build(model.description.model_copy(update={"ops": ops}), dict(model.weights))


class _Chains(Graph):
    """The model as it was, and its chains of cells."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.uses = Counter(name for op in model.ops for name in op.inputs)
        self.uses.update(model.outputs)

    def chains(self) -> Iterator[list[Cell]]:
        """The steps of each RNN, in order."""
        cells = {op.output: cell for op in self.model.ops if (cell := self._cell(op))}
        after: dict[str, Cell] = {}
        forked: set[str] = set()
        for cell in cells.values():
            before = cells.get(cell.state)
            if before is not None and before.weights == cell.weights:
                forked.update({cell.state} & after.keys())
                after[cell.state] = cell
        following = {cell.layer.output for cell in after.values()}
        for cell in cells.values():
            chain = [cell]
            while (last := chain[-1].layer.output) in after and last not in forked:
                chain.append(after[last])
            if len(chain) > 1 and cell.layer.output not in following:
                yield chain

    def _cell(self, op: Op) -> Cell | None:
        if not isinstance(op, Linear) or op.activation != "tanh":
            return None
        joined = self.makers.get(op.inputs[0])
        shape = self.model.values[op.output].shape
        if not isinstance(joined, Concat) or len(joined.inputs) != 2:
            return None
        if self.uses[joined.output] != 1 or prod(shape[:-1]) != 1 or len(shape) not in (1, 2):
            return None
        if joined.axis not in (-1, len(shape) - 1):
            return None
        x, state = joined.inputs
        return Cell(op, x, state) if self.model.values[state].shape == shape else None

    def fuse(self, chain: Sequence[Cell]) -> tuple[Op, ...]:
        """What stands in place of the chain's last layer, its result last; nothing: leave it."""
        first, last = chain[0], chain[-1].layer
        values = self.model.values
        scope, start = values[first.x].scope, self._start(first)
        alike = {(values[cell.x].shape, values[cell.x].scope) for cell in chain}
        # Of a user's inputs to an item's state the products are better made once per query.
        if len(alike) != 1 or any(values[name].scope not in ("const", scope) for name in start):
            return ()
        whole = self._whole([cell.layer.output for cell in chain])
        if whole is None:
            return ()
        x, made = self._sequence([cell.x for cell in chain], f"{last.output}:x")
        flat = len(values[last.output].shape) == 1
        rnn = Rnn(
            output=whole or (last.output if flat else f"{last.output}:flat"),
            inputs=(x, *start),
            weight=last.weight,
            bias=last.bias,
            result="sequence" if whole else "last",
        )
        if whole or flat:
            return (*made, rnn)
        shape = values[last.output].shape
        return (*made, rnn, Reshape(output=last.output, inputs=(rnn.output,), shape_to=shape))

    def _start(self, first: Cell) -> tuple[str, ...]:
        """The first state, unless it is 0 and what it adds is too."""
        name = first.state
        maker = self.makers.get(name)
        while isinstance(maker, Reshape):
            name = maker.inputs[0]
            maker = self.makers.get(name)
        weights = self.model.weights
        zero = isinstance(maker, Constant) and not np.any(weights[maker.weight])
        return () if zero and np.isfinite(weights[first.layer.weight]).all() else (first.state,)

    def _whole(self, states: Sequence[str]) -> str | None:
        """The stack of all states that alone reads them, "" where only the last is read."""
        outside = [self.uses[name] - 1 for name in states[:-1]]
        if not any(outside):
            return ""
        readers = [op for op in self.readers.get(states[-1], ()) if op.inputs == tuple(states)]
        if len(readers) != 1 or set(outside) != {1} or self.uses[states[-1]] != 1:
            return None
        rows = len(self.model.values[states[0]].shape)
        stack = readers[0]
        joins = isinstance(stack, Stack if rows == 1 else Concat) and stack.axis in (0, -2)
        return stack.output if joins else None

    def _sequence(self, xs: Sequence[str], name: str) -> tuple[str, tuple[Op, ...]]:
        """The inputs as one value (L, d), and the op that makes it where there is none."""
        makers = [self.makers.get(x) for x in xs]
        slices = [op for op in makers if isinstance(op, Slice)]
        shape = self.model.values[xs[0]].shape
        if len(shape) == 2 and len(slices) == len(xs) and _consecutive(slices):
            source, start, stop = slices[0].inputs[0], slices[0].start, slices[-1].stop
            if (start, stop) == (0, self.model.values[source].shape[0]):
                return source, ()
            cut = Slice(output=name, inputs=(source,), axis=0, start=start, stop=stop)
            return name, (cut,)
        joined = Concat if len(shape) == 2 else Stack
        return name, (joined(output=name, inputs=tuple(xs), axis=0),)


def _consecutive(slices: Sequence[Slice]) -> bool:
    """Whether the slices are one row each of one value, in order and without a gap."""
    first = slices[0]
    return all(
        op.inputs == first.inputs
        and op.axis in (0, -2)
        and (op.start, op.stop, op.step) == (first.start + i, first.start + i + 1, 1)
        for i, op in enumerate(slices)
    )


def _without_unread_slices(ops: Sequence[Op], outputs: Sequence[str]) -> tuple[Op, ...]:
    """`ops` without the slices and the start that nothing reads any more."""
    read, kept = set(outputs), []
    for op in reversed(ops):
        if op.output in read or not isinstance(op, Slice | Reshape | Constant):
            kept.append(op)
            read.update(op.inputs)
    return tuple(reversed(kept))
