"""Which formats a plan's layers really run in: a fused kernel may know fewer than were asked for."""

from __future__ import annotations

from recstack.engine.native.lower_dense import WEIGHT_FORMATS
from recstack.engine.native.plan import Plan, Step
from recstack.engine.precision import DenseFormat

FORMATS = {number: name for name, number in WEIGHT_FORMATS.items()}
FUSED = ("attention_unit", "recurrence", "rnn")  # steps with products of their own, in fp32


def formats_of(plan: Plan) -> dict[str, tuple[DenseFormat, ...]]:
    """By the layer's name, the formats of its products, in the order in which they first run.

    More than one where a layer has several products and not all have a kernel of its format: a
    GRU's recurrence, say, is fp32 behind an int8 projection.
    """
    found: dict[str, tuple[DenseFormat, ...]] = {}
    for step in plan.steps:
        if (format := _format(step)) is None:
            continue
        for name in plan.layers.get(step.value, ()):
            had = found.setdefault(name, ())
            found[name] = had if format in had else (*had, format)
    return found


def _format(step: Step) -> DenseFormat | None:
    if step.kind == "linear":
        return FORMATS[step.ints[4]]
    return "int8" if step.kind == "linear8" else "fp32" if step.kind in FUSED else None
