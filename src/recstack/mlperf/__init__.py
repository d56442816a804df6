"""Runs under MLPerf's LoadGen: the same systems, the real traffic generator, its conditions.

rules       the recommendation task's scenarios and limits
samples     the query trace, as batches and labels
bridge      a system under test as LoadGen sees it
run         one run in a process of its own
check       which conditions of a submission the run meets

Nothing here is an official MLPerf result: no closed division, no review, scaled tables and
synthetic data. Every output says "unofficial".
"""

from __future__ import annotations

from recstack.mlperf.check import Condition, Verdict, check
from recstack.mlperf.rules import BENCHMARK, RULES, Rules
from recstack.mlperf.run import Ran, RunConfig, System, run

__all__ = [
    "BENCHMARK",
    "RULES",
    "Condition",
    "Ran",
    "Rules",
    "RunConfig",
    "System",
    "Verdict",
    "check",
    "run",
]
