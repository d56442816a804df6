"""A trained network as a recstack model folder, and the proof that its scores agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

import recstack as rs
from recstack import results
from recstack.batch import Input, SparseInput
from recstack.data import LabelledData
from recstack.data.drawn import drawn_gains
from recstack.data.metrics import auc
from recstack.model import build
from recstack.model.importing import coverage

AUC_TOLERANCE = 1e-6


def imported(
    net: nn.Module,
    example_inputs: tuple,
    schema: Sequence[Input],
    user_inputs: Sequence[str],
    name: str,
    renamed: Mapping[str, str],
) -> rs.Model:
    """The network as a model whose sparse inputs are those of `schema`.

    renamed: argument of forward() -> feature, where they differ. A network pads a sequence with
    index 0 and masks it, so that a bag which ends early gives the same: such inputs need not be
    fixed. Exits where torch would have to run an operator.
    """
    model = rs.from_torch(net, example_inputs, user_inputs=user_inputs, name=name)
    if opaque := coverage(model).opaque:
        raise SystemExit(f"{name}: torch would have to run {opaque}")
    features = {i.name: i for i in schema if isinstance(i, SparseInput)}

    def named(text: str) -> str:
        return renamed.get(text, text)

    inputs = [features[named(i.name)] if isinstance(i, SparseInput) else i for i in model.inputs]
    ops = [op.model_copy(update={"inputs": tuple(map(named, op.inputs))}) for op in model.ops]
    changes = {"inputs": tuple(inputs), "ops": tuple(ops), "arguments": ()}
    return build(model.description.model_copy(update=changes), model.weights)


def labelled(
    rows, model: rs.Model, labels, offsets=None, groups=None, closed: bool = False
) -> LabelledData:
    """Rows (recstack.data.rows) with labels (R,) or (R, tasks), as the model's labelled data."""
    names = [i.name for i in model.sparse]
    batch = rows.batch(names, offsets)
    return LabelledData(
        model.inputs,
        batch.replace(values=batch.values.astype(np.int32)),
        np.asarray(labels, np.float32).reshape(batch.rows, -1),
        groups,
        closed,
    )


def wide_ranking(path: Path, model: rs.Model, data: LabelledData) -> dict[str, float]:
    """Write rankings against more candidates than 99; HR@10 and NDCG@10 as means over draws of 99.

    By recstack's scores.
    """
    data.save(path)
    engine = rs.compile(model)
    scores = np.concatenate([engine.run(part.batch) for part in data.chunks(65536)])[:, 0]
    at = data.batch.query_offsets.astype(np.int64)
    return {
        f"{which}@10/100": float(
            drawn_gains(scores, at, k=10, of=100, which=which)[data.labels[:, 0] > 0].mean()
        )
        for which in ("hr", "ndcg")
    }


def deliver(
    out: Path,
    model: rs.Model,
    held_out: Mapping[str, LabelledData],
    torch_scores: Mapping[str, np.ndarray],
    record: dict[str, object],
    seed: int,
) -> dict[str, object]:
    """Write `out`/model, `out`/NAME.safetensors per held-out set and `out`/metrics.jsonl.

    torch_scores: of the same rows, (R,) or (R, tasks). The saved model must score every set as
    torch did: exits where an AUC differs by more than 1e-6. The record gains the largest
    differences.
    """
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model")
    engine = rs.compile(rs.load(out / "model"))
    apart, scores_apart = 0.0, 0.0
    for name, data in held_out.items():
        data.save(out / f"{name}.safetensors")
        native = np.concatenate([engine.run(part.batch) for part in data.chunks(65536)])
        native = native.astype(np.float64)
        theirs = torch_scores[name].reshape(native.shape)
        scores_apart = max(scores_apart, float(abs(native - theirs).max()))
        for task in range(native.shape[1]):
            truth = data.labels[:, task]
            apart = max(apart, abs(auc(truth, native[:, task]) - auc(truth, theirs[:, task])))
    record |= {"auc_apart": apart, "scores_apart": scores_apart, "origin": "measured"}
    results.write(out / "metrics.jsonl", "example", [record], seed=seed)
    if apart > AUC_TOLERANCE:
        raise SystemExit(f"{model.name}: AUC differs from torch's by {apart}")
    return record
