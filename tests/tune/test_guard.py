from __future__ import annotations

import select
import time
from collections.abc import Iterator

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.data import random_batch
from recstack.engine import EngineConfig, compile
from recstack.engine.precision import LayerPlan, LayerPrecision, layer_input, quantisable
from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model.model import build
from recstack.precision.calibrate import calibrate, clipping, static_ranges
from recstack.precision.inside import Inside
from recstack.schedule import ScheduleConfig
from recstack.tune import start
from recstack.tune.guard import Guard, GuardConfig
from recstack.types import Completion, Query, Scores

ROWS = 16


def make() -> Model:
    """A small RM1 whose scores follow its dense inputs."""
    model = zoo.build(
        "rm1", rows_scale=1e-4, tables=(100, 100), lookups=3, dense=8, bottom=(64, 32),
        top=(64, 1),
    )  # fmt: skip
    larger = {n: w * np.float32(1.5 if w.ndim == 2 else 1) for n, w in model.weights.items()}
    return build(model.description, larger)


MODEL = make()
INT8 = LayerPlan(layers=dict.fromkeys(quantisable(MODEL), LayerPrecision("int8")))


def queries(seed: int, scale: float = 1.0) -> Iterator[Batch]:
    while True:
        batch = random_batch(MODEL, rows=ROWS, seed=seed)
        yield batch.replace(dense=batch.dense * np.float32(scale))
        seed += 1


def some(seed: int, n: int, scale: float = 1.0) -> list[Batch]:
    stream = queries(seed, scale)
    return [next(stream) for _ in range(n)]


PLAN = LayerPlan(layers=calibrate(MODEL, INT8.layers, some(0, 50)))
FP32 = compile(MODEL)


def guarding(**changes: object) -> Guard:
    config = GuardConfig.model_validate({"share": 1.0, "drift": 0.01, **changes})
    lines: list[str] = []
    kept: list[LayerPlan | None] = []
    guard = Guard(
        MODEL, EngineConfig(precision=PLAN), MODEL,
        lambda engine: start(engine, ScheduleConfig(spin_us=0), loop=True), config, lines.append,
        kept.append,
    )  # fmt: skip
    guard.lines, guard.kept = lines, kept  # type: ignore[attr-defined]
    return guard


def drive(guard: Guard, batches: list[Batch], key: str = "") -> float:
    """Each batch answered, and looked at again; the mean absolute error of the scores."""
    errors = [np.abs(ask(guard, batch, key) - FP32.run(batch)).mean() for batch in batches]
    return float(np.mean(errors))


def ask(guard: Guard, batch: Batch, key: str = "") -> Scores:
    """The scores of a query, once the guard has looked at it again."""
    ended: list[Completion] = []
    guard.issue(Query(0, batch, key=key), ended.append)
    while not ended:
        assert select.select([guard.fileno()], [], [], 10)[0]
        guard.drain()
    assert ended[0].scores is not None, ended[0]
    end = time.monotonic() + 10
    while guard._shadow._samples.unfinished_tasks:
        assert time.monotonic() < end
        time.sleep(0.0002)
    return ended[0].scores


def test_ranges_hold_what_they_were_calibrated_on() -> None:
    ranges = static_ranges(PLAN)
    assert list(ranges) == list(INT8.layers)
    inside = Inside(MODEL, [layer_input(MODEL, name) for name in ranges])
    clean, drifted = (
        [clipping(MODEL, PLAN, inside.run(b)[1]) for b in some(900, 20, scale)] for scale in (1, 6)
    )
    assert np.mean(clean) < 1 and np.mean(drifted) > 100
    scores, inputs = inside.run(some(5, 1)[0])
    np.testing.assert_allclose(scores, FP32.run(some(5, 1)[0]), atol=1e-5)
    assert all(len(x) == ROWS for x in inputs.values())


@pytest.fixture(scope="module")
def usual() -> tuple[float, float]:
    """Mean difference and clipping of the plan on traffic that it was made for."""
    inside = Inside(MODEL, [layer_input(MODEL, name) for name in INT8.layers])
    plan, batches = compile(MODEL, EngineConfig(precision=PLAN)), some(100_000, 1500)
    off = [np.abs(plan.run(b) - FP32.run(b)).mean() for b in batches]
    clips = [clipping(MODEL, PLAN, inside.run(b)[1]) for b in batches]
    return float(np.mean(off)), float(np.mean(clips))


@pytest.mark.parametrize("share, least, most", [(1.0, 0, 4), (0.6, 18, 20)])
def test_twenty_clean_runs_at_their_limits_raise_no_more_alarms_than_stated(
    usual: tuple[float, float], share: float, least: int, most: int
) -> None:
    """share: of the mean, as limits. A run of 60 queries alarms with probability 60 / 1200 at most:
    one of twenty runs, and more than four with probability 0.003. Past the limits nearly all do.
    """
    alarms = 0
    drift, clips = (share * mean for mean in usual)
    for seed in range(20):
        guard = guarding(every=1200, drift=drift, clipping=clips)
        drive(guard, some(1000 * (seed + 1), 60))
        guard.close()
        alarms += guard.monitor.alarm is not None
        assert guard.stats()["monitor_failed"] == 0
    assert least <= alarms <= most


def test_planted_drift_is_found_and_a_refresh_brings_the_scores_back() -> None:
    guard = guarding(act="refresh")
    clean = drive(guard, some(50_000, 60))
    before = [drive(guard, [batch]) for batch in some(60_000, 8, scale=6.0)]  # docs/precision.md
    assert guard.stats()["monitor_fell_back"] == 1
    assert drive(guard, some(60_500, 40, scale=6.0)) < clean  # fp32, until the ranges are there
    assert guard.stats()["monitor_refreshed"] == 1
    after = drive(guard, some(61_000, 60, scale=6.0))
    guard.close()
    assert max(before) > 5 * clean and after < max(before) / 5
    assert guard.monitor.alarm is None
    assert [line.split()[0] for line in guard.lines] == ["alarm:", "fell", "refreshed"]  # type: ignore


def test_falling_back_serves_fp32() -> None:
    guard = guarding(act="fallback")
    drive(guard, some(70_000, 100, scale=6.0))
    assert guard.stats()["monitor_fell_back"] == 1
    assert drive(guard, some(71_000, 5, scale=6.0)) < 1e-6
    guard.close()


def test_what_fell_back_is_not_refreshed_by_the_clock() -> None:
    guard = guarding(act="fallback", refresh_every=40)
    drive(guard, some(70_000, 39, scale=6.0))
    assert guard.stats()["monitor_fell_back"] == 1
    assert drive(guard, some(71_000, 80, scale=6.0)) < 1e-6
    assert guard.stats()["monitor_refreshed"] == 0
    guard.close()


def test_labels_alone_lead_to_what_an_alarm_leads_to() -> None:
    guard = guarding(act="fallback", drift=None, clipping=None, every=11.0)
    for i, batch in enumerate(some(70_000, 200, scale=6.0)):
        drive(guard, [batch], key=str(i))
        scores = FP32.run(batch)
        plan = compile(MODEL, EngineConfig(precision=PLAN)).run(batch)
        guard.label(str(i), (scores > plan)[:, 0].astype(float))  # as if fp32 knew
        if guard.stats()["monitor_fell_back"]:
            break
    assert guard.stats()["monitor_fell_back"] == 1
    assert guard.lines[0].startswith("alarm: ne")  # type: ignore[attr-defined]
    guard.close()


@pytest.mark.parametrize("failures, fell_back", [(4, 1), (1000, 0)])
def test_an_act_that_fails_is_said_once_and_tried_again(failures: int, fell_back: int) -> None:
    guard = guarding(act="fallback")
    begin, tries = guard._start, []

    def out_of_memory(engine: object) -> object:
        tries.append(engine)
        if len(tries) <= failures:
            raise MemoryError("no memory")
        return begin(engine)  # type: ignore[arg-type]

    guard._start = out_of_memory  # type: ignore[assignment]
    drive(guard, some(70_000, 100, scale=6.0))
    stats = guard.stats()
    guard.close()
    assert stats["monitor_fell_back"] == fell_back and stats["monitor_alarm"] == 1 - fell_back
    assert stats["monitor_failed"] == min(failures, len(tries)) and 4 <= len(tries) < 10
    said = ["alarm:", "the", *["fell"] * fell_back]
    assert [line.split()[0] for line in guard.lines] == said  # type: ignore[attr-defined]
    assert guard.lines[1] == "the watch failed: MemoryError: no memory"  # type: ignore[attr-defined]


def test_an_alarm_may_only_be_reported() -> None:
    guard = guarding(act="report")
    drive(guard, some(70_000, 100, scale=6.0))
    stats = guard.stats()
    guard.close()
    assert stats["monitor_alarm"] == 1 and stats["monitor_fell_back"] == 0
    assert stats["monitor_refreshed"] == 0


def test_ranges_are_refreshed_by_the_clock_too() -> None:
    guard = guarding(refresh_every=40)
    drive(guard, some(80_000, 90))
    assert guard.stats()["monitor_refreshed"] == 2
    guard.close()


def test_an_alarm_after_the_clock_refreshed_leads_to_a_refresh_and_one_after_that_to_fp32() -> None:
    guard = guarding(act="refresh", refresh_every=40)
    drive(guard, some(80_000, 90))
    drive(guard, some(60_000, 60, scale=6.0))
    stats = guard.stats()
    assert stats["monitor_refreshed"] == 3 and stats["monitor_fell_back"] == 1
    assert guard.plan != LayerPlan()
    assert len(guard.kept) == 3 and guard.kept[-1] == guard.plan  # type: ignore[attr-defined]
    drive(guard, some(90_000, 60, scale=36.0))  # again, within PATIENCE
    stats = guard.stats()
    guard.close()
    assert stats["monitor_refreshed"] == 3 and stats["monitor_fell_back"] == 2
    assert guard.plan == LayerPlan()
    assert guard.kept[3:] == [None]  # type: ignore[attr-defined]


def test_ranges_that_cannot_be_kept_serve_all_the_same() -> None:
    guard = guarding(refresh_every=40)

    def full(plan: LayerPlan | None) -> None:
        raise ConfigError("cannot write")

    guard._keep = full
    drive(guard, some(80_000, 60))
    stats = guard.stats()
    guard.close()
    assert stats["monitor_refreshed"] == 1 and static_ranges(guard.plan) != static_ranges(PLAN)
    assert guard.lines[-1] == "the watch failed: ConfigError: cannot write"  # type: ignore[attr-defined]


def test_a_refresh_by_the_clock_keeps_what_labels_and_drift_have_shown() -> None:
    guard = guarding(refresh_every=40, drift=0.5)
    batches = some(80_000, 45)
    for i, batch in enumerate(batches):
        drive(guard, [batch], key=str(i))
        if i < 30:
            assert guard.label(str(i), np.ones(ROWS))
    stats = guard.stats()
    assert stats["monitor_refreshed"] == 1 and stats["monitor_clipping_samples"] == 5
    assert stats["monitor_drift_samples"] == 45
    assert stats["monitor_ne_samples"] == 30 and stats["monitor_labelled_rows"] == 30 * ROWS
    assert guard.label("35", np.ones(ROWS))
    guard.close()


def test_a_reference_that_does_not_fit_is_an_error() -> None:
    table = next(iter(MODEL.table_formats))
    coarse = MODEL.with_table_formats({table: "int8"})
    other = zoo.build("ncf", rows_scale=1e-4)
    for wrong in (coarse, other):
        with pytest.raises(ConfigError, match="expected a reference"):
            Guard(MODEL, EngineConfig(), wrong, lambda engine: None)  # type: ignore


def test_an_alarm_while_fp32_serves_is_only_reported() -> None:
    guard = guarding(act="refresh", calibration=0.05, every=11.0)
    drive(guard, some(60_000, 8, scale=6.0))
    assert guard.stats()["monitor_fell_back"] == 1
    for i, batch in enumerate(some(61_000, 40, scale=6.0)):
        drive(guard, [batch], key=str(i))
        guard.label(str(i), np.zeros(ROWS))
        if guard.stats()["monitor_refreshed"]:
            break
    guard.close()
    said = [line.split()[:2] for line in guard.lines]  # type: ignore[attr-defined]
    assert said[1:3] == [["fell", "back"], ["alarm:", "over"]] and said[3][0] == "refreshed"


def test_every_output_is_watched() -> None:
    model = zoo.build("mt-wnd", rows_scale=1e-4)
    guard = Guard(
        model, EngineConfig(), model,
        lambda engine: start(engine, ScheduleConfig(spin_us=0), loop=True), GuardConfig(share=1.0),
    )  # fmt: skip
    ask(guard, random_batch(model, rows=ROWS, seed=0), key="a")
    assert guard.label("a", np.ones((ROWS, model.output_width)))
    stats = guard.stats()
    guard.close()
    assert model.output_width > 1
    for output in range(model.output_width):
        assert stats[f"monitor_ne_samples/{output}"] == 1
