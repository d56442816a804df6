"""A server under load from a process of its own: how long that may take."""

from __future__ import annotations

from typing import Any

import pytest

from recstack.errors import ConfigError
from recstack.loadtest import SLA, remote
from recstack.loadtest.null import empty_query
from recstack.loadtest.sizes import Fixed

SLOW = SLA(95.0, 2_000_000_000)


def asked(monkeypatch: pytest.MonkeyPatch, rate_qps: float, seconds: float) -> tuple[Any, ...]:
    """What the process is asked for: traffic, how it is driven, and within how many seconds."""
    seen: list[Any] = []

    def run_apart(*arguments: Any, timeout_s: float) -> None:
        seen.extend((*arguments[3:], timeout_s))

    monkeypatch.setattr(remote, "run_apart", run_apart)
    url = "http://127.0.0.1:1"
    remote.load_over_http(url, "m", empty_query, Fixed(2), SLOW, rate_qps, seconds)
    return tuple(seen)


def test_answers_are_awaited_until_their_queries_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, driver, _ = asked(monkeypatch, 100.0, 1.0)
    assert driver.deadline_ns == SLOW.hopeless_ns < driver.drain_ns


def test_the_process_may_take_as_long_as_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic, driver, timeout_s = asked(monkeypatch, 0.1, 10.0)
    assert timeout_s > (traffic.scheduled_ns[-1] + driver.drain_ns) / 1e9


def test_a_rate_at_which_nothing_comes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"at least one query comes, got 0\.001 queries/s for 10 s"
    ):
        asked(monkeypatch, 0.001, 10.0)
