from __future__ import annotations

import os

import pytest

import recstack as rs
from recstack.bench.colocate import ColocateConfig, Matrix, bytes_per_flop, measure
from recstack.bench.colocate_serve import Traffic, verify
from recstack.bench.placement import Placement
from recstack.errors import ConfigError
from recstack.loadtest import SLA, sizes

CORES = sorted(os.sched_getaffinity(0))
two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")


def matrix(slowdown: tuple[tuple[float, ...], ...], shares: tuple[float, ...]) -> Matrix:
    return Matrix(("m", "n"), 64, shares, (10.0, 20.0), slowdown, slowdown, slowdown)


def test_the_trend_compares_classes() -> None:
    more = matrix(((1.4, 1.2), (1.1, 1.0)), (0.8, 0.01))
    assert "embedding-bound (m) 1.296x" in more.trend()
    assert more.trend().endswith(": reproduced")
    assert matrix(((1.0, 1.0), (1.1, 1.2)), (0.8, 0.01)).trend().endswith("not reproduced")
    assert "no comparison" in matrix(((1.0, 1.0), (1.0, 1.0)), (0.8, 0.5)).trend()


def test_the_published_classes_follow_from_shapes() -> None:
    outlines = {m: rs.zoo.outline(m) for m in ("rm1", "rm2", "rm3", "wnd")}
    bound = {m for m, model in outlines.items() if bytes_per_flop(model, 128) >= 0.1}
    assert bound == {"rm1", "rm2"}


@two_cores
def test_a_matrix_is_measured() -> None:
    models = {m: rs.zoo.build(m, rows_scale=0.001) for m in ("ncf", "rm1")}
    found = measure(models, ColocateConfig(rows=16, rounds=1, round_s=0.02), CORES)
    assert all(0.1 < x < 100 for row in found.slowdown for x in row)
    assert all(t > 0 for t in found.alone_us)
    assert found.to_record()["models"] == ("ncf", "rm1")
    with pytest.raises(ConfigError, match="two cores"):
        measure(models, ColocateConfig(), CORES[:1])


@two_cores
def test_a_placement_that_promises_too_much_is_scaled_back() -> None:
    engine = rs.compile(rs.zoo.build("ncf", rows_scale=0.001))
    placed = Placement((("ncf",), ()), 1.0, {"ncf": 100.0}, (1.0, 0.0))
    traffic = Traffic(sizes.Fixed(4), seconds=0.2)
    held = verify(placed, {"ncf": engine}, {"ncf": SLA(50.0, 10**9)}, CORES, traffic)
    assert (held.scale, held.qps["ncf"]) == (1.0, 100.0)
    never = verify(placed, {"ncf": engine}, {"ncf": SLA(50.0, 1)}, CORES, traffic)
    assert (never.scale, never.qps["ncf"]) == (0.0, 0.0)
