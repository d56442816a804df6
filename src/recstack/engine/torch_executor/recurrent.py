"""Attention pooling and recurrences in torch's best eager form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from recstack.engine.torch_executor.layers import Run, affine, folded_dice
from recstack.engine.torch_executor.weights import Tensors
from recstack.model.ops import AttentionLayer, AttentionPooling, Augru, Gru, GruCell, Shape
from recstack.model.ops.sequence import Recurrence

FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "query": lambda query, keys: query.expand_as(keys),
    "key": lambda query, keys: keys,
    "difference": torch.sub,
    "product": torch.mul,
    "sum": torch.add,
}


def attention_pooling(op: AttentionPooling, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """The unit as linear layers on (entries * L) rows, the pooling as one batched product."""
    features = [FEATURES[name] for name in op.features]
    layers = [_layer(layer, tensors) for layer in op.layers]

    def run(query: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        wide = query.unsqueeze(1)
        x = torch.cat([feature(wide, keys) for feature in features], dim=-1)
        x = x.view(-1, x.shape[-1])
        for layer in layers:
            x = layer(x)
        scores = x.view(keys.shape[:2])
        hidden = None if mask is None else mask == 0
        if op.normalise == "softmax":
            if hidden is not None:
                scores = scores.masked_fill(hidden, -torch.inf)
            scores = torch.softmax(scores, 1)
        if hidden is not None:
            scores = scores.masked_fill(hidden, 0)
        if op.result == "scores":
            return scores
        return torch.bmm(scores.unsqueeze(1), keys).squeeze(1)

    return run


def _layer(layer: AttentionLayer, tensors: Tensors) -> Run:
    weight, bias = tensors(layer.weight), tensors.optional(layer.bias)
    if layer.slope is None:
        return affine(weight, bias, layer.activation)
    slope = tensors(layer.slope)
    if layer.activation == "prelu":
        return lambda x: functional.prelu(functional.linear(x, weight, bias), slope)
    assert layer.mean is not None and layer.variance is not None
    dice = folded_dice(slope, tensors(layer.mean), tensors(layer.variance), layer.eps)
    return lambda x: dice(functional.linear(x, weight, bias))


def gru(op: Gru, tensors: Tensors, shapes: Sequence[Shape], prefix_mask: bool = False) -> Run:
    """torch's fused GRU without a mask or with a mask of ones then zeros, else a loop of steps.

    prefix_mask: the mask, if there is one, is known to be ones followed by zeros.
    """
    length = shapes[0][0]
    if length == 0 or (len(shapes) > 1 and not prefix_mask):
        return _loop(op, tensors, lambda update, scores: 1 - update)
    weights = gate_weights(op, tensors)
    hidden = weights[1].shape[1]
    positions = torch.arange(length, device=tensors.device)

    def run(x: Tensor, mask: Tensor | None = None) -> Tensor:
        start = x.new_zeros(1, x.shape[0], hidden)
        states, last = torch.gru(x, start, weights, True, 1, 0.0, False, False, True)
        if mask is None:
            return last.squeeze(0) if op.result == "last" else states
        counts = mask.count_nonzero(1).unsqueeze(1)
        at = torch.minimum(positions, counts - 1) if op.result == "sequence" else counts - 1
        states = states.gather(1, at.clamp_min(0).unsqueeze(2).expand(-1, -1, hidden))
        states = states.masked_fill((counts == 0).unsqueeze(2), 0)
        return states.squeeze(1) if op.result == "last" else states

    return run


def augru(op: Augru, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """A loop of steps: no fused kernel exists."""
    loop = _loop(op, tensors, torch.mul)

    def run(x: Tensor, scores: Tensor, mask: Tensor | None = None) -> Tensor:
        return loop(x, mask, scores.unsqueeze(2))

    return run


def gru_cell(op: GruCell, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """torch's GRU cell."""
    weights = gate_weights(op, tensors)
    return lambda x, h: torch.gru_cell(x, h, *weights)


def gate_weights(op: Recurrence | GruCell, tensors: Tensors) -> list[Tensor]:
    """weight_ih, weight_hh, bias_ih, bias_hh; zeros for a bias that is none."""
    ih, hh = tensors(op.weight_ih), tensors(op.weight_hh)
    none = ih.new_zeros(ih.shape[0])
    biases = (tensors.optional(name) for name in (op.bias_ih, op.bias_hh))
    return [ih, hh, *(none if bias is None else bias for bias in biases)]


def _loop(
    op: Recurrence, tensors: Tensors, step_size: Callable[[Tensor, Tensor | None], Tensor]
) -> Run:
    """h moves to the candidate state by `step_size(update gate, scores of the position)`."""
    ih, hh, bias_ih, bias_hh = gate_weights(op, tensors)
    hidden = hh.shape[1]

    def run(x: Tensor, mask: Tensor | None = None, scores: Tensor | None = None) -> Tensor:
        from_x = functional.linear(x, ih, bias_ih)
        held = None if mask is None else (mask != 0).unsqueeze(2)
        h = x.new_zeros(x.shape[0], hidden)
        states = []
        for t in range(x.shape[1]):
            from_h = functional.linear(h, hh, bias_hh)
            gates = (from_x[:, t, : 2 * hidden] + from_h[:, : 2 * hidden]).sigmoid_()
            reset, update = gates.chunk(2, 1)
            new = torch.addcmul(from_x[:, t, 2 * hidden :], reset, from_h[:, 2 * hidden :]).tanh_()
            size = step_size(update, None if scores is None else scores[:, t])
            h = torch.lerp(h, new, size if held is None else size * held[:, t])
            if op.result == "sequence":
                states.append(h)
        if op.result == "last":
            return h
        return torch.stack(states, 1) if states else x.new_zeros(x.shape[0], 0, hidden)

    return run
