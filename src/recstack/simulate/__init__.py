"""The dispatcher's policies in virtual time, on lanes that only take time: what would happen."""

from recstack.simulate.accelerators import Accelerator, find_costs, read_accelerator, recorded
from recstack.simulate.queueing import Lanes, Simulated, lanes_of, simulate, simulated_qps_at_sla
from recstack.simulate.search import ScheduleSearch, Searched
from recstack.simulate.service import Service

__all__ = [
    "Accelerator", "Lanes", "ScheduleSearch", "Searched", "Service", "Simulated", "find_costs",
    "lanes_of", "read_accelerator", "recorded", "simulate", "simulated_qps_at_sla",
]  # fmt: skip
