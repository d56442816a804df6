"""NeuMF on lastfm with the published split of 99 negatives, and its hand-over to recstack.

    python examples/lastfm/train.py --data FOLDER --seed 0 --out OUT

FOLDER holds lastfm.{train.rating,test.rating,test.negative}[.gz]. Writes OUT/model,
OUT/ranking.safetensors (each test item and its negatives), OUT/ranking-all.safetensors (each test
item and all items that its user has not touched), OUT/test.safetensors (each test item and four of
the negatives, as in training) and OUT/metrics.jsonl. --rankings: only OUT/ranking-all.safetensors,
for the model that is in OUT.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model import NeuMF

sys.path.insert(0, str(Path(__file__).parents[1]))
from learning import fit, handover

import recstack as rs
from recstack.data import ncf
from recstack.data.metrics import auc, hit_rate, ndcg, normalised_entropy
from recstack.data.negatives import Unseen
from recstack.data.rows import Rows

NEGATIVES = 4  # per positive, drawn anew each epoch
RECIPE = fit.Recipe(batch_rows=1024, lr=3e-3, table_lr=3e-3, average=0.995, epochs=16, patience=2)


def tensors(rows: Rows) -> tuple[Tensor, Tensor]:
    """The arguments of the network's forward()."""
    return torch.tensor(rows.sparse["user"][0]), torch.tensor(rows.sparse["item"][0])


def held_back(data: ncf.Ratings) -> np.ndarray:
    """(ratings,) bool: each user's last line in the training file, kept for validation."""
    last = np.full(len(data.users) + 1, -1)
    last[data.user] = np.arange(len(data.user))
    out = np.zeros(len(data.user), bool)
    out[last[last >= 0]] = True
    return out


def train(data: ncf.Ratings, seed: int, out: Path) -> dict[str, object]:
    begin = time.monotonic()
    valid = held_back(data)
    user, item = data.user[~valid], data.item[~valid]
    limits = data.table_rows
    unseen = Unseen(user, item, limits["item"], first=1)
    ranked = ncf.ranking(data)
    chosen = valid_ranking(data, valid)
    entropy = nn.BCEWithLogitsLoss()

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
        items = np.column_stack([item, unseen(rng, user, NEGATIVES)]).reshape(-1)
        users = np.repeat(user, NEGATIVES + 1)
        labels = (np.arange(len(items)) % (NEGATIVES + 1) == 0).astype(np.float32)
        for at in fit.shuffled(len(items), RECIPE.batch_rows, rng):
            yield tuple(torch.tensor(x[at]) for x in (users, items, labels))

    def loss(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return entropy(net.logits(*batch[:2])[:, 0], batch[2])

    def score(net: nn.Module, rows: Rows) -> np.ndarray:
        return fit.scored(net, lambda i: tensors(rows.take(i)), len(rows), step=65536)

    def quality(net: nn.Module) -> float:
        return ndcg(chosen[1], score(net, chosen[0]), chosen[2])

    net, history = fit.fit(
        lambda: NeuMF(limits["user"], limits["item"]), batches, loss, quality, RECIPE, seed
    )
    model = handover.imported(
        net,
        tensors(ranked[0].take(np.arange(4))),
        ncf.SCHEMA,
        user_inputs=("user",),
        name="lastfm-ncf",
        renamed={},
    )
    sets = {"ranking": ranked, "test": ncf.ranking(data, NEGATIVES)}
    scores = {name: score(net, rows) for name, (rows, _, _) in sets.items()}
    labels, offsets = ranked[1:]
    record: dict[str, object] = {
        "model": model.name,
        "seed": seed,
        "epochs": len(history),
        "valid ndcg@10": max(history),
        "hr@10": hit_rate(labels, scores["ranking"], offsets),
        "ndcg@10": ndcg(labels, scores["ranking"], offsets),
        "auc": auc(sets["test"][1], scores["test"]),
        "ne": normalised_entropy(sets["test"][1], scores["test"]),
        "train_s": round(time.monotonic() - begin),
    }
    held_out = {
        name: handover.labelled(rows, model, truth, at, groups=data.test_user)
        for name, (rows, truth, at) in sets.items()
    }
    record |= wide_ranking(data, model, out)
    return handover.deliver(out, model, held_out, scores, record, seed)


def wide_ranking(data: ncf.Ratings, model: rs.Model, out: Path) -> dict[str, float]:
    """Each test item before all items that its user has not touched: closed, no other can be asked.

    86 test items are in their own published negatives; here none is.
    """
    limit = data.table_rows["item"]
    others = np.ones((len(data.test_user), limit), bool)
    others[:, 0] = False
    place = np.full(len(data.users) + 1, -1)
    place[data.test_user] = np.arange(len(data.test_user))
    known = place[data.user] >= 0
    others[place[data.user[known]], data.item[known]] = False
    others[np.arange(len(others)), data.test_item] = False
    sizes = others.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(sizes + 1)])
    labels = np.zeros(offsets[-1], np.float32)
    labels[offsets[:-1]] = 1
    items = np.empty(offsets[-1], np.int64)
    items[labels > 0], items[labels == 0] = data.test_item, np.nonzero(others)[1]
    rows = ncf.rows(np.repeat(data.test_user, sizes + 1), items)
    found = handover.labelled(
        rows, model, labels, offsets.astype(np.int32), data.test_user, closed=True
    )
    out.mkdir(parents=True, exist_ok=True)
    return handover.wide_ranking(out / "ranking-all.safetensors", model, found)


def valid_ranking(data: ncf.Ratings, valid: np.ndarray) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Each held-back item before 99 others that its user has not touched in training: as `ranking`.

    The others are the same for every seed.
    """
    limit, tests = data.table_rows["item"], data.user[valid]
    drawn = Unseen(data.user, data.item, limit, first=1)(np.random.default_rng(0), tests, 99)
    items = np.column_stack([data.item[valid], drawn])
    labels = (np.arange(items.size) % 100 == 0).astype(np.float32)
    return (
        ncf.rows(np.repeat(tests, 100), items.reshape(-1)),
        labels,
        np.arange(0, items.size + 1, 100, dtype=np.int32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the lastfm files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rankings", action="store_true", help="train nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = ncf.load(given.data, "lastfm")
    if given.rankings:
        print(json.dumps(wide_ranking(data, rs.load(given.out / "model"), given.out)))
        return
    print(json.dumps(train(data, given.seed, given.out)))


if __name__ == "__main__":
    main()
