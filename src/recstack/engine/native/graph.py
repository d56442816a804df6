"""What rewrites ask of a model: who makes and who reads each value."""

from __future__ import annotations

from recstack.model.model import Model
from recstack.model.ops.base import Op


class Graph:
    """Makers and readers of a model's values, by name.

    makers: the op that makes a value. readers: the ops that read it, once per reading, in order.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.makers: dict[str, Op] = {op.output: op for op in model.ops}
        self.readers: dict[str, list[Op]] = {}
        for op in model.ops:
            for name in op.inputs:
                self.readers.setdefault(name, []).append(op)
