"""Models run by torch: eager, the engine's peer, or in recorded graphs, on a CPU or a GPU."""

from recstack.errors import MissingExtra

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingExtra("torch", "torch") from None

from recstack.engine.torch_executor.executor import TorchExecutor, use_threads
from recstack.engine.torch_executor.graphs import GraphExecutor, RunCounts

__all__ = ["GraphExecutor", "RunCounts", "TorchExecutor", "use_threads"]
