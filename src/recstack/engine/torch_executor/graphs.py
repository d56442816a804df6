"""The torch executor in batches of a few fixed shapes, each recorded once as a CUDA graph.

    batch -> padded to a bucket (rows, queries) -> its block on the host -> one copy to the device
          -> the bucket's graph, replayed -> scores of the batch's own rows back to the host

A replay costs one launch, where the same work operator by operator costs one for each of them. On
the CPU there is nothing to record: the same padded buffers are computed directly.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recstack.batch import Batch
from recstack.engine.device import DeviceConfig
from recstack.engine.reference.checks import check_batch
from recstack.engine.torch_executor.block import Block, Layout
from recstack.engine.torch_executor.executor import Staged, TorchExecutor, usable_device
from recstack.engine.torch_executor.lookups import NoRoom
from recstack.engine.torch_executor.padding import empty_batch, one_query, pad
from recstack.model import Model
from recstack.model.ops import Opaque
from recstack.types import Scores

WARM_RUNS = 2  # before recording: libraries choose kernels and workspaces then


@dataclass(slots=True)
class RunCounts:
    """Batches so far: run in buffers of fixed sizes, and operator by operator for want of room."""

    fixed: int = 0
    eager: int = 0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Buffers of one shape, and what computes (rows, outputs) scores from them on the device."""

    rows: int
    queries: int
    block: Block
    play: Callable[[], Tensor]


class ExactRecurrences:
    """While anyone is in it, cuDNN rounds no recurrence's inputs to TF32.

    The setting is the whole process's: the first to enter makes it, the last to leave puts back
    what was there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ""

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.backends.cudnn.rnn.fp32_precision
                torch.backends.cudnn.rnn.fp32_precision = "ieee"
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.backends.cudnn.rnn.fp32_precision = self._before


_EXACT_RECURRENCES = ExactRecurrences()


class GraphExecutor:
    """Runs a model on one device; safe to call from several threads, which take turns.

    Made by `recstack.compile(model, DeviceConfig(...))`. Buckets of 1, 2, 4, ... rows are made, and
    on CUDA recorded, here: a model with opaque ops has none. `counts` says how many batches found
    no bucket. Raises ConfigError for a device that torch does not find.
    """

    def __init__(self, model: Model, config: DeviceConfig | None = None) -> None:
        self.model = model
        self.config = config = config or DeviceConfig()
        self._device = usable_device(config.device)
        self._on_cpu = self._device.type == "cpu"
        fuse = not self._on_cpu if config.fuse_tables is None else config.fuse_tables
        self._eager = TorchExecutor(model, config.device, fuse_tables=fuse, check=False)
        self._fixed = self._eager.with_fixed_shapes()
        self._prepare()

    @property
    def device_name(self) -> str:
        """The device's own name, such as "NVIDIA H200"; "cpu" for the CPU."""
        return "cpu" if self._on_cpu else str(torch.cuda.get_device_name(self._device))

    def beside(self) -> GraphExecutor:
        """Another one on the same weights, with buffers and a stream of its own."""
        other = copy.copy(self)
        other._prepare()
        return other

    def run(self, batch: Batch) -> Scores:
        """Scores (rows, outputs) float32; raises as `reference` does."""
        check_batch(self.model, batch)
        if batch.rows == 0:
            return np.zeros((0, self.model.output_width), np.float32)
        batch = one_query(self.model, batch)
        with self._turn, torch.inference_mode(), self._on_device():
            bucket = self._bucket_of(batch)
            scores = None if bucket is None else self._run_in(bucket, batch)
            self.counts.fixed += scores is not None
            self.counts.eager += scores is None
            if scores is None:
                scores = self._eager.run(batch)
        return scores

    def _bucket_of(self, batch: Batch) -> Bucket | None:
        """The smallest that holds the batch."""
        fitting = (b for b in self._buckets if b.rows >= batch.rows and b.queries >= batch.queries)
        return next(fitting, None)

    def _run_in(self, bucket: Bucket, batch: Batch) -> Scores | None:
        """None where the batch has too many lookups."""
        try:
            padded = pad(self.model, batch, bucket.rows, bucket.queries)
            self._fixed.stage(padded, bucket.block.writer())
        except NoRoom:
            return None
        bucket.block.send()
        made = bucket.play()[: batch.rows]
        scores = self._scores[: batch.rows]
        scores.copy_(made, non_blocking=True)
        if self._stream is not None:
            self._stream.synchronize()
        return np.array(scores.numpy())

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        if self._stream is None:
            yield
            return
        with _EXACT_RECURRENCES, torch.cuda.stream(self._stream):
            yield

    def _prepare(self) -> None:
        self._turn = threading.Lock()
        self._stream = None if self._on_cpu else torch.cuda.Stream(self._device)
        self.counts = RunCounts()
        self._buckets: list[Bucket] = []
        if any(isinstance(op, Opaque) for op in self.model.ops):
            return
        blank = [
            pad(self.model, empty_batch(self.model), rows, queries)
            for rows, queries in _shapes(self.model, self.config)
        ]
        layouts = [Layout(partial(self._fixed.stage, batch)) for batch in blank]
        largest = max(layout.bytes for layout in layouts)
        pinned = not self._on_cpu
        host = torch.empty(largest, dtype=torch.uint8, pin_memory=pinned)
        device = host if self._on_cpu else torch.empty(
            largest, dtype=torch.uint8, device=self._device
        )  # fmt: skip
        width = self.model.output_width
        self._scores = torch.empty(blank[-1].rows, width, pin_memory=pinned)
        if not self._on_cpu:
            torch.cuda.synchronize(self._device)  # weights were brought there on another stream
        with torch.inference_mode(), self._on_device():
            self._pool = None if self._on_cpu else torch.cuda.graph_pool_handle()
            for batch, layout in zip(blank, layouts, strict=True):
                block = Block(layout, host, device)
                staged = self._fixed.stage(batch, block.writer())
                block.send()
                play = self._recorded(staged)
                self._buckets.append(Bucket(batch.rows, batch.queries, block, play))

    def _recorded(self, staged: Staged) -> Callable[[], Tensor]:
        """What computes the scores of `staged`, again and again."""
        if self._on_cpu:
            return partial(self._fixed.compute, staged)
        for _ in range(WARM_RUNS):
            self._fixed.compute(staged)
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        # Others may use the device meanwhile, such as the lanes of another model.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            scores = self._fixed.compute(staged)

        def play() -> Tensor:
            graph.replay()
            return scores

        return play


def _shapes(model: Model, config: DeviceConfig) -> list[tuple[int, int]]:
    """(rows, queries) of the buckets, ascending: powers of two of rows, one query or the most."""
    per_user = any(item.scope == "user" for item in model.inputs)
    queries = sorted({1, config.largest_queries if per_user else 1})
    nodes = (config.largest_rows - 1).bit_length() + 1
    return [(1 << k, q) for k in range(nodes) for q in queries]
