"""The sorts of record that a report shows, validated at the edge; others are kept as they are.

base            what every record has; SLA, arrays
load, schedule  load runs; searches, policies, lanes in time, placements
quality, engine accuracy and precision; floors and peers
"""

from __future__ import annotations

from recstack.report.records.base import SLA, Record
from recstack.report.records.engine import Cell, Contender, Roofline
from recstack.report.records.load import Load, LoadGen, Null, Stage, Stages
from recstack.report.records.quality import Accuracy, Chosen, OpError, Precision, Tried
from recstack.report.records.schedule import (
    AtLoad,
    BatchCosts,
    Colocation,
    Found,
    Large,
    OnePlacement,
    Placed,
    Probe,
    Timeline,
)

__all__ = [
    "SLA", "SORTS", "Accuracy", "AtLoad", "BatchCosts", "Cell", "Chosen", "Colocation", "Contender",
    "Found", "Large", "Load", "LoadGen", "Note", "Null", "OnePlacement", "OpError", "Placed",
    "Precision", "Probe", "Record", "Roofline", "Stage", "Stages", "Timeline", "Tried",
]  # fmt: skip


class Note(Record):
    """A sentence for the reader."""

    text: str


SORTS: dict[str, type[Record]] = {
    "accuracy": Accuracy,
    "qps_at_sla": Found,
    "at_load": AtLoad,
    "large": Large,
    "costs": BatchCosts,
    "load": Load,
    "null": Null,
    "mlperf": LoadGen,
    "stages": Stages,
    "roofline": Roofline,
    "cell": Cell,
    "precision": Precision,
    "op_error": OpError,
    "timeline": Timeline,
    "colocation": Colocation,
    "placement": Placed,
    "note": Note,
}
