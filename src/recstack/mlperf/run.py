"""One run under LoadGen, in a process of its own."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data.metrics import auc
from recstack.errors import ConfigError, DataError
from recstack.loadtest import run_apart
from recstack.loadtest.apart import ProcessFailed
from recstack.loadtest.calm import calm
from recstack.mlperf.bridge import Bridge, loadgen, start_test
from recstack.mlperf.logs import percentiles_ns, read_accuracy, read_detail
from recstack.mlperf.rules import BENCHMARK, MIN_DURATION_S, QUALITIES, RULES, ScenarioName
from recstack.mlperf.samples import SampleLibrary, teacher_labels
from recstack.mlperf.schedule import server_schedule_ns
from recstack.types import SUT, Completion, Query, Scores

WARMUP_SAMPLES = 32
WARMUP_LIMIT_S = 120.0
BURSTS_S = 1.0
PERFORMANCE = "PerformanceOnly"


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """What a run drives.

    make: makes sample `index` of so many rows.
    reference: scores that accuracy is held against, such as those of the fp32 engine.
    scaled: what of the benchmark is not at its full size; goes beside every result.
    """

    sut: SUT
    make: Callable[[int, int], Query]
    reference: Callable[[Batch], Scores]
    scaled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How to run.

    qps: arrival rate of the server scenario.
    accuracy: score every sample once and compare, instead of measuring time.
    quality: the share of the reference's AUC to reach, 0.99 or 0.999 as the two variants ask.
    samples: of the library; the benchmark's 204,800 take 50 GB.
    duration_s, min_samples: None: the benchmark's own. Less marks the run as scaled.
    """

    scenario: ScenarioName
    qps: float = 10.0
    accuracy: bool = False
    quality: float = 0.999
    samples: int = 1024
    duration_s: float = MIN_DURATION_S
    min_samples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scenario not in RULES:
            raise ConfigError(f"expected a scenario of {', '.join(RULES)}, got {self.scenario!r}")
        if self.quality not in QUALITIES:
            raise ConfigError(f"expected a quality of {QUALITIES}, got {self.quality}")
        for name in ("qps", "samples", "duration_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} > 0, got {getattr(self, name)}")
        if self.min_samples is not None and self.min_samples < 1:
            raise ConfigError(f"expected min_samples >= 1, got {self.min_samples}")


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """What a run left.

    detail: LoadGen's detailed log by key. percentiles_ns: its own figures; empty for accuracy.
    latency_ns: int64 as recstack measured them: of queries from their scheduled time (server) or
        LoadGen's call; offline of samples.
    lateness_ns: (queries,) int64, how late LoadGen called, server only; else empty.
    failures: samples that were refused or failed, by status.
    auc: of the logged scores; reference_auc: of the reference's, on the same labels.
    """

    config: RunConfig
    detail: Mapping[str, Any]
    percentiles_ns: Mapping[float, int]
    latency_ns: NDArray[np.int64]
    lateness_ns: NDArray[np.int64]
    failures: Mapping[str, int]
    scaled: Mapping[str, str]
    auc: float | None = None
    reference_auc: float | None = None

    def own_percentile_ns(self, percentile: float) -> int:
        """The percentile of `latency_ns`, at the rank that LoadGen takes."""
        ordered = np.sort(self.latency_ns)
        return int(ordered[min(int(ordered.size * percentile / 100.0), ordered.size - 1)])


def run(open_system: Callable[[], System], config: RunConfig, folder: Path | None = None) -> Ran:
    """Run LoadGen once against a system that is opened in a fresh process.

    Parameters
    ----------
    open_system: importable by name, or a `functools.partial` of such: it crosses by pickle.
    folder: where LoadGen's log files go; a temporary one when None.

    Raises
    ------
    MissingExtra: mlcommons-loadgen is not installed. ProcessFailed: the process died.
    """
    loadgen()
    limit_s = 20.0 * config.duration_s + 600.0
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return run_apart(run_here, open_system, config, folder, timeout_s=limit_s)
    with tempfile.TemporaryDirectory(prefix="recstack-mlperf-") as temporary:
        return run_apart(run_here, open_system, config, Path(temporary), timeout_s=limit_s)


def run_here(open_system: Callable[[], System], config: RunConfig, folder: Path) -> Ran:
    """As `run`, in this process: only once in each, because of LoadGen."""
    rules = RULES[config.scenario]
    system = open_system()
    library = SampleLibrary(system.make, config.samples)
    scores = labels = reference_auc = None
    if config.accuracy:
        scores = [system.reference(library[i]) for i in range(len(library))]
        labels = teacher_labels(scores, config.seed)
        flat = np.concatenate(labels)
        reference_auc = auc(flat, np.concatenate([s[:, 0] for s in scores]))
    bridge = Bridge(system.sut, library, labels, fed=rules.samples_per_query == 0)
    try:
        settings = _settings(config, *_warm_up(system.sut, library, rules.samples_per_query))
        with calm(0.0001):
            start_test(bridge, rules.loadgen, BENCHMARK, config.accuracy, settings, library, folder)
    finally:
        bridge.close()
        system.sut.close()
    detail = read_detail(folder)
    due_ns = _due_ns(bridge.issued_ns(), detail)
    every_sample = rules.samples_per_query == 0
    return Ran(
        config=config,
        detail=detail,
        percentiles_ns={} if config.accuracy else percentiles_ns(detail),
        latency_ns=bridge.finished_ns(by_sample=every_sample) - due_ns,
        lateness_ns=bridge.issued_ns() - due_ns if config.scenario == "server" else due_ns[:0],
        failures=bridge.failures,
        scaled=dict(system.scaled),
        auc=_logged_auc(folder) if config.accuracy else None,
        reference_auc=reference_auc,
    )


def _due_ns(issued_ns: NDArray[np.int64], detail: Mapping[str, Any]) -> NDArray[np.int64]:
    """When queries were to come: LoadGen's schedule where it has one, else when it called.

    The schedule is drawn again, and held against the length that LoadGen logs. It starts with the
    query that was called least late, which hides that lateness: well under a microsecond.
    """
    if (
        detail.get("effective_scenario") != "Server"
        or detail.get("effective_test_mode") != PERFORMANCE
    ):
        return issued_ns
    n = issued_ns.size
    seed, qps = int(detail["effective_schedule_rng_seed"]), float(detail["effective_target_qps"])
    schedule_ns = server_schedule_ns(seed, qps, n + 1)
    if abs(int(schedule_ns[n]) - int(detail["generated_query_duration"])) > 1000:
        raise DataError("expected LoadGen's server schedule to be that of version 6.0.17")
    schedule_ns = schedule_ns[:n]
    return schedule_ns + int((issued_ns - schedule_ns).min())


def _logged_auc(folder: Path) -> float:
    pairs = np.concatenate(list(read_accuracy(folder).values()))
    return auc(pairs[:, 1], pairs[:, 0])


def _settings(config: RunConfig, latency_ns: float, samples_qps: float) -> dict[str, Any]:
    """LoadGen's settings that are not the benchmark's own.

    The expectations only decide how many queries it makes beforehand; they are on the safe side.
    """
    found: dict[str, Any] = {
        "min_duration_ms": round(config.duration_s * 1e3),
        "performance_sample_count_override": config.samples,
        "server_target_qps": config.qps,
        "offline_expected_qps": 1.5 * samples_qps,
        "single_stream_expected_latency_ns": round(0.5 * latency_ns),
        "multi_stream_expected_latency_ns": round(0.5 * latency_ns),
    }
    if config.min_samples is not None:
        per_query = RULES[config.scenario].samples_per_query or 1
        found["min_query_count"] = max(config.min_samples // per_query, 1)
    return found


def _warm_up(sut: SUT, library: SampleLibrary, together: int) -> tuple[float, float]:
    """Least latency of `together` samples at once (0: all) in ns, and samples/s of all at once.

    For all at once the fastest of a second's bursts: a slow one would have LoadGen make too short a
    query.
    """
    count = min(WARMUP_SAMPLES, len(library))
    least_ns, until = np.inf, time.monotonic() + (0.0 if together else BURSTS_S)
    begin = 0
    while begin < count or time.monotonic() < until:
        size = together or count
        chosen = [library[i % len(library)] for i in range(begin, begin + size)]
        least_ns = min(least_ns, _burst(sut, chosen))
        begin += size
    return least_ns, count / (least_ns / 1e9)


def _burst(sut: SUT, batches: list[Batch]) -> float:
    """Nanoseconds until all are answered."""
    left = threading.Semaphore(0)

    def done(completion: Completion) -> None:
        del completion
        left.release()

    began = time.monotonic_ns()
    for number, batch in enumerate(batches):
        sut.issue(Query(number, batch), done)
    until = time.monotonic() + WARMUP_LIMIT_S
    for _ in batches:
        if not left.acquire(timeout=max(until - time.monotonic(), 0.0)):
            raise ProcessFailed(f"the system did not warm up within {WARMUP_LIMIT_S:g} s")
    return float(max(time.monotonic_ns() - began, 1))
