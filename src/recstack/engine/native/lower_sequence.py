"""Steps of recurrences."""

from __future__ import annotations

from recstack.engine.native.lower import lowers
from recstack.engine.native.lower_dense import emit_linear
from recstack.engine.native.plan import Plan
from recstack.model.ops import Augru, Gru, GruCell


@lowers(Gru, Augru)
def recurrence(plan: Plan, op: Gru | Augru) -> None:
    scope = plan.scope_of(op.output)
    weights = plan.model.weights
    positions = plan.model.values[op.inputs[0]].shape[0]
    w_hh = weights[op.weight_hh]
    gates, hidden = w_hh.shape
    # The input's projection needs no attention: once per query where the input is the user's.
    own = plan.scope_with(op.inputs[0], scope)
    xg = plan.new_buffer(own, positions * gates, dense=True)
    bias_ih = weights[op.bias_ih] if op.bias_ih else None
    x = plan.operand(op.inputs[0], own)
    emit_linear(plan, own, x, xg, positions, weights[op.weight_ih], bias_ih)
    attention = isinstance(op, Augru)
    others = [plan.operand(op.inputs[1], scope)] if attention else []
    masks = op.inputs[2 if attention else 1 :]
    others += [plan.shared_operand(name, scope) for name in masks]
    state = plan.new_buffer(scope, 2 * hidden)
    plan.emit(
        "recurrence",
        scope,
        [xg, *others, state, plan.result(op.output)],
        [positions, hidden, attention, bool(masks), op.result == "sequence"],
        weights=[w_hh, weights[op.bias_hh]] if op.bias_hh else [w_hh],
    )


@lowers(GruCell)
def gru_cell(plan: Plan, op: GruCell) -> None:
    scope = plan.scope_of(op.output)
    weights = plan.model.weights
    x, h = (plan.operand(name, scope) for name in op.inputs)
    gates, hidden = weights[op.weight_hh].shape
    projected = []
    for source, weight, bias in ((x, op.weight_ih, op.bias_ih), (h, op.weight_hh, op.bias_hh)):
        out = plan.new_buffer(scope, gates)
        emit_linear(plan, scope, source, out, 1, weights[weight], weights[bias] if bias else None)
        projected.append(out)
    plan.emit("gru_gates", scope, [*projected, h, plan.result(op.output)], [hidden])
