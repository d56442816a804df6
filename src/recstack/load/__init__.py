"""Load: open-loop traffic against any system under test, and what it shows.

arrivals, sizes -> traffic        when queries come and how large they are, made beforehand
driver                            issues them on time; leaves raw arrays (outcome)
metrics, quantiles, verdict       figures, their confidence, whether they may be quoted
search                            QPS@SLA
null, http                        the null system; a server (endpoint, oip, http1, connection)
apart                             any of it in a process of its own
"""

from __future__ import annotations

from recstack.load.apart import run_apart
from recstack.load.driver import DriverConfig, drive
from recstack.load.endpoint import HttpConfig
from recstack.load.http import HttpSUT
from recstack.load.metrics import Summary, summarise
from recstack.load.null import NullSUT, null_latency
from recstack.load.outcome import LoadResult
from recstack.load.search import Found, SearchConfig, qps_at_sla
from recstack.load.sla import SLA
from recstack.load.traffic import Traffic, make_queries, make_traffic
from recstack.load.verdict import Verdict, judge

__all__ = [
    "SLA",
    "DriverConfig",
    "Found",
    "HttpConfig",
    "HttpSUT",
    "LoadResult",
    "NullSUT",
    "SearchConfig",
    "Summary",
    "Traffic",
    "Verdict",
    "drive",
    "judge",
    "make_queries",
    "make_traffic",
    "null_latency",
    "qps_at_sla",
    "run_apart",
    "summarise",
]
