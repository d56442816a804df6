"""GRU, AUGRU and GruCell in every precision, against their NumPy twin bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from recstack.engine import EngineConfig, LayerPlan, LayerPrecision, compile, instruction_sets
from recstack.engine.precision import ActivationRange
from recstack.engine.reference import reference
from recstack.engine.reference.arrays import Array
from recstack.engine.reference.int8 import linear_int8
from recstack.model import Model
from recstack.model.ops import Augru, Gru, GruCell, Op
from tests.engine.draft import Draft, make_batch
from tests.engine.float32_twin import Arithmetic, Floats

ISAS = [name for name, supported in instruction_sets().items() if supported]
PRECISIONS = {
    "fp32": LayerPrecision(),
    "bf16": LayerPrecision("bf16"),
    "fp16": LayerPrecision("fp16"),
    "int8": LayerPrecision("int8"),
    "int8-static": LayerPrecision("int8", ActivationRange(-0.4, 0.5), (2,)),
}
SHAPES = [(3, 5), (17, 33)]  # of an input and a state
POSITIONS = 5


def recurrent(kind: str, dim: int, hidden: int, **fields: object) -> Model:
    """One recurrence; gru and augru over `POSITIONS` rows of a table, some of them masked."""
    d = Draft(dim + hidden)
    weights = {
        "weight_ih": d.weight(3 * hidden, dim),
        "weight_hh": d.weight(3 * hidden, hidden),
        "bias_ih": d.weight(3 * hidden),
        "bias_hh": d.weight(3 * hidden),
    }
    if kind == "gru_cell":
        return d.model(d.op(kind, d.dense(dim), d.dense(hidden), **weights))
    x = d.bag(d.sparse(POSITIONS), dim=dim, pooling="none")
    scores = [d.dense(POSITIONS)] if kind == "augru" else []
    mask = d.op("binary", d.dense(POSITIONS), fn="gt", scalar=-0.7)
    return d.model(d.op(kind, x, *scores, mask, **weights, **fields))


def twin(
    model: Model, op: Op, precision: LayerPrecision, isa: str, inputs: Sequence[Array]
) -> Array:
    """What native/kernels/seq/recurrence.h says, or gemm8.h and seq.h for int8."""
    assert isinstance(op, Gru | Augru | GruCell) and op.bias_ih and op.bias_hh
    set_, weights = Arithmetic.of(isa), model.weights
    x, *others = (a.astype(np.float32) for a in inputs)

    def linear(rows: Floats, weight: str, bias: str, of: LayerPrecision) -> Floats:
        if of.format == "int8":
            return linear_int8(rows, weights[weight], weights[bias], precision=of)
        return set_.product(rows, weights[weight], of.format) + weights[bias]

    def after(x: Floats, h: Floats, score: Floats | None = None) -> Floats:
        from_x = linear(x, op.weight_ih, op.bias_ih, precision)
        from_h = linear(h, op.weight_hh, op.bias_hh, precision.of_inner())
        return set_.gates(from_x, from_h, h, score)

    if isinstance(op, GruCell):
        return after(x, others[0]).astype(np.float64)
    scores = others[0] if isinstance(op, Augru) else None
    h, states = np.zeros((len(x), weights[op.weight_hh].shape[1]), np.float32), []
    for t in range(x.shape[1]):
        score = None if scores is None else scores[:, t, None]
        h = np.where(others[-1][:, t, None] != 0, after(x[:, t], h, score), h)
        states.append(h)
    return (h if op.result == "last" else np.stack(states, axis=1)).astype(np.float64)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS.keys())
@pytest.mark.parametrize("kind", ["gru", "augru", "gru_cell"])
def test_a_recurrence_is_its_twin_bit_for_bit(kind, precision, isa) -> None:
    for dim, hidden in SHAPES:
        for fields in ({"result": "last"}, {"result": "sequence"}) if kind != "gru_cell" else ({},):
            model = recurrent(kind, dim, hidden, **fields)
            op = model.ops[-1]
            plan = LayerPlan(layers={op.output: precision})
            engine = compile(model, EngineConfig(isa=isa, precision=plan))
            assert engine.formats == {op.output: (precision.format,)}
            exact = compile(model, EngineConfig(isa=isa))
            for query_rows in ((1,), (2, 0, 17)):
                batch = make_batch(model, query_rows, seed=hidden)

                def instead(inputs, of=model, op=op):
                    return twin(of, op, precision, isa, inputs)

                want = reference(model, batch, {op.output: instead})
                got = engine.run(batch)
                assert np.array_equal(got, want)
                if precision.format != "fp32":  # which would not pass for it
                    assert (exact.run(batch) != want).mean() > 0.5
