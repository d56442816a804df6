from __future__ import annotations

from pathlib import Path

import pytest

from recstack.errors import ConfigError, DataError
from recstack.loadtest.search import Probe, SearchConfig
from recstack.loadtest.sla import parse
from recstack.tune import Axis, Candidate, Journal, Race, Rig, Space, static_schedule
from recstack.types import SUT
from tests.tune.queueing import Counted, curve

PROBE = Probe(100.0, "pass", 1, 2000, 2, 1.5, "")


def test_probes_and_notes_come_back(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    first = Journal(path, {"sla": "p95<=1ms"})
    first.add("a", 100.0, 0, PROBE)
    assert first.note("curves", lambda: {"1": 2.0}) == {"1": 2.0}
    again = Journal(path, {"sla": "p95<=1ms"})
    assert again.find("a", 100.0, 0) == PROBE
    assert again.find("a", 100.0, 1) is None
    assert again.note("curves", lambda: pytest.fail("asked again")) == {"1": 2.0}


def test_a_line_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    Journal(path, {"sla": "x"}).add("a", 1.0, 0, PROBE)
    path.write_bytes(path.read_bytes() + b'{"key": "b", "ra')
    found = Journal(path, {"sla": "x"})
    assert found.known == 1
    found.add("c", 2.0, 0, PROBE)
    assert Journal(path, {"sla": "x"}).find("c", 2.0, 0) == PROBE


def test_another_question_and_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    Journal(path, {"sla": "p95<=1ms", "seed": 0})
    with pytest.raises(ConfigError, match="differs in seed"):
        Journal(path, {"sla": "p95<=1ms", "seed": 1})
    path.write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"j\.jsonl:1: expected a journal"):
        Journal(path, {"sla": "p95<=1ms"})


class Closed:
    """Stands for a system; only its candidate matters."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate

    def issue(self, query: object, done: object) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def test_a_race_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    sla, config = parse("p95<=15ms"), SearchConfig(tolerance=0.05, runs=2, confidence=0.9)
    counted = Counted({"": curve(lambda n: 100 + 3.0 * n)}, sla, config, queries=400)
    chunks = tuple({"chunk_rows": n} for n in (62, 250, 500, 1000))
    space, baseline = Space((Axis("chunk", chunks, True),)), Candidate(static_schedule(2, 1000))

    def run(stop_after: int):
        started: list[Candidate] = []

        def start(candidate: Candidate) -> SUT:
            started.append(candidate)
            return Closed(candidate)

        measure = lambda sut: counted.measure(sut.candidate)  # noqa: E731
        rig = Rig(start, measure, sla, config, Journal(tmp_path / "j.jsonl", {"a": 1}))
        left = iter([True] * stop_after)
        more = lambda: next(left, False)  # noqa: E731
        predict = lambda candidate: 100.0  # noqa: E731
        found = Race(
            space, baseline, rig.probe, predict, sla, config, racing=more, checking=more
        ).run()
        return found, len(started)

    run(stop_after=6)
    before = counted.runs
    whole, _ = run(stop_after=10_000)
    assert counted.runs > before
    paid = counted.runs
    again, started = run(stop_after=10_000)
    assert again == whole
    assert (counted.runs, started) == (paid, 0)
