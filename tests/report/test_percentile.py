from __future__ import annotations

import numpy as np
import pytest

from recstack.loadtest.quantiles import needed, quantile
from recstack.report.percentile import least_queries, percentile


@pytest.mark.parametrize("n", [1, 2, 19, 20, 100, 5000])
@pytest.mark.parametrize("share", [0.5, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("unanswered", [0.0, 0.03, 1.0])
def test_it_agrees_with_its_twin(n: int, share: float, unanswered: float) -> None:
    rng = np.random.default_rng(n)
    values = np.where(rng.random(n) < unanswered, np.inf, rng.exponential(1e6, n))
    got, twin = percentile(np.sort(values), share), quantile(values, share)
    assert (got.value, got.low, got.high) == (twin.value, twin.low, twin.high)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_the_least_count_agrees_with_its_twin(share: float) -> None:
    assert least_queries(share) == needed(1.0 - share)
