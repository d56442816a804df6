"""Chains of equal tanh layers recognised as a plain RNN."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recstack.model import Model
from recstack.model.ops import Concat, Constant, Linear, Op, Reshape, Slice, Stack


@dataclass(frozen=True, slots=True)
class Rnn:
    """States h_t = tanh(W [x_t, h_(t-1)] + b) from h = 0, t over the entries of a value (L, d).

    inputs: that value, or the bags that are its entries. Result: all states (L, h) where
    `sequence`, else the last one (h,).
    """

    output: str
    inputs: tuple[str, ...]
    weight: str
    bias: str
    sequence: bool


def recurrences(model: Model) -> tuple[dict[str, Rnn], set[str]]:
    """Rnn by the name of the op that it stands for, and the outputs of all ops that it covers."""
    by_name = {op.output: op for op in model.ops}
    readers = Counter(name for op in model.ops for name in op.inputs)
    found: dict[str, Rnn] = {}
    covered: set[str] = set()
    for chain in _chains(by_name):
        made = _recognised(model, chain, by_name, readers)
        if made is not None:
            found[made[0].output] = made[0]
            covered |= made[1]
    return found, covered


def _chains(by_name: Mapping[str, Op]) -> list[list[tuple[str, Linear]]]:
    """Runs of at least two steps, each (name of x_t, layer)."""
    chains: dict[str, list[tuple[str, Linear]]] = {}
    for op in by_name.values():
        joined = by_name.get(op.inputs[0]) if isinstance(op, Linear) else None
        if not isinstance(op, Linear) or not isinstance(joined, Concat):
            continue
        if op.activation != "tanh" or op.bias is None or len(joined.inputs) != 2:
            continue
        x, state = joined.inputs
        before = by_name.get(state)
        if isinstance(before, Linear) and (before.weight, before.bias) == (op.weight, op.bias):
            chains[op.output] = [*chains.pop(state, []), (x, op)]
        else:
            chains[op.output] = [(x, op)]
    return [chain for chain in chains.values() if len(chain) > 1]


def _recognised(
    model: Model,
    chain: Sequence[tuple[str, Linear]],
    by_name: Mapping[str, Op],
    readers: Counter[str],
) -> tuple[Rnn, set[str]] | None:
    """The Rnn of a chain and what it covers, where nothing else reads a step on its own."""
    layers = [layer for _, layer in chain]
    states = [layer.output for layer in layers]
    stacks = [op for op in by_name.values() if isinstance(op, Stack) and op.inputs == tuple(states)]
    reads = [1 + len(stacks)] * (len(states) - 1)
    if not _starts_at_zero(model, by_name[layers[0].inputs[0]].inputs[1], by_name):
        return None
    if len(stacks) > 1 or [readers[s] for s in states[:-1]] != reads:
        return None
    steps = [x for x, _ in chain]
    slices = [by_name[x] for x in steps]
    source, covered = tuple(steps), {layer.inputs[0] for layer in layers} | set(states)
    if all(isinstance(op, Slice) for op in slices):
        if not _in_order(slices):
            return None
        source = slices[0].inputs
        covered |= set(steps)
    output = stacks[0].output if stacks else states[-1]
    first = layers[0]
    assert first.bias is not None
    return Rnn(output, source, first.weight, first.bias, bool(stacks)), covered | {output}


def _in_order(slices: Sequence[Op]) -> bool:
    """Whether slice i is entry i of one value."""
    cuts = [(op.inputs, op.axis, op.start, op.stop) for op in slices if isinstance(op, Slice)]
    return cuts == [(slices[0].inputs, 0, i, i + 1) for i in range(len(slices))]


def _starts_at_zero(model: Model, name: str, by_name: Mapping[str, Op]) -> bool:
    op = by_name.get(name)
    while isinstance(op, Reshape):
        op = by_name.get(op.inputs[0])
    return isinstance(op, Constant) and not np.any(model.weights[op.weight])
