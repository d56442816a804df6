"""Which values are written straight into a concatenation, or into the scores."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from recstack.engine.native.plan import Place, Plan, ScopeName
from recstack.engine.native.unit_sum import UnitSum
from recstack.model.ops import Concat, Reshape, Slice, Stack


def place_inputs(plan: Plan) -> None:
    """Dense inputs lie in the batch's columns, in the model's order."""
    columns = {"item": 0, "user": 0}
    widths = {s: sum(i.width for i in plan.model.dense if i.scope == s) for s in columns}
    for item in plan.model.dense:
        kind = "dense" if item.scope == "item" else "user_dense"
        plan.places[item.name] = Place(kind, columns[item.scope], widths[item.scope])
        columns[item.scope] += item.width


def place_outputs(plan: Plan, output: Place) -> None:
    """Give item-scope outputs their columns of the scores; others are copied there at the end."""
    column = 0
    for name in plan.model.outputs:
        if _free(plan, name, "item"):
            plan.places[name] = output.part(column)
        column += plan.model.values[name].elements


def place_concatenations(plan: Plan) -> None:
    """Walk the ops backwards and give the parts of concatenations their columns in the whole."""
    for op in reversed(plan.model.ops):
        if op.output in plan.constants:
            continue
        if isinstance(op, Concat | Stack):
            lead = op.axis % (len(plan.model.values[op.output].shape) or 1)
            shape = plan.model.values[op.output].shape
            if prod(shape[:lead]) != 1:
                continue
            whole = plan.result(op.output)
            column = 0
            for name in op.inputs:
                if _free(plan, name, plan.scope_of(op.output)):
                    plan.places[name] = whole.part(column)
                column += plan.model.values[name].elements
        elif isinstance(op, UnitSum) and len(op.inputs) > 2:
            for group in op.groups():
                _side_by_side(plan, group, plan.scope_of(op.output))
        elif isinstance(op, Reshape):
            source = op.inputs[0]
            if op.output in plan.places and _free(plan, source, plan.scope_of(op.output)):
                plan.places[source] = plan.places[op.output]


def _side_by_side(plan: Plan, names: Sequence[str], scope: ScopeName) -> None:
    """Give values that are free a buffer of their own, one after the other."""
    sizes = [plan.model.values[name].elements for name in names]
    whole, column = plan.new_buffer(scope, sum(sizes)), 0
    for name, size in zip(names, sizes, strict=True):
        plan.places[name] = whole.part(column)
        column += size


def _free(plan: Plan, name: str, scope: str) -> bool:
    """Whether a step of `scope` makes `name`, may write it anywhere, and has no place for it."""
    if name in plan.places or name in plan.constants or plan.model.values[name].scope != scope:
        return False
    return name in plan.makers and not isinstance(plan.makers[name], Slice)
