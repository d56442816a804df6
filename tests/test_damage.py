"""Files that were damaged or made to harm: read as something else, or an error with a place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import recstack as rs
from recstack import results
from recstack.errors import ConfigError, DataError, RecstackError
from recstack.loadtest.search import Probe
from recstack.mlperf.logs import read_detail
from recstack.precision.plan import read_plan, uniform
from recstack.simulate import read_accelerator
from recstack.tune import Deployment, read_deployment
from recstack.tune.journal import Journal
from recstack.tune.quantise.journal import Journal as QuantiseJournal

Read = Callable[[Path], object]
INSERTS = (
    b"", b"[", b"{", b'"', b"\n", b"\x00", b"\xff", b"-", b"1e999", b"nan", b"a.b.c = 1\n",
    b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\xed\xa0\x80",
)  # fmt: skip


def deployment(folder: Path) -> tuple[Path, Read]:
    model = rs.zoo.build("rm1", rows_scale=1e-5)
    model.save(folder / "model")
    uniform(model, "int8", "int8").save(folder / "precision.toml")
    Deployment(model="model", precision="precision.toml", sla="p95<=10ms").save(folder / "file")
    return folder / "file", read_deployment


def plan(folder: Path) -> tuple[Path, Read]:
    uniform(rs.zoo.build("rm1", rows_scale=1e-5), "int8", "int8").save(folder / "file")
    return folder / "file", read_plan


def result_file(folder: Path) -> tuple[Path, Read]:
    record = {"origin": "measured", "latency_ns": [1, 2, 3], "of": {"rows": 4}}
    results.write(folder / "file", "load", [record] * 3, seed=0)
    return folder / "file", results.read


QUESTION = {"sla": "p95<=10ms", "lanes": [1, 2]}


def tuning(folder: Path) -> tuple[Path, Read]:
    journal = Journal(folder / "file", QUESTION)
    journal.note("curves", lambda: {"": {"1": 20100.0}})
    journal.add("chunk=3", 812.5, 0, Probe(812.5, "pass", 1, 200, 1, 0.5))
    return folder / "file", lambda path: Journal(path, QUESTION)


def quantising(folder: Path) -> tuple[Path, Read]:
    journal = QuantiseJournal(folder / "file", QUESTION)
    journal.answer("how many", list[int], lambda: [1, 2])
    return folder / "file", lambda path: QuantiseJournal(path, QUESTION)


@pytest.mark.parametrize("make", [deployment, plan, result_file, tuning, quantising])
def test_damage_anywhere_is_an_error_that_names_the_file(
    make: Callable[[Path], tuple[Path, Read]], tmp_path: Path
) -> None:
    path, read = make(tmp_path)
    good = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        at, cut = random.integers(len(good)), random.integers(0, 9)
        path.write_bytes(good[:at] + INSERTS[random.integers(len(INSERTS))] + good[at + cut :])
        try:
            read(path)
        except RecstackError as error:
            assert str(tmp_path) in str(error)
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("text", ["x = " + "[" * 3000, "x = " + "9" * 5000, "x = '\udc00'"])
def test_toml_that_python_cannot_take_is_a_config_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (read_deployment, read_plan):
        with pytest.raises(ConfigError, match=r"plan\.toml"):
            read(path)


def test_a_plans_path_that_no_file_can_have_is_a_config_error(tmp_path: Path) -> None:
    path, _ = deployment(tmp_path)
    path.write_text(path.read_text().replace("precision.toml", r"a\u0000b"))
    with pytest.raises(ConfigError, match="null byte"):
        read_deployment(path)


@pytest.mark.parametrize(
    "line",
    [
        b'{"key": "k", "rate_qps": 1, "seed": 1e999, "probe": {}}',
        b'{"key": "k", "rate_qps": 1' + b"0" * 400 + b', "seed": 0, "probe": {}}',
        b"[" * 100_000,
    ],
)
def test_numbers_and_depths_beyond_reason_are_no_journal(line: bytes, tmp_path: Path) -> None:
    path, read = tuning(tmp_path)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=":4: expected a journal"):
        read(path)


def test_a_journal_whose_question_is_no_question_is_another_searchs(tmp_path: Path) -> None:
    path, read = tuning(tmp_path)
    path.write_text('{"question": [1]}\n')
    with pytest.raises(ConfigError, match="differs in lanes, sla"):
        read(path)


def test_depth_is_an_error_in_what_others_wrote_too(tmp_path: Path) -> None:
    deep = "[" * 100_000
    (tmp_path / "device.json").write_text(deep)
    with pytest.raises(ConfigError, match=r"device\.json"):
        read_accelerator(tmp_path / "device.json")
    (tmp_path / "mlperf_log_detail.txt").write_text(":::MLLOG " + deep)
    with pytest.raises(DataError, match="line 1"):
        read_detail(tmp_path)
    path, read = quantising(tmp_path)
    path.write_text(path.read_text() + deep + "\n")
    with pytest.raises(ConfigError, match="cannot read the journal"):
        read(path)
