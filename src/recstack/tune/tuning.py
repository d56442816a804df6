"""Finds the schedule and plan with the highest QPS@SLA on this machine, in few evaluations.

The baseline is the static schedule of Gupta et al. (DeepRecSys, ISCA 2020): one lane per core and
chunks of largest query / lanes. `racing` says how the others are put to it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recstack import _native
from recstack.engine import DeviceConfig, Engine, HybridEngine, compile
from recstack.errors import ConfigError
from recstack.loadtest import SLA, SearchConfig
from recstack.loadtest.search import Probe
from recstack.loadtest.sizes import Sizes
from recstack.schedule import AcceleratorConfig, Costs
from recstack.tune.about import about_engine, about_machine
from recstack.tune.costs import engine_costs, executor_costs, measure_curve
from recstack.tune.deployment import Engines, accelerator_factories, start
from recstack.tune.journal import Journal
from recstack.tune.predict import CostModel
from recstack.tune.queries import QueryFactory, QueryPool, largest_rows
from recstack.tune.racing import Race, Tuned
from recstack.tune.rig import Rig, RunConfig, measure_on
from recstack.tune.space import Candidate, Space, schedule_space, static_schedule

START_SHARE = 0.3
RACE_SHARE = 0.65
COSTS_SHARE = 0.1
"""Of the budget, for the costs of all plans; they are not measured once it is spent."""


SEARCH = SearchConfig(min_qps=1.0, max_qps=1e5, tolerance=0.05, confidence=0.9, runs=2, probes=16)


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """How to tune.

    cores: cores to share out; None: all that this process may use.
    largest_rows: the largest query, which sets the static chunk; None: of a sample of the sizes.
    run: the length of one run.
    search: of each candidate; with this `seed`, the same for every candidate (common random
        numbers).
    budget_s: no new probe is begun after this, and none of the race after its larger part, so that
        time is left for the check beside the baseline; None: no limit. Curves and costs that are
        measured first come out of it, but for one run of each engine.
    accelerator: a device that may be used as well, measured first where its costs are not given;
        None: none.
    slack: try the policy "slack" as well, on costs that are measured first, for `costs_s`.
    seed: of everything random.
    """

    cores: int | None = None
    largest_rows: int | None = None
    run: RunConfig = field(default_factory=RunConfig)
    search: SearchConfig = SEARCH
    budget_s: float | None = None
    accelerator: AcceleratorConfig | None = None
    slack: bool = False
    costs_s: float = 4.0
    seed: int = 0


def tune(
    engines: Engines,
    factory: QueryFactory,
    sizes: Sizes,
    sla: SLA,
    config: TuneConfig | None = None,
    *,
    space: Space | None = None,
    journal: Path | None = None,
    watch: Callable[[Candidate, Probe], None] = lambda candidate, probe: None,
) -> Tuned:
    """Search schedules and plans under traffic of `sizes` and the tail-latency target `sla`.

    Parameters
    ----------
    engines: one, or alternatives by name, such as precision plans, the first being the baseline's;
        its weights are shared by all lanes of every candidate.
    factory: makes query `index` of so many rows.
    space: what may be chosen; None: chunk size x lanes x threads x merging x plan.
    journal: a file that keeps every probe, so that a search cut short goes on where it was: the
        same question about the same engines on the same machine.
    watch: told of every probe, for progress.

    Raises
    ------
    ConfigError: the journal is of another search.
    """
    config = config or TuneConfig()
    plans = engines if isinstance(engines, Mapping) else {"": engines}
    if not plans:
        raise ConfigError("expected at least one engine, got none")
    what = getattr(factory, "what", "")
    factory = QueryPool(factory)
    until_s = math.inf if config.budget_s is None else time.monotonic() + config.budget_s
    start_until_s = until_s - (1 - START_SHARE) * (config.budget_s or 0.0)
    race_until_s = until_s - (1 - RACE_SHARE) * (config.budget_s or 0.0)
    config = replace(
        config,
        cores=config.cores or len(os.sched_getaffinity(0)),
        largest_rows=config.largest_rows or largest_rows(sizes),
        search=replace(config.search, seed=config.seed),
    )
    cores, largest, search = config.cores or 1, config.largest_rows or 1, config.search
    asked = {
        **asdict(replace(config, accelerator=None)), "budget_s": None,
        "accelerator": config.accelerator and config.accelerator.model_dump(mode="json"),
        "sla": str(sla), "sizes": repr(sizes), "queries": what, "machine": about_machine(),
        **{f"engine {name}".strip(): about_engine(engine) for name, engine in plans.items()},
    }  # fmt: skip
    kept = Journal(journal, asked)
    curves = kept.answer(
        "curves", dict[str, dict[int, float]],
        lambda: {name: measure_curve(made, factory, start_until_s) for name, made in plans.items()},
    )  # fmt: skip
    model = CostModel(curves, sizes.sample(1000, np.random.default_rng(config.seed)))
    devices = _Devices(plans)
    if space is None:
        costs = _Costs(plans, config, kept, start_until_s)
        slack = costs.of_cores(sla) if config.slack else {}
        device = costs.of_device()
        space = schedule_space(cores, largest, plans=tuple(plans), slack=slack, accelerator=device)
    rig = Rig(
        lambda candidate: start(
            plans[candidate.plan], candidate.schedule, accelerators=devices.of(candidate)
        ),
        lambda sut: measure_on(sut, factory, sizes, sla, config.run, "measured"),
        sla,
        search,
        kept,
        watch,
    )
    try:
        return Race(
            space,
            Candidate(static_schedule(cores, largest), next(iter(plans))),
            rig.probe,
            lambda candidate: model.qps(candidate.schedule, candidate.plan, sla),
            sla,
            search,
            starting=lambda: time.monotonic() < start_until_s,
            racing=lambda: time.monotonic() < race_until_s,
            checking=lambda: time.monotonic() < until_s,
        ).run()
    finally:
        rig.close()
        kept.close()


class _Devices:
    """Executors on an accelerator, made once for all candidates of a plan."""

    def __init__(self, plans: Mapping[str, Engine | HybridEngine]) -> None:
        self._plans = plans
        self._made: dict[tuple[str, str], list[_native.ExecutorFactory]] = {}

    def of(self, candidate: Candidate) -> Sequence[_native.ExecutorFactory]:
        """Those of a candidate's accelerator lanes; none where it has none."""
        device = candidate.schedule.accelerator
        if device is None:
            return ()
        key = candidate.plan, device.model_copy(update={"threshold_rows": 1}).model_dump_json()
        if key not in self._made:
            model = self._plans[candidate.plan].model
            self._made[key] = accelerator_factories(model, device)
        return self._made[key]


class _Spent(Exception):
    """Nothing more is to be measured."""


class _Costs:
    """What batches cost, measured where the journal does not know it; of nothing once the share of
    the budget that the start has is spent."""

    def __init__(
        self, plans: Mapping[str, Engine | HybridEngine], config: TuneConfig, journal: Journal,
        until_s: float,
    ) -> None:  # fmt: skip
        self._plans, self._config, self._journal = plans, config, journal
        self._until_s = until_s
        self._seconds = config.costs_s
        if config.budget_s is not None:
            self._seconds = min(config.costs_s, COSTS_SHARE * config.budget_s / len(plans))

    def of_cores(self, sla: SLA) -> dict[str, dict[str, Any]]:
        """What the policy "slack" needs to know, by plan."""
        try:
            return {
                plan: {
                    "costs": self._journal.answer(
                        f"costs {plan}", Costs, partial(self._measure, engine)
                    ),
                    "target_ms": sla.limit_ms,
                }
                for plan, engine in self._plans.items()
            }
        except _Spent:
            return {}

    def of_device(self) -> AcceleratorConfig | None:
        """The accelerator with its costs, measured where they are not given."""
        device = self._config.accelerator
        if device is None or device.costs is not None:
            return device
        try:
            return self._journal.answer(
                "device", AcceleratorConfig, partial(self._measure_device, device)
            )
        except _Spent:
            return None

    def _measure(self, engine: Engine | HybridEngine) -> Costs:
        self._check()
        lanes, seed = self._config.cores, self._config.seed
        return engine_costs(engine, lanes=lanes, seconds=self._seconds, seed=seed)

    def _measure_device(self, device: AcceleratorConfig) -> AcceleratorConfig:
        self._check()
        model = next(iter(self._plans.values())).model
        executor = compile(
            model, DeviceConfig(device=device.device, largest_rows=device.largest_rows)
        )
        costs = executor_costs(
            executor, model, largest_rows=1 << (device.largest_rows.bit_length() - 1),
            seconds=self._seconds, seed=self._config.seed,
            what=f"{model.name}, {executor.device_name}",
        )  # fmt: skip
        return device.model_copy(update={"costs": costs})

    def _check(self) -> None:
        if time.monotonic() >= self._until_s:
            raise _Spent
