from __future__ import annotations

import numpy as np
import pytest

from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision
from recstack.errors import ConfigError
from recstack.precision.debug import MOST_DB, debug, error, histogram
from recstack.precision.plan import PrecisionPlan, uniform
from tests.precision.movielens import COLUMN, LAYER, planted, ratings


@pytest.mark.parametrize("name", ["wnd", "din"])
def test_equal_plans_are_equal_everywhere(name: str) -> None:
    model, data = ratings(name)
    reports = debug(model, PrecisionPlan(), data.part(0, 300))
    assert len(reports) == len(model.ops)
    assert all(r.total.sqnr_db == MOST_DB and r.total.largest == 0 for r in reports)
    assert all(r.own is None for r in reports)


def test_a_planted_outlier_channel_is_ranked_first() -> None:
    model, data = planted()
    first, second, *_ = debug(model, uniform(model, "int8", "int8"), data.part(0, 1000))
    assert (first.name, first.columns) == (LAYER, (COLUMN,))
    assert first.own.sqnr_db < 10 < 30 < second.own.sqnr_db
    clean, _ = ratings("wnd")
    healthy = debug(clean, uniform(clean, "int8", "int8"), data.part(0, 1000))
    assert next(r for r in healthy if r.name == LAYER).own.sqnr_db > 45
    assert all(r.columns == () for r in healthy)


def test_own_errors_leave_out_those_from_before() -> None:
    model, data = ratings("wnd")
    reports = {r.name: r for r in debug(model, uniform(model, "fp32", "int8"), data.part(0, 1000))}
    # With its user part hoisted, the first layer's inputs have two ranges: a little better.
    assert abs(reports["relu"].own.sqnr_db - reports["relu"].total.sqnr_db) < 3
    assert reports["relu_1"].own.sqnr_db > reports["relu_1"].total.sqnr_db + 5
    assert reports["sigmoid"].own is None and reports["sigmoid"].total.sqnr_db < 80


def test_saturation_is_the_share_of_inputs_outside_a_static_range() -> None:
    model, data = ratings("wnd")
    layers = {"relu": LayerPrecision("int8", ActivationRange(-1.0, 1.0))}
    reports = debug(model, PrecisionPlan(layers=LayerPlan(layers=layers)), data.part(0, 500))
    report = next(r for r in reports if r.name == "relu")
    assert 0.02 < report.saturation < 0.6
    assert report.own.sqnr_db < 30
    assert next(r for r in reports if r.name == "relu_1").saturation is None


def test_a_range_holds_0_and_what_lies_up_to_it() -> None:
    model, data = ratings("wnd")
    layers = {"relu_1": LayerPrecision("int8", ActivationRange(1e3, 1e6))}  # reads relu's
    reports = debug(model, PrecisionPlan(layers=LayerPlan(layers=layers)), data.part(0, 500))
    assert next(r for r in reports if r.name == "relu_1").saturation == 0


def test_a_layer_that_has_no_kernel_in_its_precision_is_said_to_run_in_another() -> None:
    model, data = ratings("wnd")
    reports = {r.name: r for r in debug(model, uniform(model, "int8", "int8"), data.part(0, 300))}
    assert reports["relu_1"].precision == "int8" and reports["relu_1"].own is not None
    assert reports["linear_3"].precision == "int8 -> fp32" and reports["linear_3"].own is None


def test_data_without_rows_are_refused() -> None:
    model, data = ratings("wnd")
    with pytest.raises(ConfigError, match="expected data with rows"):
        debug(model, PrecisionPlan(), data.part(0, 0))


def test_errors_and_histograms_by_hand() -> None:
    before = np.array([[3.0, 4.0]], np.float32)
    assert error(before, before + np.array([[0.3, 0.4]], np.float32)).sqnr_db == pytest.approx(20)
    assert error(before, before).sqnr_db == MOST_DB
    assert error(np.zeros_like(before), before).sqnr_db == -MOST_DB
    assert error(before, before * np.inf).sqnr_db == -MOST_DB
    found = histogram(before, before * 2)
    assert (found.low, found.high) == (3, 8)
    assert sum(found.reference) == sum(found.quantised) == 2
    assert histogram(before * 0, before * 0).low == -0.5


def test_histograms_and_errors_of_values_that_are_not_finite() -> None:
    before = np.array([1.0, 5.0, np.inf, -np.inf, np.nan], np.float32)
    found = histogram(before, np.array([np.nan, 2.0, 9.0, np.inf, 3.0], np.float32))
    assert (found.low, found.high) == (1, 9)
    assert (sum(found.reference), sum(found.quantised)) == (2, 3)
    assert histogram(before * np.nan, before * np.nan).high == 0.5
    assert error(before, before).sqnr_db == -MOST_DB
