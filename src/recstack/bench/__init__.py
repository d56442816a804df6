"""The ruler: recstack and its peers on the same weights and inputs, timed in turn."""

from recstack.bench.records import Cell, Found, Store, read_cells
from recstack.bench.run import BenchConfig, bench

__all__ = ["BenchConfig", "Cell", "Found", "Store", "bench", "read_cells"]
