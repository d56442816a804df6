"""Policies put to the same traffic: QPS@SLA of each, and what becomes of queries around that rate.

    static        fixed chunks of largest query / lanes
    deeprecsched  fixed chunks, doubled while the QPS@SLA does not fall (Gupta et al., ISCA 2020);
                  on a live machine by a climb of paired runs (`climb`)
    slack         chunks, merging, order and refusals by slack and backlog

The first two also serve what is late, up to ten limits late; slack refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from recstack.errors import ConfigError
from recstack.loadtest import SLA, Found, LoadResult, judge, summarise
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.outcome import OK
from recstack.loadtest.search import Probe
from recstack.tune.setting import Searched, Setting, deadline_ns, schedule_of, search_alone
from recstack.tune.turns import climb_and_search

POLICIES = ("static", "deeprecsched", "slack")
OFFERED = (0.4, 0.8, 1.0, 1.2, 2.0)
"""Loads to look at, as shares of a policy's QPS@SLA."""


def compare(
    setting: Setting,
    policies: Sequence[str],
    sla: SLA,
    *,
    watch: Callable[[Probe], None] = lambda probe: None,
) -> Iterator[list[dict[str, Any]]]:
    """Each policy's records: one of the sort "qps_at_sla", then an "at_load" for each of `OFFERED`.

    Raises
    ------
    ConfigError: no such policy.
    """
    if unknown := [policy for policy in policies if policy not in POLICIES]:
        raise ConfigError(f"expected a policy of {', '.join(POLICIES)}, got {unknown[0]!r}")
    if setting.expected:
        searched = climb_and_search(setting, setting.expected, policies, sla, watch)
    else:
        searched = ((policy, search_alone(setting, policy, sla, watch)) for policy in policies)
    for policy, made in searched:
        yield list(_records(setting, policy, made, sla))


def _records(setting: Setting, policy: str, made: Searched, sla: SLA) -> Iterator[dict[str, Any]]:
    found, schedule = made.found, made.schedule
    key = {
        **setting.key, "label": f"{policy}, {setting.lanes} lanes", "policy": policy,
        "lanes": setting.lanes,
    }  # fmt: skip
    plain = schedule.model_dump(exclude={"costs": True, "accelerator": {"costs"}}, mode="json")
    yield {
        "record": "qps_at_sla", **found.to_record(), **key, "chunk_rows": schedule.chunk_rows,
        "steps": made.steps, "climb": [asdict(step) for step in made.climb],
        "reasons": _reasons(found), "deployment": {"schedule": plain},
    }  # fmt: skip
    if found.low_qps > 0:
        for share in OFFERED:
            run = setting.run_at(schedule, share * found.low_qps, sla, setting.seed)
            yield {
                "record": "at_load", **at_load(run, share * found.low_qps, sla), **key,
                "sla": str(sla), "of_qps_at_sla": share, "reasons": judge(run, sla).reasons,
            }  # fmt: skip


def _reasons(found: Found) -> list[str]:
    """Why its rate may not be quoted: of the run that it rests on, and of the one that ended it."""
    ends = [p for p in found.probes if p.outcome == "pass" and p.rate_qps == found.low_qps]
    if found.high_outcome == "invalid":
        ends += [p for p in found.probes if p.rate_qps == found.high_qps]
    return [p.reason for p in ends if "INVALID" in p.reason]


def at_load(run: LoadResult, rate_qps: float, sla: SLA) -> dict[str, Any]:
    """What became of queries that came at `rate_qps`, warm-up left out.

    goodput_qps, goodput_rows: queries, and their rows, answered in time, per second of the rate
        offered. refused: the share not answered. longest_refusal_ms: from arrival to refusal.
    """
    in_time = latencies_ns(run) <= sla.limit_ns
    rows = run.rows[run.warmup :]
    refused = (run.status != OK)[run.warmup :]
    waited_ns = (run.finished_ns - run.scheduled_ns)[run.warmup :][refused]
    return {
        **summarise(run, sla).to_record(),
        "rate_qps": rate_qps,
        "goodput_qps": float(in_time.mean() * rate_qps),
        "goodput_rows": float(rows[in_time].sum() / rows.size * rate_qps),
        "refused": float(refused.mean()),
        "longest_refusal_ms": float(waited_ns.max(initial=0) / 1e6),
    }


def traced(setting: Setting, records: list[dict[str, Any]], sla: SLA) -> Iterator[dict[str, Any]]:
    """What lanes ran under each policy of `records`, all at the least of their rates at `sla`."""
    found = [r for r in records if r["record"] == "qps_at_sla" and r["sla"] == str(sla)]
    rates = [r["low_qps"] for r in found if r["low_qps"] > 0]
    for record in found if rates else ():
        schedule = schedule_of(setting, record, sla)
        label = f"{record['policy']}, {min(rates):.4g} queries/s, {sla}"
        made = setting.trace(schedule, min(rates), deadline_ns(schedule, sla), label)
        yield {**made, **setting.key, "policy": record["policy"]}
