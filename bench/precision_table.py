"""What low precision does to trained models, measured: one line per model folder and seed.

    python bench/precision_table.py OUT/lastfm-ncf/seed0 ... [--metric ne --budget 0.05%]
    python bench/precision_table.py OUT/lastfm-ncf/seed0 ... --data ranking-all \\
        --metric hr@10/100 --budget 0.002

Each folder holds `model` and labelled data, as the examples leave them. Columns: all tables int8;
the cheapest tables, and the cheapest layers, that the search could prove; how much worse the metric
is, with its interval, on all rows for the first and on the proof rows for the others. --columns
leaves some out, as of large rankings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import recstack as rs
from recstack.data import LabelledData, read_labelled
from recstack.data.paired_metrics import Metric, parse_metric
from recstack.precision.budget import Budget, Judgement, parse_budget
from recstack.precision.plan import PrecisionPlan, uniform
from recstack.precision.proof import prove
from recstack.tune.quantise import QuantiseConfig, quantise
from recstack.tune.quantise.costs import plan_bytes

COLUMNS = {
    "int8": ["int8 tables"],
    "tables": ["tables by search", "size"],
    "layers": ["layers by search", "size"],
}


def show(judgement: Judgement, budget: Budget) -> str:
    harm = judgement.worst.harm
    low, high = (budget.show(end) for end in (harm.low, harm.high))
    return f"{budget.show(harm.value)} [{low}, {high}] {judgement.outcome}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--metric", default="ne")
    parser.add_argument("--budget", default="0.05%")
    parser.add_argument("--data", default="test", help="name of the labelled file")
    parser.add_argument("--columns", default=",".join(COLUMNS), help="which of them, by commas")
    given = parser.parse_args()
    metric, budget = parse_metric(given.metric), parse_budget(given.budget)
    columns = {name: COLUMNS[name] for name in given.columns.split(",")}
    heads = [head for found in columns.values() for head in found]
    print("|", " | ".join(["model", *heads]), "|")
    print("|", " | ".join(["---"] * (len(heads) + 1)), "|", flush=True)
    for folder in given.folders:
        model = rs.load(folder / "model")
        data = read_labelled(folder / f"{given.data}.safetensors", model.inputs)
        cells = [f"{folder.parent.name}/{folder.name}"]
        for name in columns:
            if name == "int8":
                proof = prove(model, uniform(model, "int8", "fp32"), data, metric, budget)
                cells.append(show(proof.judgement, budget))
            else:
                cells += searched(model, data, metric, budget, name)
        print("|", " | ".join(cells), "|", flush=True)


def searched(
    model: rs.Model, data: LabelledData, metric: Metric, budget: Budget, what: str
) -> list[str]:
    """What the search says of the tables, or of the layers, alone; and the bytes that are left."""
    other = "layers" if what == "tables" else "tables"
    config = QuantiseConfig.model_validate({"objective": "memory", other: ()})
    found = quantise(model, data, metric, budget, config)
    last = found.outcome.steps[-1].judgement if found.outcome.steps else None
    share = plan_bytes(model, found.plan) / plan_bytes(model, PrecisionPlan())
    verdict = "" if found.outcome.verdict == "proven" else f" ({found.outcome.verdict})"
    return ["-" if last is None else show(last, budget) + verdict, f"{share:.0%}"]


if __name__ == "__main__":
    main()
