from __future__ import annotations

import threading

import pytest

from recstack.loadtest.null import NullSUT, empty_query, null_latency
from recstack.types import Completion


@pytest.mark.parametrize("threaded", [False, True])
def test_it_answers_once_with_scores_of_the_right_shape(threaded: bool) -> None:
    got: list[Completion] = []
    threads: list[int] = []
    sut = NullSUT(threaded=threaded)

    def done(completion: Completion) -> None:
        got.append(completion)
        threads.append(threading.get_ident())

    for i in range(100):
        sut.issue(empty_query(i, i + 1), done)
    sut.close()
    assert [c.id for c in got] == list(range(100))
    assert all(c.scores is not None and c.scores.shape == (c.id + 1, 1) for c in got)
    assert (threading.get_ident() in threads) is not threaded


@pytest.mark.parametrize("threaded", [False, True])
def test_after_close_it_refuses(threaded: bool) -> None:
    got: list[Completion] = []
    sut = NullSUT(threaded=threaded)
    sut.close()
    sut.issue(empty_query(0, 1), got.append)
    assert got[0].status == "shutting_down"


def test_the_generators_own_latency_is_measured() -> None:
    third = NullSUT()
    figures = null_latency(5000.0, 500, others={"third": (third, empty_query(0, 1))})
    assert list(figures.latency_ns) == ["inline", "threaded", "third"]
    for found in figures.latency_ns.values():
        assert list(found) == ["p50", "p90", "p99", "p99.9", "most"]
        assert found["p50"] > 0 and sorted(found.values()) == list(found.values())
    assert figures.to_record()["origin"] == "measured"
