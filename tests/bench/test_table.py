from __future__ import annotations

from recstack.bench.records import Cell, Found
from recstack.bench.table import columns, means, render


def cell(model: str, own: float, peer: float | None, floor: float | None = None) -> Cell:
    found = (
        Found(
            contender="recstack", name="recstack", us=own, quartiles_us=(own, own), p99_us=1.5 * own
        ),
        Found(contender="aoti", name="AOTInductor", us=peer)
        if peer is not None
        else Found(contender="aoti", name="AOTInductor", status="unsupported", reason="no such op"),
    )
    return Cell(model=model, rows=4, threads=1, isa="auto", inputs="uniform", rows_scale=1.0,
                seed=0, git="", batches=1, cold_bytes=0, found=found, floor_us=floor,
                steady_spread=1.25)  # fmt: skip


def test_geometric_means_by_group_and_the_worst_cell() -> None:
    cells = [cell("rm1-deeprecsys", 10, 40), cell("ncf-deeprecsys", 10, 10), cell("wnd", 10, 5)]
    assert means([*cells, cell("rm2", 10, None)]) == [
        "- geometric mean, all: 1.26 (3 cells)",
        "- geometric mean, RM1, RM2, DIN, DIEN: 4.00 (1 cells)",
        "- geometric mean, NCF: 1.00 (1 cells)",
        "- geometric mean, RM3, WnD, MT-WnD: 0.50 (1 cells)",
        "- p99 / median, median of cells: 1.50, of fixed work 1.25",
        "- worst cell: 0.50 (wnd, 4 rows, 1 thread(s), auto)",
    ]


def test_a_row_shows_peers_floor_and_reasons() -> None:
    text = render([cell("rm1", 1234, 2468, floor=617), cell("rm2", 10, None)])
    assert "| 1234 | 1234..1234 | 1.50, 1.25 | 2468 | 2.00 (aoti) | 617.0 | 2.00 |" in text
    assert "| unsupported | - | - | - |" in text
    assert "- rm2: AOTInductor unsupported: no such op" in text


def test_columns_turn_the_table_round() -> None:
    heads = [line[0].strip() for line in columns([cell("rm1", 1, 2)], ["aoti"])]
    assert heads == ["recstack", "quartiles", "p99 / median, of fixed work", "aoti",
                     "best peer / recstack", "floor", "recstack / floor"]  # fmt: skip
