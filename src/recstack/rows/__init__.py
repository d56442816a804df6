"""Rows of embedding tables in few bits: formats, layouts, quantisation both ways."""

from recstack.rows.definition import dequantise_reference, quantise_reference
from recstack.rows.format import RowFormat
from recstack.rows.layout import RowLayout, from_layout, to_layout
from recstack.rows.quantise import dequantise, quantise

__all__ = [
    "RowFormat",
    "RowLayout",
    "dequantise",
    "dequantise_reference",
    "from_layout",
    "quantise",
    "quantise_reference",
    "to_layout",
]
