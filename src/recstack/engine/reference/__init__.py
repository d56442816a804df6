"""The slow twin of every engine: the op set in plain NumPy, which is its definition."""

from recstack.engine.reference.executor import ReferenceExecutor, reference

__all__ = ["ReferenceExecutor", "reference"]
