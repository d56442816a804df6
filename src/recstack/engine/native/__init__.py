"""The native engine and the planner that feeds it."""

from recstack.engine.native.engine import Engine

__all__ = ["Engine"]
