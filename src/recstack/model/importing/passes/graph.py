"""The ops of a model under construction, for passes to match and replace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recstack.model import ops
from recstack.model.importing.builder import Builder
from recstack.model.importing.inputs import Inputs
from recstack.model.ops.base import FeatureOp, Op, Shape

T = TypeVar("T", bound=Op)


class Graph:
    """Ops in order, each after those that it reads.

    shapes: of every value; origins: numbers of the calls that each op came from.
    """

    def __init__(self, builder: Builder, outputs: list[str]) -> None:
        self.ops: list[Op] = list(builder.ops)
        self.outputs = outputs
        self.inputs: Inputs = builder.inputs
        self.shapes: dict[str, Shape] = builder.shapes
        self.weights: dict[str, NDArray[np.float32]] = builder.weights
        self.origins: dict[str, frozenset[int]] = builder.origins
        self.producers = {op.output: op for op in self.ops}
        self.uses: Counter[str] = Counter()
        self._count()

    def op(self, name: str, cls: type[T]) -> T | None:
        """The op that makes `name`, if it is a `cls`."""
        found = self.producers.get(name)
        return found if isinstance(found, cls) else None

    def private(self, name: str) -> bool:
        """Whether one op alone reads `name`."""
        return self.uses[name] == 1

    def constant(self, name: str) -> NDArray[np.float32] | None:
        """The array of a constant value, seen through reshapes that keep its order."""
        op = self.producers.get(name)
        shape = self.shapes.get(name)
        while isinstance(op, ops.Reshape):
            op = self.producers.get(op.inputs[0])
        return self.weights[op.weight].reshape(shape) if isinstance(op, ops.Constant) else None

    def replace(self, old: Op, new: Op, absorbed: Iterable[str] = ()) -> None:
        """Put `new`, which keeps the output's name, where `old` stands.

        absorbed: names of the values whose ops it takes in; they stay if others read them.
        """
        assert old.output == new.output
        self.ops[self.position(old)] = new
        self.producers[new.output] = new
        for name in absorbed:
            self.origins[new.output] |= self.origins.get(name, frozenset())
        self._shape(new)
        self._count()

    def insert(self, before: Op, new: Op) -> None:
        """Put `new` in front of an op."""
        self.ops.insert(self.position(before), new)
        self.producers[new.output] = new
        self.origins.setdefault(new.output, self.origins.get(before.output, frozenset()))
        self._shape(new)
        self._count()

    def position(self, op: Op) -> int:
        """Where `op` stands."""
        return next(i for i, other in enumerate(self.ops) if other is op)

    def rename(self, old: str, new: str) -> None:
        """Let every reader of `old` read `new`."""
        for i, op in enumerate(self.ops):
            if old in op.inputs:
                inputs = tuple(new if n == old else n for n in op.inputs)
                self.ops[i] = self.producers[op.output] = op.model_copy(update={"inputs": inputs})
        self.outputs[:] = [new if n == old else n for n in self.outputs]
        self._count()

    def name_outputs(self, wanted: Sequence[str]) -> None:
        """Give the model's outputs these unused names, "" for none; inputs keep theirs.

        An output that stands twice keeps the name that is wanted first.
        """
        for output, new in dict(reversed([*zip(self.outputs, wanted, strict=True)])).items():
            if new and (op := self.producers.pop(output, None)):
                named = op.model_copy(update={"output": new})
                self.ops[self.position(op)] = self.producers[new] = named
                self.origins[new], self.shapes[new] = self.origins[output], self.shapes[output]
                self.rename(output, new)

    def store(self, hint: str, array: NDArray[np.float32]) -> str:
        """The name of a new weight."""
        name, n = hint, 2
        while name in self.weights:
            name, n = f"{hint}:{n}", n + 1
        self.weights[name] = np.ascontiguousarray(array, np.float32)
        return name

    def keep(self, names: set[str]) -> None:
        """Leave only the ops that make `names`."""
        self.ops = [op for op in self.ops if op.output in names]
        self.producers = {op.output: op for op in self.ops}
        self._count()

    def _shape(self, op: Op) -> None:
        weights = {w: self.weights[w].shape for w in op.weights()}
        if isinstance(op, FeatureOp):
            shape = op.feature_shape(self.inputs.sparse(op.inputs[0]), weights)
        else:
            shape = op.shape([self.shapes[n] for n in op.inputs], weights)
        self.shapes[op.output] = shape

    def _count(self) -> None:
        self.uses = Counter(n for op in self.ops for n in op.inputs)
        self.uses.update(self.outputs)
