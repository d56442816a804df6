"""Choosing how a model is run: schedules today; precision and tables next."""

from recstack.tune.deployment import (
    Deployment,
    compile_deployment,
    executor_factory,
    read_deployment,
    start,
)
from recstack.tune.tuning import QueryPool, Trial, TuneConfig, Tuned, tune

__all__ = [
    "Deployment",
    "QueryPool",
    "Trial",
    "TuneConfig",
    "Tuned",
    "compile_deployment",
    "executor_factory",
    "read_deployment",
    "start",
    "tune",
]
