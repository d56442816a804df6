"""What every op has: data, the shape of its result, and what it costs.

Shapes leave out the leading axis: a value of shape (L, d) holds one (L, d) array per entry, a row
for an item-scope value and a query for a user-scope one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from recstack.batch import SparseInput
from recstack.errors import ModelError

Shape = tuple[int, ...]
Name = Annotated[str, Field(min_length=1, max_length=300)]
WeightShapes = Mapping[str, Shape]
MAX_ELEMENTS = 1 << 26
MAX_RANK = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """What one op costs, per entry of its scope, from shapes alone.

    flops: floating-point operations per entry; a multiply-add counts as two.
    lookups: table rows read per entry (expected, for ragged features).
    weight_bytes: other weight bytes, read once per batch (or once per tile that leaves the cache).
    activation_bytes: input and output values moved per entry, were none kept in registers.
    """

    flops: int = 0
    lookups: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0


class Op(BaseModel):
    """One step of a model: reads `inputs`, names its result `output`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    output: Name
    inputs: tuple[Name, ...] = ()
    weight_fields: ClassVar[tuple[str, ...]] = ()
    arity: ClassVar[tuple[int, int]] = (1, 1)

    def weights(self) -> tuple[str, ...]:
        """Names of the weights that this op reads."""
        named = (getattr(self, f) for f in self.weight_fields)
        return tuple(w for w in named if w is not None)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        """Shape of the result; raises ModelError when the inputs or weights do not fit."""
        raise NotImplementedError

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        """Floating-point operations per entry."""
        return prod(output)

    def cost(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> Cost:
        """What this op costs per entry."""
        moved = sum(prod(s) for s in inputs) + prod(output)
        return Cost(
            flops=self.flops(inputs, output, weights),
            weight_bytes=4 * sum(prod(weights[w]) for w in self.weights()),
            activation_bytes=4 * moved,
        )


class FeatureOp(Op):
    """An op that reads a sparse input; `feature` is filled in by the model that owns it."""

    def feature_shape(self, feature: SparseInput, weights: WeightShapes) -> Shape:
        """Shape of the result for this feature."""
        raise NotImplementedError

    def feature_cost(self, feature: SparseInput, output: Shape, weights: WeightShapes) -> Cost:
        """What this op costs per entry for this feature."""
        return Cost(activation_bytes=4 * prod(output))


def require(condition: bool, expected: str, got: object) -> None:
    """Raise ModelError "expected ..., got ..." unless `condition` holds."""
    if not condition:
        raise ModelError(f"expected {expected}, got {got}")


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front; ModelError when outside a shape of `rank` axes."""
    require(-rank <= axis < rank, f"an axis of a shape with {rank} axes", axis)
    return axis % rank


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """NumPy's broadcast of entry shapes; ModelError when they do not fit."""
    rank = max(len(s) for s in shapes)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    out = []
    for sizes in zip(*padded, strict=True):
        wide = {n for n in sizes if n != 1}
        require(len(wide) <= 1, "shapes that broadcast together", list(shapes))
        out.append(wide.pop() if wide else 1)
    return tuple(out)


def check_size(shape: Shape) -> Shape:
    """`shape`, or ModelError when it holds more elements than any entry may."""
    require(len(shape) <= MAX_RANK, f"at most {MAX_RANK} axes", len(shape))
    require(max(shape, default=0) <= MAX_ELEMENTS, f"sizes of at most {MAX_ELEMENTS}", shape)
    require(prod(shape) <= MAX_ELEMENTS, f"at most {MAX_ELEMENTS} elements per entry", shape)
    return shape
