from __future__ import annotations

import numpy as np
import pytest

from recstack.errors import BatchError
from recstack.precision.monitor import Monitor, MonitorConfig

CONFIG = MonitorConfig(drift=0.005, ne_budget=0.0005, calibration=0.1, base_rate=0.3)


def traffic(rng: np.random.Generator, rows: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of fp32, those of a good quantised plan, and labels that fp32 predicts well."""
    logit = rng.normal(-1.0, 1.0, (rows, 1))
    p = 1 / (1 + np.exp(-logit))
    q = 1 / (1 + np.exp(-logit - rng.normal(0, 0.01, (rows, 1))))
    return p.astype(np.float32), q.astype(np.float32), (rng.random((rows, 1)) < p)[:, 0] * 1.0


def run(
    monitor: Monitor, seed: int, queries: int, shift: float = 0.0, clipping: float = 0.0
) -> int | None:
    rng = np.random.default_rng(seed)
    for i in range(queries):
        p, q, y = traffic(rng)
        q = 1 / (1 + (1 / q - 1) * np.float32(np.exp(-shift)))
        monitor.observe(f"{seed}/{i}", q, p, clipping)
        monitor.label(f"{seed}/{i}", y)
        if monitor.alarm is not None:
            return i + 1
    return None


def test_twenty_clean_runs_raise_no_alarm() -> None:
    for seed in range(20):
        assert run(Monitor(CONFIG), seed, 300) is None


@pytest.mark.parametrize("clipping, shift, signal", [(9.0, 0.0, "clipping"), (0, 0.2, "drift")])
def test_planted_drift_is_found_within_a_hundred_queries(clipping, shift, signal) -> None:
    monitor = Monitor(CONFIG)
    assert run(monitor, 0, 500) is None
    found = run(monitor, 1, 100, shift, clipping)
    assert found is not None
    assert monitor.alarm is not None and monitor.alarm.signal == signal
    assert monitor.alarm.samples == 500 + found
    monitor.reset()
    assert monitor.alarm is None and run(monitor, 2, 100) is None


def test_labels_alone_find_a_worse_plan() -> None:
    config = CONFIG.model_copy(update={"drift": None, "calibration": None})
    monitor = Monitor(config)
    assert run(monitor, 1, 3000, shift=0.4) is not None
    assert monitor.alarm is not None and monitor.alarm.signal == "ne"
    stats = monitor.stats()
    assert stats["monitor_ne"] > stats["monitor_ne_fp32"] * 1.005


def test_labels_find_a_model_that_predicts_too_much() -> None:
    monitor = Monitor(MonitorConfig(calibration=0.05, drift=None, ne_budget=None))
    rng = np.random.default_rng(3)
    for i in range(4000):
        p, _, y = traffic(rng)
        higher = 1 / (1 + (1 / p - 1) * np.float32(np.exp(-0.4)))
        monitor.observe(str(i), higher, higher)
        monitor.label(str(i), y)
    assert monitor.alarm is not None and monitor.alarm.signal == "over"
    assert monitor.stats()["monitor_calibration"] > 1.2


def test_paired_numbers_are_those_of_the_labelled_rows() -> None:
    monitor = Monitor(CONFIG)
    scores, reference = np.float32([[0.5], [0.25]]), np.float32([[0.5], [0.5]])
    monitor.observe("a", scores, reference)
    assert monitor.label("a", np.array([1.0, 0.0]))
    stats = monitor.stats()
    assert stats["monitor_labelled_rows"] == 2
    assert stats["monitor_ne_fp32"] == pytest.approx(1.0)
    assert stats["monitor_ne"] == pytest.approx((np.log(2) - np.log(0.75)) / (2 * np.log(2)))
    assert stats["monitor_calibration"] == pytest.approx(0.75)


def test_labels_are_taken_once_and_only_of_queries_that_wait() -> None:
    monitor = Monitor(MonitorConfig(keep=2))
    scores = np.full((2, 1), 0.5, np.float32)
    for key in "abc":
        monitor.observe(key, scores, scores)
    assert not monitor.label("a", np.zeros(2)) and not monitor.label("never", np.zeros(2))
    assert monitor.label("b", np.array([np.nan, 1.0])) and not monitor.label("b", np.zeros(2))
    assert monitor.stats()["monitor_labelled_rows"] == 1


def test_a_key_that_fills_the_memory_is_not_kept() -> None:
    monitor = Monitor()
    scores = np.full((2, 1), 0.5, np.float32)
    monitor.observe("a" * 257, scores, scores)
    assert not monitor.label("a" * 257, np.zeros(2))
    assert monitor.stats()["monitor_drift_samples"] == 1


@pytest.mark.parametrize("labels", [[0.0], [0.0, 2.0], [[0.0, 1.0]]])
def test_labels_that_do_not_fit_are_errors_and_leave_the_query_waiting(labels) -> None:
    monitor = Monitor()
    scores = np.full((2, 1), 0.5, np.float32)
    monitor.observe("a", scores, scores)
    with pytest.raises(BatchError, match="expected labels"):
        monitor.label("a", np.array(labels))
    assert monitor.label("a", np.zeros(2))


def test_scores_that_are_no_probabilities_take_no_labels() -> None:
    monitor = Monitor()
    logits = np.array([[3.0]], np.float32)
    monitor.observe("a", logits, logits)
    with pytest.raises(BatchError, match="probabilities"):
        monitor.label("a", np.zeros(1))


def test_a_query_without_rows_is_no_sample() -> None:
    monitor = Monitor()
    none = np.zeros((0, 1), np.float32)
    monitor.observe("a", none, none)
    assert monitor.stats()["monitor_drift_samples"] == 0
