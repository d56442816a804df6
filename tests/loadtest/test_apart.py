from __future__ import annotations

import os
import time

import pytest

from recstack.errors import ConfigError, DataError
from recstack.loadtest import null, sla
from recstack.loadtest.apart import ProcessFailed, run_apart


def test_what_a_run_leaves_crosses_back() -> None:
    figures = run_apart(null.null_latency, 5000.0, 100, timeout_s=120.0)
    assert figures.queries == 100


def test_recstack_errors_cross_as_they_are_and_others_as_failures() -> None:
    with pytest.raises(ConfigError, match="expected an SLA"):
        run_apart(sla.parse, "nonsense", timeout_s=120.0)
    with pytest.raises(ProcessFailed, match="ValueError"):
        run_apart(int, "x", timeout_s=120.0)


def test_a_dead_or_slow_process_is_an_error() -> None:
    with pytest.raises(ProcessFailed, match="died with exit code 3"):
        run_apart(os._exit, 3, timeout_s=120.0)
    with pytest.raises(ProcessFailed, match=r"no result within 0\.3 s"):
        run_apart(time.sleep, 60, timeout_s=0.3)


def test_it_keeps_to_its_cores() -> None:
    core = max(os.sched_getaffinity(0))
    assert run_apart(os.sched_getaffinity, 0, timeout_s=120.0, cpus=[core]) == {core}
    with pytest.raises(ConfigError, match="expected cores out of"):
        run_apart(max, 1, 2, timeout_s=120.0, cpus=[4096])


def test_data_errors_keep_their_kind() -> None:
    from recstack import results

    with pytest.raises(DataError, match="cannot read"):
        run_apart(results.read, "/nowhere", timeout_s=120.0)
