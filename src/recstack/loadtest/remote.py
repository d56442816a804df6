"""A server loaded over HTTP from a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recstack.loadtest import arrivals
from recstack.loadtest.apart import run_apart
from recstack.loadtest.driver import DriverConfig, drive
from recstack.loadtest.endpoint import HttpConfig
from recstack.loadtest.http import HttpSUT
from recstack.loadtest.outcome import LoadResult
from recstack.loadtest.sizes import Sizes
from recstack.loadtest.sla import SLA
from recstack.loadtest.traffic import Traffic, check_enough, make_queries, make_traffic
from recstack.types import Query


def load_over_http(
    url: str,
    model: str,
    factory: Callable[[int, int], Query],
    sizes: Sizes,
    sla: SLA,
    rate_qps: float,
    seconds: float,
    *,
    process: arrivals.Process = arrivals.poisson,
    seed: int = 0,
) -> LoadResult:
    """Load a server open-loop, for `seconds` of schedule; the client does not slow the server.

    model: its name there. factory: makes query `index` of so many rows. A query that is ten limits
    late is given up. At low rates the schedule is up to five times as long, for two hundred
    queries.

    Raises
    ------
    ConfigError: not even one query is to come in that time.
    """
    check_enough(rate_qps, seconds)
    count = max(int(rate_qps * seconds), min(200, int(5 * rate_qps * seconds)), 1)
    traffic = make_traffic(rate_qps, count, seed=seed, process=process, distribution=sizes)
    queries = make_queries(factory, traffic.rows)
    driver = DriverConfig.giving_up(sla)
    http = HttpConfig(url=url, model=model)
    takes_s = (int(traffic.scheduled_ns[-1]) + driver.drain_ns) / 1e9
    return run_apart(_drive, http, queries, traffic, driver, timeout_s=takes_s + 60.0)


def _drive(
    http: HttpConfig, queries: Sequence[Query], traffic: Traffic, driver: DriverConfig
) -> LoadResult:
    sut = HttpSUT(http)
    try:
        sut.prepare(queries)
        return drive(sut, queries, traffic.scheduled_ns, config=driver)
    finally:
        sut.close()
