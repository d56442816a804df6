"""Choosing how a model is run: schedules today; precision and tables next."""

from recstack.tune.costs import engine_costs
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
    "engine_costs",
    "executor_factory",
    "read_deployment",
    "start",
    "tune",
]
