"""`recstack report`: result files become one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recstack.cli.output import console


def report(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Result files (JSON lines).")
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page from result files."""
    from recstack.report import write_report

    write_report(files, out)
    console.print(f"wrote {out}")
