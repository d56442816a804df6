"""Choosing how a model is run.

space, predict        what may be chosen; a guess at what is good
queries               queries of a size, for traffic
rig, journal, about   measures a candidate; remembers every answer; what answers depend on
racing -> tuning      the search, and the search on this machine
deployment            plan.toml: what was chosen
online, trial, adaptive re-tunes a running dispatcher
live                  a deployment under load in process
timeline              what lanes ran, for a page
policies, setting     static, deeprecsched and slack put to the same traffic; where
turns, climb          the same on a live machine; the climb of a chunk by paired runs
"""

from recstack.tune.adaptive import AdaptiveDispatcher
from recstack.tune.costs import engine_costs, executor_costs
from recstack.tune.deployment import (
    Deployment,
    accelerator_factories,
    compile_deployment,
    executor_factory,
    read_deployment,
    start,
)
from recstack.tune.journal import Journal
from recstack.tune.online import OnlineConfig
from recstack.tune.queries import QueryPool, random_queries
from recstack.tune.racing import Race, Trial, Tuned, exhaustive
from recstack.tune.rig import Rig, RunConfig, measure_on
from recstack.tune.space import Axis, Candidate, Space, schedule_space, static_schedule
from recstack.tune.timeline import trace_schedule, trace_tuned
from recstack.tune.tuning import TuneConfig, tune

__all__ = [
    "AdaptiveDispatcher",
    "Axis",
    "Candidate",
    "Deployment",
    "Journal",
    "OnlineConfig",
    "QueryPool",
    "Race",
    "Rig",
    "RunConfig",
    "Space",
    "Trial",
    "TuneConfig",
    "Tuned",
    "accelerator_factories",
    "compile_deployment",
    "engine_costs",
    "executor_costs",
    "executor_factory",
    "exhaustive",
    "measure_on",
    "random_queries",
    "read_deployment",
    "schedule_space",
    "start",
    "static_schedule",
    "trace_schedule",
    "trace_tuned",
    "tune",
]
