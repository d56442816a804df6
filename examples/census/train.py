"""Multi-task Wide & Deep on Census-Income (KDD), and its hand-over to recstack.

    python examples/census/train.py --data FOLDER --seed 0 --out OUT

FOLDER holds census-income.test.gz. Writes OUT/model, OUT/test.safetensors, OUT/metrics.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model import MultiTaskWideDeep

sys.path.insert(0, str(Path(__file__).parents[1]))
from learning import fit, handover

from recstack.data import census
from recstack.data.metrics import auc, bootstrap, log_loss, normalised_entropy
from recstack.data.rows import Rows

FILE = "census-income.test.gz"
VALID, TEST = 10_000, 20_000
RECIPE = fit.Recipe(lr=2e-3, table_lr=2e-3, average=0.995, epochs=12, patience=2)


def tensors(rows: Rows) -> tuple[Tensor, list[Tensor]]:
    """The arguments of the network's forward()."""
    return torch.tensor(rows.dense), [torch.tensor(rows.sparse[n][0]) for n in census.CATEGORICAL]


def train(data: census.Census, seed: int, out: Path) -> dict[str, object]:
    begin = time.monotonic()
    parts = census.split(data, VALID, TEST)
    features = census.Features(data, parts[0])
    at = dict(zip(("train", "valid", "test"), parts, strict=True))
    rows = {name: features.of(found) for name, found in at.items()}
    labels = {name: data.labels[found].astype(np.float32) for name, found in at.items()}
    entropy = nn.BCEWithLogitsLoss()

    given = {name: tensors(found) for name, found in rows.items()}

    def taken(part: str, at: np.ndarray) -> tuple[Tensor, list[Tensor]]:
        dense, ids = given[part]
        return dense[at], [column[at] for column in ids]

    def loss(net: nn.Module, batch: np.ndarray) -> Tensor:
        return entropy(net.logits(*taken("train", batch)), torch.tensor(labels["train"][batch]))

    def score(net: nn.Module, part: str) -> np.ndarray:
        return fit.scored(net, lambda at: taken(part, at), len(rows[part]))

    def quality(net: nn.Module) -> float:
        found = score(net, "valid")
        return -float(np.mean([log_loss(labels["valid"][:, t], found[:, t]) for t in range(2)]))

    table_rows = [features.table_rows[name] for name in census.CATEGORICAL]
    net, history = fit.fit(
        lambda: MultiTaskWideDeep(len(census.DENSE), table_rows),
        lambda rng: fit.shuffled(len(rows["train"]), RECIPE.batch_rows, rng),
        loss,
        quality,
        RECIPE,
        seed,
    )
    model = handover.imported(
        net,
        tensors(rows["valid"].take(np.arange(4))),
        census.SCHEMA,
        user_inputs=(),
        name="census-mtwnd",
        renamed={f"features.{i}": name for i, name in enumerate(census.CATEGORICAL)},
    )
    scores = {"test": score(net, "test")}
    record: dict[str, object] = {"model": model.name, "seed": seed, "epochs": len(history)}
    for task, name in enumerate(census.LABELS):
        truth, found = labels["test"][:, task], scores["test"][:, task]
        interval = bootstrap(auc, truth, found, resamples=300)
        record |= {
            f"auc {name}": interval.value,
            f"auc {name} low": interval.low,
            f"auc {name} high": interval.high,
            f"ne {name}": normalised_entropy(truth, found),
        }
    record["train_s"] = round(time.monotonic() - begin)
    held_out = {"test": handover.labelled(rows["test"], model, labels["test"])}
    return handover.deliver(out, model, held_out, scores, record, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder of {FILE}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(train(census.load(given.data / FILE), given.seed, given.out)))


if __name__ == "__main__":
    main()
