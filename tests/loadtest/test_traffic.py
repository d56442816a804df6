from __future__ import annotations

import numpy as np
import pytest

from recstack.errors import ConfigError
from recstack.loadtest import sizes, traffic
from recstack.loadtest.null import empty_query
from recstack.types import Query


def test_one_seed_gives_the_same_traffic_at_every_rate() -> None:
    slow, fast = (traffic.make_traffic(rate, 5000, seed=3) for rate in (100.0, 200.0))
    assert (slow.rows == fast.rows).all()
    assert np.abs(slow.scheduled_ns - 2 * fast.scheduled_ns).max() <= 2
    assert (traffic.make_traffic(100.0, 5000, seed=4).rows != slow.rows).any()


def test_gaps_and_sizes_are_independent() -> None:
    plan = traffic.make_traffic(100.0, 50_000, seed=5, distribution=sizes.Lognormal(5.1, 0.2))
    gaps = np.diff(plan.scheduled_ns, prepend=0)
    assert abs(np.corrcoef(gaps, plan.rows)[0, 1]) < 0.02


def test_queries_are_reused_in_turn_within_their_size() -> None:
    rows = np.array([4, 4, 4, 9, 4, 9], np.int64)
    made = traffic.make_queries(empty_query, rows, per_size=2)
    assert [q.batch.rows for q in made] == rows.tolist()
    assert [made[i].batch is made[0].batch for i in (1, 2, 4)] == [False, True, False]
    assert made[4].batch is made[1].batch
    assert made[5].batch is not made[3].batch
    assert len({id(q.batch) for q in traffic.make_queries(empty_query, rows)}) == 6


def test_a_factory_of_the_wrong_size_is_refused() -> None:
    def wrong(index: int, rows: int) -> Query:
        return empty_query(index, rows + (index == 2))

    with pytest.raises(ConfigError, match="expected 5 rows from the factory, got 6 - at query 2"):
        traffic.make_queries(wrong, np.full(4, 5))
    with pytest.raises(ConfigError, match="per_size >= 1"):
        traffic.make_queries(empty_query, np.full(4, 5), per_size=0)
    with pytest.raises(ConfigError, match="seed >= 0"):
        traffic.make_traffic(1.0, 1, seed=-1)
