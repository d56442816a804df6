"""What the dense layers of a plan are computed in."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from recstack.engine.native.plan import Plan
from recstack.engine.precision import FP32, LayerPrecision

ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class LayerInUse:
    """Layers that an engine computes together, most often one.

    names: as `quantisable` names them. packed_bytes: of their matrices, without panels' padding.
    """

    names: tuple[str, ...]
    precision: LayerPrecision
    packed_bytes: int

    @property
    def saved_bytes(self) -> int:
        """Fewer than in fp32."""
        return self.packed_bytes * 4 // ELEMENT_BYTES[self.precision.format] - self.packed_bytes

    def __str__(self) -> str:
        return f"{', '.join(self.names)}: {self.precision.format}, {self.packed_bytes} bytes"


def layers_in_use(plan: Plan) -> tuple[LayerInUse, ...]:
    """The layers of `plan` in the order of its ops; the parts of a split one count together."""
    found: dict[tuple[str, ...], LayerInUse] = {}
    for op in plan.model.ops:
        names = plan.layers.get(op.output)
        if names is None:
            continue
        precision = plan.precisions.get(op.output, FP32)
        shapes = [plan.model.weights[w].shape for w in op.weights()]
        elements = sum(prod(shape) for shape in shapes if len(shape) == 2)
        before = found[names].packed_bytes if names in found else 0
        size = before + elements * ELEMENT_BYTES[precision.format]
        found[names] = LayerInUse(names, precision, size)
    return tuple(found.values())
