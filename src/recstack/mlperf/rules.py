"""What MLPerf Inference asks of its recommendation task DLRM-DCNv2 (`dlrm-v2`).

Source: mlcommons/inference, mlperf.conf of LoadGen 6.0.17, and mlcommons/inference_policies,
inference_rules.adoc at 095037a (2026-01-06), the last version with `dlrm-v2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recstack.quantiles import needed

ScenarioName = Literal["server", "offline", "singlestream", "multistream"]

BENCHMARK = "dlrm-v2"
LIMIT_NS = 60_000_000
MIN_DURATION_S = 600.0
PERFORMANCE_SAMPLES = 204_800
DATASET_SAMPLES = 330_067
SEEDS = {
    "qsl_rng_seed": 2085463073848966840,
    "sample_index_rng_seed": 2747215439041700203,
    "schedule_rng_seed": 16159082839903944936,
}
QUALITIES = (0.99, 0.999)  # shares of the reference's AUC: dlrm-v2-99 and dlrm-v2-99.9


@dataclass(frozen=True, slots=True)
class Rules:
    """One scenario.

    loadgen: its name there. percentile: the tail that counts; None: throughput alone.
    limit_ns: of the percentile; None where the percentile itself is the result.
    samples_per_query: 0: all in one query. min_samples: at least so many samples, or queries where
    those are of several, as mlperf.conf has them. metric: the result, by its key in LoadGen's
    detailed log.
    """

    loadgen: str
    percentile: float | None
    limit_ns: int | None
    samples_per_query: int
    min_samples: int
    metric: str


RULES: dict[ScenarioName, Rules] = {
    "server": Rules("Server", 99.0, LIMIT_NS, 1, 100, "result_scheduled_samples_per_sec"),
    "offline": Rules("Offline", None, None, 0, 24_576, "result_samples_per_second"),
    "singlestream": Rules("SingleStream", 90.0, None, 1, 100, "early_stopping_latency_ss"),
    "multistream": Rules("MultiStream", 99.0, None, 8, 662, "early_stopping_latency_ms"),
}


def early_stopping_estimate(latency_ns: NDArray[np.int64], percentile: float) -> int | None:
    """The percentile that so many queries prove with 99% confidence: the t-th largest latency.

    t is the most queries that may lie beyond it. None where there are too few queries.

    >>> early_stopping_estimate(np.arange(1, 663), 99.0)
    662
    """
    allowed = 1.0 - percentile / 100.0
    n = latency_ns.size
    if n < needed(allowed, over=1):
        return None
    low, high = 1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(allowed, over=middle) <= n else (low, middle)
    return int(np.sort(latency_ns)[n - low])
