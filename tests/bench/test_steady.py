from __future__ import annotations

import time

import pytest

from recstack.bench.steady import SteadyWork


@pytest.mark.parametrize("seconds", [0.002, 0.02])
def test_fixed_work_grows_with_the_run_that_it_stands_beside(seconds: float) -> None:
    work = SteadyWork(lambda: time.sleep(seconds))
    assert 0.2 * seconds < min(taken(work) for _ in range(5)) < 5 * seconds


def taken(work: SteadyWork) -> float:
    start = time.perf_counter()
    work.run(None)
    return time.perf_counter() - start
