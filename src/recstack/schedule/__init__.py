"""Queue, policies and lanes: splits and merges queries, keeps deadlines, refuses overload."""

from recstack.schedule.config import AcceleratorConfig, ScheduleConfig
from recstack.schedule.costs import Costs, read_costs
from recstack.schedule.deeprecsched import Climbed, deeprecsched
from recstack.schedule.dispatcher import Dispatcher, LoopDispatcher
from recstack.schedule.measure import measure_costs
from recstack.schedule.outcome import Failure
from recstack.schedule.policies import (
    Climb,
    climb_chunk_rows,
    climb_threshold_rows,
    static_chunk_rows,
)
from recstack.schedule.stats import LatencyStats, Stats
from recstack.schedule.switch import Switch

__all__ = [
    "AcceleratorConfig", "Climb", "Climbed", "Costs", "Dispatcher", "Failure", "LatencyStats",
    "LoopDispatcher", "ScheduleConfig", "Stats", "Switch", "climb_chunk_rows",
    "climb_threshold_rows", "deeprecsched", "measure_costs", "read_costs", "static_chunk_rows",
]  # fmt: skip
