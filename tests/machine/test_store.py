"""Peaks on disk: of this machine or none, whole or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from recstack.errors import DataError
from recstack.machine import find_peaks, load_peaks, peaks_path, save_peaks
from recstack.results import ResultWriteError, fingerprint
from tests.machine.draft import peaks


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECSTACK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_was_saved_is_loaded(home: Path) -> None:
    assert save_peaks(peaks()) == peaks_path()
    assert peaks_path().parent == home
    assert load_peaks() == find_peaks() == peaks()
    assert [p.name for p in home.iterdir()] == [peaks_path().name]


def test_without_recstack_home_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSTACK_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert peaks_path().parent == Path("/home/user/.cache/recstack")


def test_nothing_stored() -> None:
    assert load_peaks() is None
    with pytest.raises(DataError, match="no peaks are stored"):
        find_peaks()


def test_a_new_kernel_is_the_same_machine_and_a_new_cpu_is_not() -> None:
    here = fingerprint()
    newer = here.model_copy(
        update={"kernel": "Linux 99", "python": "4", "recstack": "9",
                "memory_bytes": here.memory_bytes + (8 << 20)}
    )  # fmt: skip
    assert peaks_path(newer) == peaks_path(here)
    for change in (
        {"cpu": "other"}, {"cores_allowed": 99}, {"flags": ("sve",)},
        {"memory_bytes": here.memory_bytes + (8 << 30)},
    ):  # fmt: skip
        assert peaks_path(here.model_copy(update=change)) != peaks_path(here)


def test_another_machines_file_under_this_ones_name_is_not_used() -> None:
    other = fingerprint().model_copy(update={"cpu": "Other CPU"})
    save_peaks(peaks(other)).rename(peaks_path())
    assert load_peaks() is None
    with pytest.raises(DataError, match="got Other CPU"):
        find_peaks()


def damaged() -> dict[str, bytes]:
    whole = peaks().model_dump_json()
    data = json.loads(whole)
    return {
        "empty": b"",
        "cut short": whole[: len(whole) // 2].encode(),
        "not text": b"\xff\xfe\x00",
        "not an object": b"[]",
        "another format": json.dumps(data | {"format": 2}).encode(),
        "an unknown key": json.dumps(data | {"extra": 1}).encode(),
        "infinite": whole.replace('"gops":50.0', '"gops":Infinity').encode(),
        "beyond float64": whole.replace('"row_bytes":64', f'"row_bytes":{10**400}').encode(),
        "endless": b"[" * (1 << 24) + b"]",
        "no cache": json.dumps(data | {"l2_bytes": 0}).encode(),
        "a negative figure": whole.replace('"gops":50.0', '"gops":-50.0').encode(),
    }


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_file_counts_as_none_and_says_what_is_wrong(home: Path, kind: str) -> None:
    home.mkdir()
    peaks_path().write_bytes(damaged()[kind])
    assert load_peaks() is None
    with pytest.raises(DataError, match=peaks_path().name):
        find_peaks()
    save_peaks(peaks())
    assert load_peaks() == peaks()


def test_a_pipe_in_the_files_place_is_not_waited_for(home: Path) -> None:
    home.mkdir()
    os.mkfifo(peaks_path())
    with pytest.raises(DataError, match="regular file"):
        find_peaks()


def test_a_folder_in_the_files_place_is_no_crash() -> None:
    peaks_path().mkdir(parents=True)
    assert load_peaks() is None
    with pytest.raises(ResultWriteError, match="cannot write"):
        save_peaks(peaks())


def test_a_home_that_cannot_be_made_is_an_error(home: Path) -> None:
    home.write_text("a file")
    assert load_peaks() is None
    with pytest.raises(ResultWriteError, match="cannot"):
        save_peaks(peaks())
