"""Load: open-loop traffic against any system under test, and what it shows.

arrivals, sizes -> traffic        when queries come and how large they are, made beforehand
driver                            issues them on time (calm), or has the system do it (whole);
                                  leaves raw arrays (outcome)
metrics, verdict                  figures, and whether they may be quoted
stationarity                      where warm-up ends, and whether the rest is steady
search                            QPS@SLA
timeline                          what lanes ran, as a record
null, null_http                   what answers at once, here and behind HTTP
http, http_run                    a server, query by query or a whole schedule (endpoint, oip,
                                  http1, connection)
apart, remote                     any of it in a process of its own; a server from there
"""

from __future__ import annotations

from recstack.loadtest.apart import run_apart
from recstack.loadtest.driver import DriverConfig, drive
from recstack.loadtest.endpoint import HttpConfig
from recstack.loadtest.http import HttpSUT
from recstack.loadtest.metrics import Summary, summarise
from recstack.loadtest.null import NullLatency, NullSUT, null_latency
from recstack.loadtest.outcome import LoadResult
from recstack.loadtest.search import Found, SearchConfig, qps_at_sla
from recstack.loadtest.sla import SLA
from recstack.loadtest.traffic import Traffic, make_queries, make_traffic
from recstack.loadtest.verdict import Verdict, judge

__all__ = [
    "SLA",
    "DriverConfig",
    "Found",
    "HttpConfig",
    "HttpSUT",
    "LoadResult",
    "NullLatency",
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
