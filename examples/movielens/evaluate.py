"""Test AUC and log loss of the checkpoints, with intervals, and their gain over the baselines.

    python examples/movielens/evaluate.py               # recomputes checkpoints/metrics.json

Intervals: 95%, percentile bootstrap, 2,000 resamples of whole users (rows of one user are not
independent) and, for comparison, of rows.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import baseline
import numpy as np
import torch
import training
from dataset import Dataset, Part, read
from safetensors.numpy import load_file

from recstack.data.metrics import auc, bootstrap, log_loss

RESAMPLES = 2000


def test_scores(data: Dataset, folder: Path) -> dict[str, np.ndarray]:
    """Test probabilities, (R,) float64, by model name, of every checkpoint in the folder."""
    scores = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.stem in baseline.BAGS:
            weights = load_file(path)["weights"]
            scores[path.stem] = baseline.score(data, path.stem, "test", weights)
        else:
            model = path.stem.split("-")[0]
            net = training.restore(model, path)
            scores[path.stem] = training.score(net, model, data.parts["test"])
    return scores


def without_history(part: Part) -> Part:
    """The same rows with every history empty."""
    empty = np.zeros(0, np.int64), np.zeros_like(part.rows.sparse["history"][1])
    return Part(part.rows.with_bags(history=empty), part.labels, part.users)


def measure(labels: np.ndarray, scores: dict[str, np.ndarray], users: np.ndarray) -> dict:
    """Per model: AUC and log loss by users and by rows, and each less that of each baseline."""
    out: dict = {}
    for name, found in scores.items():
        out[name] = {}
        for key, groups in (("by_user", users), ("by_row", None)):
            about = {"groups": groups, "resamples": RESAMPLES}
            out[name][key] = {
                "auc": asdict(bootstrap(auc, labels, found, **about)),
                "log_loss": asdict(bootstrap(log_loss, labels, found, **about)),
                **{
                    f"{metric.__name__}_gain": {
                        other: asdict(
                            bootstrap(metric, labels, found, baseline=scores[other], **about)
                        )
                        for other in baseline.BAGS
                        if other in scores and name not in baseline.BAGS
                    }
                    for metric in (auc, log_loss)
                },
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=Path, default=training.CHECKPOINTS)
    parser.add_argument("--spread", type=Path, help="folder of other seeds' checkpoints")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = read()
    test = data.parts["test"]
    scores = test_scores(data, given.checkpoints)
    found = measure(test.labels, scores, test.users)
    report: dict = {
        "rows": {name: len(part.labels) for name, part in data.parts.items()},
        "likes": {name: float(part.labels.mean()) for name, part in data.parts.items()},
        "test_users": len(np.unique(test.users)),
        "models": found,
    }
    if "din" in scores:
        net = training.restore("din", given.checkpoints / "din.safetensors")
        empty = training.score(net, "din", without_history(test))
        report["din_without_history_auc"] = auc(test.labels, empty)
    if given.spread is not None:
        others = test_scores(data, given.spread)
        lines = {name: scores[name] for name in baseline.BAGS if name in scores}
        measured = measure(test.labels, others | lines, test.users)
        report["other_seeds"] = {name: measured[name] for name in others}
    (given.checkpoints / "metrics.json").write_text(json.dumps(report, indent=1) + "\n")
    for name, by in (found | report.get("other_seeds", {})).items():
        for key in ("by_user", "by_row"):
            print(f"{name} {key}", *(f"{k} {_interval(by[key][k])}" for k in ("auc", "log_loss")))
            for other, gain in by[key]["auc_gain"].items():
                less = by[key]["log_loss_gain"][other]
                print(f"    over {other}: auc {_interval(gain)} log_loss {_interval(less)}")
    print("din with empty histories: auc", report.get("din_without_history_auc"))


def _interval(value: dict[str, float]) -> str:
    return f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


if __name__ == "__main__":
    main()
