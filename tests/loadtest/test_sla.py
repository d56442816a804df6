from __future__ import annotations

import pytest

from recstack.errors import ConfigError
from recstack.loadtest.sla import SLA, parse


@pytest.mark.parametrize(
    ("text", "percentile", "limit_ns"),
    [
        ("p95<=10ms", 95.0, 10_000_000),
        ("p99 <= 400 us", 99.0, 400_000),
        (" p99.9≤0.5s ", 99.9, 500_000_000),
        ("p50<=1.5µs", 50.0, 1_500),
        ("p50<=7ns", 50.0, 7),
    ],
)
def test_texts(text: str, percentile: float, limit_ns: int) -> None:
    sla = parse(text)
    assert sla == SLA(percentile, limit_ns)
    assert parse(str(sla)) == sla


@pytest.mark.parametrize(
    "text",
    ["", "95<=10ms", "p95<10ms", "p95<=10", "p95<=ms", "p95<=-1ms", "p100<=1ms", "p0<=1ms",
     "p95<=0ms", "p95<=10 min", "p95<=10ms p99<=20ms"],
)  # fmt: skip
def test_bad_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse(text)


def test_what_it_allows() -> None:
    assert SLA(95.0, 1).allowed == pytest.approx(0.05)
    assert SLA(95.0, 2_500_000).limit_ms == 2.5
