from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recstack.errors import DataError
from recstack.report.document import read
from recstack.report.records import SLA, Accuracy
from tests.report.conftest import Write
from tests.report.samples import Record, accuracy_record, found_record, load_record, make_run


def loaded(**changes: Any) -> Record:
    run = make_run(100.0, service_us=500.0, count=5, seed=0)
    return {**load_record(run, 100.0, "tuned", "HTTP"), **changes}


def test_records_are_sorted_and_placed(write: Write) -> None:
    document = read([write(accuracy_record(), {"record": "surprise", "x": 1}, {"y": 2})])
    (entry,) = document.of(Accuracy)
    assert (entry.line, entry.data.rows, entry.source.name) == (2, 200_000, "run.jsonl")
    assert [(u.line, u.sort) for u in document.unknown] == [(3, "surprise"), (4, "")]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (accuracy_record(auc="0.8x"), "valid number.*at `auc`"),
        (accuracy_record(rows=-1), "greater than or equal to 0.*at `rows`"),
        ({"record": "accuracy"}, "missing - at `model`"),
        ({**found_record("a"), "sla": "fast"}, "expected an SLA such as.*at `sla`"),
        ({**found_record("a"), "sla": 7}, "expected an SLA such as.*at `sla`"),
        ({**found_record("a"), "probes": [{}]}, r"missing - at `probes.0.rate_qps`"),
        ({**found_record("a"), "deployment": 3}, "valid dictionary.*at `deployment`"),
        (loaded(rows=[1, 2]), "expected 5 values in 'rows', got 2"),
        (loaded(status=[0, 0, 9, 0, 0]), r"expected status codes in \[0, 6\)"),
        (loaded(issued_ns=[1, 2, 3.5, 4, 5]), "expected an array of integers.*at `issued_ns`"),
        (loaded(issued_ns=[1, 2, 2**70, 4, 5]), "expected an array of integers"),
        (loaded(issued_ns=[[1], [2], [3], [4], [5]]), "expected an array of integers"),
        (loaded(issued_ns=[[1], [2, 3]]), "at `issued_ns`"),
        (loaded(issued_ns="abc"), "expected an array of integers, got str"),
        (loaded(stages_ns={"queue": [1]}), "expected 5 values in 'queue', got 1"),
        (loaded(statuses=["lost"]), "expected 'ok' among the statuses"),
        ({"record": "stages", "label": "a", "stages": {"x": {}}}, "at `stages.x.count`"),
        ({"record": "note"}, "missing - at `text`"),
    ],
)
def test_a_wrong_record_is_named_by_file_and_line(
    write: Write, record: Record, message: str
) -> None:
    path = write({"record": "note", "text": ""}, record)
    with pytest.raises(DataError, match=f"^{path}:3: .*{message}"):
        read([path])


def test_a_file_of_another_kind_is_refused(write: Write) -> None:
    path = write(kind="weather")
    with pytest.raises(DataError, match=f"^{path}:1: expected kind quickstart .* got 'weather'"):
        read([path])


def test_what_is_no_result_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read([tmp_path / "absent"])
    with pytest.raises(DataError, match="at least one result file"):
        read([])


def test_several_files_are_told_apart(write: Write, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    paths = [write(accuracy_record(), name=name) for name in ("a.jsonl", "b/a.jsonl")]
    document = read(paths)
    assert [source.name for source in document.sources] == [str(path) for path in paths]
    assert document.name(document.of(Accuracy)[1], "dlrm") == f"dlrm ({paths[1]})"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p95<=10ms", "p95 ≤ 10 ms"),
        ("p99.9 ≤ 400 us", "p99.9 ≤ 400 µs"),
        ("p50<=7ns", "p50 ≤ 7 ns"),
    ],
)
def test_an_sla_is_shown_in_the_unit_that_suits(text: str, shown: str) -> None:
    assert str(SLA.model_validate(text)).replace("\u00a0", " ") == shown
