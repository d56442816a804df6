"""`recstack doctor --peaks`, with the measurement replaced: the real one takes a minute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recstack.cli import peaks as verb
from recstack.cli.app import app
from recstack.errors import ConfigError
from recstack.machine import load_peaks, peaks_path
from recstack.results import ResultWriteError
from tests.machine.draft import peaks


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSTACK_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Stands in for the measurement; collects the threads asked for."""
    threads: list[int | None] = []

    def measure(most, say):
        threads.append(most)
        say("memory")
        return peaks()

    monkeypatch.setattr(verb, "measure_peaks", measure)
    return threads


def doctor(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["doctor", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_measures_stores_and_shows(asked: list[int | None]) -> None:
    text = doctor("--peaks", "--threads", "1")
    assert asked == [1]
    assert load_peaks() == peaks()
    assert "avx512_vnni" in text
    assert "weights" in text
    assert "T1 at 16, 64 at once" in text
    assert text.count("(measured)") == 3


def test_json_has_every_figure(asked: list[int | None]) -> None:
    found = json.loads(doctor("--peaks", "--json"))["peaks"]
    assert asked == [None]
    assert found["origin"] == "measured"
    assert len(found["stored"]["gather"]) == len(peaks().gather)


def test_plain_doctor_says_when_peaks_were_measured(asked: list[int | None]) -> None:
    assert "no peaks are stored" in doctor()
    assert json.loads(doctor("--json"))["peaks"]["stored"] is None
    assert asked == []
    doctor("--peaks")
    assert "Peaks: measured 2026-11-21T10:00:00" in doctor()


def test_plain_doctor_shows_what_is_wrong_with_a_damaged_file() -> None:
    peaks_path().write_text("{")
    text = doctor()
    assert str(peaks_path()) in text
    assert "Invalid JSON" in text


def test_nothing_is_measured_where_it_cannot_be_stored(
    asked: list[int | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECSTACK_HOME", str(tmp_path / "file"))
    with pytest.raises(ResultWriteError, match="file: cannot write"):
        doctor("--peaks")
    assert asked == []


def test_a_user_without_a_home_still_has_a_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RECSTACK_HOME")
    monkeypatch.setattr(Path, "home", none)
    found = json.loads(doctor("--json"))["peaks"]
    assert found["path"] is None and "RECSTACK_HOME" in found["problem"]


def test_threads_without_peaks_are_bad_usage() -> None:
    with pytest.raises(ConfigError, match="give --peaks"):
        CliRunner().invoke(app, ["doctor", "--threads", "1"], catch_exceptions=False)
