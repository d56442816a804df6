"""The torch executor: a model run by torch's eager mode (or torch.compile) on one device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recstack.batch import Batch, DenseInput
from recstack.engine.reference.checks import check_batch
from recstack.engine.torch_executor.lookups import Key, Packing, Put, plan_bags
from recstack.engine.torch_executor.sequences import plan_sequences
from recstack.engine.torch_executor.steps import QUERIES, ROWS, plan_steps
from recstack.engine.torch_executor.weights import Tensors, as_tensor
from recstack.errors import ConfigError
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
    Raises ConfigError for a device that torch does not find.
    """

    def __init__(
        self,
        model: Model,
        device: str = "cpu",
        compile: bool = False,
        fuse_tables: bool = False,
        check: bool = True,
    ) -> None:
        self.model = model
        self.device = usable_device(device)
        self._on_cpu = self.device.type == "cpu"
        self._check = check
        self._outputs = [(name, model.values[name].elements) for name in model.outputs]
        with torch.inference_mode():
            tensors = Tensors(model, self.device, fuse_tables)
            self._bags = plan_bags(model, tensors)
            self._sequences = plan_sequences(model, tensors)
            self._steps, self._constants = plan_steps(model, tensors)
        self._read = {key for step in self._steps for key in step.inputs}
        self._forward = torch.compile(self._compute) if compile else self._compute

    def run(self, batch: Batch) -> Scores:
        """Scores (rows, outputs) float32; raises as `reference` does, unless check is off."""
        if self._check:
            check_batch(self.model, batch)
        if batch.rows == 0:
            return np.zeros((0, self.model.output_width), np.float32)
        return self.run_staged(self.stage(batch))

    def run_staged(self, staged: Staged) -> Scores:
        """Scores of a batch of one row or more that `stage` prepared: torch's own work alone."""
        with torch.inference_mode():
            scores: Scores = self.compute(staged).cpu().numpy()
        return scores

    def compute(self, staged: Staged) -> Tensor:
        """The scores on the device."""
        return self._forward(*staged)

    def stage(self, batch: Batch, put: Put | None = None) -> Staged:
        """The batch as tensors on the device, in the layout that torch's calls ask for.

        put: brings an array there; called as often for every batch.
        """
        put = put or self._put
        packing = Packing.of(self.model, batch)
        values = self._dense(batch, put)
        queries = np.arange(batch.queries)
        if QUERIES in self._read:
            values[QUERIES] = put(queries)
        if ROWS in self._read:
            values[ROWS] = put(np.repeat(queries, np.diff(batch.query_offsets)))
        bags = [group.stage(packing, put) for group in self._bags]
        return values, bags, [s.stage(packing, put) for s in self._sequences]

    def with_fixed_shapes(self) -> TorchExecutor:
        """One on the same weights that stages all batches of so many rows and queries alike.

        Its `stage` raises NoRoom for a batch with too many lookups for that.
        """
        other = copy.copy(self)
        other._bags = [replace(group, static=True) for group in self._bags]
        other._sequences = [replace(sequence, static=True) for sequence in self._sequences]
        other._forward = other._compute
        return other

    def _dense(self, batch: Batch, put: Put) -> dict[Key, Tensor]:
        sources = {"item": put(batch.dense), "user": put(batch.user_dense)}
        columns = {"item": 0, "user": 0}
        values: dict[Key, Tensor] = {}
        for item in self.model.inputs:
            if isinstance(item, DenseInput):
                at = columns[item.scope]
                columns[item.scope] += item.width
                values[item.name, item.scope] = sources[item.scope][:, at : at + item.width]
        return values

    def _put(self, array: NDArray[Any]) -> Tensor:
        tensor = as_tensor(array)
        return tensor if self._on_cpu else tensor.to(self.device)

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


def usable_device(device: str) -> torch.device:
    """A device that this process can use; ConfigError where torch finds none of that name."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ConfigError(
            f"expected a torch device such as 'cuda' or 'cpu', got {device!r}"
        ) from None
    if found.type == "cuda" and (found.index or 0) >= (devices := torch.cuda.device_count()):
        raise ConfigError(f"expected a GPU for device {device!r}, torch finds {devices} here")
    return found


def use_threads(threads: int) -> None:
    """Let torch use so many threads within an op; a setting of the whole process."""
    torch.set_num_threads(threads)
