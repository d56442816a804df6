"""The null executor and the table executor."""

from __future__ import annotations

import numpy as np
import pytest

from recstack.clock import FakeClock
from recstack.engine.null import NullExecutor
from recstack.engine.table import TableExecutor
from recstack.errors import ConfigError
from tests.engine.draft import make_batch
from tests.engine.small_models import SMALL_MODELS


def test_null_gives_zeros():
    model, batch = SMALL_MODELS["mlp"]()
    scores = NullExecutor(model).run(batch)
    assert scores.shape == (7, 9) and scores.dtype == np.float32 and not scores.any()


@pytest.mark.parametrize(
    "rows, time_ns", [(0, 0), (1, 100), (2, 100), (3, 150), (4, 200), (8, 1000), (16, 2000)]
)
def test_table_sleeps_the_recorded_time(rows, time_ns):
    model, _ = SMALL_MODELS["mlp"]()
    clock = FakeClock(5)
    executor = TableExecutor({2: 100, 4: 200, 8: 1000}, outputs=9, clock=clock)
    scores = executor.run(make_batch(model, (rows,)))
    assert scores.shape == (rows, 9) and clock.now_ns() == 5 + time_ns
    assert executor.origin == "simulated"


@pytest.mark.parametrize("service_ns", [{}, {0: 1}, {1: -1}])
def test_table_refuses_impossible_times(service_ns):
    with pytest.raises(ConfigError):
        TableExecutor(service_ns)
