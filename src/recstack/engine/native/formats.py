"""Which formats a plan's layers really run in: a fused kernel may not have the one asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    packed_bytes: of its matrices as they are kept, without panels' padding. An attention unit's
        first ones are kept in fp32, as every row folds its own weights from them.
    """

    name: str
    formats: tuple[DenseFormat, ...]
    packed_bytes: int

    def __str__(self) -> str:
        return f"{self.name}: {' and '.join(self.formats)}, {self.packed_bytes} bytes"


@dataclass(frozen=True, slots=True)
class Product:
    """A product of one step: the layer that it belongs to, its format and its matrices."""

    layer: str
    format: DenseFormat
    elements: int
    bytes: int


def layers_in_use(plan: Plan) -> tuple[LayerInUse, ...]:
    """The layers of `plan`, in the order in which they first run."""
    found: dict[str, LayerInUse] = {}
    for product in products(plan):
        name, format_ = product.layer, product.format
        had = found.get(name, LayerInUse(name, (), 0))
        formats = had.formats if format_ in had.formats else (*had.formats, format_)
        found[name] = LayerInUse(name, formats, had.packed_bytes + product.bytes)
    return tuple(found.values())


def saved_bytes(plan: Plan) -> int:
    """By how much the packed matrices of `plan` are smaller than in fp32."""
    return sum(4 * product.elements - product.bytes for product in products(plan))


def products(plan: Plan) -> Iterator[Product]:
    """The products of the layers of `plan`, in the order in which they run."""
    units = set[str]()
    for step in plan.steps:
        names = plan.layers.get(step.value, ())
        if names and step.kind == "attention_unit":
            if step.value in units:  # the next keys of the same unit
                continue
            units.add(step.value)
            yield from _unit_products(plan, step, names)
        elif names and (format_ := _format(step)) is not None:
            elements = sum(weight.size for weight in step.weights if weight.ndim == 2)
            yield Product(names[0], format_, elements, elements * ELEMENT_BYTES[format_])


def _unit_products(plan: Plan, step: Step, names: Sequence[str]) -> Iterator[Product]:
    """Of a unit's layers, which are layers of the model each, or one all together."""
    asked = plan.precisions.get(step.value, FP32).format
    others: DenseFormat = "fp32" if asked == "int8" else asked
    sizes = [weight.size for weight in step.weights if weight.ndim == 2]
    head = 7  # ints before those of the layers, four each: "attention_unit" in steps_unit.cc
    for i in range(step.ints[6]):
        has_product, int8 = step.ints[head + 4 * i + 2], step.ints[head + 4 * i + 3]
        format_: DenseFormat = "int8" if int8 else others
        elements = sum(sizes.pop(0) for _ in range(2 if i == 0 and has_product else 1))
        kept = elements * (4 if i == 0 else ELEMENT_BYTES[format_])
        yield Product(names[min(i, len(names) - 1)], format_, elements, kept)


def _format(step: Step) -> DenseFormat | None:
    if step.kind == "linear":
        return FORMATS[step.ints[4]]
    if step.kind in ("recurrence", "rnn"):
        return FORMATS[step.ints[5]]
    return "int8" if step.kind in ("linear8", "recurrence8") else None
