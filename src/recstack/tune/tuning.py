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
from recstack.schedule import AcceleratorConfig
from recstack.tune.costs import engine_costs, executor_costs
from recstack.tune.deployment import accelerator_factories, start
from recstack.tune.journal import Journal
from recstack.tune.predict import CostModel
from recstack.tune.queries import QueryFactory, QueryPool
from recstack.tune.racing import Race, Tuned
from recstack.tune.rig import Rig, RunConfig, measure_on
from recstack.tune.space import Candidate, Space, schedule_space, static_schedule

Engines = Engine | HybridEngine | Mapping[str, Engine | HybridEngine]
START_SHARE = 0.3
RACE_SHARE = 0.65
CURVE_ROWS = (1, 16, 64, 256, 1000)


SEARCH = SearchConfig(min_qps=1.0, max_qps=1e5, tolerance=0.05, confidence=0.9, runs=2, probes=16)


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """How to tune.

    cores: cores to share out; None: all that this process may use.
    largest_rows: the largest query, which sets the static chunk.
    run: the length of one run.
    search: of each candidate; with this `seed`, the same for every candidate (common random
        numbers).
    budget_s: no new probe is begun after this, and none of the race after its larger part, so that
        time is left for the check beside the baseline; None: no limit.
    accelerator: a device that may be used as well, measured first where its costs are not given;
        None: none.
    slack: try the policy "slack" as well, on costs that are measured first, for `costs_s`.
    seed: of everything random.
    """

    cores: int | None = None
    largest_rows: int = 1000
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
    journal: a file that keeps every probe, so that a search cut short goes on where it was.
    watch: told of every probe, for progress.

    Raises
    ------
    ConfigError: the journal is of another search.
    """
    config = config or TuneConfig()
    plans = engines if isinstance(engines, Mapping) else {"": engines}
    if not plans:
        raise ConfigError("expected at least one engine, got none")
    cores = config.cores or len(os.sched_getaffinity(0))
    factory = QueryPool(factory)
    until_s = math.inf if config.budget_s is None else time.monotonic() + config.budget_s
    start_until_s = until_s - (1 - START_SHARE) * (config.budget_s or 0.0)
    race_until_s = until_s - (1 - RACE_SHARE) * (config.budget_s or 0.0)
    search = replace(config.search, seed=config.seed)
    asked = {
        **asdict(replace(config, search=search, accelerator=None)), "budget_s": None,
        "accelerator": config.accelerator and config.accelerator.model_dump(mode="json"),
        "sla": str(sla), "sizes": repr(sizes),
        "models": {name: engine.model.name for name, engine in plans.items()},
    }  # fmt: skip
    kept = Journal(journal, asked)
    curves = kept.answer(
        "curves", dict[str, dict[int, float]],
        lambda: {name: measure_curve(engine, factory) for name, engine in plans.items()},
    )  # fmt: skip
    model = CostModel(curves, sizes.sample(1000, np.random.default_rng(config.seed)))
    devices = _Devices(plans)
    space = space or _space(plans, devices, sla, cores, config, kept)
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
            Candidate(static_schedule(cores, config.largest_rows), next(iter(plans))),
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


def _space(
    plans: Mapping[str, Engine | HybridEngine], devices: _Devices, sla: SLA, cores: int,
    config: TuneConfig, journal: Journal,
) -> Space:  # fmt: skip
    """Chunk size x lanes x threads x merging x plan, and what is to be tried beside them."""
    slack = journal.answer(
        "slack", dict[str, dict[str, Any]], lambda: _slack(plans, sla, cores, config)
    )
    device = config.accelerator and journal.answer(
        "device", AcceleratorConfig, partial(devices.measured, config.accelerator, config)
    )
    return schedule_space(
        cores, config.largest_rows, plans=tuple(plans), slack=slack, accelerator=device
    )


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

    def measured(self, device: AcceleratorConfig, config: TuneConfig) -> AcceleratorConfig:
        """An accelerator with its costs, measured where they are not given."""
        if device.costs is not None:
            return device
        model = next(iter(self._plans.values())).model
        executor = compile(
            model, DeviceConfig(device=device.device, largest_rows=device.largest_rows)
        )
        costs = executor_costs(
            executor, model, largest_rows=1 << (device.largest_rows.bit_length() - 1),
            seconds=config.costs_s, seed=config.seed,
            what=f"{model.name}, {executor.device_name}",
        )  # fmt: skip
        return device.model_copy(update={"costs": costs})


def _slack(
    plans: Mapping[str, Engine | HybridEngine], sla: SLA, cores: int, config: TuneConfig
) -> dict[str, dict[str, Any]]:
    """What the policy "slack" needs to know, by plan; JSON."""
    if not config.slack:
        return {}
    measured = {
        plan: engine_costs(engine, lanes=cores, seconds=config.costs_s, seed=config.seed)
        for plan, engine in plans.items()
    }
    return {
        plan: {"costs": costs.model_dump(mode="json"), "target_ms": sla.limit_ms}
        for plan, costs in measured.items()
    }


def measure_curve(engine: Engine | HybridEngine, factory: QueryFactory) -> dict[int, float]:
    """Nanoseconds for a few batch sizes on one core, the fastest of a few runs."""
    curve = {}
    for rows in CURVE_ROWS:
        batch = factory(0, rows).batch
        taken = []
        for _ in range(5):
            began = time.perf_counter_ns()
            engine.run(batch)
            taken.append(time.perf_counter_ns() - began)
        curve[rows] = float(min(taken))
    return curve
