"""Each module with inputs of any batch size, and a comparison with torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recstack.engine.reference import reference
from recstack.model import Model
from recstack.model.importing import batch_from_inputs
from tests.model.importing import modules as m

Inputs = tuple[Any, ...]
Make = Callable[[int, torch.Generator], Inputs]


def ids(rows: int, *shape: int, g: torch.Generator, low: int = 0) -> Tensor:
    return torch.randint(low, rows, shape, generator=g)


def floats(*shape: int, g: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=g)


def bags(rows: int, batch: int, g: torch.Generator, longest: int = 4) -> tuple[Tensor, Tensor]:
    """Values and offsets of ragged bags, some of them empty."""
    lengths = torch.randint(0, longest + 1, (batch,), generator=g)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])[:batch]
    return ids(rows, int(lengths.sum()), g=g), offsets


def dlrm_inputs(tables: int, rows: int, dense: int) -> Make:
    def make(batch: int, g: torch.Generator) -> Inputs:
        both = [bags(rows, batch, g) for _ in range(tables)]
        return floats(batch, dense, g=g), [o for _, o in both], [v for v, _ in both]

    return make


CASES: dict[str, tuple[Callable[[], nn.Module], Make]] = {
    "ncf": (m.NCF, lambda n, g: (ids(50, n, g=g), ids(40, n, g=g))),
    "rm1": (lambda: m.DLRM(4, 30, 8, 6, [16], [12]), dlrm_inputs(4, 30, 6)),
    "rm2": (lambda: m.DLRM(8, 20, 4, 5, [12, 8], [10], "cat"), dlrm_inputs(8, 20, 5)),
    "rm3": (lambda: m.DLRM(3, 20, 4, 32, [24, 16], [16, 8], "cat"), dlrm_inputs(3, 20, 32)),
    "rm1-tril": (
        m.TrilDLRM,
        lambda n, g: (
            floats(n, 5, g=g),
            ids(30, n, 4, g=g),
            ids(30, n, 1, g=g),
            ids(30, n, 6, g=g),
        ),
    ),
    "wnd": (m.WideAndDeep, lambda n, g: (floats(n, 5, g=g), ids(20, n, 6, g=g))),
    "mt-wnd": (m.MultiTask, lambda n, g: (floats(n, 3, g=g), ids(20, n, 4, g=g))),
    "din": (m.DIN, lambda n, g: (ids(10, n, g=g), ids(40, n, 5, g=g), ids(40, n, g=g))),
    "din-softmax": (
        lambda: m.DIN(softmax=True),
        lambda n, g: (ids(10, n, g=g), ids(40, n, 5, g=g), ids(40, n, g=g)),
    ),
    "din-flat": (
        lambda: m.DIN(flat=True),
        lambda n, g: (ids(10, n, g=g), ids(40, n, 5, g=g), ids(40, n, g=g)),
    ),
    "dien": (m.DIEN, lambda n, g: (ids(40, n, 5, g=g), ids(40, n, g=g), ids(40, n, g=g))),
    "dien-cells": (
        lambda: m.DIEN(cells=True),
        lambda n, g: (ids(40, n, 5, g=g), ids(40, n, g=g), ids(40, n, g=g)),
    ),
    "dcnv2": (m.DCNv2, lambda n, g: (floats(n, 3, g=g), ids(25, n, 4, g=g))),
    "deepfm": (m.DeepFM, lambda n, g: (torch.cat([ids(k, n, 1, g=g) for k in (5, 9, 4, 12)], 1),)),
    "two-tower": (
        m.TwoTower,
        lambda n, g: (ids(30, n, g=g), floats(n, 3, g=g), ids(60, n, 7, g=g), ids(60, n, g=g)),
    ),
}


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The module in eval mode, its parameters and running statistics far from their defaults."""
    torch.manual_seed(seed)
    module = make().eval()
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.5)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return module


def torch_scores(module: nn.Module, inputs: Inputs) -> np.ndarray:
    """The module's outputs, flattened per row and side by side."""
    with torch.no_grad():
        out = module(*inputs)
    out = tuple(out.values()) if isinstance(out, dict) else out
    parts = out if isinstance(out, tuple | list) else (out,)
    return np.concatenate([p.numpy().reshape(p.shape[0], -1) for p in parts], axis=1)


def assert_agrees(
    model: Model, module: nn.Module, inputs: Inputs, atol: float = 1e-5, **options: Any
) -> None:
    got = reference(model, batch_from_inputs(model, inputs, **options))
    want = torch_scores(module, inputs)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=atol)
