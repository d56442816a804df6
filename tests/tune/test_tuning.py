from __future__ import annotations

import recstack as rs
from recstack.loadtest import SLA, sizes
from recstack.tune import QueryPool, TuneConfig, tune
from recstack.tune.tuning import _candidates
from recstack.types import Query


def test_candidates_share_the_cores_in_every_way() -> None:
    shapes = {(c.lanes, c.threads_per_lane) for c in _candidates(4, 250, 1000)}
    assert shapes == {(4, 1), (2, 2), (1, 4)}
    assert all(1 <= c.chunk_rows <= 1000 for c in _candidates(4, 1, 1))


def test_a_pool_makes_few_queries_of_a_size() -> None:
    made = []

    def factory(index: int, rows: int) -> Query:
        made.append((index, rows))
        return Query(index, rs.Batch(*[None] * 5))  # type: ignore[arg-type]

    pool = QueryPool(factory, per_size=2)
    for index in range(10):
        pool(index, 3)
    assert len(made) == 2


def test_the_best_is_never_below_the_baseline() -> None:
    model = rs.zoo.build("ncf", rows_scale=0.001)
    probes = []
    found = tune(
        rs.compile(model),
        QueryPool(lambda index, rows: Query(index, rs.data.random_batch(model, rows, seed=index))),
        sizes.Fixed(16),
        SLA(95.0, 400_000_000),
        TuneConfig(run_s=0.2, min_queries=100, max_queries=100, budget_s=1.0, tolerance=0.5,
                   runs=1, max_qps=400.0),
        watch=lambda schedule, probe: probes.append(probe),
    )  # fmt: skip
    assert probes
    assert found.trials[0] is found.baseline
    assert found.best.found.low_qps >= found.baseline.found.low_qps
    assert found.baseline.schedule.merge_rows == 0
