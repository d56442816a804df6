from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recstack import results
from tests.report.samples import Record, quickstart_records

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes records as a result file."""

    def write(*records: Record, name: str = "run.jsonl", kind: str = "quickstart") -> Path:
        with_origin = [{"origin": "measured", **record} for record in records]
        results.write(tmp_path / name, kind, with_origin, seed=7)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def quickstart() -> list[Record]:
    return quickstart_records()
