"""What labelled data decided, as a record of a result file: a search, a proof, new weights."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from recstack.model import Model
from recstack.precision.budget import Budget, Judgement
from recstack.precision.proof import Proof
from recstack.tune.quantise.config import UNITS, Objective
from recstack.tune.quantise.costs import plan_bytes


def precision_record(
    model: Model, metric: str, budget: Budget, *, verdict: str, reason: str,
    rows_needed: int | None = None, objective: Objective = "memory", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Of the sort "precision"; more: what was tried and chosen, where there is any."""
    return {
        "record": "precision", "origin": "measured", "model": model.name, "metric": metric,
        "budget": str(budget), "limit": budget.limit, "relative": budget.relative,
        "verdict": verdict, "reason": reason, "objective": objective, "unit": UNITS[objective],
        "rows_needed": rows_needed, **more,
    }  # fmt: skip


def proof_record(model: Model, metric: str, proof: Proof) -> dict[str, Any]:
    """Of a plan that was given, put to the proof."""
    judged = proof.judgement
    unproven = "too_small" if judged.rows_needed else "not_within"
    return precision_record(
        model, metric, proof.budget,
        verdict={"within": "proven", "exceeded": "not_within"}.get(judged.outcome, unproven),
        reason=judged.reason,
        rows_needed=judged.rows_needed,
        tried=[{"rows": "proof", "cost": plan_bytes(model, proof.plan), "outcome": judged.outcome,
                "harm": harm_record(judged)}],
    )  # fmt: skip


def harm_record(judged: Judgement) -> dict[str, float] | None:
    """The interval of the harm; None where it is not finite, as of scores that are not."""
    harm = asdict(judged.worst.harm)
    return harm if all(map(math.isfinite, harm.values())) else None
