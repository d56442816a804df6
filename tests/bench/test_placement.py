from __future__ import annotations

import itertools

import numpy as np
import pytest

from recstack.bench.placement import Costs, place, search, serve
from recstack.errors import ConfigError

FREE = Costs({"a": 100.0, "b": 300.0}, {m: {"a": 1.0, "b": 1.0} for m in "ab"})


def test_without_interference_nothing_is_lost() -> None:
    best = place(2, {"a": 100.0, "b": 300.0}, FREE)
    assert best.scale == pytest.approx(1.0)
    assert best.qps == pytest.approx({"a": 100.0, "b": 300.0})
    assert sum(map(len, best.lanes)) == 2, "no more copies than it takes"


def test_a_model_that_spoils_its_neighbours_is_kept_together() -> None:
    """Beside itself on the other lane it costs nothing; beside b it halves b, and b it."""
    costs = Costs({"a": 100.0, "b": 100.0}, {"a": {"a": 1.0, "b": 4.0}, "b": {"a": 4.0, "b": 1.0}})
    apart, together = (
        serve(lanes, {"a": 1.0, "b": 1.0}, costs) for lanes in ((("a",), ("b",)), (("a", "b"),) * 2)
    )
    assert apart.scale == pytest.approx(25.0)
    assert place(2, {"a": 1.0, "b": 1.0}, costs).scale >= max(apart.scale, together.scale)


def test_the_search_is_exact() -> None:
    costs = Costs(
        {"a": 100.0, "b": 50.0, "c": 400.0},
        {
            "a": {"a": 1.5, "b": 1.1, "c": 1.0},
            "b": {"a": 1.3, "b": 1.0, "c": 1.6},
            "c": {"a": 1.0, "b": 1.2, "c": 1.1},
        },
    )
    demand = {"a": 1.0, "b": 2.0, "c": 3.0}
    subsets = [s for n in range(4) for s in itertools.combinations("abc", n)]
    every = [
        lanes for lanes in itertools.product(subsets, repeat=3)
        if {m for s in lanes for m in s} == set("abc")
    ]  # fmt: skip
    best = place(3, demand, costs)
    assert best.scale == pytest.approx(max(serve(p, demand, costs).scale for p in every))
    assert max(best.load) == pytest.approx(1.0)
    assert all(best.qps[m] >= best.scale * demand[m] - 1e-9 for m in demand)


@pytest.mark.parametrize(
    ("lanes", "demand", "words"),
    [(0, {"a": 1.0}, "lanes"), (2, {}, "demands"), (2, {"a": 0.0}, "> 0")],
)
def test_bad_questions(lanes: int, demand: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        place(lanes, demand, FREE)


def test_a_model_that_never_meets_its_sla_has_no_place() -> None:
    with pytest.raises(ConfigError, match="meet their SLA alone, got b"):
        place(2, {"a": 1.0, "b": 1.0}, Costs({"a": 1.0, "b": 0.0}, FREE.slowdown))


def random_costs(seed: int, models: int) -> tuple[dict[str, float], Costs]:
    """A demand and costs: some models hurt each other a lot."""
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(models)]
    slowdown = {v: {o: float(1.0 + rng.exponential(0.3)) for o in names} for v in names}
    alone = {name: float(rng.lognormal(5.0, 1.0)) for name in names}
    return {name: float(rng.lognormal(3.0, 1.0)) for name in names}, Costs(alone, slowdown)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("models", "lanes"), [(2, 5), (3, 4)])
def test_a_local_search_comes_close_to_the_exact_one(models: int, lanes: int, seed: int) -> None:
    demand, costs = random_costs(seed, models)
    best, found = place(lanes, demand, costs), search(lanes, demand, costs)
    assert best.exact and not found.exact
    assert 0.93 * best.scale <= found.scale <= best.scale + 1e-9


def test_too_many_placements_to_try_are_searched_locally() -> None:
    demand, costs = random_costs(0, 4)
    found = place(16, demand, costs)
    everywhere = serve((tuple(demand),) * 16, demand, costs)
    assert not found.exact and len(found.lanes) == 16
    assert found.scale > everywhere.scale
    assert all(found.lanes_of(m) for m in demand)
