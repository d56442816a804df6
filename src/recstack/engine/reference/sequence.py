"""Ops over behaviour sequences: attention pooling, GRU, AUGRU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.engine.reference.arrays import Array, wide
from recstack.engine.reference.dense import activate, affine, dice_of, softmax_along
from recstack.engine.reference.elementwise import sigmoid
from recstack.model.model import Weights
from recstack.model.ops import AttentionLayer, AttentionPooling, Augru, Gru, GruCell
from recstack.model.ops.sequence import Recurrence


def attention_pooling(op: AttentionPooling, inputs: Sequence[Array], weights: Weights) -> Array:
    """query (d,), keys (L, d)[, mask (L,)] -> (d,), or the scores (L,)."""
    x = attention_features(op.features, *inputs[:2])
    for layer in op.layers:
        x = attention_layer(layer, x, weights)
    return attention_result(op, x[:, :, 0], inputs)


def attention_features(features: Sequence[str], query: Array, keys: Array) -> Array:
    """(entries, d), (entries, L, d) -> these side by side, (entries, L, features * d)."""
    query = query[:, None, :]
    parts = {
        "query": np.broadcast_to(query, keys.shape),
        "key": keys,
        "difference": query - keys,
        "product": query * keys,
        "sum": query + keys,
    }
    return np.concatenate([parts[name] for name in features], axis=-1)


def attention_result(op: AttentionPooling, scores: Array, inputs: Sequence[Array]) -> Array:
    """What a unit's scores (entries, L) become: normalised, masked, and pooled where that is."""
    keys = inputs[1]
    unmasked = inputs[2] != 0 if len(inputs) > 2 else np.ones(scores.shape, bool)
    scores = masked_softmax(scores, unmasked) if op.normalise == "softmax" else scores
    scores = np.where(unmasked, scores, 0)
    if op.result == "scores":
        return scores
    pooled: Array = np.where(unmasked[:, :, None], scores[:, :, None] * keys, 0).sum(axis=1)
    return pooled


def attention_layer(layer: AttentionLayer, x: Array, weights: Weights) -> Array:
    """(entries, L, in) -> (entries, L, out)."""
    return attention_activation(layer, affine(x, weights, layer.weight, layer.bias), weights)


def attention_activation(layer: AttentionLayer, x: Array, weights: Weights) -> Array:
    """(..., out) through the layer's activation."""
    if layer.activation == "prelu":
        assert layer.slope is not None
        return np.where(x > 0, x, wide(weights, layer.slope) * x)
    if layer.activation == "dice":
        assert layer.slope is not None and layer.mean is not None and layer.variance is not None
        alpha, mean, variance = (
            wide(weights, w) for w in (layer.slope, layer.mean, layer.variance)
        )
        return dice_of(x, alpha, mean, variance, layer.eps)
    return activate(x, layer.activation)


def masked_softmax(scores: Array, unmasked: NDArray[np.bool_]) -> Array:
    """Softmax over the unmasked positions of (entries, L), 0 elsewhere."""
    some = unmasked.any(axis=1, keepdims=True)
    return softmax_along(np.where(unmasked | ~some, scores, -np.inf), 1) * unmasked


def gru(op: Gru, inputs: Sequence[Array], weights: Weights) -> Array:
    """x (L, d)[, mask (L,)] -> (h,) or (L, h)."""
    x = inputs[0]
    mask = inputs[1] if len(inputs) > 1 else np.ones(x.shape[:2])
    return recur(op, x, None, mask, weights)


def augru(op: Augru, inputs: Sequence[Array], weights: Weights) -> Array:
    """x (L, d), scores (L,)[, mask (L,)] -> (h,) or (L, h)."""
    x, scores = inputs[:2]
    mask = inputs[2] if len(inputs) > 2 else np.ones(x.shape[:2])
    return recur(op, x, scores, mask, weights)


def recur(op: Recurrence, x: Array, scores: Array | None, mask: Array, weights: Weights) -> Array:
    """The states after each position (entries, L, h), or the last one (entries, h)."""
    h = np.zeros((x.shape[0], weights[op.weight_hh].shape[1]))
    states = np.zeros((*x.shape[:2], h.shape[1]))
    for t in range(x.shape[1]):
        update, new = gates(op, x[:, t], h, weights)
        if scores is None:
            h_next = (1 - update) * new + update * h
        else:
            u = scores[:, t, None] * update
            h_next = (1 - u) * h + u * new
        h = np.where(mask[:, t, None] != 0, h_next, h)
        states[:, t] = h
    return h if op.result == "last" else states


def gru_cell(op: GruCell, inputs: Sequence[Array], weights: Weights) -> Array:
    """x (d,), h (hidden,) -> (hidden,)."""
    x, h = inputs
    update, new = gates(op, x, h, weights)
    return (1 - update) * new + update * h


def gates(op: Recurrence | GruCell, x: Array, h: Array, weights: Weights) -> tuple[Array, Array]:
    """Update gate and candidate state, each (entries, hidden); torch's order and formulas."""
    from_x = np.split(affine(x, weights, op.weight_ih, op.bias_ih), 3, axis=-1)
    from_h = np.split(affine(h, weights, op.weight_hh, op.bias_hh), 3, axis=-1)
    reset = sigmoid(from_x[0] + from_h[0])
    update = sigmoid(from_x[1] + from_h[1])
    return update, np.tanh(from_x[2] + reset * from_h[2])
