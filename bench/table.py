"""The result files of `recstack bench --out FOLDER` as one Markdown table, with means by group.

    python bench/table.py out/bench

Groups of cells that differ in threads, instruction set or inputs have tables of their own.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from recstack.bench import Cell, read_cells
from recstack.bench.table import render

MODELS = ("ncf", "rm1", "rm2", "rm3", "wnd", "mt-wnd", "din", "dien")


def question(cell: Cell) -> tuple[int, str, str]:
    return cell.threads, cell.isa, cell.inputs


def order(cell: Cell) -> tuple[object, ...]:
    model = cell.model.removesuffix("-deeprecsys")
    place = MODELS.index(model) if model in MODELS else len(MODELS)
    return (*question(cell), place, model, cell.rows)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/bench")
    cells = [cell for path in sorted(folder.glob("*.jsonl")) for cell in read_cells(path)]
    for (threads, isa, inputs), group in groupby(sorted(cells, key=order), question):
        what = f"{threads} thread(s), {isa}, {Path(inputs).name} indices"
        print(f"## {what}: microseconds, measured\n")
        print(render(list(group)))


if __name__ == "__main__":
    main()
