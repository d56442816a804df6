"""A system under test between LoadGen, which calls `issue`, and recstack's `SUT`.

The one module that knows the package mlcommons-loadgen.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import MissingExtra
from recstack.mlperf.samples import SampleLibrary
from recstack.types import SUT, Completion, Query

OUTSTANDING = 256  # queries of an offline run that the system is given at a time


def loadgen() -> Any:
    """The module; MissingExtra without it."""
    try:
        import mlperf_loadgen
    except ImportError:
        raise MissingExtra("mlcommons-loadgen", "mlperf") from None
    return mlperf_loadgen


class Bridge:
    """Gives LoadGen's samples to a system, its answers back, and keeps times of its own.

    labels: per sample index (rows,) float32; the answer then holds (score, label) pairs, as the
        benchmark's accuracy log does. Without them it holds the scores.
    fed: samples go through a thread that keeps at most OUTSTANDING of them in the system: for
        queries of thousands of samples. Else the calling thread issues, at once.
    """

    def __init__(
        self,
        sut: SUT,
        library: SampleLibrary,
        labels: Sequence[NDArray[np.float32]] | None = None,
        *,
        fed: bool = False,
    ) -> None:
        self._loadgen = loadgen()
        self._sut = sut
        self._library = library
        self._labels = labels
        self._room = threading.Semaphore(OUTSTANDING) if fed else None
        self._jobs: queue.SimpleQueue[list[tuple[int, int, int]] | None] = queue.SimpleQueue()
        self._query_of: list[int] = []
        self._issued_ns: list[int] = []
        self._response_ids: list[int] = []
        self._indices: list[int] = []
        self._finished_ns: dict[int, int] = {}
        self.failures: dict[str, int] = {}
        self._thread = threading.Thread(target=self._feed, daemon=True) if fed else None
        if self._thread:
            self._thread.start()

    def issue(self, samples: Sequence[Any]) -> None:
        """One query of LoadGen's; returns at once."""
        now_ns = time.monotonic_ns()
        which = len(self._issued_ns)
        self._issued_ns.append(now_ns)
        work = [(which, s.id, s.index) for s in samples]
        if self._thread:
            self._jobs.put(work)
        else:
            for one in work:
                self._send(*one)

    def issued_ns(self) -> NDArray[np.int64]:
        """(queries,) when LoadGen called, on the monotonic clock."""
        return np.array(self._issued_ns, np.int64)

    def finished_ns(self, *, by_sample: bool = False) -> NDArray[np.int64]:
        """(queries,) when the last sample of each query was answered; or of (samples,) each."""
        times = np.array([self._finished_ns[i] for i in range(len(self._query_of))], np.int64)
        if by_sample:
            return times
        last = np.zeros(len(self._issued_ns), np.int64)
        np.maximum.at(last, np.array(self._query_of, np.int64), times)
        return last

    def close(self) -> None:
        """End the thread."""
        if self._thread:
            self._jobs.put(None)
            self._thread.join(timeout=10.0)

    def _feed(self) -> None:
        assert self._room is not None
        while (work := self._jobs.get()) is not None:
            for one in work:
                self._room.acquire()
                self._send(*one)

    def _send(self, which: int, response_id: int, index: int) -> None:
        number = len(self._response_ids)
        self._query_of.append(which)
        self._indices.append(index)
        self._response_ids.append(response_id)
        try:
            self._sut.issue(Query(number, self._library[index]), self._done)
        except Exception as error:  # LoadGen waits for every sample
            self._done(Completion(number, "error", time.monotonic_ns(), error=repr(error)))

    def _done(self, completion: Completion) -> None:
        number = completion.id
        answer = np.zeros(0, np.float32)
        if completion.scores is None:
            self.failures[completion.status] = self.failures.get(completion.status, 0) + 1
        elif self._labels is None:
            answer = np.ascontiguousarray(completion.scores)
        else:
            label = self._labels[self._indices[number]]
            answer = np.stack([completion.scores[:, 0], label], axis=1)
        response = self._loadgen.QuerySampleResponse(
            self._response_ids[number], answer.ctypes.data, answer.nbytes
        )
        self._finished_ns[number] = time.monotonic_ns()  # LoadGen takes its own in the next call
        self._loadgen.QuerySamplesComplete([response])
        if self._room:
            self._room.release()


def start_test(
    bridge: Bridge, scenario: str, benchmark: str, accuracy: bool,
    settings: Mapping[str, Any], samples: SampleLibrary, folder: Path,
) -> None:  # fmt: skip
    """Run LoadGen once, its log files in `folder`.

    LoadGen reads its built-in configuration only the first time in a process: one run per process.
    settings: attributes of its TestSettings that replace those of the built-in configuration.
    """
    lg = loadgen()
    user = folder / "user.conf"
    user.write_text("", encoding="utf-8")
    chosen = lg.TestSettings()
    chosen.FromConfig(str(user), benchmark, scenario)
    chosen.scenario = getattr(lg.TestScenario, scenario)
    chosen.mode = lg.TestMode.AccuracyOnly if accuracy else lg.TestMode.PerformanceOnly
    for name, value in settings.items():
        setattr(chosen, name, value)
    output = lg.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    logs = lg.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    sut = lg.ConstructSUT(bridge.issue, lambda: None)
    library = lg.ConstructQSL(len(samples), len(samples), samples.load, samples.unload)
    try:
        lg.StartTestWithLogSettings(sut, library, chosen, logs, "")
    finally:
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
