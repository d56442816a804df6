from __future__ import annotations

import pytest

from recstack.errors import DataError
from recstack.report import render
from tests.report.conftest import Write

RECORD = {
    "record": "mlperf",
    "origin": "measured",
    "label": "unofficial",
    "model": "dlrm-dcnv2",
    "scenario": "server",
    "mode": "performance",
    "verdict": "INVALID (unofficial): p99: expected at most 60 ms, got 61.00 ms",
    "conditions": [
        {"name": "p99", "expected": "at most 60 ms", "found": "61.00 ms", "outcome": "failed"}
    ],
    "loadgen_percentiles_ns": {"p50": 20e6, "p99": 61e6},
    "own_percentiles_ns": {"p50": 20e6, "p99": 60.99e6},
    "loadgen_version": "6.0.17",
}


def test_a_run_shows_its_verdict_its_conditions_and_both_clocks(write: Write) -> None:
    page = render([write(RECORD, kind="mlperf")])
    assert "unofficial" in page and "INVALID" in page
    for text in ("at most 60 ms", "61.00 ms", "failed", "LoadGen (ms)"):
        assert text in page


def test_a_run_that_does_not_say_unofficial_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match="label"):
        render([write(RECORD | {"label": "official"}, kind="mlperf")])
