"""Keeps a running dispatcher's schedule good: a climb on live traffic, with hysteresis.

    watch    nothing to do while the percentile is well within the limit and no lane is short of
             time; else, when load or cost have changed since the schedule settled, by more than
             they have varied of late, or a wait that doubles with each vain attempt is over: trial
    trial    the schedule in use and a neighbour (chunk size, merge window) run in turn, a window
             each, until a sequential test on the pairs of windows decides; a neighbour that misses
             the limit by far while the schedule in use does not is dropped at once
    settled  no neighbour was better: watch

The score of a window is its percentile of latency, or, where lanes have no time left and latency
only says how long that has lasted, lane time per row. A neighbour must be better by a margin.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from recstack.errors import ConfigError
from recstack.loadtest import SLA
from recstack.schedule import ScheduleConfig
from recstack.tune.trial import Trial, Window

State = Literal["watch", "trial"]


@dataclass(frozen=True, slots=True)
class OnlineConfig:
    """How to adapt.

    window_s, window_queries: a window is at least so long, and has at least so many answers.
    confidence: with which a neighbour must be better, over all looks at it.
    margin: by which share it must be better.
    pairs: at most so many pairs of windows per neighbour.
    change: the share by which rate or lane time per row must differ from when it settled, beyond
        three standard deviations of the last `memory` windows: bursts that come again and again are
        no change. It is blind for as long to a change that is no larger than the one before it.
    at_risk: the share of the limit from which the percentile is worth work; busy: the share of lane
        time.
    saturated: the share of lane time from which lanes count as short of it.
    retry_windows: first wait after an attempt that changed nothing; doubles up to 64 times.
    least_rows, largest_rows: bounds of chunks; most_window_us: of the merge window.
    """

    window_s: float = 2.0
    window_queries: int = 200
    confidence: float = 0.95
    margin: float = 0.05
    pairs: int = 8
    change: float = 0.25
    memory: int = 32
    at_risk: float = 0.5
    busy: float = 0.7
    saturated: float = 0.95
    retry_windows: int = 30
    least_rows: int = 8
    largest_rows: int = 1024
    most_window_us: float = 10_000.0

    def __post_init__(self) -> None:
        for name, least in (("pairs", 4), ("memory", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"expected {name} >= {least}, got {getattr(self, name)}")
        for name in ("confidence", "at_risk", "busy", "saturated"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"expected {name} in (0, 1), got {getattr(self, name)}")


@dataclass(slots=True)
class Counts:
    """What the controller did so far."""

    windows: int = 0
    trials: int = 0
    kept: int = 0
    dropped: int = 0
    aborted: int = 0


class Controller:
    """Decides after each window what runs in the next; no clock, no thread."""

    def __init__(self, schedule: ScheduleConfig, sla: SLA, config: OnlineConfig | None = None):
        self.config = config or OnlineConfig()
        self.counts = Counts()
        self.state: State = "watch"
        self.schedule = schedule
        self._sla = sla
        self._settled: Window | None = None
        self._wait = self._vain = 0
        # Logarithms of the last windows' rate, and lane time per row of the schedule in use.
        self._rates: deque[float] = deque(maxlen=self.config.memory)
        self._costs: deque[float] = deque(maxlen=self.config.memory)
        self._neighbours: Iterator[ScheduleConfig] = iter(())
        self._trial: Trial | None = None

    def step(self, window: Window) -> ScheduleConfig:
        """What is to run now, given what ran until now."""
        own = self._trial is None or self._trial.own_runs
        wanted = self._step(window)
        if window.qps > 0:
            self._rates.append(math.log(window.qps))
        if window.row_ns > 0 and own:
            self._costs.append(math.log(window.row_ns))
        return wanted

    def _step(self, window: Window) -> ScheduleConfig:
        self.counts.windows += 1
        if self.state == "watch":
            self._wait = max(self._wait - 1, 0)
            if not self._due(window):
                return self.schedule
            self.state = "trial"
            self._begin(window, changed=False)
        elif self._trial is not None:
            if self._differs(window, self._trial.first, cost=self._trial.own_runs):
                self._drop_round()
                return self.schedule
            self._judge(window)
        return self._trial.next if self._trial is not None else self.schedule

    def _due(self, window: Window) -> bool:
        config = self.config
        tail_ns = window.tail_ns(self._sla.percentile / 100.0)
        if tail_ns <= config.at_risk * self._sla.limit_ns and window.busy < config.busy:
            return False
        if self._settled is None or self._differs(window, self._settled):
            self._vain = 0
            return True
        return self._wait == 0 and tail_ns > self._sla.limit_ns

    def _differs(self, window: Window, other: Window, cost: bool = True) -> bool:
        """Whether the load is another; with `cost`, or what a row takes.

        Two counts of a steady Poisson process differ too, and those of a bursty one by as much as
        they did of late: by so much it is no change.
        """
        counts = (window.latency.count + window.refused, other.latency.count + other.refused)
        steady = math.sqrt(sum(1.0 / max(n, 1) for n in counts))
        pairs = [(window.qps, other.qps, self._rates), (window.row_ns, other.row_ns, self._costs)]
        for a, b, recent in pairs[: 1 + cost]:
            varied = statistics.pstdev(recent) if len(recent) > 1 else 0.0
            most = math.log1p(self.config.change) + 3.0 * max(steady, varied)
            if a <= 0 or b <= 0 or abs(math.log(a / b)) > most:
                return True
        return False

    def _begin(self, window: Window, *, changed: bool) -> None:
        """A round over the neighbours of the schedule in use; after a change, the next one."""
        if not changed:
            self._neighbours = neighbours(self.schedule, self.config)
        other = next(self._neighbours, None)
        if other is None:
            self._settle(window)
            return
        self.counts.trials += 1
        by_cost = window.busy >= self.config.saturated
        self._trial = Trial(
            self.schedule, other, window, self._sla, by_cost=by_cost,
            confidence=self.config.confidence, margin=self.config.margin, pairs=self.config.pairs,
        )  # fmt: skip

    def _judge(self, window: Window) -> None:
        assert self._trial is not None
        verdict = self._trial.add(window)
        if verdict is None:
            return
        if verdict == "keep":
            self.counts.kept += 1
            step = _direction(self.schedule, self._trial.other)
            self.schedule, self._vain = self._trial.other, -1
            self._costs.clear()  # those of another schedule
            # On in the direction that helped; what was left behind is not tried again.
            self._neighbours = (
                n for n in neighbours(self.schedule, self.config)
                if _direction(self.schedule, n) != tuple(-s for s in step)
            )  # fmt: skip
        else:
            self.counts.dropped += 1
            self.counts.aborted += verdict == "abort"
        last = self._trial.last[int(verdict == "keep")]
        self._trial = None
        self._begin(last, changed=True)

    def _settle(self, window: Window) -> None:
        self.state, self._trial, self._settled = "watch", None, window
        self._wait = self.config.retry_windows << min(max(self._vain, 0), 6)
        self._vain += 1

    def _drop_round(self) -> None:
        """The load changed in the middle of a trial: begin anew, from the schedule in use."""
        self.counts.dropped += 1
        self.state, self._trial, self._settled = "watch", None, None


def neighbours(schedule: ScheduleConfig, config: OnlineConfig) -> Iterator[ScheduleConfig]:
    """Schedules one step away: half and twice the chunk, less and more merging.

    >>> made = neighbours(ScheduleConfig(chunk_rows=64, merge_rows=0), OnlineConfig())
    >>> [(s.chunk_rows, s.merge_rows) for s in made]
    [(128, 0), (32, 0), (64, 256)]
    """
    chunk, window = schedule.chunk_rows, schedule.merge_window_us
    chunks = (min(2 * chunk, config.largest_rows), max(chunk // 2, config.least_rows))
    changes: list[dict[str, object]] = [{"chunk_rows": rows} for rows in chunks if rows != chunk]
    if not schedule.merge_rows:
        changes.append({"merge_rows": 256, "merge_window_us": 0.0})
    else:
        wider, narrower = (2 * window or 100.0), (window / 2 if window > 100.0 else 0.0)
        changes += [
            {"merge_window_us": us}
            for us in (min(wider, config.most_window_us), narrower)
            if us != window
        ]
        if not window:
            changes.append({"merge_rows": 0})
    for change in changes:
        yield schedule.model_copy(update=change)


def _direction(a: ScheduleConfig, b: ScheduleConfig) -> tuple[int, ...]:
    pairs = (
        (a.chunk_rows, b.chunk_rows),
        (a.merge_rows, b.merge_rows),
        (a.merge_window_us, b.merge_window_us),
    )
    return tuple((y > x) - (y < x) for x, y in pairs)
