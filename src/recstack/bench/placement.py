"""Which models run on which lanes, and how many queries/s they then serve within their SLAs.

Modelled from measured numbers: QPS@SLA of each model on a lane alone, and the slowdown of each
beside each. A lane shared by several models gives each a part of its time; a lane is as slow for a
model as the worst of what each other lane may run beside it, and other lanes' slowdowns multiply.
The copies of a model share its rate in proportion to what their lanes give it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from recstack.errors import ConfigError

MOST_TRIED = 200_000
MOST_STARTS, MOST_ROUNDS = 6, 200
Lanes = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Models on lanes.

    lanes: the models of each lane. scale: how many times the demand is served. qps: by model.
    load: share of each lane's time that is used at those rates. exact: all were tried; else it was
    found by local search and a better one may exist.
    """

    lanes: Lanes
    scale: float
    qps: Mapping[str, float]
    load: tuple[float, ...]
    exact: bool = True

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
    """The placement that serves the demand the most times.

    An exact search over all, where these are at most `MOST_TRIED`; else a local one from a few
    starts, which changes the models of one lane at a time while that is better.

    Parameters
    ----------
    lanes: alike.
    demand: queries/s of each model, or any numbers in their proportion.

    Raises
    ------
    ConfigError: no lanes, a demand that is not positive, or a model that meets its SLA at no rate.

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
        return search(lanes, demand, costs)
    return max((serve(p, demand, costs) for p in _all(names, lanes)), key=_value)


def search(lanes: int, demand: Mapping[str, float], costs: Costs) -> Placement:
    """A placement that no change to one lane makes better; arguments as of `place`."""
    starts = sorted((serve(p, demand, costs) for p in _starts(lanes, demand, costs)), key=_value)
    found = (_improved(start, demand, costs) for start in starts[-MOST_STARTS:])
    return replace(max(found, key=_value), exact=False)


def _starts(lanes: int, demand: Mapping[str, float], costs: Costs) -> Iterator[Lanes]:
    """On each number of lanes: all models on all of them, and to each model lanes of its own."""
    names = tuple(demand)
    counts = dict.fromkeys(names, 1)
    for used in range(1, lanes + 1):
        idle: Lanes = ((),) * (lanes - used)
        yield (names,) * used + idle
        if used > len(names):
            counts[max(names, key=lambda m: demand[m] / costs.alone_qps[m] / counts[m])] += 1
        if used >= len(names):
            yield (*((m,) for m in names for _ in range(counts[m])), *idle)


def _improved(best: Placement, demand: Mapping[str, float], costs: Costs) -> Placement:
    for _ in range(MOST_ROUNDS):
        tried = (serve(lanes, demand, costs) for lanes in _neighbours(best.lanes, tuple(demand)))
        better = max(tried, key=_value, default=best)
        if _value(better) <= _value(best):
            break
        best = better
    return best


def _neighbours(lanes: Lanes, names: Sequence[str]) -> Iterator[Lanes]:
    """One lane with a model more, a model less, or another one alone; each model somewhere."""
    for i in {lane: i for i, lane in enumerate(lanes)}.values():
        own = set(lanes[i])
        others = {m for k, lane in enumerate(lanes) if k != i for m in lane}
        changed = {tuple(m for m in names if m in own ^ {n}) for n in names}
        for lane in (changed | {(n,) for n in names}) - {lanes[i]}:
            if others | set(lane) == set(names):
                yield _in_order((*lanes[:i], lane, *lanes[i + 1 :]))


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
            yield _in_order(chosen)


def _in_order(lanes: Iterable[tuple[str, ...]]) -> Lanes:
    return tuple(sorted(lanes, key=lambda models: (not models, models)))


def _value(found: Placement) -> tuple[float, float, int]:
    """Served demand, then what is served beyond it, then fewer copies."""
    return (
        round(found.scale, 9), round(sum(found.qps.values()), 6), -sum(map(len, found.lanes)),
    )  # fmt: skip
