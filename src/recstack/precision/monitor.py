"""Is a quantised plan still as good as fp32 on today's traffic? Sequential tests over samples."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from recstack.data.metrics import entropy, row_losses
from recstack.errors import BatchError
from recstack.precision.detector import Detector
from recstack.types import Scores

Signal = Literal["drift", "clipping", "ne", "over", "under"]
Array = NDArray[np.float64]
PRIOR = 20.0  # labels that the stated base rate counts for, until labels come
LONGEST_KEY = 256  # characters; the labels of a query with a longer one are not waited for


class MonitorConfig(BaseModel):
    """What is watched; frozen, unknown keys are errors. None switches a test off.

    All but `clipping` is tested for every output by itself.

    share: of the queries, scored in fp32 beside the plan.
    drift: mean absolute difference to the fp32 scores, at most.
    ne_budget: relative rise of normalised entropy against fp32, at most (0.0005 is 0.05 %).
    improvement: nats by which a query's mean log loss may fall below fp32's; one that falls further
        counts as this much, so `every` holds for `ne` as far as none does. Harm has no such bound.
        A rise is found the later the larger this is; 36.1 is more than any loss can fall.
    calibration: how far the mean prediction may be from the mean label, relative to it.
    clipping: squared error of a layer's input past the ends of its static range, over that of the
        rounding inside, at most; ranges that fit have about 1 or less.
    base_rate: mean label expected before labels come, of every output.
    every: sampled queries between false alarms, at least, on average, of all tests together.
    keep: sampled queries that wait for their labels; older ones are forgotten.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    share: float = Field(default=0.01, gt=0.0, le=1.0)
    drift: float | None = Field(default=0.01, gt=0.0)
    ne_budget: float | None = Field(default=0.0005, gt=0.0)
    improvement: float = Field(default=1.0, gt=0.0)
    calibration: float | None = Field(default=None, gt=0.0)
    clipping: float | None = Field(default=4.0, gt=0.0)
    base_rate: float = Field(default=0.5, gt=0.0, lt=1.0)
    every: float = Field(default=1e6, gt=10.0)
    keep: int = Field(default=4096, ge=1)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A limit that was passed: the mean of the samples so far, what it was tested against.

    signal: "drift", "clipping", or with labels "ne", and "over" and "under" for calibration; the
        last three are means of what lies above the limit, so theirs is 0.
    output: which of several outputs it is about; None for "clipping" and where there is but one.
    """

    signal: Signal
    mean: float
    limit: float
    samples: int
    output: int | None = None

    def __str__(self) -> str:
        what = self.signal if self.output is None else f"{self.signal} of output {self.output}"
        return f"{what} {self.mean:.3g} over {self.limit:.3g} after {self.samples} samples"


@dataclass(slots=True)
class _Paired:
    """Running sums over one output's labelled rows."""

    rows: int = 0
    labels: float = 0.0
    predictions: float = 0.0
    loss: float = 0.0
    reference_loss: float = 0.0

    def stats(self) -> dict[str, float]:
        """What they say; without what rows of one class do not tell."""
        found = {"labelled_rows": float(self.rows)} if self.rows else {}
        if self.labels:
            found["calibration"] = self.predictions / self.labels
        if 0 < self.labels < self.rows:
            whole = self.rows * float(entropy(np.float64(self.labels / self.rows)))
            found["ne"] = self.loss / whole
            found["ne_fp32"] = self.reference_loss / whole
        return found


class Monitor:
    """Takes pairs of scores, quantised and fp32, and later their labels; callable from any thread.

    Each sampled query is one sample of each test, as rows of one query are not independent. Every
    output has tests of its own; the one with the most evidence raises the alarm. outputs: of the
    model.
    """

    def __init__(self, config: MonitorConfig | None = None, outputs: int = 1) -> None:
        self.config, self.outputs = config or MonitorConfig(), outputs
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, tuple[Scores, Scores]] = OrderedDict()
        self._tests = _tests(self.config, outputs)
        self._paired = [_Paired() for _ in range(outputs)]
        self.alarm: Alarm | None = None

    def observe(
        self, key: str, scores: Scores, reference: Scores, clipping: float = 0.0
    ) -> Alarm | None:
        """A query scored twice, (rows, outputs) float32 each; the alarm, once it is raised.

        key: what its labels will name, up to 256 characters; empty where none will come.
        clipping: the worst layer's, see MonitorConfig.
        """
        if not len(scores):
            return self.alarm
        difference = np.abs(scores - reference).mean(axis=0, dtype=np.float64)
        with self._lock:
            if 0 < len(key) <= LONGEST_KEY:
                self._waiting[key] = (scores, reference)
                self._waiting.move_to_end(key)
                if len(self._waiting) > self.config.keep:
                    self._waiting.popitem(last=False)
            for output in range(self.outputs):
                self._add("drift", output, float(difference[output]))
            self._add("clipping", None, clipping)
            return self.alarm

    def label(self, key: str, labels: NDArray[np.floating]) -> bool:
        """The outcome of an earlier query; whether it was sampled and still waits.

        labels: 0 or 1, (rows,), or (rows, outputs) for several outputs; NaN where unknown. Raises
        BatchError on another shape or value, and where the scores are no probabilities.
        """
        with self._lock:
            pair = self._waiting.get(key)
            if pair is None:
                return False
            scores, reference = (p.astype(np.float64) for p in pair)
            given = np.asarray(labels, np.float64)
            y = given.reshape(-1, 1) if given.ndim == 1 and scores.shape[1] == 1 else given
            if y.shape != scores.shape:
                raise BatchError(f"expected labels {scores.shape}, got {given.shape}", "labels")
            known = ~np.isnan(y)
            if not np.isin(y[known], (0.0, 1.0)).all():
                raise BatchError("expected labels 0 or 1", "labels")
            if not all(p.min() >= 0 and p.max() <= 1 for p in (scores, reference)):
                raise BatchError("labels need a model whose scores are probabilities", "labels")
            del self._waiting[key]
            for output in np.flatnonzero(known.any(axis=0)).tolist():
                at = known[:, output], output
                self._learn(output, y[at], scores[at], reference[at])
            return True

    def refitted(self) -> None:
        """The static ranges were found anew: what clipped before says nothing of them.

        All else is about the answers that are given, and goes on.
        """
        with self._lock:
            if test := self._tests.get(("clipping", None)):
                test.reset()
            if self.alarm is not None and self.alarm.signal == "clipping":
                self.alarm = None

    def reset(self) -> None:
        """Begin anew: another plan answers."""
        with self._lock:
            self.alarm = None
            self._waiting.clear()
            self._paired = [_Paired() for _ in range(self.outputs)]
            for test in self._tests.values():
                test.reset()

    def stats(self) -> Mapping[str, float]:
        """Numbers for a metrics page: each test's samples, mean and evidence (1 is the alarm), and
        what labelled rows say. Of several outputs a name ends in `/` and the output's number.
        """
        with self._lock:
            found = {"monitor_alarm": float(self.alarm is not None)}
            for (signal, output), test in self._tests.items():
                end = self._end(output)
                found[f"monitor_{signal}_samples{end}"] = float(test.samples)
                found[f"monitor_{signal}_mean{end}"] = test.mean
                found[f"monitor_{signal}_evidence{end}"] = test.evidence
            for output, sums in enumerate(self._paired):
                end = self._end(output)
                found |= {f"monitor_{name}{end}": x for name, x in sums.stats().items()}
            return found

    def _end(self, output: int | None) -> str:
        return "" if output is None or self.outputs == 1 else f"/{output}"

    def _learn(self, output: int, y: Array, p: Array, q: Array) -> None:
        """Labels of one query's rows, its probabilities, and those of fp32, (rows,) each."""
        sums, config = self._paired[output], self.config
        # limits move with the base rate, as it was known before this sample
        known = sums.rows + PRIOR
        rate = (sums.labels + PRIOR * config.base_rate) / known
        loss, reference_loss = row_losses(y, p), row_losses(y, q)
        if config.ne_budget is not None:
            rise = max(float((loss - reference_loss).mean()), -config.improvement)
            self._add("ne", output, rise - config.ne_budget * float(entropy(np.float64(rate))))
        if config.calibration is not None:
            off, limit = float((p - y).mean()), config.calibration * rate
            self._add("over", output, off - limit)
            self._add("under", output, -off - limit)
        sums.rows += y.size
        sums.labels += float(y.sum())
        sums.predictions += float(p.sum())
        sums.loss += float(loss.sum())
        sums.reference_loss += float(reference_loss.sum())

    def _add(self, signal: Signal, output: int | None, sample: float) -> None:
        test = self._tests.get((signal, output))
        if test is not None and test.add(sample) and self.alarm is None:
            of = None if self.outputs == 1 else output
            self.alarm = Alarm(signal, test.mean, test.limit, test.samples, of)


def _tests(config: MonitorConfig, outputs: int) -> dict[tuple[Signal, int | None], Detector]:
    limits: dict[Signal, tuple[float, float]] = {}  # limit, floor
    if config.drift is not None:
        limits["drift"] = config.drift, 0.0
    if config.clipping is not None:
        limits["clipping"] = config.clipping, 0.0
    if config.ne_budget is not None:
        limits["ne"] = 0.0, -(config.improvement + config.ne_budget * log(2))
    if config.calibration is not None:
        limits["over"] = limits["under"] = 0.0, -(1.0 + config.calibration)
    each: tuple[int | None, ...] = tuple(range(outputs))
    keys = [(s, output) for s in limits for output in ((None,) if s == "clipping" else each)]
    every = config.every * max(len(keys), 1)  # of n samples, each test may err in n / every
    return {
        (signal, output): Detector(limits[signal][0], floor=limits[signal][1], every=every)
        for signal, output in keys
    }
