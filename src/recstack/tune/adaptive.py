"""A dispatcher that adapts: a thread looks at what it did and reconfigures it (`online`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from recstack.clock import RealClock
from recstack.errors import ConfigError
from recstack.loadtest import SLA
from recstack.schedule import LoopDispatcher, ScheduleConfig, Stats
from recstack.tune.online import Controller, OnlineConfig
from recstack.tune.timeline import lane_kinds
from recstack.tune.trial import Window
from recstack.types import Clock, Completion, Query

LOOKS = 8  # per shortest window
SETTLE = 0.1  # of a window, left out after a change: queries cut the old way end in it
LONGEST = 10.0  # windows, after which few answers are enough
FEW = 30


def adaptable(schedule: ScheduleConfig) -> bool:
    """Whether there is a chunk size to choose: the policy "slack" chooses as it goes."""
    return schedule.policy == "fixed"


class Meter:
    """Makes windows of a dispatcher's counters and histograms; an accelerator's lanes count too."""

    def __init__(self, schedule: ScheduleConfig, config: OnlineConfig) -> None:
        self._lanes = len(lane_kinds(schedule))
        self._config = config
        self._since: tuple[int, Stats] | None = None

    def begin(self, now_ns: int, stats: Stats) -> None:
        """A window begins."""
        self._since = now_ns, stats

    def end(self, now_ns: int, stats: Stats) -> Window | None:
        """The window until now; None while it is too short to tell anything."""
        if self._since is None:
            self.begin(now_ns, stats)
            return None
        began_ns, before = self._since
        seconds = (now_ns - began_ns) / 1e9
        latency = stats.stages_ns["total"].histogram
        latency.subtract(before.stages_ns["total"].histogram)
        done = {k: stats.counters[k] - before.counters[k] for k in stats.counters}
        refused = done["queue_full"] + done["deadline"]
        answered = latency.count + refused
        short = seconds < self._config.window_s or answered < self._config.window_queries
        late = seconds >= LONGEST * self._config.window_s and latency.count >= FEW
        if short and not late:
            return None
        busy = done["busy_ns"] / (self._lanes * seconds * 1e9)
        row_ns = done["busy_ns"] / max(done["rows"], 1)
        return Window(seconds, refused, latency, busy, row_ns)


class AdaptiveDispatcher:
    """Owns a LoopDispatcher, passes queries on to it and keeps its schedule good for `sla`.

    Implements `recstack.types.SUT`; an event loop drains it like the dispatcher itself. say: told
    when adapting fails, which ends no query and not adapting either.
    """

    def __init__(
        self,
        dispatcher: LoopDispatcher,
        sla: SLA,
        config: OnlineConfig | None = None,
        clock: Clock | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        if not adaptable(dispatcher.config):
            raise ConfigError(
                f"expected the policy 'fixed' to adapt, got {dispatcher.config.policy!r}, which "
                "cuts and merges by the backlog on its own: run it without adapting"
            )
        self._say, self._told, self._errors = say, "", 0
        self._dispatcher = dispatcher
        self.controller = Controller(dispatcher.config, sla, config)
        self._config = self.controller.config
        self._clock = clock or RealClock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._adapt, name="recstack-adapt", daemon=True)
        self._thread.start()

    @property
    def config(self) -> object:
        """The schedule that runs now."""
        return self._dispatcher.config

    @property
    def pin_errors(self) -> Sequence[str]:
        """The dispatcher's."""
        return self._dispatcher.pin_errors

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        """Pass a query on."""
        self._dispatcher.issue(query, done)

    def fileno(self) -> int:
        """The dispatcher's descriptor."""
        return self._dispatcher.fileno()

    def drain(self) -> int:
        """Call `done` of what has finished."""
        return self._dispatcher.drain()

    def stats(self) -> Mapping[str, float]:
        """The dispatcher's counters, what adapting did, and the schedule that runs now."""
        counts, schedule = self.controller.counts, self._dispatcher.config
        return {
            **self._dispatcher.stats().counters,
            "adapt_windows": counts.windows, "adapt_trials": counts.trials,
            "adapt_kept": counts.kept, "adapt_dropped": counts.dropped,
            "adapt_aborted": counts.aborted, "adapt_errors": self._errors,
            "adapt_trying": float(self.controller.state == "trial"),
            "chunk_rows": schedule.chunk_rows, "merge_rows": schedule.merge_rows,
            "merge_window_us": schedule.merge_window_us,
        }  # fmt: skip

    def close(self, *, drain: bool = True) -> None:
        """Stop adapting and close the dispatcher. Idempotent."""
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._dispatcher.close(drain=drain)

    def _adapt(self) -> None:
        meter = Meter(self._dispatcher.config, self._config)
        while not self._closed.wait(self._config.window_s / LOOKS):
            try:
                self._look(meter)
            except Exception as error:  # whatever it was, queries are served as before
                self._report(error)

    def _look(self, meter: Meter) -> None:
        window = meter.end(self._clock.now_ns(), self._dispatcher.stats())
        if window is None:
            return
        wanted = self.controller.step(window)
        if wanted != self._dispatcher.config:
            self._dispatcher.reconfigure(wanted)
            if self._closed.wait(SETTLE * self._config.window_s):
                return
        meter.begin(self._clock.now_ns(), self._dispatcher.stats())

    def _report(self, error: Exception) -> None:
        """Count an error, and say it once for as long as it is the same."""
        self._errors += 1
        if (told := f"adapting failed and goes on: {error!r}") != self._told:
            self._told = told
            self._say(told)
