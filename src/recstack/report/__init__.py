"""Report: result files in, one self-contained HTML page out.

records, percentile, runs     what the files say; figures re-computed from raw arrays
markup, text, figure          safe HTML; numbers and units as text; a chart with its table
svg/                          scales, axes and marks
headline, accuracy, throughput, latency, distribution, stages, peers, roofline,
provenance                    the sections
page                          all of it
"""

from __future__ import annotations

from recstack.report.page import ReportWriteError, render, write_report

__all__ = ["ReportWriteError", "render", "write_report"]
