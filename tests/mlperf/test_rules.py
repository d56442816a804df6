from __future__ import annotations

import numpy as np
import pytest

from recstack.errors import ConfigError
from recstack.mlperf import RunConfig
from recstack.mlperf.rules import early_stopping_estimate
from recstack.mlperf.samples import teacher_labels
from recstack.mlperf.schedule import server_schedule_ns

SEED = 16159082839903944936


@pytest.mark.parametrize(("n", "beyond"), [(662, 1), (837, 1), (838, 2), (2010, 10), (12_571, 100)])
def test_the_estimate_is_the_largest_latency_that_may_be_dropped(n: int, beyond: int) -> None:
    latency = np.random.default_rng(0).permutation(np.arange(1, n + 1))
    assert early_stopping_estimate(latency, 99.0) == n - beyond + 1


def test_too_few_queries_prove_nothing() -> None:
    assert early_stopping_estimate(np.arange(661), 99.0) is None
    assert early_stopping_estimate(np.arange(64), 90.0) == 63


def test_the_schedule_is_loadgens() -> None:
    """601 queries at 300 a second, whose length LoadGen 6.0.17 logged as 2,000,513,744 ns."""
    times = server_schedule_ns(SEED, 300.0, 602)
    assert times[0] == 0 and times[601] == 2_000_513_744
    assert server_schedule_ns(SEED, 300.0, 1).tolist() == [0]


def test_the_schedule_is_poisson() -> None:
    gaps = np.diff(server_schedule_ns(7, 1000.0, 100_000)) / 1e6
    assert gaps.mean() == pytest.approx(1.0, rel=0.01)
    assert gaps.std() == pytest.approx(1.0, rel=0.02)


def test_labels_follow_the_scores() -> None:
    rng = np.random.default_rng(1)
    scores = [rng.normal(5, 0.01, (n, 1)).astype(np.float32) for n in (100, 300)]
    labels = teacher_labels(scores, seed=0)
    assert [len(x) for x in labels] == [100, 300]
    high = np.concatenate(scores)[:, 0] > 5
    flat = np.concatenate(labels)
    assert set(flat.tolist()) == {0.0, 1.0}
    assert flat[high].mean() > 0.7 > 0.3 > flat[~high].mean()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scenario": "edge"}, "a scenario of server, offline"),
        ({"qps": 0.0}, "qps > 0"),
        ({"samples": 0}, "samples > 0"),
        ({"duration_s": -1.0}, "duration_s > 0"),
        ({"min_samples": 0}, "min_samples >= 1"),
        ({"quality": 0.9}, "expected a quality of"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**{"scenario": "server", **wrong})  # type: ignore[arg-type]
