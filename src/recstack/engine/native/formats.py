"""Which formats a plan's layers really run in: a fused kernel may not have the one asked for."""

from __future__ import annotations

from dataclasses import dataclass

from recstack.engine.native.lower_dense import WEIGHT_FORMATS
from recstack.engine.native.plan import Plan, Step
from recstack.engine.precision import FP32, DenseFormat

FORMATS = {number: name for name, number in WEIGHT_FORMATS.items()}
ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class LayerInUse:
    """How an engine computes one layer.

    formats: of its products, in the order in which they first run. More than one where not all have
        a kernel of the layer's format: a product of few outputs, say, is fp32 beside int8 ones.
    packed_bytes: of its matrices, without panels' padding; of layers fused into one step together,
        the first has the bytes of all.
    """

    name: str
    formats: tuple[DenseFormat, ...]
    packed_bytes: int

    def __str__(self) -> str:
        return f"{self.name}: {' and '.join(self.formats)}, {self.packed_bytes} bytes"


def layers_in_use(plan: Plan) -> tuple[LayerInUse, ...]:
    """The layers of `plan`, in the order in which they first run."""
    found: dict[str, LayerInUse] = {}
    for step in plan.steps:
        if (format := _format(plan, step)) is None:
            continue
        packed = _matrix_elements(step) * ELEMENT_BYTES[format]
        for name in plan.layers.get(step.value, ()):
            had = found.get(name, LayerInUse(name, (), 0))
            formats = had.formats if format in had.formats else (*had.formats, format)
            found[name] = LayerInUse(name, formats, had.packed_bytes + packed)
            packed = 0
    return tuple(found.values())


def saved_bytes(plan: Plan) -> int:
    """By how much the packed matrices of `plan` are smaller than in fp32."""
    return sum(
        _matrix_elements(step) * (4 - ELEMENT_BYTES[format])
        for step in plan.steps
        if (format := _format(plan, step)) is not None
    )


def _matrix_elements(step: Step) -> int:
    return sum(weight.size for weight in step.weights if weight.ndim == 2)


def _format(plan: Plan, step: Step) -> DenseFormat | None:
    if step.kind == "linear":
        return FORMATS[step.ints[4]]
    if step.kind in ("recurrence", "rnn"):
        return FORMATS[step.ints[5]]
    if step.kind == "attention_unit":
        asked = plan.precisions.get(step.value, FP32).format
        return "fp32" if asked == "int8" else asked
    return "int8" if step.kind in ("linear8", "recurrence8") else None
