"""A plain RNN as one op: what the planner makes of one spelled step by step (unrolled.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from recstack.model.ops import Op
from recstack.model.ops.base import Name, Shape, WeightShapes


class Rnn(Op):
    """tanh(weight @ [x_t, state] + bias) over x (L, d): all states (L, h) or the last one (h,).

    inputs (x[, start (h,) or (1, h)]); without a start the first state is 0. weight (h, d + h).
    Only the native planner makes it; no model on disk has it.
    """

    kind: Literal["rnn"] = "rnn"
    weight: Name
    bias: Name | None = None
    result: Literal["last", "sequence"] = "last"
    weight_fields: ClassVar[tuple[str, ...]] = ("weight", "bias")
    arity: ClassVar[tuple[int, int]] = (1, 2)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        """(h,), or (L, h) for a sequence."""
        hidden = weights[self.weight][:1]
        return hidden if self.result == "last" else (inputs[0][0], *hidden)
