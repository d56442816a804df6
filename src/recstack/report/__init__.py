"""Report: result files in, one self-contained HTML page out.

records, runs                 what the files say; figures re-computed from raw arrays
compared, waits               policies' ratios; what queries waited for
markup, text, figure          safe HTML; numbers and units as text; a chart with its table
svg/                          scales, axes and marks
headline, accuracy, throughput, policies, offered, latency, distribution, stages, precision,
loadgen, timeline, colocation, peers, roofline, provenance
                              the sections
page                          all of it
"""

from __future__ import annotations

from recstack.report.page import ReportWriteError, render, write_report

__all__ = ["ReportWriteError", "render", "write_report"]
