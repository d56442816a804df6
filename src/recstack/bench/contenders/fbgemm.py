"""FBGEMM's table-batched embeddings, then the dense part compiled by AOTInductor."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import fbgemm_gpu  # noqa: F401  registers the operators
import numpy as np
import torch

from recstack.batch import Batch
from recstack.bench.contender import Setting
from recstack.bench.contenders.aoti import loader
from recstack.bench.contenders.torch_form import TorchPeer, module_of
from recstack.bench.form import Group
from recstack.engine.torch_executor.weights import as_tensor
from recstack.model import Model

POOL_SUM, FLOAT32 = 0, 0


class Fbgemm(TorchPeer):
    """Every table is read where it lies; features of one group are one call."""

    name = "FBGEMM"

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        self._calls = [_Call(model, group, setting.rows) for group in self.form.groups]
        module = module_of(self.form, setting.rows, pooled_outside=True)
        width = sum(item.width for item in model.dense)
        example = [torch.zeros(setting.rows, width)]
        example += [torch.zeros(setting.rows, c.width) for c in self._calls]
        self._loader = loader("dense", module, example, [False] * len(example), model, setting)

    def version(self) -> str:
        """fbgemm-gpu-cpu's version."""
        return importlib.metadata.version("fbgemm-gpu-cpu")

    def stage(self, batch: Batch) -> Any:
        """The dense columns, and each group's indices, feature by feature."""
        return as_tensor(batch.dense), [call.stage(batch) for call in self._calls]

    def run(self, staged: Any) -> Any:
        """Lookups, then the loader."""
        dense, indices = staged
        pooled = [call.run(i) for call, i in zip(self._calls, indices, strict=True)]
        return self._loader.run([dense, *pooled])


class _Call:
    """One table-batched lookup: (rows, features * dim)."""

    def __init__(self, model: Model, group: Group, rows: int) -> None:
        count, dim = len(group.places), group.table.shape[1]
        self.group, self.width = group, count * dim
        ends = np.append(group.bases[1:], len(group.table)) - group.bases
        self._weights = as_tensor(group.table).view(-1)
        self._begins = torch.from_numpy(group.bases * dim)
        self._columns = torch.arange(count + 1, dtype=torch.int32) * dim
        self._sizes = torch.from_numpy(np.concatenate([[0], np.cumsum(np.abs(ends))]))
        self._offsets = torch.arange(count * rows + 1) * group.length

    def stage(self, batch: Batch) -> torch.Tensor:
        """Indices (features * rows * length,) int64 within each table."""
        local = self.group.indices(batch) - self.group.bases[:, None]
        return torch.from_numpy(np.ascontiguousarray(local.swapaxes(0, 1)).reshape(-1))

    def run(self, indices: torch.Tensor) -> Any:
        """The operator that the table-batched module calls."""
        return torch.ops.fbgemm.split_embedding_codegen_forward_cpu(
            self._weights,
            self._begins,
            self._columns,
            self.width,
            self._sizes,
            indices,
            self._offsets,
            POOL_SUM,
            None,
            FLOAT32,
        )
