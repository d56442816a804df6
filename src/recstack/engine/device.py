"""How torch is to run a whole model on a device of its own, such as a GPU."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DeviceConfig(BaseModel):
    """Choices of the torch executor; frozen, unknown keys are errors.

    device: torch's name of it: "cuda", "cuda:1", or "cpu", which runs the same code without graphs.
    largest_rows: batches up to so many rows, rounded up to a power of two, run in buffers of fixed
        sizes and, on CUDA, as recorded graphs; larger ones run operator by operator.
    largest_queries: the most queries of such a batch, where the model has user-scope inputs.
    fuse_tables: copy tables of one width into one, for one lookup call per pooling; None: on a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    device: str = Field(default="cuda", min_length=1, max_length=40)
    largest_rows: int = Field(default=1024, ge=1, le=1 << 16)
    largest_queries: int = Field(default=1, ge=1, le=1 << 10)
    fuse_tables: bool | None = None
