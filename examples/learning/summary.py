"""Mean, least and greatest of the examples' figures over seeds, as a table.

    python examples/learning/summary.py OUT/seed0 OUT/seed1 OUT/seed2

Each folder holds the metrics.jsonl that a train.py or export.py wrote.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from recstack import results

LEFT_OUT = ("seed", "train_s")


def table(folders: list[Path]) -> str:
    """Markdown: a row per figure that all folders have."""
    records = [results.read(f / "metrics.jsonl", kind="example").records[0] for f in folders]
    lines = ["| figure | mean | least | greatest |", "| --- | --- | --- | --- |"]
    for name, value in records[0].items():
        if isinstance(value, float) and name not in LEFT_OUT:
            found = np.array([record[name] for record in records])
            digits = "{:.1e}" if abs(found).max() < 1e-3 else "{:.4f}"
            cells = (digits.format(x) for x in (found.mean(), found.min(), found.max()))
            lines.append(f"| {name} | {' | '.join(cells)} |")
    seeds = ", ".join(str(record["seed"]) for record in records)
    return "\n".join([f"{records[0]['model']}, seeds {seeds}", "", *lines])


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]]))
