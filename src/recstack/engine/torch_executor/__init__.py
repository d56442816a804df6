"""Models run by torch's eager mode: the peer that the engine is measured against."""

from recstack.errors import MissingExtra

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingExtra("torch", "torch") from None

from recstack.engine.torch_executor.executor import TorchExecutor, use_threads

__all__ = ["TorchExecutor", "use_threads"]
