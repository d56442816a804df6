"""A model of some ops of another, which read as inputs what others made for them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from recstack.batch import DenseInput, Input
from recstack.model import Model
from recstack.model.model import build
from recstack.model.ops import AnyOp, FeatureOp, Reshape

PREFIX = "alone/"  # before the name of a value that is an input here, flat


@dataclass(frozen=True, slots=True)
class Alone:
    """model: the ops alone, all item-scope. reads: the values that are its dense inputs, in order.

    A value of several axes comes flat; so do the outputs.
    """

    model: Model
    reads: tuple[str, ...]


def alone(model: Model, outputs: Sequence[str]) -> Alone:
    """The ops of `model` that make `outputs`, without those before them.

    Constants that they read come along. Raises ModelError where an op cannot stand alone.
    """
    wanted = [op for op in model.ops if op.output in outputs]
    inputs: list[Input] = []
    ops: list[Any] = []
    reads: list[str] = []
    for op in wanted:
        if isinstance(op, FeatureOp):
            feature = next(i for i in model.sparse if i.name == op.inputs[0])
            if feature.name not in {i.name for i in inputs}:
                inputs.append(feature.model_copy(update={"scope": "item"}))
            continue
        for name in op.inputs:
            if name in reads or name in outputs or name in {o.output for o in ops}:
                continue
            if model.values[name].scope == "const":
                ops += _makers(model, name, {o.output for o in ops})
                continue
            shape = model.values[name].shape
            inputs.append(DenseInput(name=PREFIX + name, width=max(prod(shape), 1)))
            ops.append(Reshape(output=name, inputs=(PREFIX + name,), shape_to=shape))
            reads.append(name)
    description = model.description.model_copy(
        update={
            "inputs": tuple(inputs),
            "ops": tuple(ops + wanted),
            "outputs": tuple(outputs),
            "arguments": (),
        }
    )
    used = {w for op in description.ops for w in op.weights()}
    tables = {n: t for n, t in description.tables.items() if n in used}
    return Alone(
        build(
            description.with_tables(tables), {n: w for n, w in model.weights.items() if n in used}
        ),
        tuple(reads),
    )


def _makers(model: Model, name: str, known: set[str]) -> list[AnyOp]:
    """The ops that make a constant, those that they read first."""
    op = next(o for o in model.ops if o.output == name)
    before: list[AnyOp] = []
    for source in op.inputs:
        before += _makers(model, source, known | {o.output for o in before})
    return before if name in known else [*before, op]  # type: ignore[list-item]
