"""Data to run models on: random batches, labelled data, batches cut and joined, data sets."""

from recstack.data.labelled import LabelledData, read_labelled
from recstack.data.slices import merge, slice_queries, slice_rows, take_queries
from recstack.data.synthetic import random_batch

__all__ = [
    "LabelledData",
    "merge",
    "random_batch",
    "read_labelled",
    "slice_queries",
    "slice_rows",
    "take_queries",
]
