"""The torch executor: a model run by torch's eager mode (or torch.compile) on one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recstack.batch import Batch, DenseInput
from recstack.engine.reference.checks import check_batch
from recstack.engine.torch_executor.lookups import Key, Packing, plan_bags
from recstack.engine.torch_executor.sequences import plan_sequences
from recstack.engine.torch_executor.steps import QUERIES, ROWS, plan_steps
from recstack.engine.torch_executor.weights import Tensors, as_tensor
from recstack.model import Model
from recstack.types import Scores

Staged = tuple[dict[Key, Tensor], list[Any], list[Any]]


class TorchExecutor:
    """Runs a model by torch: user-scope work once per query, fused calls wherever torch has them.

    device: any torch device; on the CPU weights are used where they lie, elsewhere copied once.
    compile: let torch.compile optimise all that follows the staging of a batch (slow to start).
    fuse_tables: copy tables of one width into one, for one lookup call per pooling; doubles the
        memory of the tables.
    check: refuse faulty batches as the reference does; turn it off to time torch alone, with
        batches that are known to be good (a bad index then is torch's to catch).
    The number of threads is torch's own (`torch.set_num_threads`).
    """

    def __init__(
        self,
        model: Model,
        device: str = "cpu",
        compile: bool = False,
        fuse_tables: bool = False,
        check: bool = True,
    ) -> None:
        self._model = model
        self._device = torch.device(device)
        self._on_cpu = self._device.type == "cpu"
        self._check = check
        self._outputs = [(name, model.values[name].elements) for name in model.outputs]
        with torch.inference_mode():
            tensors = Tensors(model, self._device, fuse_tables)
            self._bags = plan_bags(model, tensors)
            self._sequences = plan_sequences(model, tensors)
            self._steps, self._constants = plan_steps(model, tensors)
        self._read = {key for step in self._steps for key in step.inputs}
        self._forward = torch.compile(self._compute) if compile else self._compute

    def run(self, batch: Batch) -> Scores:
        """Scores (rows, outputs) float32; raises as `reference` does, unless check is off."""
        if self._check:
            check_batch(self._model, batch)
        if batch.rows == 0:
            return np.zeros((0, self._model.output_width), np.float32)
        return self.run_staged(self.stage(batch))

    def run_staged(self, staged: Staged) -> Scores:
        """Scores of a batch of one row or more that `stage` prepared: torch's own work alone."""
        with torch.inference_mode():
            scores: Scores = self._forward(*staged).cpu().numpy()
        return scores

    def stage(self, batch: Batch) -> Staged:
        """The batch as tensors on the device, in the layout that torch's calls ask for."""
        packing = Packing.of(self._model, batch)
        values = self._dense(batch)
        queries = np.arange(batch.queries)
        if QUERIES in self._read:
            values[QUERIES] = self._put(queries)
        if ROWS in self._read:
            values[ROWS] = self._put(np.repeat(queries, np.diff(batch.query_offsets)))
        bags = [group.stage(packing, self._put) for group in self._bags]
        return values, bags, [s.stage(packing, self._put) for s in self._sequences]

    def _dense(self, batch: Batch) -> dict[Key, Tensor]:
        sources = {"item": self._put(batch.dense), "user": self._put(batch.user_dense)}
        columns = {"item": 0, "user": 0}
        values: dict[Key, Tensor] = {}
        for item in self._model.inputs:
            if isinstance(item, DenseInput):
                at = columns[item.scope]
                columns[item.scope] += item.width
                values[item.name, item.scope] = sources[item.scope][:, at : at + item.width]
        return values

    def _put(self, array: NDArray[Any]) -> Tensor:
        tensor = as_tensor(array)
        return tensor if self._on_cpu else tensor.to(self._device)

    def _compute(
        self, values: dict[Key, Tensor], bags: Sequence[Any], sequences: Sequence[Any]
    ) -> Tensor:
        values = {**values, **self._constants}
        for group, staged in zip(self._bags, bags, strict=True):
            values.update(zip(group.outputs, group.run(staged), strict=True))
        for sequence, staged in zip(self._sequences, sequences, strict=True):
            values.update(sequence.run(staged))
        for step in self._steps:
            values[step.output] = step.run(*[values[key] for key in step.inputs])
            for key in step.done:
                del values[key]
        columns = [(values[name, "item"], width) for name, width in self._outputs]
        return torch.cat([x.reshape(x.shape[0], width) for x, width in columns], 1)


def use_threads(threads: int) -> None:
    """Let torch use so many threads within an op; a setting of the whole process."""
    torch.set_num_threads(threads)
