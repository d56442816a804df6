"""What a results file of `bench/policies.py` says, as Markdown; nothing is run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from recstack.loadtest import SLA
from recstack.loadtest.sla import PUBLISHED_MS
from recstack.report.compared import Compared, Setting, kept
from recstack.report.records import SORTS, AtLoad

LEAST = 3
TWICE = 1.05


def upgraded(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of a file, cells of its first form as the sorts that pages show."""
    return [new for old in records for new in (_cell(old) if old["record"] == "cell" else [old])]


def _cell(old: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """That form kept probes of some searches only, and no latencies."""
    sla = str(SLA(95.0, round(PUBLISHED_MS[old["model"]] * old["sla"] * 1e6)))
    key = {name: old[name] for name in ("origin", "model", "engine", "lanes", "policy")}
    key |= {"sla": sla, "label": f"{old['policy']}, {old['lanes']} lanes"}
    # Live probes passed by the median of runs.
    confidence = 0.5 if old["origin"] == "measured" else 0.95
    yield {
        "record": "qps_at_sla", "low_qps": old["qps"], "high_qps": None, "high_outcome": None,
        "probes": [], **old.get("found", {}), "confidence": confidence, **key,
        "chunk_rows": old["chunk_rows"], "steps": old["steps"],
    }  # fmt: skip
    loads = {"1.0": old} if "refused" in old else {}
    for share, at in (loads | old.get("overload", {})).items():
        names = ("goodput_qps", "goodput_rows", "refused", "longest_refusal_ms")
        yield {
            "record": "at_load", **key, **{name: at[name] for name in names},
            "rate_qps": float(share) * old["qps"], "of_qps_at_sla": float(share),
        }  # fmt: skip


def render(records: Iterable[dict[str, Any]]) -> str:
    """Tables by setting: cells, ratios, chunks, goodput in overload, small queries beside large."""
    read: dict[str, list[Any]] = {"qps_at_sla": [], "at_load": [], "large": []}
    records = list(records)
    for record in records:
        if (sort := record["record"]) in read:
            read[sort].append(SORTS[sort].model_validate(record))
    compared = Compared(*read.values())
    lines = [line for s in compared.settings for line in _setting(compared, s)]
    return "\n".join([*lines, *_invalid(records), *_repeated(records)])


def _invalid(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Cells whose rate may not be quoted."""
    for r in records:
        if r["record"] == "qps_at_sla" and r.get("reasons"):
            yield f"- {r['model']} {r['sla']} {r['policy']}, {r['lanes']} lanes: {r['reasons'][0]}"


def _repeated(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """How far two searches of the same schedule are apart."""
    found = [r for r in records if r["record"] == "repeat"]
    if not found:
        return
    ratios = sorted(r["ratio"] or math.inf for r in found)
    close = sum(ratio <= TWICE for ratio in ratios)
    worst = max(found, key=lambda r: r["ratio"] or math.inf)
    yield (f"- two repeats, measured: {close} of {len(found)} cells within {TWICE - 1:.0%}, median "
           f"{np.median(ratios):.3f}, worst {ratios[-1]:.3f} ({worst['model']} {worst['sla']} "
           f"{worst['policy']})")  # fmt: skip


def _setting(compared: Compared, setting: Setting) -> Iterator[str]:
    yield f"## {setting.name}, {setting.origin}\n"
    yield from _cells(compared, setting)
    for ratio in compared.ratios(setting):
        cells = compared.cells(setting, ratio.base, ratio.better)
        least = sorted(cells, key=cells.__getitem__)[:LEAST]
        told = "; ".join(f"{model} {_plain(sla)} {cells[model, sla]:.3f}" for model, sla in least)
        mean = f"**{ratio.mean:.3f}** ({ratio.low:.3f} to {ratio.high:.3f}), {ratio.cells} cells"
        yield f"- {ratio.better} / {ratio.base}: geometric mean {mean}; least: {told}"
    yield from _overload(compared, setting)
    large = [x for x in compared.large if (x.origin, x.lanes) == (setting.origin, setting.lanes)]
    if large:
        told = ", ".join(f"{x.model} {x.ratio:.2f}" for x in large)
        yield f"- p95 of small queries, large ones among them / alone: {told}"
    yield ""


def _cells(compared: Compared, setting: Setting) -> Iterator[str]:
    """QPS@SLA of each policy, deeprecsched's chunk, and the ratios between neighbours."""
    policies = compared.policies
    ratios = {f"{b} / {a}": compared.cells(setting, a, b) for a, b in pairwise(policies)}
    heads = ["model", "SLA", *policies, "chunk (rows)", *ratios, "slack refused"]
    yield _row(*heads)
    yield _row(*["---"] * len(heads))
    for model in compared.models(setting):
        for sla in compared.slas(setting, model):
            found = {p: compared.find(setting, model, sla, p) for p in policies}
            climbed = found.get("deeprecsched")
            slack = [x for x in compared.at(setting, model, sla, "slack") if x.of_qps_at_sla == 1]
            yield _row(
                model, _plain(sla), *(f"{f.low_qps:.1f}" if f else "" for f in found.values()),
                str(climbed.chunk_rows) if climbed else "",
                *(f"{of[model, sla]:.3f}" if (model, sla) in of else "" for of in ratios.values()),
                f"{slack[0].refused:.1%}" if slack else "",
            )  # fmt: skip
    yield ""


def _overload(compared: Compared, setting: Setting) -> Iterator[str]:
    """Median and least goodput past the QPS@SLA, of the best at it or a lower load, over models and
    SLAs; the longest wait for a refusal."""
    for policy in compared.policies:
        curves = [
            (sla, compared.at(setting, model, sla, policy))
            for model in compared.models(setting) for sla in compared.slas(setting, model)
        ]  # fmt: skip
        refusals = [x.longest_refusal_ms * 1e6 / sla.limit_ns for sla, of in curves for x in of]
        parts = [_kept([of for _, of in curves], rows) for rows in (False, True)]
        if refusals and all(parts):
            yield (f"- goodput of {policy} past its QPS@SLA, of the best so far: {parts[0]}; in "
                   f"rows {parts[1]}; longest to a refusal {max(refusals):.2f} limits")  # fmt: skip


def _kept(curves: Iterable[Sequence[AtLoad]], rows: bool) -> str:
    found: dict[float, list[float]] = {}
    for curve in curves:
        for share, good in kept(curve, rows=rows).items():
            found.setdefault(share, []).append(good)
    return ", ".join(
        f"{share:g}x {np.median(goods):.2f} (least {min(goods):.2f})"
        for share, goods in sorted(found.items()) if share > 1
    )  # fmt: skip


def _plain(sla: object) -> str:
    return f"{sla}".replace("\u00a0", " ")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
