"""Data to run models on: random batches, batches cut and joined, data sets."""

from recstack.data.slices import merge, slice_queries, slice_rows
from recstack.data.synthetic import random_batch

__all__ = ["merge", "random_batch", "slice_queries", "slice_rows"]
