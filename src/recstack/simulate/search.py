"""QPS@SLA of schedules in virtual time: as they are, or with chunk and threshold climbed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recstack.loadtest import SLA, Found, SearchConfig
from recstack.loadtest.search import Probe
from recstack.loadtest.sizes import Sizes
from recstack.schedule import Climb, ScheduleConfig, climb_threshold_rows, deeprecsched
from recstack.simulate.queueing import lanes_of, simulated_qps_at_sla

TOLERANCE = 0.01
TIES = 2 * TOLERANCE


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found. without: the best on the cores alone, where there is an accelerator."""

    schedule: ScheduleConfig
    best: Found
    without: Found | None = None
    chunk: Climb | None = None
    threshold: Climb | None = None


class ScheduleSearch:
    """Searches schedules under one SLA and one distribution of sizes.

    began: told of every schedule that is searched; watch: of every probe.
    """

    def __init__(
        self, sla: SLA, sizes: Sizes, seed: int, *,
        began: Callable[[ScheduleConfig], None] = lambda schedule: None,
        watch: Callable[[Probe], None] = lambda probe: None,
    ) -> None:  # fmt: skip
        self._began, self._watch = began, watch
        self._sla = sla
        self._sizes = sizes
        self._seed = seed
        self._found: dict[str, Found] = {}

    @staticmethod
    def deadline_ns(schedule: ScheduleConfig, sla: SLA) -> int | None:
        """A fixed policy serves what is late all the same; ten limits on it is hopeless."""
        return None if schedule.policy == "slack" else sla.hopeless_ns

    def find(self, schedule: ScheduleConfig) -> Found:
        """QPS@SLA of one schedule."""
        key = schedule.model_dump_json(exclude={"costs"})
        if key not in self._found:
            self._began(schedule)
            self._found[key] = self._search(schedule)
        return self._found[key]

    def _search(self, schedule: ScheduleConfig) -> Found:
        start = sum(k.service.costs.capacity_qps(256, k.count) for k in lanes_of(schedule))
        config = SearchConfig(
            start_qps=start,
            min_qps=1e-3 * start,
            max_qps=100 * start,
            tolerance=TOLERANCE,
            runs=2,
            seed=self._seed,
        )
        return simulated_qps_at_sla(
            schedule, self._sizes, self._sla, config,
            deadline_ns=self.deadline_ns(schedule, self._sla),
            watch=self._watch,
        )  # fmt: skip

    def run(
        self, schedule: ScheduleConfig, *, climb_chunk: bool, climb_threshold: bool
    ) -> Searched:
        """Of a schedule as it is, or with what is to be climbed climbed."""
        chunk = threshold = None
        cores = schedule.model_copy(update={"accelerator": None})
        if climb_chunk:
            climbed = deeprecsched(
                lambda s: self.find(s).low_qps, schedule, start=16, tolerance=TIES
            )
            schedule, chunk, threshold = climbed.schedule, climbed.chunk, climbed.threshold
            cores = schedule.model_copy(update={"accelerator": None})
        elif climb_threshold and schedule.accelerator and schedule.policy == "fixed":
            device = schedule.accelerator

            def beyond(rows: int) -> ScheduleConfig:
                there = device.model_copy(update={"threshold_rows": rows})
                return cores.model_copy(update={"accelerator": there})

            threshold = climb_threshold_rows(
                lambda rows: self.find(beyond(rows)).low_qps, tolerance=TIES
            )
            schedule = beyond(threshold.rows)
        without = self.find(cores) if schedule.accelerator else None
        return Searched(schedule, self.find(schedule), without, chunk, threshold)
