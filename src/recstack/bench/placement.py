"""Which models run on which lanes, and how many queries/s they then serve within their SLAs.

Modelled from measured numbers: QPS@SLA of each model on a lane alone, and the slowdown of each
beside each. A lane shared by several models gives each a part of its time; a lane is as slow for a
model as the worst of what each other lane may run beside it, and other lanes' slowdowns multiply.
The copies of a model share its rate in proportion to what their lanes give it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from recstack.errors import ConfigError

MOST_TRIED = 2_000_000
Lanes = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Models on lanes.

    lanes: the models of each lane. scale: how many times the demand is served. qps: by model.
    load: share of each lane's time that is used at those rates.
    """

    lanes: Lanes
    scale: float
    qps: Mapping[str, float]
    load: tuple[float, ...]

    def lanes_of(self, model: str) -> list[int]:
        """Where a model has a copy."""
        return [i for i, models in enumerate(self.lanes) if model in models]


@dataclass(frozen=True, slots=True)
class Costs:
    """alone_qps: by model, on a lane of its own. slowdown: by victim and what runs beside it."""

    alone_qps: Mapping[str, float]
    slowdown: Mapping[str, Mapping[str, float]]

    def lane_qps(self, lanes: Lanes, lane: int, model: str) -> float:
        """A model's rate were a lane all its own, beside what the others run."""
        slower = 1.0
        for i, beside in enumerate(lanes):
            if i != lane and beside:
                slower *= max(self.slowdown[model][other] for other in beside)
        return self.alone_qps[model] / slower


def place(lanes: int, demand: Mapping[str, float], costs: Costs) -> Placement:
    """The placement that serves the demand the most times; an exact search over all.

    Parameters
    ----------
    lanes: alike.
    demand: queries/s of each model, or any numbers in their proportion.

    Raises
    ------
    ConfigError: no lanes, a demand that is not positive, a model that meets its SLA at no rate, or
        too many placements to try.

    >>> costs = Costs({"a": 100.0, "b": 100.0}, {m: {"a": 2.0, "b": 1.0} for m in "ab"})
    >>> best = place(2, {"a": 1.0, "b": 1.0}, costs)
    >>> best.lanes, best.qps
    ((('a', 'b'), ('b',)), {'a': 60.0, 'b': 60.0})
    """
    names = tuple(demand)
    if lanes < 1 or not names or min(demand.values()) <= 0:
        raise ConfigError(f"expected lanes and demands > 0, got {lanes} and {dict(demand)}")
    if hopeless := [m for m in names if costs.alone_qps[m] <= 0]:
        raise ConfigError(f"expected models that meet their SLA alone, got {', '.join(hopeless)}")
    subsets = (1 << len(names)) - 1
    if math.comb(subsets + lanes, lanes) > MOST_TRIED:
        raise ConfigError(f"expected fewer models or lanes, got {len(names)} on {lanes}")
    return max((serve(p, demand, costs) for p in _all(names, lanes)), key=_value)


def serve(lanes: Lanes, demand: Mapping[str, float], costs: Costs) -> Placement:
    """What a placement serves: every model the same multiple of its demand, the largest that fits;
    then lanes that have time left serve more of what is theirs alone."""
    rates = {(i, m): costs.lane_qps(lanes, i, m) for i, models in enumerate(lanes) for m in models}
    given = {m: sum(rate for (_, n), rate in rates.items() if n == m) for m in demand}
    used = [sum(demand[m] / given[m] for m in models) for models in lanes]
    scale = 1.0 / max(used)
    qps = {m: scale * demand[m] for m in demand}
    for m in demand:
        own = [i for i, models in enumerate(lanes) if m in models]
        if all(lanes[i] == (m,) for i in own):
            qps[m] = sum(rates[i, m] for i in own)
    load = tuple(sum(qps[m] / given[m] for m in models) for models in lanes)
    return Placement(lanes, scale, qps, load)


def _all(names: Sequence[str], lanes: int) -> Iterator[Lanes]:
    """Every way to put models on alike lanes, each model somewhere."""
    subsets = [
        subset for size in range(len(names) + 1) for subset in itertools.combinations(names, size)
    ]
    for chosen in itertools.combinations_with_replacement(subsets, lanes):
        if len({m for models in chosen for m in models}) == len(names):
            yield tuple(sorted(chosen, key=lambda s: (not s, s)))


def _value(found: Placement) -> tuple[float, float, int]:
    """Served demand, then what is served beyond it, then fewer copies."""
    return (
        round(found.scale, 9), round(sum(found.qps.values()), 6), -sum(map(len, found.lanes)),
    )  # fmt: skip
