"""What no other op covers: an imported aten call that torch runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from recstack.model.ops.base import Name, Op, Shape, WeightShapes, check_size, require


class Opaque(Op):
    """One call of a torch operator of the aten namespace, such as `aten.cumsum.default`.

    arguments, keywords: JSON values; {"input": i} stands for inputs[i] as a tensor with its leading
        axis, {"weight": name} for a weight, {"rows": k} for k times the number of entries,
        {"range": k} for 0, k, 2k ... of each entry,
        {"dtype": name} for a dtype, {"number": "inf"} for a number that JSON has not.
        {"input": i, "axis": p, "merged": true, "dtype": name} moves the leading axis to p, then
        folds the axis after it into it, and casts; the last three keys may be absent. A complex
        input has a last axis (2,) of real and imaginary parts. A weight may have a "dtype" too.
    result: which tensor of several results this op's value is.
    result_axis, result_merged: how its leading axis stands, as in an input.
    entry_shape: shape of the result without its leading axis, found at import; a complex result
        has a last axis (2,).
    source: where the call stood in the user's code.
    """

    kind: Literal["opaque"] = "opaque"
    target: Name
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = Field(default_factory=dict)
    result: int = Field(default=0, ge=0)
    result_axis: int = Field(default=0, ge=0)
    result_merged: bool = False
    entry_shape: tuple[int, ...]
    weight_names: tuple[Name, ...] = ()
    source: str = ""
    arity: ClassVar[tuple[int, int]] = (0, 1 << 20)

    def weights(self) -> tuple[str, ...]:
        return self.weight_names

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        require(self.target.startswith("aten."), "an operator of the aten namespace", self.target)
        return check_size(self.entry_shape)
