"""GRU and LSTM over a sequence, and their cells."""

from __future__ import annotations

import numpy as np

from recstack.model import ops
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.translators.dense import constant
from recstack.model.importing.values import Const, MixesRows, Rows, Unsupported, Value

Gates = dict[str, str | None]


@translates("gru")
def gru(b: Builder, call: Call) -> Value:
    """nn.GRU: layers and directions; a state that does not start at zero is unrolled."""
    x = _sequence(b, call)
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


def _sequence(b: Builder, call: Call) -> Rows:
    """The padded input, (steps, width) for each row."""
    if "data" in call.values:
        raise Unsupported("a packed sequence")
    x = b.rows(call["input"])
    if len(x.shape) != 2 or x.merged or x.axis != (0 if call["batch_first"] else 1):
        raise MixesRows("a recurrence whose steps run along the batch axis")
    return x


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


@translates("lstm")
def lstm(b: Builder, call: Call) -> Value:
    """nn.LSTM, step by step: layers and directions."""
    x = _sequence(b, call)
    ways, starts = (2 if call["bidirectional"] else 1), [b.rows(v) for v in call["hx"]]
    per_cell, params = (4 if call["has_biases"] else 2), call["params"]
    cells = ways * call["num_layers"]
    if len(params) != per_cell * cells:
        raise Unsupported("an LSTM with projections")
    states: list[str] = []
    memories: list[str] = []
    layer_input = x.name
    for first in range(0, cells, ways):
        outputs = []
        for cell in range(first, first + ways):
            weights = _lstm_weights(b, params[per_cell * cell : per_cell * (cell + 1)])
            start = [b.reshape(b.slice(s.name, 0, cell, cell + 1), s.shape[1:]) for s in starts]
            found = _lstm_layer(b, layer_input, start, weights, backwards=cell > first)
            outputs.append(found[0])
            states.append(found[1])
            memories.append(found[2])
        layer_input = b.concat(outputs, 1)
    lasts = [b.emit(ops.Stack, parts, axis=0) for parts in (states, memories)]
    return (b.like(x, layer_input), *(Rows(name, b.shapes[name], 1) for name in lasts))


@translates("lstm_cell")
def lstm_cell(b: Builder, call: Call) -> Value:
    """One step of an LSTM."""
    x, (state, memory) = b.rows(call["input"]), [b.rows(v) for v in call["hx"]]
    if len(x.shape) != 1 or x.axis != 0 or x.merged:
        raise Unsupported("an LSTM cell over more than (batch, width)")
    given = [call.get(k) for k in ("w_ih", "w_hh", "b_ih", "b_hh")]
    w_ih, w_hh, bias = _lstm_weights(b, given)
    projected = b.emit(ops.Linear, [x.name], weight=w_ih, bias=bias)
    return tuple(
        b.like(x, name) for name in _lstm_step(b, projected, state.name, memory.name, w_hh)
    )


def _lstm_weights(b: Builder, given: list[Value]) -> tuple[str, str, str | None]:
    """Names of the weights of inputs and states, and of the sum of both biases."""
    w_ih, w_hh, *biases = (constant(v, "weight") for v in given if v is not None)
    bias = b.weight(Const(biases[0].tensor + biases[1].tensor)) if biases else None
    return b.weight(w_ih), b.weight(w_hh), bias


def _lstm_layer(
    b: Builder, x: str, start: list[str], weights: tuple[str, str, str | None], backwards: bool
) -> tuple[str, str, str]:
    """All states in the order of the steps, the last one, and the last memory."""
    w_ih, w_hh, bias = weights
    projected = b.emit(ops.Linear, [x], weight=w_ih, bias=bias)
    steps, width = b.shapes[projected]
    state, memory = (None if is_zero(b, name) else name for name in start)
    states = []
    for t in range(steps)[:: -1 if backwards else 1]:
        at = b.reshape(b.slice(projected, 0, t, t + 1), (width,))
        state, memory = _lstm_step(b, at, state, memory, w_hh)
        states.append(state)
    assert state is not None and memory is not None
    ordered = states[::-1] if backwards else states
    return b.emit(ops.Stack, ordered, axis=0), state, memory


def _lstm_step(
    b: Builder, projected: str, state: str | None, memory: str | None, w_hh: str
) -> tuple[str, str]:
    """State and memory after a step (Hochreiter 1997, as torch.nn.LSTM); None stands for zeros."""
    if state is not None:
        turned = b.emit(ops.Linear, [state], weight=w_hh)
        projected = b.binary("add", projected, turned)
    h = b.shapes[projected][0] // 4
    enter, keep, leave = (
        b.unary("sigmoid", b.slice(projected, 0, k * h, (k + 1) * h)) for k in (0, 1, 3)
    )
    new = b.unary("tanh", b.slice(projected, 0, 2 * h, 3 * h))
    now = b.binary("mul", enter, new)
    if memory is not None:
        now = b.binary("add", b.binary("mul", keep, memory), now)
    return b.binary("mul", leave, b.unary("tanh", now)), now
