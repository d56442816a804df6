"""Training with early stopping, scoring, and checkpoints: safetensors with their settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from dataset import Dataset, Part, hide_ids, tensors
from models import DIN, NCF, WideDeep
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from recstack.data.metrics import auc

MODELS: dict[str, type[nn.Module]] = {"wnd": WideDeep, "ncf": NCF, "din": DIN}
CHECKPOINTS = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained; chosen on the validation part alone.

    lr, table_lr: Adam's rates for layers and for embedding tables. average: decay per step of the
    moving average of the weights, which is what is kept. hide_user, hide_movie: chance
    that a training row's id is replaced by the unknown one. patience: epochs without a better
    validation AUC before training stops.
    """

    lr: float = 1e-3
    table_lr: float = 3e-5
    batch_rows: int = 512
    epochs: int = 30
    patience: int = 4
    average: float = 0.998
    hide_user: float = 0.8
    hide_movie: float = 0.7


RECIPES = {
    "wnd": Recipe(),
    "ncf": Recipe(table_lr=1e-3, hide_user=0.5, hide_movie=0.4),
    "din": Recipe(table_lr=1e-5),
}


def arguments(data: Dataset, model: str, **changes: object) -> dict[str, object]:
    """Constructor arguments of a model on this data."""
    names = ("rows",) if model == "ncf" else ("user_dense", "dense", "rows")
    return {name: data.shape[name] for name in names} | changes


def fit(
    model: str, data: Dataset, seed: int, recipe: Recipe, **changes: object
) -> tuple[nn.Module, list[float]]:
    """The network of the best validation epoch, in eval mode, and each epoch's validation AUC."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = MODELS[model](**arguments(data, model, **changes))
    tables = {id(m.weight) for m in net.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    groups: list[dict[str, object]] = [
        {"params": [p for p in net.parameters() if id(p) in tables], "lr": recipe.table_lr},
        {"params": [p for p in net.parameters() if id(p) not in tables], "lr": recipe.lr},
    ]
    optimiser = torch.optim.Adam(groups)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    loss = nn.BCEWithLogitsLoss()
    part, history, best = data.parts["train"], [], {}
    for _ in range(recipe.epochs):
        net.train()
        order = rng.permutation(len(part.labels))
        for start in range(0, len(order), recipe.batch_rows):
            at = order[start : start + recipe.batch_rows]
            user, movie = rng.random((2, len(at)))
            rows = hide_ids(part.rows.take(at), user < recipe.hide_user, movie < recipe.hide_movie)
            optimiser.zero_grad()
            logits = net.logits(*tensors(rows, model))[:, 0]
            loss(logits, torch.tensor(part.labels[at])).backward()
            optimiser.step()
            average.update_parameters(net)
        valid = data.parts["valid"]
        history.append(auc(valid.labels, score(average.module, model, valid)))
        if history[-1] == max(history):
            best = {name: value.clone() for name, value in average.module.state_dict().items()}
        elif len(history) - 1 - int(np.argmax(history)) >= recipe.patience:
            break
    net.load_state_dict(best)
    return net.eval(), history


def score(net: nn.Module, model: str, part: Part) -> np.ndarray:
    """Probabilities of a like, (R,) float64."""
    net.eval()
    with torch.inference_mode():
        return net(*tensors(part.rows, model))[:, 0].double().numpy()


def save(path: Path, net: nn.Module, settings: dict[str, object]) -> None:
    """Write the weights, with the constructor arguments and recipe as JSON in the file's header."""
    metadata = {name: json.dumps(value) for name, value in settings.items()}
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path, metadata)


def restore(model: str, path: Path | None = None) -> nn.Module:
    """The committed network, in eval mode; no dataset is read."""
    path = path or CHECKPOINTS / f"{model}.safetensors"
    with safe_open(path, "pt") as file:
        net = MODELS[model](**json.loads(file.metadata()["arguments"]))
    net.load_state_dict(load_file(path))
    return net.eval()


def settings(data: Dataset, model: str, seed: int, recipe: Recipe, **changes: object) -> dict:
    return {
        "model": model,
        "seed": seed,
        "arguments": arguments(data, model, **changes),
        "recipe": asdict(recipe),
    }
