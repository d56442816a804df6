"""Train the models and the logistic regressions; write their checkpoints. No test row is read.

    python examples/movielens/train.py                  # everything, a few minutes
    python examples/movielens/train.py wnd din --seeds 0

The first seed's network is kept; the others go to `--spread`, if given, for evaluate.py.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import baseline
import torch
import training
from dataset import read
from safetensors.numpy import save_file


def main() -> None:
    names = [*training.MODELS, *baseline.BAGS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=names, help=f"of {', '.join(names)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=training.CHECKPOINTS)
    parser.add_argument("--spread", type=Path, help="folder for the other seeds' checkpoints")
    given = parser.parse_args()
    if unknown := set(given.models) - set(names):
        parser.error(f"expected models of {names}, got {sorted(unknown)}")
    torch.set_num_threads(1)
    data = read()
    for folder in (given.out, given.spread):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    for name in given.models:
        start = time.monotonic()
        if name in baseline.BAGS:
            weights, chosen = baseline.fit(data, baseline.BAGS[name])
            header = {key: json.dumps(value) for key, value in chosen.items()}
            save_file({"weights": weights}, given.out / f"{name}.safetensors", header)
            print(f"{name}: {chosen}, {time.monotonic() - start:.0f} s", flush=True)
            continue
        recipe = training.RECIPES[name]
        for number, seed in enumerate(given.seeds):
            start = time.monotonic()
            net, history = training.train(name, data, seed, recipe)
            settings = training.settings(data, name, seed, recipe) | {"valid_auc": history}
            if number == 0:
                training.save(given.out / f"{name}.safetensors", net, settings)
            elif given.spread is not None:
                training.save(given.spread / f"{name}-{seed}.safetensors", net, settings)
            took = time.monotonic() - start
            print(
                f"{name}, seed {seed}: {max(history):.4f} validation AUC, {took:.0f} s", flush=True
            )


if __name__ == "__main__":
    main()
