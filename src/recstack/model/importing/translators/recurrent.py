"""GRU over a sequence, and its cell."""

from __future__ import annotations

import numpy as np

from recstack.model import ops
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.translators.dense import constant
from recstack.model.importing.values import MixesRows, Rows, Unsupported, Value

Gates = dict[str, str | None]


@translates("gru")
def gru(b: Builder, call: Call) -> Value:
    """nn.GRU: layers and directions; a state that does not start at zero is unrolled."""
    if "data" in call.values:
        raise Unsupported("a packed sequence")
    x = b.rows(call["input"])
    if len(x.shape) != 2 or x.merged or x.axis != (0 if call["batch_first"] else 1):
        raise MixesRows("a GRU whose steps run along the batch axis")
    state = b.rows(call["hx"])
    per_cell, ways = (4 if call["has_biases"] else 2), (2 if call["bidirectional"] else 1)
    steps, lasts, layer_input = x.shape[0], [], x.name
    for layer in range(call["num_layers"]):
        outputs = []
        for way in range(ways):
            cell = layer * ways + way
            given = call["params"][per_cell * cell : per_cell * (cell + 1)]
            gates = _gates(b, given)
            start = b.reshape(b.slice(state.name, 0, cell, cell + 1), state.shape[1:])
            backwards = list(range(steps))[::-1]
            source = b.index(layer_input, 0, backwards) if way else layer_input
            sequence, last = _layer(b, source, start, gates)
            outputs.append(b.index(sequence, 0, backwards) if way else sequence)
            lasts.append(last)
        layer_input = b.concat(outputs, 1)
    final = b.emit(ops.Stack, lasts, axis=0)
    return (b.like(x, layer_input), Rows(final, b.shapes[final], 1))


def _gates(b: Builder, given: list[Value]) -> Gates:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    stored = [None if v is None else b.weight(constant(v, "weight")) for v in given]
    return dict(zip(names, [*stored, None, None], strict=False))


def is_zero(b: Builder, name: str) -> bool:
    """Whether a value is a constant of zeros, however laid out."""
    op = b.producer(name)
    while op is not None and op.kind in ("reshape", "slice", "expand", "transpose", "index"):
        op = b.producer(op.inputs[0])
    return isinstance(op, ops.Constant) and not np.any(b.weights[op.weight])


def _layer(b: Builder, x: str, start: str, gates: Gates) -> tuple[str, str]:
    """The states of all steps, and the last of them."""
    if is_zero(b, start):
        sequence = b.emit(ops.Gru, [x], result="sequence", **gates)
        return sequence, b.emit(ops.Gru, [x], result="last", **gates)
    steps, width = b.shapes[x]
    states, state = [], start
    for t in range(steps):
        step = b.reshape(b.slice(x, 0, t, t + 1), (width,))
        state = b.emit(ops.GruCell, [step, state], **gates)
        states.append(state)
    return b.emit(ops.Stack, states, axis=0), state


@translates("gru_cell")
def gru_cell(b: Builder, call: Call) -> Value:
    """One step of a GRU."""
    x, state = b.rows(call["input"]), b.rows(call["hx"])
    if len(x.shape) != 1 or x.axis != 0 or x.merged or state.shape[:-1]:
        raise Unsupported("a GRU cell over more than (batch, width)")
    gates = _gates(b, [call.get(k) for k in ("w_ih", "w_hh", "b_ih", "b_hh")])
    return b.like(x, b.emit(ops.GruCell, [x.name, state.name], **gates))
