"""How verbs print: tables and progress for people, JSON for programs."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
progress = Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """Write `data` to standard output as indented JSON; NaN and infinity become null."""
    json.dump(_finite(data), sys.stdout, indent=2, default=_plain, allow_nan=False)
    sys.stdout.write("\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Print `title`; return a table whose first column is text and whose others are figures."""
    console.print(title, style="bold", soft_wrap=True)
    made = Table(box=None, pad_edge=False)
    for i, name in enumerate(columns):
        made.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


@contextmanager
def kept_in(journal: Path | None) -> Iterator[None]:
    """Say, when work is interrupted, where what it has found so far is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if journal is not None:
            text = f"stopped: the same command goes on from {journal}"
            progress.print(text, markup=False, soft_wrap=True)
        raise


def print_whole(made: Table) -> None:
    """Print a table at its own width: lines that a terminal is too narrow for wrap, none is cut."""
    text = io.StringIO()
    Console(file=text, width=1000, color_system=None, highlight=False).print(made)
    for line in text.getvalue().splitlines():
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def rate(qps: float) -> str:
    """A rate to read: whole from 100 queries/s on, three figures below."""
    return f"{qps:.0f}" if qps >= 100 else f"{qps:.3g}"


def _plain(value: object) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected a JSON value, got {type(value).__name__}")


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(k): _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
