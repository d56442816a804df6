"""Short runs under the real LoadGen, each in a process of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from recstack.data import random_batch
from recstack.data.metrics import auc
from recstack.engine import compile
from recstack.loadtest.sizes import MLPerf
from recstack.mlperf import Ran, RunConfig, check, run
from recstack.mlperf.logs import read_accuracy
from recstack.mlperf.rules import RULES, early_stopping_estimate
from recstack.model import zoo
from tests.mlperf.systems import small

pytest.importorskip("mlperf_loadgen", reason="needs mlcommons-loadgen: recstack[mlperf]")

SERVER = RunConfig("server", qps=300.0, samples=64, duration_s=1.6)


@pytest.fixture(scope="module")
def served() -> Ran:
    """A server run whose every answer takes 20 ms longer."""
    return run(partial(small, 0.02, 1.0), SERVER)


def about(ns: float) -> object:
    """2% apart. Runs are made so slow that this is well over what lies between the two clocks."""
    return pytest.approx(ns, rel=0.02, abs=0)


def same_percentiles(ran: Ran) -> None:
    for percentile, ns in ran.percentiles_ns.items():
        assert ran.own_percentile_ns(percentile) == about(ns), percentile


def test_a_short_server_run_passes_its_checker(served: Ran) -> None:
    verdict = check(served)
    assert verdict.valid, verdict
    assert str(verdict).startswith("VALID at a reduced scale (unofficial)")
    assert {"duration", "performance samples"} <= {
        c.name for c in verdict.conditions if c.outcome == "scaled"
    }
    assert served.detail["effective_target_latency_ns"] == 60_000_000
    assert served.detail["result_query_count"] == served.latency_ns.size >= 459


def test_its_percentiles_are_ours(served: Ran) -> None:
    same_percentiles(served)
    assert served.lateness_ns.min() == 0 and served.lateness_ns.size == served.latency_ns.size


def test_a_planted_delay_on_two_percent_makes_it_invalid() -> None:
    ran = run(partial(small, 0.061, 0.02), SERVER)
    verdict = check(ran)
    assert not verdict.valid and "p99: expected at most 60 ms, got 6" in str(verdict)
    assert "LoadGen's verdict: expected VALID, got INVALID" in str(verdict)
    failed = {c.name for c in verdict.conditions if c.outcome == "failed"}
    assert {"p99", "early stopping, recounted", "LoadGen's verdict"} <= failed
    assert ran.own_percentile_ns(99.0) == about(ran.percentiles_ns[99.0])


def test_refused_samples_make_it_invalid() -> None:
    config = RunConfig("offline", samples=32, duration_s=0.2, min_samples=64)
    verdict = check(run(partial(small, refusing=True), config))
    assert "samples refused or failed: expected 0, got" in str(verdict)


def test_offline() -> None:
    ran = run(small, RunConfig("offline", samples=64, duration_s=0.5, min_samples=200))
    assert check(ran).valid, check(ran)
    assert ran.detail["result_samples_per_second"] > 0
    same_percentiles(ran)
    official = check(
        Ran(**{k: getattr(ran, k) for k in Ran.__slots__} | {"config": RunConfig("offline")})
    )
    assert not official.valid and "samples: expected at least 24576" in str(official)


@pytest.mark.parametrize(("scenario", "delay_s"), [("singlestream", 0.02), ("multistream", 0.006)])
def test_streams_and_their_early_stopping_estimate(scenario: str, delay_s: float) -> None:
    delay = partial(small, delay_s, 1.0)
    ran = run(delay, RunConfig(scenario, samples=64, duration_s=0.5))  # type: ignore[arg-type]
    assert check(ran).valid, check(ran)
    same_percentiles(ran)
    rules = RULES[ran.config.scenario]
    assert rules.percentile is not None
    estimate = early_stopping_estimate(ran.latency_ns, rules.percentile)
    assert estimate == about(ran.detail[rules.metric])


def test_the_accuracy_logged_is_that_of_the_engine(tmp_path: Path) -> None:
    config = RunConfig("server", qps=500.0, accuracy=True, samples=64, seed=3)
    ran = run(small, config, tmp_path)
    assert check(ran).valid, check(ran)
    logged = read_accuracy(tmp_path)
    model = zoo.build("ncf", rows_scale=1e-4)
    engine = compile(model)
    rows = MLPerf().sample(64, np.random.default_rng(0)).tolist()
    scores = [engine.run(random_batch(model, n, i))[:, 0] for i, n in enumerate(rows)]
    labels = [logged[i][:, 1] for i in range(64)]
    offline = auc(np.concatenate(labels), np.concatenate(scores))
    assert ran.auc == pytest.approx(offline, abs=1e-6)
    assert 0.7 < offline < 0.95
