from __future__ import annotations

import pytest

from recstack.report.compared import Compared, geometric, kept
from recstack.report.records import AtLoad, Found
from tests.report.test_schedules import load_at, policy_record


def search(policy: str, model: str, ms: int, qps: float, **changes: object) -> Found:
    record = policy_record(policy, f"p95<={ms}ms", qps, model=model, origin="measured", **changes)
    return Found.model_validate(record)


def test_ratios_are_over_cells_that_both_have() -> None:
    compared = Compared([
        search("slack", "rm1", 50, 30.0), search("static", "rm1", 50, 10.0),
        search("slack", "wnd", 50, 12.0), search("static", "wnd", 50, 10.0),
        search("slack", "ncf", 50, 12.0), search("static", "ncf", 50, 0.0),
        search("slack", "rm1", 100, 12.0),
    ])  # fmt: skip
    (setting,) = compared.settings
    (ratio,) = compared.ratios(setting)
    assert (ratio.better, ratio.base, ratio.cells) == ("slack", "static", 2)
    assert ratio.mean == pytest.approx(3.6**0.5) and ratio.least == pytest.approx(1.2)
    assert ratio.least <= ratio.low < ratio.mean < ratio.high <= 3.0 + 1e-9


def test_settings_do_not_mix() -> None:
    compared = Compared([
        search("slack", "rm1", 50, 30.0), search("static", "rm1", 50, 10.0, lanes=40),
        search("static", "rm1", 50, 10.0, engine="torch"),
    ])  # fmt: skip
    assert len(compared.settings) == 3
    assert not any(compared.ratios(setting) for setting in compared.settings)
    assert [s.name for s in compared.settings] == ["2 lanes", "2 lanes, costs of torch", "40 lanes"]


def test_the_bootstrap_interval_covers_a_known_mean() -> None:
    mean, low, high, least = geometric([1.0, 2.0, 4.0])
    assert mean == pytest.approx(2.0) and least == 1.0
    assert 1.0 <= low < 2.0 < high <= 4.0


def test_kept_goodput_is_of_the_best_at_this_or_a_lower_load() -> None:
    curve = [
        AtLoad.model_validate({"origin": "measured", **load_at("slack", share, good, None)})
        for share, good in ((2.0, 90.0), (1.0, 100.0), (0.5, 50.0), (4.0, 120.0))
    ]
    assert kept(curve) == pytest.approx({0.5: 1.0, 1.0: 1.0, 2.0: 0.9, 4.0: 1.0})
