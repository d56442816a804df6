"""A quantised deployment under watch: what happens when the monitor raises its alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recstack.batch import Batch
from recstack.engine import Engine, EngineConfig, HybridEngine, compile
from recstack.engine.precision import LayerPlan, layer_input
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.precision.calibrate import clipping, static_ranges, with_ranges
from recstack.precision.inside import Inside
from recstack.precision.monitor import Alarm, Monitor, MonitorConfig
from recstack.precision.shadow import Shadow
from recstack.schedule import LoopDispatcher, Switch
from recstack.types import Completion, Query, Scores

Act = Literal["report", "refresh", "fallback"]
CALIBRATION = 32  # sampled queries that ranges are found on
PATIENCE = 1000  # samples; an alarm so soon after a refresh for an alarm: refreshing does not help
MOST_PROBLEMS = 64  # different ones that are remembered as told
LONGEST_REST = 255  # samples until what failed is tried again, at most


class GuardConfig(MonitorConfig):
    """What is watched, and what an alarm leads to.

    act: "report" it in log and metrics only; "refresh": serve in fp32 until the static ranges have
        been found anew on the next sampled queries, and stay there where there are none or that did
        not help; "fallback": serve in fp32 from then on.
    refresh_every: sampled queries after which the ranges are found anew without any alarm; what is
        known of drift and labels stays.
    """

    act: Act = "report"
    refresh_every: int | None = Field(default=None, ge=CALIBRATION)


class Guard:
    """Implements `recstack.types.SUT` for an event loop; exchanges engines while queries come.

    model, config: the quantised deployment. reference: the same model with all its tables in fp32.
    start: makes a dispatcher of an engine. report: told in a line what happened. keep: given the
    layers' precisions whenever their ranges were found anew, and None when those did not help.
    Closing it closes the dispatcher.
    """

    def __init__(
        self,
        model: Model,
        config: EngineConfig,
        reference: Model,
        start: Callable[[Engine | HybridEngine], LoopDispatcher],
        guard: GuardConfig | None = None,
        report: Callable[[str], None] = lambda line: None,
        keep: Callable[[LayerPlan | None], None] = lambda plan: None,
        *,
        seed: int = 0,
    ) -> None:
        self.config = guard or GuardConfig()
        _check(model, reference)
        self._model, self._engine, self._reference = model, config, reference
        self._start, self._report, self._keep = start, report, keep
        given = config.precision
        self._plan = given if isinstance(given, LayerPlan) else LayerPlan()
        self._quantised, self._refreshing = True, False
        self._since_refresh, self._since_rescue = 0, PATIENCE
        self._rest = self._next_rest = 0
        self._counts = {"refreshed": 0, "fell_back": 0}
        self._told: Alarm | None = None
        self._problems: set[str] = set()
        read = (layer_input(reference, layer) for layer in static_ranges(self._plan))
        self._inside = Inside(reference, read, _in_fp32(config))
        self._switch = Switch(start(compile(model, config)))
        self._shadow = Shadow(
            self._switch, self._again, Monitor(self.config, model.output_width),
            on_sample=self._sampled, on_error=self._failed, seed=seed,
        )  # fmt: skip

    @property
    def monitor(self) -> Monitor:
        """What watches."""
        return self._shadow.monitor

    @property
    def plan(self) -> LayerPlan:
        """The layers' precisions that run now."""
        return self._plan if self._quantised else LayerPlan()

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        """See `SUT.issue`."""
        self._shadow.issue(query, done)

    def label(self, key: str, labels: NDArray[np.floating]) -> bool:
        """See `Monitor.label`."""
        return self._shadow.label(key, labels)

    def fileno(self) -> int:
        """Readable when there are completions."""
        return self._switch.fileno()

    def drain(self) -> int:
        """Call the `done` of every completion that waits."""
        return self._switch.drain()

    def stats(self) -> Mapping[str, float]:
        """The dispatcher's counters, the monitor's numbers, and what the guard has done."""
        done = {f"monitor_{name}": float(n) for name, n in self._counts.items()}
        return {**self._shadow.stats(), **done}

    def close(self, *, drain: bool = True) -> None:
        """End the watch, then refuse new queries; finish the waiting ones, or with `drain=False`
        end them.
        """
        self._shadow.close(drain=drain)
        self._switch.close(drain=drain)

    # From here on: on the shadow's thread only.

    def _again(self, batch: Batch) -> tuple[Scores, float]:
        scores, values = self._inside.run(batch)
        return scores, clipping(self._reference, self.plan, values)

    def _sampled(self, alarm: Alarm | None) -> None:
        """Do what is due; what fails is tried again, after a pause that doubles each time."""
        self._since_refresh += 1
        self._since_rescue += 1
        if alarm is not None and alarm is not self._told:
            self._told = alarm
            self._report(f"alarm: {alarm}")
            if self._quantised:
                helps = self._since_rescue >= PATIENCE
                self._refreshing = self.config.act == "refresh" and helps
                self._rest = self._next_rest = 0
        if self._rest:
            self._rest -= 1
            return
        try:
            self._act(alarm)
        except Exception:
            self._rest = self._next_rest = min(2 * self._next_rest + 1, LONGEST_REST)
            raise
        if self._next_rest:
            self._next_rest = 0
            self._problems.clear()

    def _act(self, alarm: Alarm | None) -> None:
        if alarm is not None and self._quantised and self.config.act != "report":
            self._fall_back()
            return
        every = self.config.refresh_every if self._quantised else None
        due = self._refreshing or (every is not None and self._since_refresh >= every)
        if due and static_ranges(self._plan) and len(self._shadow.recent()) >= CALIBRATION:
            self._refresh()

    def _failed(self, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        if problem in self._problems:
            return
        if len(self._problems) >= MOST_PROBLEMS:
            self._problems.clear()
        self._problems.add(problem)
        self._report(f"the watch failed: {problem}")

    def _refresh(self) -> None:
        plan = with_ranges(self._reference, self._plan, self._shadow.recent())
        config = self._engine.model_copy(update={"precision": plan})
        self._switch.to(self._start(compile(self._model, config)))
        self._plan = plan
        if self._quantised:
            self.monitor.refitted()
        else:
            self._quantised, self._refreshing = True, False
            self._since_rescue = 0
            self._shadow.renew()
        self._since_refresh = 0
        self._counts["refreshed"] += 1
        self._report(f"refreshed {len(static_ranges(plan))} ranges from recent traffic")
        self._keep(plan)

    def _fall_back(self) -> None:
        self._switch.to(self._start(compile(self._reference, _in_fp32(self._engine))))
        self._quantised = False
        self._shadow.renew()
        self._counts["fell_back"] += 1
        self._report("fell back to fp32")
        if not self._refreshing:
            self._keep(None)


def _in_fp32(config: EngineConfig) -> EngineConfig:
    return config.model_copy(update={"precision": "fp32"})


def _check(model: Model, reference: Model) -> None:
    coarse = [n for n, f in reference.table_formats.items() if f != "fp32"]
    if coarse:
        raise ConfigError(f"expected a reference in fp32, got table {coarse[0]!r} in other bits")
    if model.inputs != reference.inputs or model.output_width != reference.output_width:
        raise ConfigError(
            f"expected a reference with the inputs and outputs of {model.name!r}, got "
            f"{reference.name!r}"
        )
