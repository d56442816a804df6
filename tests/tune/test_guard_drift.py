"""A drift planted in MovieLens traffic: found in time, and the budget kept after a refresh."""

from __future__ import annotations

from math import ceil, log

import numpy as np

from recstack.data import LabelledData
from recstack.data.paired_metrics import parse_metric
from recstack.engine import EngineConfig, compile
from recstack.engine.precision import LayerPlan, LayerPrecision, layer_input, quantisable
from recstack.model import Model
from recstack.precision.budget import Outcome, parse_budget
from recstack.precision.calibrate import calibrate, clipping, static_ranges
from recstack.precision.detector import BETS
from recstack.precision.inside import Inside
from recstack.precision.plan import PrecisionPlan
from recstack.precision.proof import prove
from recstack.schedule import ScheduleConfig
from recstack.tune import start
from recstack.tune.guard import CALIBRATION, Guard, GuardConfig
from tests.precision.movielens import ratings
from tests.tune.test_guard import ask

ROWS = 64
TESTS = 3  # drift, clipping, ne


def drifted(model: Model, data: LabelledData, rng: np.random.Generator) -> LabelledData:
    """One feature has moved by seven of its standard deviations; fp32 is right about it: the labels
    are drawn from its scores.
    """
    dense = data.batch.dense.copy()
    dense[:, 3] += 7
    batch = data.batch.replace(dense=dense)
    scores = compile(model).run(batch)
    labels = (rng.random(scores.shape) < scores).astype(np.float32)
    return LabelledData(data.inputs, batch, labels, data.groups)


def outcome(model: Model, layers: LayerPlan, data: LabelledData) -> Outcome:
    ne, budget = parse_metric("ne"), parse_budget("0.05%")
    plan = PrecisionPlan(layers=layers)
    return prove(model, plan, data, ne, budget, resamples=1000).judgement.outcome


def test_planted_drift_is_found_in_time_and_a_refresh_keeps_the_budget_again() -> None:
    model, data = ratings("wnd")
    rng = np.random.default_rng(0)
    data = data.take(rng.permutation(data.queries))
    first, clean, later = data.part(0, 2048), data.part(2048, 4096), data.part(4096, data.queries)
    traffic = drifted(model, later.part(0, 4096), rng)
    rest = later.part(4096, later.queries)  # each row three times, with labels of its own
    rest = drifted(model, rest.take(np.tile(np.arange(rest.queries), 3)), rng)
    int8 = dict.fromkeys(quantisable(model), LayerPrecision("int8"))
    plan = LayerPlan(layers=calibrate(model, int8, [first.batch]))
    config = GuardConfig(share=1.0, act="refresh")
    lines: list[str] = []
    guard = Guard(
        model, EngineConfig(precision=plan), model,
        lambda engine: start(engine, ScheduleConfig(spin_us=0), loop=True), config, lines.append,
    )  # fmt: skip
    for part in clean.chunks(ROWS):
        ask(guard, part.batch)
    assert not lines and guard.stats()["monitor_clipping_samples"] == 32
    assert outcome(model, plan, clean) != "exceeded"

    moved = [part.batch for part in traffic.chunks(ROWS)]
    inside = Inside(model, [layer_input(model, name) for name in static_ranges(plan)])
    least = min(clipping(model, plan, inside.run(batch)[1]) for batch in moved)
    assert config.clipping is not None and least > 10 * config.clipping
    stated = ceil(log(BETS * TESTS * config.every) / log(10))
    assert stated == 8  # samples at ten times a limit: docs/precision.md
    for batch in moved[:stated]:
        ask(guard, batch)
    assert guard.stats()["monitor_fell_back"] == 1
    assert lines[0].startswith("alarm:")
    for batch in moved[stated : stated + CALIBRATION + 1]:
        ask(guard, batch)
    assert guard.stats()["monitor_refreshed"] == 1
    for batch in moved[stated + CALIBRATION + 1 :]:
        ask(guard, batch)
    guard.close()
    assert len(lines) == 3 and guard.monitor.alarm is None

    assert outcome(model, plan, rest) == "exceeded"
    assert outcome(model, guard.plan, rest) == "within"
