from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from recstack import results
from recstack.errors import DataError
from recstack.loadtest.outcome import LoadResult, from_record

RUN = LoadResult(
    scheduled_ns=np.array([0, 10], np.int64),
    issued_ns=np.array([1, 11], np.int64),
    finished_ns=np.array([20, -1], np.int64),
    rows=np.array([3, 4], np.int64),
    status=np.array([0, 5], np.uint8),
    stages_ns={"run": np.array([9, -1], np.int64)},
    warmup=1,
    strays=2,
    errors=("gone",),
    origin="simulated",
)


def same(one: LoadResult, two: LoadResult) -> bool:
    return repr(one) == repr(two)


def test_a_run_survives_a_result_file_and_a_process_boundary(tmp_path: Path) -> None:
    results.write(tmp_path / "a", "load", [RUN.to_record()], seed=0)
    (record,) = results.read(tmp_path / "a").records
    assert same(from_record(record), RUN)
    assert same(pickle.loads(pickle.dumps(RUN)), RUN)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [1]},
        {"rows": "x"},
        {"status": [0, 999]},
        {"stages_ns": {"run": [1]}},
        {"stages_ns": None},
        {"warmup": None},
        {"statuses": ["ok"]},
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DataError, match="expected"):
        from_record({**RUN.to_record(), **change})


def test_a_missing_field_is_named() -> None:
    record = RUN.to_record()
    del record["issued_ns"]
    with pytest.raises(DataError, match="issued_ns"):
        from_record(record)
