"""What lanes ran, on this machine."""

from __future__ import annotations

import numpy as np

import recstack as rs
from recstack.loadtest.sizes import Recorded
from recstack.report.records import Timeline
from recstack.schedule import AcceleratorConfig, ScheduleConfig
from recstack.tune import random_queries, trace_schedule


def test_a_device_beside_the_lanes_is_in_the_timeline() -> None:
    engine = rs.compile(rs.zoo.build("ncf", seed=0, rows_scale=0.001))
    device = AcceleratorConfig(device="cpu", threshold_rows=30, largest_rows=64)
    schedule = ScheduleConfig(lanes=2, chunk_rows=16, merge_rows=0, accelerator=device)
    mix = Recorded(np.array([8, 40]))
    made = trace_schedule(
        engine, schedule, random_queries(engine.model, 0), mix, 200.0, label="x", queries=20
    )
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in made.items()}
    record = Timeline.model_validate(plain)
    assert record.lane_kinds == ("lane", "lane", "accelerator")
    large = record.rows[record.chunk_query] >= 30
    assert large.any() and set(record.chunk_lane[large].tolist()) == {2}
