"""Serving: the Open Inference Protocol v2 over HTTP, in front of any SUT."""

from recstack.serve.config import ServeConfig
from recstack.serve.server import Server

__all__ = ["ServeConfig", "Server"]
