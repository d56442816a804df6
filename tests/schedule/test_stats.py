"""The native histogram against NumPy."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from recstack import _native
from recstack.schedule.stats import SHARES, summary


def test_percentiles_are_within_one_percent():
    values = np.sort(np.random.default_rng(3).lognormal(12, 3, 20_000).astype(np.int64))
    histogram = _native.Histogram()
    for value in values.tolist():
        histogram.record(value)
    stats = summary(histogram.snapshot())
    assert (stats.count, stats.max) == (values.size, values[-1])
    assert stats.mean == pytest.approx(values.mean())
    for share in SHARES:
        want = values[int(np.ceil(share * values.size)) - 1]
        assert stats.percentiles[share] == pytest.approx(want, rel=0.01)
    limit = int(values[9000])
    assert stats.histogram.at_most(limit) == pytest.approx(9001, rel=0.02)


def test_threads_record_at_once_and_snapshots_merge():
    histogram = _native.Histogram()

    def record():
        for value in range(1000):
            histogram.record(value)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merged = histogram.snapshot()
    merged.merge(_native.HistogramSnapshot())
    merged.merge(histogram.snapshot())
    assert (merged.count, merged.sum) == (8000, 8 * 499_500)


def test_nothing_recorded():
    stats = summary(_native.HistogramSnapshot())
    assert (stats.count, stats.mean, stats.max, stats.percentiles[0.99]) == (0, 0.0, 0, 0)
