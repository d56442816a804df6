from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from recstack.bench.timing import Entrant, settle, summary_us, time_rounds


class Noted:
    """Writes down what it is asked for."""

    def __init__(self, name: str, log: list[tuple[str, Any]]) -> None:
        self.name, self.log = name, log

    def version(self) -> str:
        return "1"

    def stage(self, batch: Any) -> Any:
        return batch

    def run(self, staged: Any) -> Any:
        self.log.append((self.name, staged))
        return staged

    def scores(self, result: Any) -> Any:
        return np.zeros((1, 1), np.float32)

    def turn(self) -> nullcontext[None]:
        return nullcontext()


def test_turns_alternate_and_inputs_go_round() -> None:
    log: list[tuple[str, Any]] = []
    entrants = [Entrant(Noted(name, log), [0, 1, 2]) for name in "ab"]
    time_rounds(entrants, rounds=3, round_s=0.002)
    order = [name for i, (name, _) in enumerate(log) if i == 0 or log[i - 1][0] != name]
    # b a, not kept, then a b, b a, a b: neighbours run together.
    assert order == ["b", "a", "b", "a", "b"]
    for name in "ab":
        given = [staged for by, staged in log if by == name]
        assert given == [i % 3 for i in range(len(given))]
    assert all(len(e.rounds) == 3 and min(map(len, e.rounds)) >= 3 for e in entrants)


class Scripted:
    """A clock of 10 ms steps, in which the process uses a core for the first few."""

    def __init__(self, busy_steps: int) -> None:
        self.steps, self.busy_steps = 0, busy_steps

    def sleep(self, seconds: float) -> None:
        self.steps += 1

    def perf_counter(self) -> float:
        return self.steps * 0.01

    def process_time(self) -> float:
        return min(self.steps, self.busy_steps) * 0.01


def test_settle_waits_for_spinning_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Scripted(busy_steps=3)
    monkeypatch.setattr("recstack.bench.timing.time", clock)
    assert settle()
    assert clock.steps == 4
    monkeypatch.setattr("recstack.bench.timing.time", Scripted(busy_steps=10_000))
    assert not settle()


def test_summary_takes_medians_of_rounds_and_p99_of_all() -> None:
    told = summary_us([[1000, 2000, 3000], [4000, 4000, 4000], [9000, 9000, 100_000]])
    assert told["us"] == 4.0
    assert told["quartiles_us"] == [3.0, 6.5]
    assert told["round_medians_us"] == [2.0, 4.0, 9.0]
    assert told["runs"] == 9
    assert told["p99_us"] == pytest.approx(92.72)
