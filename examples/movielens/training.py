"""Training with early stopping, scoring, and checkpoints: safetensors with their settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from dataset import Dataset, Part, hide_ids, tensors
from models import DIN, NCF, WideDeep
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from learning import fit

from recstack.data.metrics import auc
from recstack.data.rows import Rows

MODELS: dict[str, type[nn.Module]] = {"wnd": WideDeep, "ncf": NCF, "din": DIN}
CHECKPOINTS = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True, slots=True)
class Recipe(fit.Recipe):
    """hide_user, hide_movie: chance that a training row's id is replaced by the unknown one."""

    table_lr: float = 3e-5
    patience: int = 4
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


def train(
    model: str, data: Dataset, seed: int, recipe: Recipe, **changes: object
) -> tuple[nn.Module, list[float]]:
    """The network of the best validation epoch, in eval mode, and each epoch's validation AUC."""
    part, valid = data.parts["train"], data.parts["valid"]
    entropy = nn.BCEWithLogitsLoss()

    def batches(rng: np.random.Generator) -> Iterator[tuple[Rows, np.ndarray]]:
        for at in fit.shuffled(len(part.labels), recipe.batch_rows, rng):
            user, movie = rng.random((2, len(at)))
            hidden = user < recipe.hide_user, movie < recipe.hide_movie
            yield hide_ids(part.rows.take(at), *hidden), part.labels[at]

    def loss(net: nn.Module, batch: tuple[Rows, np.ndarray]) -> Tensor:
        return entropy(net.logits(*tensors(batch[0], model))[:, 0], torch.tensor(batch[1]))

    return fit.fit(
        lambda: MODELS[model](**arguments(data, model, **changes)),
        batches,
        loss,
        lambda net: auc(valid.labels, score(net, model, valid)),
        recipe,
        seed,
    )


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
