"""Steps of recurrences."""

from __future__ import annotations

from recstack.engine.native.lower import lowers
from recstack.engine.native.lower_dense import WEIGHT_FORMATS, emit_linear
from recstack.engine.native.lower_dense8 import runs_in_int8
from recstack.engine.native.plan import LINE_FLOATS, Place, Plan, ScopeName
from recstack.engine.native.rnn import Rnn
from recstack.engine.precision import LayerPrecision
from recstack.model.ops import Augru, Gru, GruCell


@lowers(Gru, Augru)
def recurrence(plan: Plan, op: Gru | Augru) -> None:
    scope = plan.scope_of(op.output)
    weights = plan.model.weights
    positions = plan.model.values[op.inputs[0]].shape[0]
    w_hh = weights[op.weight_hh]
    hidden = w_hh.shape[1]
    xg = _project(plan, op.inputs[0], scope, positions, op.weight_ih, op.bias_ih)
    attention = isinstance(op, Augru)
    others = [plan.operand(op.inputs[1], scope)] if attention else []
    masks = op.inputs[2 if attention else 1 :]
    others += [plan.operand(name, scope, in_place=True) for name in masks]
    int8 = runs_in_int8(plan.precision, 3 * hidden, hidden)
    state = plan.new_buffer(scope, 5 * hidden if int8 else 2 * hidden + _rounded(plan, hidden))
    plan.emit(
        "recurrence8" if int8 else "recurrence",
        scope,
        [xg, *others, state, plan.result(op.output)],
        [
            positions,
            hidden,
            attention,
            bool(masks),
            op.result == "sequence",
            WEIGHT_FORMATS.get(plan.precision.format, 0),
        ],
        weights=[w_hh, weights[op.bias_hh]] if op.bias_hh else [w_hh],
    )


@lowers(Rnn)
def rnn(plan: Plan, op: Rnn) -> None:
    scope = plan.scope_of(op.output)
    weights = plan.model.weights
    positions, dim = plan.model.values[op.inputs[0]].shape
    weight = weights[op.weight]
    hidden, sequence = weight.shape[0], op.result == "sequence"
    operands = [plan.operand(name, scope) for name in op.inputs]
    rounded = _rounded(plan, dim) + _rounded(plan, hidden)
    unused = sequence and not rounded
    operands.append(plan.new_buffer(scope, 1 if unused else 2 * hidden + rounded))
    plan.emit(
        "rnn",
        scope,
        [*operands, plan.result(op.output)],
        [
            positions,
            dim,
            hidden,
            len(op.inputs) > 1,
            sequence,
            WEIGHT_FORMATS.get(plan.precision.format, 0),
        ],
        weights=[weight, weights[op.bias]] if op.bias else [weight],
    )


@lowers(GruCell)
def gru_cell(plan: Plan, op: GruCell) -> None:
    scope = plan.scope_of(op.output)
    hidden = plan.model.weights[op.weight_hh].shape[1]
    x, h = op.inputs
    projected = []
    inner = plan.precision.of_inner()
    for name, weight, bias, precision in (
        (x, op.weight_ih, op.bias_ih, plan.precision),
        (h, op.weight_hh, op.bias_hh, inner),
    ):
        out = _project(plan, name, scope, 1, weight, bias, precision)
        projected.append(plan.spread(out, 3 * hidden) if out.kind != scope else out)
    operands = [*projected, plan.operand(h, scope), plan.result(op.output)]
    plan.emit("gru_gates", scope, operands, [hidden])


def _rounded(plan: Plan, width: int) -> int:
    """Floats that a recurrence rounds `width` of an input or a state into."""
    return -(-width // LINE_FLOATS) * LINE_FLOATS if plan.precision.format == "bf16" else 0


def _project(
    plan: Plan,
    name: str,
    scope: ScopeName,
    positions: int,
    weight: str,
    bias: str | None,
    precision: LayerPrecision | None = None,
) -> Place:
    """The value's product with `weight`, for an op of `scope`; a user's is made once per query."""
    weights = plan.model.weights
    where = plan.scope_to_project(name, scope)
    out = plan.new_buffer(where, positions * weights[weight].shape[0], dense=positions > 1)
    x = plan.operand(name, where)
    added = weights[bias] if bias else None
    emit_linear(plan, where, x, out, positions, weights[weight], added, precision=precision)
    return out
