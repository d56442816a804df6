"""FBGEMM's table-batched lookups of quantised tables, then the dense part in torch's bfloat16."""

from __future__ import annotations

import importlib.metadata
from typing import Literal, cast

import numpy as np
import torch
from fbgemm_gpu.split_embedding_configs import SparseType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
from fbgemm_gpu.split_table_batched_embeddings_ops_inference import (
    IntNBitTableBatchedEmbeddingBagsCodegen as TableBatched,
)
from torch import Tensor

from recstack.batch import Batch
from recstack.bench.contenders.torch_low import Lookup, TorchLow, stored
from recstack.bench.form import Group
from recstack.engine.torch_executor.weights import as_tensor
from recstack.model import Model


class _FbgemmLow(TorchLow):
    """FBGEMM's table-batched inference operator; every feature reads the one table of its group."""

    tables: Literal["int8", "int4"] = "int8"

    def version(self) -> str:
        """fbgemm-gpu-cpu's version."""
        return importlib.metadata.version("fbgemm-gpu-cpu")

    def lookup(self, model: Model, i: int, group: Group) -> Lookup:
        """The operator as its module calls it."""
        sort = {"int8": SparseType.INT8, "int4": SparseType.INT4}[self.tables]
        count = len(group.places)
        made = TableBatched(
            [("table", *group.table.shape, sort, EmbeddingLocation.HOST)],
            feature_table_map=[0] * count,
            device="cpu",
            output_dtype=SparseType.FP32,
        )
        made.initialize_weights()
        rows = made.split_embedding_weights(split_scale_shifts=False)[0][0]
        _scale_first(stored(model, i, group, self.tables), self.tables, rows)
        return cast(Lookup, made)

    def stage(self, batch: Batch) -> list[Tensor]:
        """As for torch, with the indices feature by feature."""
        indices = [
            torch.from_numpy(np.ascontiguousarray(group.indices(batch).swapaxes(0, 1)).reshape(-1))
            for group in self.form.groups
        ]
        return [as_tensor(batch.dense).to(self._dtype), *indices]


class FbgemmInt8(_FbgemmLow):
    """int8 tables, the dense part in torch's bfloat16."""

    name = "FBGEMM int8 tables, bf16"


class FbgemmInt4(_FbgemmLow):
    """int4 tables, the dense part in torch's bfloat16."""

    name = "FBGEMM int4 tables, bf16"
    tables = "int4"


def _scale_first(table: Tensor, sort: str, out: Tensor, step: int = 1 << 16) -> None:
    """Rows with scale and bias behind, rewritten with both as float16 in front."""
    tail = 8 if sort == "int8" else 4
    for at in range(0, len(table), step):
        rows = table[at : at + step]
        ends = rows[:, -tail:].contiguous()
        if sort == "int8":
            ends = ends.view(torch.float32).half().view(torch.uint8)
        out[at : at + step] = torch.cat([ends, rows[:, :-tail]], 1)
