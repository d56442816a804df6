"""The checker on made-up logs: every condition that a run can break, one at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack.errors import DataError
from recstack.mlperf import Ran, RunConfig, check
from recstack.mlperf.logs import read_accuracy, read_detail
from recstack.mlperf.rules import RULES, SEEDS

MS = 1_000_000


def ran(**changes: Any) -> Ran:
    """A full-size server run that meets everything."""
    detail = {
        "effective_scenario": "Server",
        **{f"effective_{name}": seed for name, seed in SEEDS.items()},
        "errors": [],
        "effective_performance_sample_count": 204_800,
        "effective_min_duration_ms": 600_000,
        "result_min_duration_met": True,
        "result_min_queries_met": True,
        "early_stopping_met": True,
        "result_validity": "VALID",
        "result_query_count": 12_571,
        "effective_target_latency_ns": 60 * MS,
        "effective_target_latency_percentile": 0.99,
    }
    latency = np.full(12_571, 20 * MS)
    latency[:100] = 61 * MS
    made = Ran(
        config=RunConfig("server"),
        detail=detail | {k: v for k, v in changes.items() if k in detail},
        percentiles_ns={99.0: 20 * MS},
        latency_ns=latency,
        lateness_ns=np.zeros(0, np.int64),
        failures={},
        scaled={},
    )
    return replace(made, **{k: v for k, v in changes.items() if k not in detail})


def test_a_full_run_is_valid_without_reserve_but_never_official() -> None:
    assert str(check(ran())) == "VALID (unofficial)"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"effective_scenario": "Offline"}, "scenario: expected Server, got Offline"),
        ({"effective_schedule_rng_seed": 1}, "seed schedule_rng_seed"),
        ({"errors": ["Ending early"]}, "errors of LoadGen: expected 0, got 1"),
        ({"result_min_duration_met": False}, "duration reached: expected yes, got no"),
        ({"result_min_queries_met": False}, "queries reached"),
        ({"early_stopping_met": False}, "early stopping: expected yes, got no"),
        ({"result_validity": "INVALID"}, "LoadGen's verdict"),
        ({"effective_target_latency_ns": 61 * MS}, "latency limit: expected at most 60 ms, got 61"),
        ({"effective_target_latency_percentile": 0.9}, "percentile: expected 0.99, got 0.9"),
        ({"percentiles_ns": {99.0: 61 * MS}}, "p99: expected at most 60 ms, got 61.00 ms"),
        ({"failures": {"queue_full": 2}}, "samples refused or failed: expected 0, got 2"),
        (
            {"latency_ns": np.concatenate((np.full(101, 61 * MS), np.full(12_470, MS)))},
            "early stopping, recounted: expected 12683 queries for 101 over the limit, got 12571",
        ),
    ],
)
def test_one_broken_condition_makes_it_invalid(change: dict[str, Any], reason: str) -> None:
    verdict = check(ran(**change))
    assert not verdict.valid
    assert str(verdict).startswith("INVALID (unofficial): ") and reason in str(verdict)


def test_what_was_made_smaller_on_purpose_is_said() -> None:
    made = ran(effective_min_duration_ms=5000, scaled={"table rows": "0.01 of full size"})
    assert str(check(made)) == "VALID at a reduced scale (unofficial): table rows, duration"


@pytest.mark.parametrize(("scenario", "least"), [("server", 100), ("singlestream", 100)])
def test_fewer_queries_than_the_rules_ask_are_scaled_or_failed(scenario: Any, least: int) -> None:
    name = RULES[scenario].loadgen
    few = {"result_query_count": least - 1, "effective_scenario": name}
    failed = check(ran(**few, config=RunConfig(scenario)))
    assert f"queries: expected at least {least}, got {least - 1}" in str(failed)
    scaled = check(ran(**few, config=RunConfig(scenario, min_samples=10)))
    assert "queries" in {c.name for c in scaled.conditions if c.outcome == "scaled"}


@pytest.mark.parametrize(
    ("auc", "quality", "valid"), [(0.8, 0.999, True), (0.797, 0.999, False), (0.797, 0.99, True)]
)
def test_accuracy_is_held_to_its_quality(auc: float, quality: float, valid: bool) -> None:
    config = RunConfig("server", accuracy=True, quality=quality)
    verdict = check(ran(config=config, auc=auc, reference_auc=0.8))
    assert verdict.valid == valid
    assert "p99" not in {c.name for c in verdict.conditions}


def test_logs_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*mlperf_log_detail\.txt"):
        read_detail(tmp_path)
    (tmp_path / "mlperf_log_detail.txt").write_text("noise\n:::MLLOG {\n")
    with pytest.raises(DataError, match="at line 2"):
        read_detail(tmp_path)
    (tmp_path / "mlperf_log_accuracy.json").write_text('[{"qsl_idx": 0, "data": "0"}]')
    with pytest.raises(DataError, match="accuracy log"):
        read_accuracy(tmp_path)
