"""DIN or DIEN on Amazon Beauty's sequences, and its hand-over to recstack.

    python examples/beauty/train.py din --data FOLDER --seed 0 --out OUT

FOLDER holds Beauty.txt.gz and Beauty_item2attributes.json.gz. Writes OUT/model,
OUT/test.safetensors (each user's last item and one drawn at random), OUT/ranking.safetensors (the
last item of 2,500 users, and 99 drawn), OUT/ranking-200.safetensors (that of all users, and 199
drawn) and OUT/metrics.jsonl. --rankings: only OUT/ranking-200.safetensors, for the model that is in
OUT.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from models import DIEN, DIN
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from learning import fit, handover

import recstack as rs
from recstack.data import LabelledData, behaviour
from recstack.data.metrics import auc, bootstrap, hit_rate, ndcg, normalised_entropy
from recstack.data.negatives import Unseen
from recstack.data.rows import Rows
from recstack.data.slices import merge

POSITIONS = 3  # training positions per user: the last ones
RANKED_USERS = 2_500
WIDE = 199  # negatives per user where all users are ranked
WIDE_CHUNK = 1_000  # users whose features are made at once
VALID_USERS = 2_500
AUXILIARY = 0.5  # weight of DIEN's auxiliary loss
MODELS = {"din": DIN, "dien": DIEN}
HISTORY = 10  # a user has 8.9 items in the mean
RECIPES = {
    "din": fit.Recipe(lr=2e-3, table_lr=6e-3, average=0.98, epochs=6, patience=1),
    "dien": fit.Recipe(lr=2e-3, table_lr=6e-3, average=0.98, epochs=4, patience=1),
}


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Queries of one positive, first, and `negatives` others each: rows, labels, offsets, users."""

    rows: Rows
    labels: np.ndarray
    offsets: np.ndarray
    users: np.ndarray


class Beauty:
    """The sequences, their features, and requests drawn from them.

    Training negatives are items that the user's training part lacks; held-out ones items that the
    user never touches.
    """

    def __init__(self, folder: Path) -> None:
        self.data = behaviour.load(
            folder / "Beauty.txt.gz", folder / "Beauty_item2attributes.json.gz"
        )
        self.features = behaviour.Features(self.data, HISTORY)
        lengths, items = self.data.lengths, len(self.data.ids)
        users = np.repeat(np.arange(len(lengths)), lengths)
        back = np.repeat(self.data.starts[1:], lengths) - np.arange(len(users))
        trained = (back > behaviour.HELD_OUT) | (lengths[users] <= behaviour.HELD_OUT)
        self.train_unseen = Unseen(users[trained], self.data.items[trained], items)
        self.unseen = Unseen(users, self.data.items, items)
        user, position = behaviour.cut(self.data, "train")
        left = np.searchsorted(user, user, side="right") - np.arange(len(user))
        self.user, self.position = user[left <= POSITIONS], position[left <= POSITIONS]
        self.item = self.data.item(self.user, self.position)

    def requests(
        self, part: behaviour.PartName, negatives: int, users: int | None = None
    ) -> Requests:
        """Of all users, or of the first `users` of a fixed permutation; the same for every seed."""
        rng = np.random.default_rng(0)
        user, position = behaviour.cut(self.data, part)
        at = np.sort(rng.permutation(len(user))[:users])
        return self.ranked(rng, user[at], position[at], negatives)

    def ranked(
        self, rng: np.random.Generator, user: np.ndarray, position: np.ndarray, negatives: int
    ) -> Requests:
        """What stands at these positions, each before others drawn."""
        drawn = self.unseen(rng, user, negatives)
        items = np.column_stack([self.data.item(user, position), drawn])
        width = negatives + 1
        rows = self.features.of(
            np.repeat(user, width), np.repeat(position, width), items.reshape(-1)
        )
        labels = (np.arange(items.size) % width == 0).astype(np.float32)
        return Requests(rows, labels, np.arange(0, items.size + 1, width, dtype=np.int32), user)


def tensors(rows: Rows) -> tuple[Tensor, ...]:
    """The arguments of a network's forward()."""
    values, lengths = rows.sparse["attributes"]
    return (
        torch.tensor(rows.padded("history")),
        torch.tensor(rows.padded("history_category")),
        torch.tensor(rows.sparse["item"][0]),
        torch.tensor(rows.sparse["category"][0]),
        torch.tensor(values),
        torch.tensor(np.cumsum(lengths, dtype=np.int64) - lengths),
    )


def epoch(beauty: Beauty, batch_rows: int, rng: np.random.Generator) -> Iterator[tuple]:
    """Every training position once with its item and once with another, as (rows, labels)."""
    count = len(beauty.user)
    drawn = beauty.train_unseen(rng, beauty.user, 1)[:, 0]
    items = np.concatenate([beauty.item, drawn])
    for at in fit.shuffled(2 * count, batch_rows, rng):
        one = at % count
        rows = beauty.features.of(beauty.user[one], beauty.position[one], items[at])
        yield rows, torch.tensor((at < count).astype(np.float32)), rng


def loss(net: nn.Module, batch: tuple) -> Tensor:
    rows, labels, rng = batch
    given = tensors(rows)
    if isinstance(net, DIN):
        return nn.functional.binary_cross_entropy_with_logits(net.logits(*given)[:, 0], labels)
    history, categories = given[:2]
    states = net.states(history, categories)
    logits = net.logits(*given, states=states)[:, 0]
    keys = net.tables.keys(history, categories)[:, 1:]
    # Another user's key at the same place of the batch stands for an item drawn at random.
    other = keys[torch.tensor(rng.permutation(len(keys)))]
    main = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    return main + AUXILIARY * net.next_item_loss(history, states, keys, other)


def train(beauty: Beauty, name: str, seed: int, out: Path) -> dict[str, object]:
    begin = time.monotonic()
    recipe, limits = RECIPES[name], beauty.features.table_rows
    valid = beauty.requests("valid", 19, VALID_USERS)

    def score(net: nn.Module, rows: Rows) -> np.ndarray:
        return fit.scored(net, lambda i: tensors(rows.take(i)), len(rows))

    def quality(net: nn.Module) -> float:
        return ndcg(valid.labels, score(net, valid.rows), valid.offsets)

    net, history = fit.fit(
        lambda: MODELS[name](limits["item"], limits["attributes"]),
        lambda rng: epoch(beauty, recipe.batch_rows, rng),
        loss,
        quality,
        recipe,
        seed,
    )
    train_s = round(time.monotonic() - begin)
    sets = {
        "test": beauty.requests("test", 1),
        "ranking": beauty.requests("test", 99, RANKED_USERS),
    }
    model = handover.imported(
        net,
        tensors(sets["test"].rows.take(np.arange(4))),
        beauty.features.schema,
        user_inputs=("history", "history_category"),
        name=f"beauty-{name}",
        renamed={"attributes_values": "attributes"},
    )
    scores = {key: score(net, found.rows) for key, found in sets.items()}
    test, ranking = sets["test"], sets["ranking"]
    users = np.repeat(test.users, 2)
    interval = bootstrap(auc, test.labels, scores["test"], groups=users, resamples=100)
    record: dict[str, object] = {
        "model": model.name,
        "seed": seed,
        "epochs": len(history),
        "valid ndcg@10 of 20": max(history),
        "auc": interval.value,
        "auc low": interval.low,
        "auc high": interval.high,
        "ne": normalised_entropy(test.labels, scores["test"]),
        "hr@10": hit_rate(ranking.labels, scores["ranking"], ranking.offsets),
        "ndcg@10": ndcg(ranking.labels, scores["ranking"], ranking.offsets),
        "train_s": train_s,
    }
    held_out = {
        key: handover.labelled(found.rows, model, found.labels, found.offsets, groups=found.users)
        for key, found in sets.items()
    }
    record |= wide_ranking(beauty, model, out)
    return handover.deliver(out, model, held_out, scores, record, seed)


def wide_ranking(beauty: Beauty, model: rs.Model, out: Path) -> dict[str, float]:
    """Every user's last item before 199 drawn; the same for every seed."""
    rng = np.random.default_rng(1)
    user, position = behaviour.cut(beauty.data, "test")
    parts = []
    for at in range(0, len(user), WIDE_CHUNK):
        chunk = slice(at, at + WIDE_CHUNK)
        found = beauty.ranked(rng, user[chunk], position[chunk], WIDE)
        parts.append(handover.labelled(found.rows, model, found.labels, found.offsets))
    whole = LabelledData(
        model.inputs,
        merge([part.batch for part in parts], model.inputs),
        np.concatenate([part.labels for part in parts]),
        user,
    )
    out.mkdir(parents=True, exist_ok=True)
    return handover.wide_ranking(out / "ranking-200.safetensors", model, whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the Beauty files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rankings", action="store_true", help="train nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    beauty = Beauty(given.data)
    if given.rankings:
        print(json.dumps(wide_ranking(beauty, rs.load(given.out / "model"), given.out)))
        return
    print(json.dumps(train(beauty, given.model, given.seed, given.out)))


if __name__ == "__main__":
    main()
