"""The trained networks as recstack model folders, and the proof that their scores agree.

python examples/movielens/export.py          # writes models/wnd, models/din
"""

from __future__ import annotations

from pathlib import Path

import dataset
import numpy as np
import torch
import training

import recstack as rs
from recstack.batch import SparseInput
from recstack.data.metrics import auc
from recstack.data.movielens import SPARSE
from recstack.model import build
from recstack.model.importing import coverage

HERE = Path(__file__).parent
USER = ("user_dense", "user", "history")
RENAMED = {"genre_values": "genres", "cross_values": "user_x_genre"}


def exported(name: str, data: dataset.Dataset) -> rs.Model:
    """The committed network `name` as a model whose inputs are the loader's features."""
    net = training.restore(name)
    rows = data.parts["valid"].rows.take(np.arange(4))
    inputs = dataset.tensors(rows, name)
    user_inputs = [n for n in USER if n != "history" or name == "din"]
    model = rs.from_torch(net, inputs, user_inputs=user_inputs, name=name)
    if opaque := coverage(model).opaque:
        raise SystemExit(f"{name}: torch would have to run {opaque}")
    return _named(model)


def _named(model: rs.Model) -> rs.Model:
    """With the loader's names, and histories as short as they are.

    The network pads a history with index 0 and masks it, so a bag that ends early gives the same.
    """

    def named(text: str) -> str:
        return RENAMED.get(text, text)

    inputs = [
        SPARSE[named(i.name)] if isinstance(i, SparseInput) else i
        for i in model.inputs
    ]  # fmt: skip
    ops = [op.model_copy(update={"inputs": tuple(map(named, op.inputs))}) for op in model.ops]
    changes = {"inputs": tuple(inputs), "ops": tuple(ops), "arguments": ()}
    return build(model.description.model_copy(update=changes), model.weights)


def main() -> None:
    torch.set_num_threads(1)
    data = dataset.read()
    test = data.parts["test"]
    for name in ("wnd", "din"):
        folder = HERE / "models" / name
        exported(name, data).save(folder)
        model = rs.load(folder)
        batch = test.rows.batch([i.name for i in model.sparse])
        ours = rs.compile(model).run(batch)[:, 0].astype(np.float64)
        theirs = training.score(training.restore(name), name, test)
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(
            f"{name}: AUC recstack {auc(test.labels, ours):.9f}, "
            f"torch {auc(test.labels, theirs):.9f}; "
            f"largest difference of a score {abs(ours - theirs).max():.1e}; {size / 1e6:.2f} MB"
        )


if __name__ == "__main__":
    main()
