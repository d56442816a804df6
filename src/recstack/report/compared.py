"""Policies compared: searches that belong together, and their ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from recstack.report.records import SLA, AtLoad, BatchCosts, Found, Large
from recstack.report.text import counted

DRAWN = 2000
ORDER = ("static", "deeprecsched", "slack")
"""Of the known policies, each to be compared with the one before; others follow."""


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """What searches must share to be compared: where their lanes are, and how many."""

    origin: str
    lanes: int
    engine: str

    @property
    def name(self) -> str:
        """In words."""
        lanes = counted(self.lanes, "lane")
        return lanes if self.engine in ("", "recstack") else f"{lanes}, costs of {self.engine}"


def setting_of(record: Found | AtLoad | Large) -> Setting:
    """Of a record."""
    return Setting(record.origin, record.lanes, record.engine)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much more `better` sustains than `base`, over cells: a model under an SLA.

    mean: geometric; low, high: its 95% bootstrap interval over cells.
    """

    better: str
    base: str
    mean: float
    low: float
    high: float
    least: float
    cells: int


class Compared:
    """The searches of policies, by setting, model, SLA and policy; the last of a kind counts."""

    def __init__(
        self, found: Iterable[Found], loads: Iterable[AtLoad] = (), large: Iterable[Large] = (),
        costs: Iterable[BatchCosts] = (),
    ) -> None:  # fmt: skip
        self._cells = {(setting_of(f), f.model, f.sla, f.policy): f for f in found if f.policy}
        self.loads = list(loads)
        self.large = list(large)
        self.costs = list(costs)

    def __bool__(self) -> bool:
        return bool(self._cells)

    @property
    def settings(self) -> list[Setting]:
        """Measured ones first."""
        return sorted({setting for setting, *_ in self._cells})

    @property
    def policies(self) -> list[str]:
        """The known ones in their order, then others."""
        found = dict.fromkeys(policy for *_, policy in self._cells)
        return [p for p in ORDER if p in found] + [p for p in found if p not in ORDER]

    def models(self, setting: Setting) -> list[str]:
        """With a search in the setting."""
        return list(dict.fromkeys(m for s, m, *_ in self._cells if s == setting))

    def slas(self, setting: Setting, model: str) -> list[SLA]:
        """Of a model, the tightest first."""
        found = {sla for s, m, sla, _ in self._cells if (s, m) == (setting, model)}
        return sorted(found, key=lambda sla: (sla.percentile, sla.limit_ns))

    def middle(self, setting: Setting, model: str) -> SLA:
        """The one to look at more closely."""
        slas = self.slas(setting, model)
        return slas[len(slas) // 2]

    def find(self, setting: Setting, model: str, sla: SLA, policy: str) -> Found | None:
        """One search."""
        return self._cells.get((setting, model, sla, policy))

    def at(self, setting: Setting, model: str, sla: SLA, policy: str) -> list[AtLoad]:
        """What a policy made of each offered load, the lowest first."""
        key = (setting, model, sla, policy)
        found = [x for x in self.loads if (setting_of(x), x.model, x.sla, x.policy) == key]
        return sorted(found, key=lambda x: x.rate_qps)

    def ratios(self, setting: Setting) -> list[Ratio]:
        """Each policy against the one before, over the cells where that one found a rate."""
        made = [self._ratio(setting, base, better) for base, better in pairwise(self.policies)]
        return [ratio for ratio in made if ratio]

    def cells(self, setting: Setting, base: str, better: str) -> dict[tuple[str, SLA], float]:
        """What `better` sustains over `base`, by model and SLA, where `base` found a rate."""
        found = {}
        for model in self.models(setting):
            for sla in self.slas(setting, model):
                low, high = (self.find(setting, model, sla, p) for p in (base, better))
                if low and high and low.low_qps > 0:
                    found[model, sla] = high.low_qps / low.low_qps
        return found

    def _ratio(self, setting: Setting, base: str, better: str) -> Ratio | None:
        values = list(self.cells(setting, base, better).values())
        return Ratio(better, base, *geometric(values), len(values)) if values else None


def geometric(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Geometric mean, its 95% bootstrap interval, and the least; a value of 0 counts as 0.001.

    >>> [round(x, 3) for x in geometric([2.0, 2.0])]
    [2.0, 2.0, 2.0, 2.0]
    """
    logs = np.log(np.maximum(values, 1e-3))
    drawn = np.exp(np.random.default_rng(0).choice(logs, (DRAWN, logs.size)).mean(axis=1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return math.exp(float(logs.mean())), float(low), float(high), min(values)


def kept(loads: Sequence[AtLoad], *, rows: bool = False) -> dict[float, float]:
    """Goodput at each share of the QPS@SLA, of the best at it or any lower load (`of_best`).

    rows: of rows, not of queries.
    """
    return of_best({x.of_qps_at_sla: x.goodput_rows if rows else x.goodput_qps for x in loads})


def of_best(goodput: Mapping[float, float]) -> dict[float, float]:
    """Goodput by load, over the best at that load or a lower one: 1 where more load costs none.

    >>> of_best({1.0: 100.0, 2.0: 90.0, 4.0: 120.0})
    {1.0: 1.0, 2.0: 0.9, 4.0: 1.0}
    """
    best, shares = 0.0, {}
    for load in sorted(goodput):
        best = max(best, goodput[load])
        shares[load] = goodput[load] / best if best else 0.0
    return shares
