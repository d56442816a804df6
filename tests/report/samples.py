"""Synthetic records: what a quickstart would leave, from a simulated single server."""

from __future__ import annotations

from typing import Any

import numpy as np

from recstack.loadtest.null import NullLatency
from recstack.loadtest.outcome import CODES, LoadResult
from recstack.loadtest.search import SearchConfig, qps_at_sla
from recstack.loadtest.sla import SLA

Record = dict[str, Any]
SERVICE_US = {"baseline": 1400.0, "tuned": 520.0}


def make_run(rate_qps: float, *, service_us: float, count: int, seed: int) -> LoadResult:
    """Poisson arrivals at one server with lognormal service; those that wait 30 ms are refused."""
    rng = np.random.default_rng(seed)
    scheduled = np.cumsum(rng.exponential(1e9 / rate_qps, count)).astype(np.int64)
    issued = scheduled + rng.gamma(2.0, 8_000, count).astype(np.int64)
    service = (rng.lognormal(0.0, 0.5, count) * service_us * 1e3).astype(np.int64)
    finished, status = np.full(count, -1), np.full(count, CODES["queue_full"])
    free = 0
    for i in range(count):
        start = max(int(issued[i]), free)
        finished[i] = issued[i]
        if start - int(issued[i]) < 30_000_000:
            free = start + int(service[i])
            finished[i], status[i] = free, CODES["ok"]
    execute = np.where(status == CODES["ok"], service, -1)
    queue = np.where(status == CODES["ok"], finished - issued - service, -1)
    return LoadResult(
        scheduled,
        issued,
        finished,
        rng.integers(1, 200, count),
        status.astype(np.uint8),
        stages_ns={"queue": queue, "execute": execute},
        warmup=count // 10,
    )


def load_record(run: LoadResult, rate_qps: float, label: str, transport: str) -> Record:
    return {
        "record": "load",
        "label": label,
        "rate_qps": rate_qps,
        "transport": transport,
        **run.to_record(),
    }


def accuracy_record(**changes: Any) -> Record:
    return {
        "record": "accuracy",
        "model": "dlrm-movielens",
        "rows": 200_000,
        "auc": 0.7912,
        "auc_low": 0.7890,
        "auc_high": 0.7934,
        "log_loss": 0.5312,
        "log_loss_low": 0.5290,
        "log_loss_high": 0.5334,
        "torch_auc": 0.79121,
        "baseline": "item popularity",
        "baseline_auc": 0.7204,
    } | changes


def stages_record(label: str, scale: float) -> Record:
    means = {
        "decode": 40,
        "queue": 300,
        "assemble": 25,
        "execute": 800,
        "gather": 12,
        "total": 1190,
    }
    stages = {
        name: {
            "count": 18_000,
            "mean_ns": mean * 1e3 * scale,
            "p50_ns": mean * 0.9e3 * scale,
            "p95_ns": mean * 2.1e3 * scale,
            "p99_ns": mean * 3.3e3 * scale,
        }
        for name, mean in means.items()
    }
    return {"record": "stages", "label": label, "stages": stages}


def quickstart_records() -> list[Record]:
    """Everything that a quickstart leaves."""
    records: list[Record] = [accuracy_record()]
    schedule = {"lanes": 2, "threads_per_lane": 1, "chunk_rows": 256, "merge_rows": 256}
    settings = {
        "baseline": {"engine": {"precision": "fp32", "threads": 2}, "schedule": schedule},
        "tuned": {
            "engine": {"precision": "fp32", "threads": 1},
            "schedule": {**schedule, "lanes": 1, "chunk_rows": 64, "merge_rows": 128},
        },
    }
    for label, service_us in SERVICE_US.items():

        def measure(rate_qps: float, seed: int, us: float = service_us) -> LoadResult:
            return make_run(rate_qps, service_us=us, count=3000, seed=seed)

        found = qps_at_sla(measure, SLA(95.0, 10_000_000), SearchConfig(tolerance=0.05))
        records.append(
            {
                "record": "qps_at_sla",
                "label": label,
                "deployment": settings[label],
                **found.to_record(),
            }
        )
        top = 1.15e6 / service_us
        for transport, shares in (("in process", (0.2, 0.5, 0.7, 0.8, 0.9)), ("HTTP", (0.6,))):
            for share in shares:
                run = make_run(share * top, service_us=service_us, count=6000, seed=1)
                records.append(load_record(run, share * top, label, transport))
        records.append(stages_record(label, service_us / 520.0))
    null = NullLatency(
        2000.0, 2000,
        {"inline": {"p50": 15_200.0, "p99": 48_000.0},
         "threaded": {"p50": 32_100.0, "p99": 91_000.0}},
        44_000.0,
    )  # fmt: skip
    records.append({"record": "null", **null.to_record()})
    records.append({"record": "note", "text": "MovieLens 1M, time split; ids beyond it are new."})
    return records


def found_record(label: str, low_qps: float = 400.0, high_qps: float | None = 420.0) -> Record:
    """A search that found this bracket."""
    probe = {"runs": 2, "effect": 1.5, "reason": ""}
    probes = [{**probe, "rate_qps": low_qps or 1.0, "outcome": "pass", "over": 9, "queries": 900}]
    if high_qps:
        probes.append(
            {**probe, "rate_qps": high_qps, "outcome": "fail", "over": 99, "queries": 900}
        )
    return {
        "record": "qps_at_sla",
        "label": label,
        "deployment": {"engine": {"isa": "auto"}, "schedule": {"lanes": len(label)}},
        "sla": "p95<=10ms",
        "low_qps": low_qps,
        "high_qps": high_qps,
        "high_outcome": "fail" if high_qps else None,
        "confidence": 0.95,
        "probes": probes,
    }


def roofline_record(rows: int = 1, **changes: Any) -> Record:
    """A batch of a model that does 1000 FLOP a row on 2000 bytes of weights and 50 a row."""
    return {
        "record": "roofline",
        "model": "wnd",
        "rows": rows,
        "queries": 1,
        "threads": 1,
        "isa": "",
        "flops": 1000 * rows,
        "weight_bytes": 2000,
        "gather_bytes": 50 * rows,
        "bytes": 2000 + 50 * rows,
        "measured_us": 0.05 * rows,
        "floor_us": 0.02 * rows,
        "serial_us": 0.03 * rows,
        "bound": "weights",
        "peak_gflop_s": 100.0,
        "roofs": [{"name": "L2", "gb_s": 80.0}, {"name": "gather", "gb_s": 4.0}],
    } | changes
