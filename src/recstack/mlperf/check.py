"""Which conditions of a submission a run meets.

Mirrors what MLPerf's submission checker asks of the performance and accuracy logs of `dlrm-v2`. A
condition that fails only because the run was made smaller on purpose is "scaled", and the verdict
says so; everything else that fails makes the run INVALID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from recstack.mlperf.rules import (
    DATASET_SAMPLES,
    MIN_DURATION_S,
    PERFORMANCE_SAMPLES,
    RULES,
    SEEDS,
)
from recstack.mlperf.run import Ran
from recstack.quantiles import needed


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, what it asks and what the run had."""

    name: str
    expected: str
    found: str
    outcome: Literal["met", "scaled", "failed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every condition, and what follows of them.

    >>> print(Verdict((Condition("duration", "600 s", "5 s", "scaled"),)))
    VALID at a reduced scale (unofficial): duration
    """

    conditions: tuple[Condition, ...]

    @property
    def valid(self) -> bool:
        """No condition failed."""
        return not self._of("failed")

    def _of(self, outcome: str) -> list[Condition]:
        return [c for c in self.conditions if c.outcome == outcome]

    def __str__(self) -> str:
        if failed := self._of("failed"):
            why = "; ".join(f"{c.name}: expected {c.expected}, got {c.found}" for c in failed)
            return f"INVALID (unofficial): {why}"
        if scaled := self._of("scaled"):
            return f"VALID at a reduced scale (unofficial): {', '.join(c.name for c in scaled)}"
        return "VALID (unofficial)"


def check(ran: Ran) -> Verdict:
    """Hold a run against the conditions of its scenario and mode."""
    found = [
        _equal("scenario", RULES[ran.config.scenario].loadgen,
               ran.detail.get("effective_scenario")),
        *(_equal(f"seed {name}", seed, ran.detail.get(f"effective_{name}"))
          for name, seed in SEEDS.items()),
        _equal("errors of LoadGen", 0, len(ran.detail["errors"])),
        _equal("samples refused or failed", 0, sum(ran.failures.values())),
        *(Condition(name, "full size", text, "scaled") for name, text in ran.scaled.items()),
        *(_accuracy(ran) if ran.config.accuracy else _performance(ran)),
    ]  # fmt: skip
    return Verdict(tuple(found))


def _performance(ran: Ran) -> list[Condition]:
    rules, detail, config = RULES[ran.config.scenario], ran.detail, ran.config
    queries = int(detail.get("result_query_count", 0))
    asked_s = float(detail.get("effective_min_duration_ms", 0)) / 1e3
    shorter = asked_s < MIN_DURATION_S
    found = [
        _least("performance samples", PERFORMANCE_SAMPLES,
               int(detail.get("effective_performance_sample_count", 0)), may_scale=True),
        Condition("duration", f"{MIN_DURATION_S:g} s", f"{asked_s:g} s",
                  "scaled" if shorter else "met"),
        _true("duration reached", detail.get("result_min_duration_met")),
        _true("queries reached", detail.get("result_min_queries_met")),
        _true("early stopping", detail.get("early_stopping_met")),
        _equal("LoadGen's verdict", "VALID", detail.get("result_validity")),
    ]  # fmt: skip
    each = 1 if rules.samples_per_query else int(detail.get("effective_samples_per_query", 0))
    found.append(
        _least("queries" if rules.samples_per_query else "samples", rules.min_samples,
               queries * each, may_scale=config.min_samples is not None)
    )  # fmt: skip
    if rules.limit_ns is not None:
        found += _tail(ran, queries)
    return found


def _tail(ran: Ran, queries: int) -> list[Condition]:
    """The server's percentile: LoadGen's, and recounted from our own latencies."""
    rules, detail = RULES[ran.config.scenario], ran.detail
    assert rules.percentile is not None and rules.limit_ns is not None
    limit_ns = int(detail.get("effective_target_latency_ns", 0))
    tail_ns = ran.percentiles_ns.get(rules.percentile, 0)
    over = int((ran.latency_ns > rules.limit_ns).sum())
    least = needed(1.0 - rules.percentile / 100.0, over=over)
    name = f"p{rules.percentile:g}"
    return [
        Condition("latency limit", f"at most {rules.limit_ns / 1e6:g} ms", f"{limit_ns / 1e6:g} ms",
                  "met" if 0 < limit_ns <= rules.limit_ns else "failed"),
        _equal("percentile", rules.percentile / 100.0,
               detail.get("effective_target_latency_percentile")),
        Condition(name, f"at most {rules.limit_ns / 1e6:g} ms", f"{tail_ns / 1e6:.2f} ms",
                  "met" if 0 < tail_ns <= rules.limit_ns else "failed"),
        Condition("early stopping, recounted", f"{least} queries for {over} over the limit",
                  f"{queries}", "met" if queries >= least else "failed"),
    ]  # fmt: skip


def _accuracy(ran: Ran) -> list[Condition]:
    assert ran.auc is not None and ran.reference_auc is not None
    target = ran.config.quality * ran.reference_auc
    met: Literal["met", "failed"] = "met" if ran.auc >= target else "failed"
    found = [
        Condition(
            f"AUC, {ran.config.quality:.1%} of the reference's",
            f"{target:.6f}",
            f"{ran.auc:.6f}",
            met,
        )
    ]
    samples = int(ran.detail.get("qsl_reported_total_count", 0))
    return [*found, _least("samples", DATASET_SAMPLES, samples, may_scale=True)]


def _equal(name: str, expected: Any, found: Any) -> Condition:
    return Condition(name, str(expected), str(found), "met" if expected == found else "failed")


def _true(name: str, found: Any) -> Condition:
    return Condition(name, "yes", "yes" if found else "no", "met" if found else "failed")


def _least(name: str, expected: int, found: int, *, may_scale: bool) -> Condition:
    short: Literal["scaled", "failed"] = "scaled" if may_scale else "failed"
    return Condition(
        name, f"at least {expected}", str(found), "met" if found >= expected else short
    )
