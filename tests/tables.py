"""Tables of rich as text."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def text_of(table: Table, width: int = 1000) -> str:
    """The table's lines, without what is blank at their ends."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())
