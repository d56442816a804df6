"""The trained networks as recstack model folders, and the proof that their scores agree.

    python examples/movielens/export.py               # writes models/wnd, models/din
    python examples/movielens/export.py --checkpoints out/spread --out out/models

The second form writes, for every checkpoint NAME.safetensors of wnd and din in a folder,
OUT/NAME/model beside OUT/NAME/test.safetensors (the test part as labelled data) and metrics.jsonl.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import dataset
import numpy as np
import torch
import training
from learning import handover
from safetensors import safe_open
from torch import nn

import recstack as rs
from recstack.data.metrics import auc, bootstrap, normalised_entropy
from recstack.data.movielens import SCHEMA

HERE = Path(__file__).parent
USER = ("user_dense", "user", "history")
RENAMED = {"genre_values": "genres", "cross_values": "user_x_genre"}


def exported(name: str, net: nn.Module, data: dataset.Dataset) -> rs.Model:
    """The network as a model whose inputs are the loader's features."""
    rows = data.parts["valid"].rows.take(np.arange(4))
    user_inputs = [n for n in USER if n != "history" or name == "din"]
    return handover.imported(net, dataset.tensors(rows, name), SCHEMA, user_inputs, name, RENAMED)


def deliver(path: Path, data: dataset.Dataset, out: Path) -> dict[str, object]:
    """Write the model of one checkpoint, its held-out data and figures."""
    name = path.stem.split("-")[0]
    net, test = training.restore(name, path), data.parts["test"]
    with safe_open(path, "pt") as file:
        seed = int(json.loads(file.metadata()["seed"]))
    scores = training.score(net, name, test)
    interval = bootstrap(auc, test.labels, scores, groups=test.users, resamples=300)
    record: dict[str, object] = {
        "model": name,
        "seed": seed,
        "auc": interval.value,
        "auc low": interval.low,
        "auc high": interval.high,
        "ne": normalised_entropy(test.labels, scores),
    }
    model = exported(name, net, data)
    held_out = {"test": handover.labelled(test.rows, model, test.labels, groups=test.users)}
    return handover.deliver(out, model, held_out, {"test": scores}, record, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=Path, help="folder of checkpoints to deliver")
    parser.add_argument("--out", type=Path, help="where to; needed with --checkpoints")
    given = parser.parse_args()
    if (given.checkpoints is None) != (given.out is None):
        parser.error("expected --checkpoints and --out together")
    torch.set_num_threads(1)
    data = dataset.read()
    if given.checkpoints is not None:
        for path in sorted(given.checkpoints.glob("*.safetensors")):
            if path.stem.split("-")[0] in ("wnd", "din"):
                print(json.dumps(deliver(path, data, given.out / path.stem)))
        return
    for name in ("wnd", "din"):
        folder = HERE / "models" / name
        exported(name, training.restore(name), data).save(folder)
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{name}: {size / 1e6:.2f} MB, {agreement(name, folder, data)}")


def agreement(name: str, folder: Path, data: dataset.Dataset) -> str:
    """How a saved model's test scores compare with torch's."""
    test, model = data.parts["test"], rs.load(folder)
    batch = test.rows.batch([i.name for i in model.sparse])
    ours = rs.compile(model).run(batch)[:, 0].astype(np.float64)
    theirs = training.score(training.restore(name), name, test)
    return (
        f"AUC recstack {auc(test.labels, ours):.9f}, torch {auc(test.labels, theirs):.9f}; "
        f"largest difference of a score {abs(ours - theirs).max():.1e}"
    )


if __name__ == "__main__":
    main()
