from __future__ import annotations

from typing import Any

import pytest

from recstack.errors import ModelError
from recstack.model.ops import AttentionLayer, AttentionPooling, Augru, Gru, GruCell

AB: dict[str, Any] = {"output": "y", "inputs": ("a", "b")}
ABC: dict[str, Any] = {"output": "y", "inputs": ("a", "b", "c")}
A: dict[str, Any] = {"output": "y", "inputs": ("a",)}
LAYERS = (AttentionLayer(weight="w", bias="v", activation="relu"), AttentionLayer(weight="u"))
UNIT = {"w": (3, 16), "v": (3,), "u": (1, 3)}
DIN = AttentionPooling(**AB, layers=LAYERS)
GATES: dict[str, Any] = {"weight_ih": "i", "weight_hh": "h", "bias_ih": "bi", "bias_hh": "bh"}
HIDDEN = {"i": (6, 4), "h": (6, 2), "bi": (6,), "bh": (6,)}


def one_layer(activation: str, **named: str) -> AttentionPooling:
    return AttentionPooling(
        **AB,
        features=("product",),
        layers=(AttentionLayer(weight="w", activation=activation, **named),),  # type: ignore[arg-type]
    )


GOOD = [
    (DIN, [(4,), (7, 4)], UNIT, (4,)),
    (AttentionPooling(**ABC, layers=LAYERS, result="scores"), [(4,), (7, 4), (7,)], UNIT, (7,)),
    (AttentionPooling(**AB, layers=LAYERS[:1], features=("key",)), [(4,), (7, 4)],
     {"w": (1, 4), "v": (1,)}, (4,)),
    (one_layer("prelu", slope="s"), [(4,), (7, 4)], {"w": (1, 4), "s": (1,)}, (4,)),
    (one_layer("dice", slope="s", mean="m", variance="m"), [(4,), (7, 4)],
     {"w": (1, 4), "s": (1,), "m": (1,)}, (4,)),
    (Gru(**A, **GATES), [(7, 4)], HIDDEN, (2,)),
    (Gru(**AB, **GATES, result="sequence"), [(7, 4), (7,)], HIDDEN, (7, 2)),
    (Gru(**A, weight_ih="i", weight_hh="h"), [(0, 4)], HIDDEN, (2,)),
    (Augru(**AB, **GATES), [(7, 4), (7,)], HIDDEN, (2,)),
    (Augru(**ABC, **GATES, result="sequence"), [(7, 4), (7,), (7,)], HIDDEN, (7, 2)),
    (GruCell(**AB, **GATES), [(4,), (2,)], HIDDEN, (2,)),
]  # fmt: skip
BAD = [
    (DIN, [(4,), (7, 5)], UNIT, "query (d,) and keys (L, d)"),
    (DIN, [(4,), (4,)], UNIT, "query (d,) and keys (L, d)"),
    (AttentionPooling(**ABC, layers=LAYERS), [(4,), (7, 4), (6,)], UNIT, "a mask of shape (7,)"),
    (AttentionPooling(**AB, layers=LAYERS, features=("key", "query")), [(4,), (7, 4)], UNIT,
     "features in the order ('query', 'key')"),
    (AttentionPooling(**AB, layers=LAYERS, features=("key", "key")), [(4,), (7, 4)], UNIT,
     "features in the order ('key',)"),
    (AttentionPooling(**AB, layers=LAYERS, features=()), [(4,), (7, 4)], UNIT, "features in"),
    (DIN, [(4,), (7, 4)], {**UNIT, "w": (3, 15)}, "input of width 15, got (16,)"),
    (DIN, [(4,), (7, 4)], {**UNIT, "v": (2,)}, "bias of shape (3,)"),
    (DIN, [(4,), (7, 4)], {**UNIT, "u": (2, 3)}, "a last layer with one output, got (2,)"),
    (one_layer("prelu"), [(4,), (7, 4)], {"w": (1, 4)}, "('slope',) for prelu"),
    (one_layer("relu", slope="s"), [(4,), (7, 4)], {"w": (1, 4), "s": (1,)}, "() for relu"),
    (one_layer("dice", slope="s"), [(4,), (7, 4)], {"w": (1, 4), "s": (1,)}, "for dice"),
    (one_layer("prelu", slope="s"), [(4,), (7, 4)], {"w": (1, 4), "s": (2,)},
     "weight 's' of shape (1,), got (2,)"),
    (Gru(**A, **GATES), [(4,)], HIDDEN, "a sequence of shape (L, d), got (4,)"),
    (Gru(**AB, **GATES), [(7, 4), (6,)], HIDDEN, "scores and mask of shape (7,), got (6,)"),
    (Gru(**A, **GATES), [(7, 5)], HIDDEN, "input of width 4, got (5,)"),
    (Gru(**A, **GATES), [(7, 4)], {**HIDDEN, "h": (5, 2)}, "weight_hh of shape (3h, h)"),
    (Gru(**A, **GATES), [(7, 4)], {**HIDDEN, "h": (6,)}, "weight_hh of shape (3h, h)"),
    (Gru(**A, **GATES), [(7, 4)], {**HIDDEN, "bh": (2,)}, "a bias of shape (6,)"),
    (Gru(**A, **GATES), [(7, 4)], {**HIDDEN, "i": (3, 4)}, "weight_ih with 6 outputs"),
    (Augru(**AB, **GATES), [(7, 4), (7, 1)], HIDDEN, "scores and mask of shape (7,)"),
    (Augru(**A, **GATES), [(7, 4)], HIDDEN, "2 to 3 inputs, got 1"),
    (GruCell(**AB, **GATES), [(4,), (3,)], HIDDEN, "a state of shape (2,), got (3,)"),
    (GruCell(**AB, **GATES), [(7, 4), (2,)], HIDDEN, "an input of shape (d,)"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "inputs", "weights", "shape"), GOOD)
def test_shape(infer: Any, op: Any, inputs: Any, weights: Any, shape: Any) -> None:
    assert infer(op, *inputs, **weights) == shape


@pytest.mark.parametrize(("op", "inputs", "weights", "message"), BAD)
def test_misfits(infer: Any, op: Any, inputs: Any, weights: Any, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        infer(op, *inputs, **weights)
    assert message in str(caught.value) and "ops[" in caught.value.where


@pytest.mark.parametrize(
    ("op", "inputs", "weights", "macs"),
    [
        (DIN, [(4,), (7, 4)], UNIT, 7 * (48 + 3)),
        (Gru(**A, **GATES), [(7, 4)], HIDDEN, 7 * 36),
        (Augru(**AB, **GATES), [(7, 4), (7,)], HIDDEN, 7 * 36),
        (GruCell(**AB, **GATES), [(4,), (2,)], HIDDEN, 36),
    ],
)
def test_cost(cost: Any, op: Any, inputs: Any, weights: Any, macs: int) -> None:
    found = cost(op, *inputs, **weights)
    assert found.macs == macs and found.flops > 2 * macs
