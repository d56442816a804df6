from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack import results
from recstack.errors import DataError, RecstackError

RECORDS = [
    {"origin": "measured", "finished_ns": np.arange(3), "qps": np.float64(2.5)},
    {"origin": "simulated", "note": "naïve"},
]


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    header = results.write(path, "load", RECORDS, seed=7)
    got = results.read(path, kind="load")
    assert got.header == header
    assert (got.header.seed, got.header.format, got.header.records) == (7, 1, 2)
    assert got.records[0] == {"origin": "measured", "finished_ns": [0, 1, 2], "qps": 2.5}
    assert got.records[1]["note"] == "naïve"
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_header_is_the_first_line(tmp_path: Path) -> None:
    results.write(tmp_path / "a", "bench", [], seed=None)
    header = json.loads((tmp_path / "a").read_text())
    assert {"kind", "format", "created", "seed", "git", "machine", "records"} == set(header)
    assert header["machine"]["memory_bytes"] > 1 << 20


def test_the_fingerprint_names_the_machine() -> None:
    machine = results.fingerprint()
    assert machine.cpu
    assert 1 <= machine.cores_allowed <= machine.cores
    assert set(machine.flags) <= set(results.FLAGS)


@pytest.mark.parametrize("origin", [None, "guessed"])
def test_a_record_without_an_origin_is_refused(tmp_path: Path, origin: str | None) -> None:
    with pytest.raises(DataError, match="record 1: expected origin measured"):
        results.write(tmp_path / "a", "load", [RECORDS[0], {"origin": origin}], seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_is_not_json_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(DataError, match="record 0"):
        results.write(tmp_path / "a", "load", [{"origin": "measured", "x": value}], seed=0)


def test_a_full_disk_leaves_the_previous_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    results.write(path, "load", RECORDS, seed=1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(results.ResultWriteError, match="No space left on device") as raised:
        results.write(path, "load", RECORDS, seed=2)
    assert isinstance(raised.value, RecstackError)
    assert results.read(path).header.seed == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_real_full_device_is_a_clear_error() -> None:
    with pytest.raises(results.ResultWriteError, match="cannot write"):
        results.write("/dev/full/run", "load", RECORDS, seed=0)


def _damage(path: Path, line: int, text: str) -> None:
    lines = path.read_text().split("\n")
    lines[line - 1] = text
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "{", r"a:1: Invalid JSON"),
        (1, '{"kind": "load"}', r"a:1: missing - at `created`"),
        (2, "{,", r"a:2: not JSON"),
        (3, "[1]", r"a:3: expected an object, got list"),
        (3, '{"x": 1}', r"a:3: expected origin"),
    ],
)
def test_damage_is_named_by_file_and_line(
    tmp_path: Path, line: int, text: str, message: str
) -> None:
    path = tmp_path / "a"
    results.write(path, "load", RECORDS, seed=1)
    _damage(path, line, text)
    with pytest.raises(DataError, match=message):
        results.read(path)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_copy_cut_at_a_line_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a"
    results.write(path, "load", RECORDS, seed=1)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:keep]))
    with pytest.raises(DataError, match=f"expected 2 records, got {keep - 1}"):
        results.read(path)


def test_a_copy_cut_anywhere_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    results.write(path, "load", RECORDS, seed=1)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a:|cannot read"):
            results.read(path)


def test_another_kind_format_or_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    results.write(path, "load", RECORDS, seed=1)
    with pytest.raises(DataError, match="expected kind 'bench', got 'load'"):
        results.read(path, kind="bench")
    with pytest.raises(DataError, match="cannot read"):
        results.read(tmp_path / "b")
    header: dict[str, Any] = json.loads(path.read_text().splitlines()[0])
    _damage(path, 1, json.dumps({**header, "format": 2}))
    with pytest.raises(DataError, match="`format`"):
        results.read(path)
