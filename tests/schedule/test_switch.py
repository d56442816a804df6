from __future__ import annotations

import select
import threading
import time

import numpy as np
import pytest

from recstack import _native
from recstack.batch import Batch
from recstack.errors import ShuttingDown
from recstack.schedule import LoopDispatcher, ScheduleConfig, Switch
from recstack.types import Completion, Query

LAYOUT = _native.InputLayout([], [], 1, 0, 1, False)


def adding(value: float, wait_s: float = 0.0) -> LoopDispatcher:
    def run(dense, user_dense, values, lengths, offsets, weights, begin, end):
        time.sleep(wait_s)
        return np.ascontiguousarray(dense[begin:end] + np.float32(value))

    factory = _native.PythonExecutorFactory(run, LAYOUT)
    return LoopDispatcher(factory, ScheduleConfig(merge_rows=0))


def query(i: int) -> Query:
    batch = Batch(
        dense=np.full((1, 1), 0.0, np.float32),
        user_dense=np.zeros((1, 0), np.float32),
        values=np.zeros(0, np.int32),
        lengths=np.zeros((0, 1), np.int32),
        query_offsets=np.array([0, 1], np.int32),
    )
    return Query(i, batch)


def collect(switch: Switch, ended: list[Completion], n: int) -> None:
    end = time.monotonic() + 10
    while len(ended) < n:
        assert select.select([switch.fileno()], [], [], 10)[0]
        switch.drain()
        assert time.monotonic() < end


def test_queries_go_to_the_dispatcher_of_the_day() -> None:
    ended: list[Completion] = []
    with Switch(adding(1.0)) as switch:
        switch.issue(query(0), ended.append)
        collect(switch, ended, 1)
        switch.to(adding(2.0))
        switch.issue(query(1), ended.append)
        collect(switch, ended, 2)
        assert switch.stats().counters["accepted"] == 1
    assert [float(c.scores[0, 0]) for c in ended if c.scores is not None] == [1.0, 2.0]


def test_no_query_is_lost_or_refused_while_dispatchers_change() -> None:
    ended: list[Completion] = []
    with Switch(adding(0.0, 0.0005)) as switch:
        changing = threading.Thread(target=lambda: [switch.to(adding(i)) for i in range(1, 8)])
        changing.start()
        n = 0
        while changing.is_alive() or n < 200:
            switch.issue(query(n), ended.append)
            n += 1
            switch.drain()
            time.sleep(0.0002)
        changing.join()
        collect(switch, ended, n)
    assert sorted(c.id for c in ended) == list(range(n))
    assert {c.status for c in ended} == {"ok"}


def test_closing_in_a_hurry_ends_what_waits() -> None:
    ended: list[Completion] = []
    switch = Switch(adding(1.0, 0.2))
    for i in range(50):
        switch.issue(query(i), ended.append)
    switch.close(drain=False)
    statuses = [c.status for c in ended]
    assert len(statuses) == 50 and statuses.count("shutting_down") >= 48


def test_a_closed_switch_takes_no_other_dispatcher() -> None:
    switch = Switch(adding(1.0))
    switch.close()
    late = adding(2.0)
    with pytest.raises(ShuttingDown):
        switch.to(late)
    ended: list[Completion] = []
    switch.issue(query(0), ended.append)
    assert [c.status for c in ended] == ["shutting_down"]
    late.issue(query(1), ended.append)
    assert ended[-1].status == "shutting_down"
