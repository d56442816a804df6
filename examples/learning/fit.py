"""Training with early stopping on a validation figure, and a moving average of the weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained; chosen on the validation part alone.

    lr, table_lr: Adam's rates for layers and for embedding tables. decay: of the layers' weights
    per step and unit of rate, as AdamW has it. average: decay per step of the moving average of the
    weights, which is what is kept. patience: epochs without a better validation figure before
    training stops.
    """

    lr: float = 1e-3
    table_lr: float = 1e-3
    decay: float = 0.0
    batch_rows: int = 512
    epochs: int = 30
    patience: int = 3
    average: float = 0.998


def fit(
    make: Callable[[], nn.Module],
    batches: Callable[[np.random.Generator], Iterable[Any]],
    loss: Callable[[nn.Module, Any], Tensor],
    quality: Callable[[nn.Module], float],
    recipe: Recipe,
    seed: int,
) -> tuple[nn.Module, list[float]]:
    """The network of the best epoch, in eval mode, and each epoch's validation figure.

    batches: an epoch's, in order. quality: of a network in eval mode; higher is better.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = make()
    tables = {id(m.weight) for m in net.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    groups: list[dict[str, object]] = [
        {"params": [p for p in net.parameters() if id(p) in tables], "lr": recipe.table_lr},
        {
            "params": [p for p in net.parameters() if id(p) not in tables],
            "lr": recipe.lr,
            "weight_decay": recipe.decay,
        },
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.0)
    average = AveragedModel(
        net, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True
    )
    history: list[float] = []
    best: dict[str, Tensor] = {}
    for _ in range(recipe.epochs):
        net.train()
        for batch in batches(rng):
            optimiser.zero_grad()
            loss(net, batch).backward()
            optimiser.step()
            average.update_parameters(net)
        history.append(quality(average.module.eval()))
        print(f"epoch {len(history)}: {history[-1]:.5f}", file=sys.stderr, flush=True)
        if history[-1] == max(history):
            best = {name: value.clone() for name, value in average.module.state_dict().items()}
        elif len(history) - 1 - int(np.argmax(history)) >= recipe.patience:
            break
    net.load_state_dict(best)
    return net.eval(), history


def shuffled(rows: int, batch_rows: int, rng: np.random.Generator) -> Iterable[np.ndarray]:
    """Row numbers of an epoch, batch by batch."""
    order = rng.permutation(rows)
    for start in range(0, rows, batch_rows):
        yield order[start : start + batch_rows]


def scored(
    net: nn.Module, inputs: Callable[[np.ndarray], tuple], rows: int, step: int = 8192
) -> np.ndarray:
    """Scores of all rows, (rows,) or (rows, tasks) float64, `step` rows at a time, in eval mode."""
    net.eval()
    with torch.inference_mode():
        parts = [
            net(*inputs(np.arange(at, min(at + step, rows)))).double().numpy()
            for at in range(0, rows, step)
        ]
    whole = np.concatenate(parts)
    return whole[:, 0] if whole.shape[1] == 1 else whole
