from __future__ import annotations

import numpy as np
import pytest

from recstack.data.metrics import normalised_entropy
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


def test_clean_runs_at_their_limits_raise_no_more_alarms_than_stated() -> None:
    """Each limit is the mean of what it limits, but for 1%; five of fifty runs may alarm."""
    differences, rises, means = [], [], []
    rng = np.random.default_rng(99)
    for _ in range(4000):
        p, q, _ = traffic(rng)
        differences.append(np.abs(p - q).mean())
        rises.append((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean())
        means.append(p.mean())
    drift, rise, rate = (float(np.mean(x)) * 1.01 for x in (differences, rises, means))
    budget = rise / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    queries, every, runs = 100, 1000, 50
    config = MonitorConfig(
        drift=drift, clipping=2.0, ne_budget=budget, improvement=0.01, base_rate=rate, every=every
    )
    alarms = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        monitor = Monitor(config)
        for i in range(queries):
            p, q, y = traffic(rng)
            monitor.observe(str(i), q, p, rng.choice([0.0, 20.0], p=[0.9, 0.1]))
            monitor.label(str(i), y)
        alarms += [] if monitor.alarm is None else [monitor.alarm.signal]
    assert "clipping" in alarms  # the limits are near
    assert len(alarms) <= 5 + 3 * (50 * 0.1 * 0.9) ** 0.5


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


@pytest.mark.parametrize(
    "shift, signal, low, high", [(0.4, "over", 1.2, 1.5), (-0.4, "under", 0.5, 0.8)]
)
def test_labels_find_a_model_that_predicts_too_much_or_too_little(shift, signal, low, high) -> None:
    monitor = Monitor(MonitorConfig(calibration=0.05, drift=None, ne_budget=None))
    rng = np.random.default_rng(3)
    for i in range(4000):
        p, _, y = traffic(rng)
        other = 1 / (1 + (1 / p - 1) * np.float32(np.exp(-shift)))
        monitor.observe(str(i), other, other)
        monitor.label(str(i), y)
        if monitor.alarm is not None:
            break
    assert monitor.alarm is not None and monitor.alarm.signal == signal
    assert low < monitor.stats()["monitor_calibration"] < high


NE_ONLY = MonitorConfig(drift=None, clipping=None)


def first_ne_alarm(
    config: MonitorConfig, rng: np.random.Generator, rise: float, rare: float, queries: int
) -> int | None:
    """Queries of one row whose loss rises by `rise`, and by `rare` one time in 500."""
    monitor = Monitor(config)
    for i, (is_rare, y) in enumerate(rng.random((queries, 2)) < (0.002, 0.5)):
        q = 0.3 if is_rare and rare < 0 else 0.5  # of the label that comes
        p = q * np.exp(-(rare if is_rare else rise))
        pair = [np.float32([[x if y else 1 - x]]) for x in (p, q)]
        monitor.observe("a", *pair)
        monitor.label("a", np.array([float(y)]))
        if monitor.alarm is not None:
            return i + 1
    return None


def test_rare_large_improvements_raise_no_more_alarms_than_stated() -> None:
    queries, every, runs = 300, 3000, 20
    config = NE_ONLY.model_copy(update={"every": float(every)})
    alarms = [
        # the mean rise is 0.998 * 0.0018 - 0.002 * 0.95 = -0.0001
        first_ne_alarm(config, np.random.default_rng(seed), 0.0018, -0.95, queries)
        for seed in range(runs)
    ]
    bound = queries / every
    assert runs - alarms.count(None) <= runs * bound + 3 * (runs * bound * (1 - bound)) ** 0.5


def test_rare_large_harms_are_found() -> None:
    # ln(12 every) / E ln(1 + bet (x - limit)) = 16.3 / (0.002 ln 2 - 0.00035) = 15,700 on average
    assert first_ne_alarm(NE_ONLY, np.random.default_rng(0), 0.0, 1.0, 20_000) is not None


def test_one_output_in_eight_that_drifts_is_found() -> None:
    monitor = Monitor(MonitorConfig(drift=0.005), outputs=8)
    reference = np.full((30, 8), 0.5, np.float32)
    scores = reference.copy()
    scores[:, 5] += 0.015
    for i in range(30):
        monitor.observe(str(i), scores, reference)
    assert monitor.alarm is not None and monitor.alarm.output == 5
    assert str(monitor.alarm).startswith("drift of output 5 0.015 over 0.005 after ")
    stats = monitor.stats()
    assert stats["monitor_drift_evidence/5"] == 1.0 and stats["monitor_drift_evidence/4"] < 0.2


def test_outputs_that_predict_too_much_and_too_little_do_not_cancel() -> None:
    config = MonitorConfig(calibration=0.05, drift=None, ne_budget=None)
    monitor = Monitor(config, outputs=2)
    rng = np.random.default_rng(0)
    scores = np.float32([[0.6, 0.4]] * 20)
    for i in range(2000):
        monitor.observe(str(i), scores, scores)
        monitor.label(str(i), (rng.random((20, 2)) < 0.5) * 1.0)
    stats = monitor.stats()
    assert monitor.alarm is not None
    assert stats["monitor_over_evidence/0"] == 1.0 and stats["monitor_under_evidence/1"] == 1.0


def test_normalised_entropy_is_that_of_each_output() -> None:
    monitor = Monitor(CONFIG, outputs=2)
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 0.1, (400, 2)).astype(np.float32) + np.float32([0, 0.5])
    q = p * np.float32(0.99)
    y = (rng.random((400, 2)) < p) * 1.0
    y[::7, 1] = np.nan  # only one task is known
    monitor.observe("a", q, p)
    assert monitor.label("a", y)
    stats = monitor.stats()
    for output in range(2):
        known = ~np.isnan(y[:, output])
        given = y[known, output]
        for name, scores in (("ne", q), ("ne_fp32", p)):
            expected = normalised_entropy(given, scores[known, output])
            assert stats[f"monitor_{name}/{output}"] == pytest.approx(expected)
        assert stats[f"monitor_labelled_rows/{output}"] == known.sum()


def test_a_budget_is_of_the_entropy_of_its_own_output() -> None:
    """A rare output's loss rises by 0.2 % of its entropy: little beside that of a common one."""
    rare, common = 0.01, 0.5
    config = NE_ONLY.model_copy(
        update={"base_rate": rare, "every": 1e4, "improvement": 0.001, "ne_budget": 0.001}
    )
    monitor = Monitor(config, outputs=2)
    y = np.zeros((200, 2))
    y[:2, 0] = y[:100, 1] = 1.0
    q = np.float32([[rare, common]] * 200)
    p = q + np.float32([1.5e-3, 0.0])
    for i in range(500):
        monitor.observe(str(i), p, q)
        monitor.label(str(i), y)
    assert monitor.alarm is not None and monitor.alarm.output == 0


def test_all_outputs_together_keep_the_stated_rate() -> None:
    queries, every, runs, outputs = 200, 2000, 100, 4
    config = MonitorConfig(drift=0.01, ne_budget=None, clipping=None, every=every)
    alarms = 0
    for seed in range(runs):
        monitor = Monitor(config, outputs)
        off = np.random.default_rng(seed).exponential(0.01, (queries, 1, outputs))  # at the limit
        for difference in off:
            monitor.observe("", difference, np.zeros_like(difference))
        alarms += monitor.alarm is not None
    bound = queries / every
    assert 0 < alarms <= runs * bound + 3 * (runs * bound * (1 - bound)) ** 0.5


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


def test_calibration_is_left_out_where_nothing_happened_yet() -> None:
    monitor = Monitor(CONFIG)
    scores = np.full((2, 1), 0.5, np.float32)
    monitor.observe("a", scores, scores)
    monitor.label("a", np.zeros(2))
    stats = monitor.stats()
    assert stats["monitor_labelled_rows"] == 2 and "monitor_calibration" not in stats


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
