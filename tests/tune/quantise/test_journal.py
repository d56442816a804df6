from __future__ import annotations

from pathlib import Path

import pytest

from recstack.errors import ConfigError
from recstack.tune.quantise.journal import Journal

ABOUT = {"model": "m", "seed": 0}


def never() -> float:
    raise AssertionError("asked again")


def test_answers_are_asked_for_once_also_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first = Journal(path, ABOUT)
    assert first.answer("a", float, lambda: 0.1) == 0.1
    assert first.answer("a", float, never) == 0.1
    again = Journal(path, ABOUT)
    assert len(again) == 1
    assert again.answer("a", float, never) == 0.1
    assert again.answer("b", list[float], lambda: [1.0, 2.0]) == [1.0, 2.0]


def test_a_line_cut_short_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, ABOUT)
    for name in "abc":
        journal.answer(name, float, lambda: 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    again = Journal(path, ABOUT)
    assert len(again) == 2
    again.answer("c", float, lambda: 1.0)
    assert path.read_bytes() == whole


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, ABOUT)
    with pytest.raises(ConfigError, match="seed = 0 instead of 1"):
        Journal(path, {**ABOUT, "seed": 1})
    path.write_text("nonsense\n")
    with pytest.raises(ConfigError, match="cannot read"):
        Journal(path, ABOUT)
    with pytest.raises(ConfigError, match="cannot"):
        Journal(tmp_path / "none" / "journal.jsonl", ABOUT)


def test_without_a_file_answers_live_as_long_as_the_search() -> None:
    journal = Journal(None, ABOUT)
    assert journal.answer("a", float, lambda: 2.0) == journal.answer("a", float, never)
