from __future__ import annotations

from pathlib import Path

import pytest
from rich.table import Table

from recstack.cli.output import kept_in, print_whole, rate


def test_an_interrupt_says_where_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), kept_in(Path("out/journal.jsonl")):
        raise KeyboardInterrupt
    assert "goes on from out/journal.jsonl" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt), kept_in(None):
        raise KeyboardInterrupt
    assert not capsys.readouterr().err


def test_a_wide_table_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    made = Table(*(f"column {i} of a wide table" for i in range(12)), box=None)
    made.add_row(*(f"{10**i:,}" for i in range(12)))
    print_whole(made)
    printed = capsys.readouterr().out
    assert "100,000,000,000" in printed and "column 11 of a wide table" in printed


@pytest.mark.parametrize(("qps", "text"), [(0.0444, "0.0444"), (37.25, "37.2"), (12547.3, "12547")])
def test_rates_keep_three_figures(qps: float, text: str) -> None:
    assert rate(qps) == text
