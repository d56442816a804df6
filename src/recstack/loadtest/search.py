"""QPS@SLA: the highest arrival rate whose percentile stays within its limit.

Steps away from the first rate, a predicted one, until one passes and the next fails, then bisects
the logarithm. Each probe counts the queries over the limit and is extended, run by run, until a
sequential binomial test decides, or until no number of further runs could let it pass; what stays
undecided counts as failed, so the answer errs to the low side. All probes share their random
numbers, and so their luck: `search_again` asks once more with fresh ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError
from recstack.loadtest.correlation import design_effect
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.outcome import LoadResult
from recstack.loadtest.sla import SLA
from recstack.loadtest.verdict import late_generator
from recstack.quantiles import beyond, within
from recstack.types import Origin

Sample = LoadResult | NDArray[np.float64]
"""A run, or its latencies in arrival order: (n,) float64 ns, infinite where unanswered."""
Measure = Callable[[float, int], Sample]
"""`measure(rate_qps, seed)`: one run at this rate."""
Outcome = Literal["pass", "fail", "undecided", "invalid"]
FRESH = 1_000_003
"""Between the seeds of a search and those of the one that checks it."""


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How to search.

    start_qps, min_qps, max_qps: the first probe, and the rates never to go beyond.
    factor: the first step from `start_qps`; each further one is its square, up to 2. About as much
        as the prediction may be wrong.
    tolerance: stop when the bracket's ends are within this share of each other.
    confidence: with which a probe passes or fails, over all looks at it.
    runs: at most so many runs per probe.
    probes: at most so many probes.
    seed: run k of every probe is seeded with seed + k (common random numbers).
    """

    start_qps: float = 100.0
    min_qps: float = 0.1
    max_qps: float = 1e6
    factor: float = 2.0
    tolerance: float = 0.02
    confidence: float = 0.95
    runs: int = 8
    probes: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.min_qps <= self.start_qps <= self.max_qps < math.inf:
            raise ConfigError(
                "expected 0 < min_qps <= start_qps <= max_qps, "
                f"got {self.min_qps}, {self.start_qps}, {self.max_qps}"
            )
        if not 1 < self.factor <= 2:
            raise ConfigError(f"expected factor in (1, 2], got {self.factor}")
        for name in ("tolerance", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"expected {name} in (0, 1), got {getattr(self, name)}")
        for name in ("runs", "probes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} >= 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Probe:
    """One rate: `over` of `queries` were past the limit, in `runs` runs.

    effect: how many neighbouring queries count as one, because they are slow together
        (`correlation.design_effect`); the test counts queries / effect.
    outcome: "invalid" when the generator was too late to measure; only "pass" passes.
    """

    rate_qps: float
    outcome: Outcome
    over: int
    queries: int
    runs: int
    effect: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    low_qps: the highest rate that passed, the answer; 0 when none did.
    high_qps: the lowest rate above it that did not; infinite when `max_qps` passed.
    high_outcome: why the upper end did not pass; "undecided" and "invalid" say that the true rate
        may be higher. None when it is infinite.
    confidence: with which each probe's pass or fail holds.
    """

    sla: SLA
    low_qps: float
    high_qps: float
    high_outcome: Outcome | None
    confidence: float
    origin: Origin
    probes: tuple[Probe, ...]

    def to_record(self) -> dict[str, Any]:
        """As a record of a result file."""
        return {
            "origin": self.origin,
            "sla": str(self.sla),
            "low_qps": self.low_qps,
            "high_qps": self.high_qps if math.isfinite(self.high_qps) else None,
            "high_outcome": self.high_outcome,
            "confidence": self.confidence,
            "probes": [{k: getattr(p, k) for k in Probe.__slots__} for p in self.probes],
        }


def qps_at_sla(
    measure: Measure,
    sla: SLA,
    config: SearchConfig | None = None,
    *,
    origin: Origin = "measured",
    watch: Callable[[Probe], None] = lambda probe: None,
    go_on: Callable[[], bool] = lambda: True,
) -> Found:
    """Search for the highest rate at which the SLA holds.

    Parameters
    ----------
    measure: runs at a rate under a seed; refused and lost queries count as over the limit.
    origin: simulated when `measure` simulates.
    watch: told of each probe as it ends, for progress.
    go_on: asked before each probe; the search ends when it says no.

    Raises
    ------
    ConfigError: a run came back without queries.

    >>> flat = lambda qps, seed: np.full(2000, 1e6 if qps <= 300 else 1e8)
    >>> found = qps_at_sla(flat, SLA(95.0, 10_000_000))
    >>> 294 < found.low_qps <= 300 < found.high_qps
    True
    """
    search = Search(SearchConfig() if config is None else config)
    while (rate_qps := search.next_rate()) is not None and go_on():
        probe = probe_rate(measure, rate_qps, sla, search.config)
        search.tell(probe)
        watch(probe)
    return search.found(sla, origin)


class Search:
    """Which rate to probe next; whoever owns it probes, so that several can go on in turn."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config
        self._probes: list[Probe] = []
        self._low, self._high = 0.0, math.inf
        self._high_outcome: Outcome | None = None

    def next_rate(self) -> float | None:
        """The rate to probe; None at the end."""
        config, low, high = self.config, self._low, self._high
        if not self._probes:
            return config.start_qps
        if len(self._probes) >= config.probes or low >= config.max_qps or high <= config.min_qps:
            return None
        step = min(math.pow(config.factor, 2 ** min(len(self._probes) - 1, 9)), 2.0)
        if math.isinf(high):
            return min(step * low, config.max_qps)
        if not low:
            return max(high / step, config.min_qps)
        return None if high <= low * (1.0 + config.tolerance) else math.sqrt(low * high)

    def tell(self, probe: Probe) -> None:
        """How the rate did."""
        self._probes.append(probe)
        if probe.outcome == "pass":
            self._low = max(self._low, probe.rate_qps)
            if self._high <= self._low:  # what did not decide at a lower rate has now passed
                self._high, self._high_outcome = math.inf, None
        elif probe.rate_qps < self._high:
            self._high, self._high_outcome = probe.rate_qps, probe.outcome

    def found(self, sla: SLA, origin: Origin = "measured") -> Found:
        """What is known so far."""
        return Found(
            sla, self._low, self._high, self._high_outcome, self.config.confidence, origin,
            tuple(self._probes),
        )  # fmt: skip


def search_again(found: Found, config: SearchConfig) -> Search:
    """A search for the same rate with fresh random numbers, from where the first one ended.

    The highest of many rates was also the luckiest: what it is worth shows under other numbers.
    """
    start_qps = min(max(found.low_qps, config.min_qps), config.max_qps)
    return Search(
        replace(
            config, start_qps=start_qps, factor=min(1.0 + 2.0 * config.tolerance, 2.0),
            seed=config.seed + FRESH,
        )
    )  # fmt: skip


def probe_rate(measure: Measure, rate_qps: float, sla: SLA, config: SearchConfig) -> Probe:
    """Run at one rate until the test decides, or the cap.

    Latency counts from the schedule, so a late generator can only make it longer: a run within the
    limit counts, however late it was. One that was late and over the limit shows nothing of the
    system and is left out; two in a row end the probe.
    """
    # Each look at the growing count gets an equal part of what may go wrong (Bonferroni).
    spare = (1.0 - config.confidence) / config.runs
    seen: list[NDArray[np.float64]] = []
    over, queries, effect, late = 0, 0, 1.0, ""
    outcome: Outcome = "undecided"
    for run in range(config.runs):
        sample = measure(rate_qps, config.seed + run)
        latencies = _latencies_ns(sample)
        if not latencies.size:
            raise ConfigError(f"expected queries from the run at {rate_qps:g} qps, got none")
        over_limit = int((latencies > sla.limit_ns).sum())
        before, late = late, ""
        if isinstance(sample, LoadResult) and over_limit > sla.allowed * latencies.size:
            late = late_generator(sample, sla)
        if late and before:
            outcome = "invalid"
        elif not late:
            seen.append(latencies)
            over += over_limit
            queries += seen[-1].size
            effect = design_effect(seen, sla.limit_ns, sla.percentile / 100.0)
            outcome = _decide(over, queries, effect, sla.allowed, spare)
            best = queries * config.runs // len(seen)
            if _decide(over, best, effect, sla.allowed, spare) != "pass":
                break
        if outcome != "undecided":
            break
    return Probe(rate_qps, outcome, over, queries, len(seen), effect, late)


def _latencies_ns(sample: Sample) -> NDArray[np.float64]:
    return latencies_ns(sample) if isinstance(sample, LoadResult) else np.asarray(sample, float)


def _decide(over: int, queries: int, effect: float, allowed: float, spare: float) -> Outcome:
    """The exact binomial test on the effective counts."""
    n = int(queries / effect)
    if within(math.ceil(over / effect), n, allowed) <= spare:
        return "pass"
    if beyond(int(over / effect), n, allowed) <= spare:
        return "fail"
    return "undecided"
