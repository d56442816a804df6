from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recstack.errors import ConfigError, DataError
from recstack.loadtest.search import Probe, SearchConfig
from recstack.loadtest.sla import parse
from recstack.tune import Axis, Candidate, Journal, Race, Rig, Space, static_schedule
from recstack.types import SUT
from tests.tune.queueing import Counted, curve

PROBE = Probe(100.0, "pass", 1, 2000, 2, 1.5, "")


ABOUT = {"model": "m", "seed": 0}


def never() -> Any:
    raise AssertionError("asked again")


def test_answers_are_asked_for_once_also_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    first = Journal(path, ABOUT)
    assert first.answer("a", float, lambda: 0.1) == 0.1
    assert first.answer("a", float, never) == 0.1
    assert first.answer("probe", Probe, lambda: PROBE) == PROBE
    curves = {"": {1: 2.0}}
    assert first.answer("curves", dict[str, dict[int, float]], lambda: curves) == curves
    first.close()
    again = Journal(path, ABOUT)
    assert len(again) == 3
    assert again.answer("a", float, never) == 0.1
    assert again.answer("probe", Probe, never) == PROBE
    assert again.answer("curves", dict[str, dict[int, float]], never) == curves
    assert again.answer("b", list[float], lambda: [1.0, 2.0]) == [1.0, 2.0]


def test_a_line_cut_short_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path, ABOUT)
    for name in "abc":
        journal.answer(name, float, lambda: 1.0)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    again = Journal(path, ABOUT)
    assert len(again) == 2
    again.answer("c", float, lambda: 1.0)
    assert path.read_bytes() == whole


def test_another_search_and_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    Journal(path, ABOUT)
    with pytest.raises(ConfigError, match="differs in seed = 0 instead of 1"):
        Journal(path, {**ABOUT, "seed": 1})
    with pytest.raises(ConfigError, match="differs in seed = 0 instead of None"):
        Journal(path, {"model": "m"})
    for text in ("nonsense", "1,2,3", "[1]"):
        path.write_text(text + "\n")
        with pytest.raises(DataError, match=r"j\.jsonl:1: expected a journal"):
            Journal(path, ABOUT)
    with pytest.raises(ConfigError, match="cannot write"):
        Journal(tmp_path / "none" / "journal.jsonl", ABOUT)


@pytest.mark.parametrize(
    "found",
    [b"\x08\0\0\0\0\0\0\0no journal", b"one\ntwo\nthree", b'{"format": 1}\n{"question": "cut sho',
     b'{"x": 1}', b"\xff\xfe\nmore"],
)  # fmt: skip
def test_a_file_that_is_no_journal_of_this_search_is_left_as_it_was(
    found: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(found)
    with pytest.raises((ConfigError, DataError), match="journal"):
        Journal(path, ABOUT)
    assert path.read_bytes() == found


def test_a_header_cut_short_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    Journal(path, ABOUT).close()
    whole = path.read_bytes()
    for length in (0, 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        with Journal(path, ABOUT) as journal:
            journal.answer("a", float, lambda: 1.0)
        assert path.read_bytes().startswith(whole) and len(Journal(path, ABOUT)) == 1


def test_two_searches_do_not_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, ABOUT) as journal:
        journal.answer("a", float, lambda: 1.0)
        before = path.read_bytes()
        with pytest.raises(ConfigError, match="a search that is running"):
            Journal(path, ABOUT)
        assert path.read_bytes() == before
    assert len(Journal(path, ABOUT)) == 1


def test_an_answer_of_another_kind_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    Journal(path, ABOUT).answer("a", str, lambda: "fast")
    with pytest.raises(DataError, match=r"j\.jsonl: a: "):
        Journal(path, ABOUT).answer("a", float, never)


def test_without_a_file_answers_live_as_long_as_the_search() -> None:
    journal = Journal(None, ABOUT)
    assert journal.answer("a", float, lambda: 2.0) == journal.answer("a", float, never)


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
