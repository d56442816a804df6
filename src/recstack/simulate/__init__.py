"""The dispatcher's policies in virtual time, on lanes that only take time: what would happen."""

from recstack.simulate.queueing import Lanes, Simulated, simulate, simulated_qps_at_sla
from recstack.simulate.service import Service

__all__ = ["Lanes", "Service", "Simulated", "simulate", "simulated_qps_at_sla"]
