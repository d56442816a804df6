"""How the latency of load runs is shown."""

from __future__ import annotations

import math
from typing import Any

from recstack.cli.output import table
from recstack.loadtest import LoadResult, NullLatency, summarise
from recstack.quantiles import Quantile


def load_table(
    runs: list[tuple[str, LoadResult]], origin: str = "measured", rates: str = ""
) -> Any:
    """Latency percentiles with 95% intervals, and losses, of runs; rates: what their names mean."""
    rows = []
    for label, run in runs:
        s = summarise(run)
        tail = [_with_interval(s.latency_ns[p]) for p in (50.0, 95.0, 99.0)]
        unanswered = sum(n for status, n in s.statuses.items() if status != "ok")
        late = _ms(s.lateness_p99_ns)
        rows.append((label, s.queries, f"{s.achieved_qps:.0f}", *tail, late, unanswered))
    heads = ("run", "queries", "qps", "p50 ms", "p95 ms", "p99 ms", "late ms", "lost")
    return table(f"Latency from the schedule{rates} ({origin}, 95% intervals)", heads, rows)


def null_table(null: NullLatency) -> Any:
    """The generator alone."""
    rows = [(name, *(_ms(ns) for ns in found.values())) for name, found in null.latency_ns.items()]
    heads = ("null system", *(f"{share} ms" for share in ("p50", "p90", "p99", "p99.9", "most")))
    return table(f"Nothing under test, at {null.rate_qps:g} qps (measured)", heads, rows)


def _with_interval(found: Quantile) -> str:
    return f"{_ms(found.value)}\n{_ms(found.low)}..{_ms(found.high)}"


def _ms(latency_ns: float) -> str:
    """Milliseconds, three digits or more."""
    ms = latency_ns / 1e6
    if not math.isfinite(ms):
        return "-"
    return f"{ms:.{2 if ms < 10 else 1 if ms < 100 else 0}f}"
