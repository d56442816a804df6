from __future__ import annotations

from recstack.report.records import Timeline
from recstack.report.waits import Wait, waits
from tests.report.test_schedules import MS, timeline_record


def found(**changes: object) -> dict[int, Wait]:
    return {w.query: w for w in waits(Timeline.model_validate(timeline_record(**changes)))}


def test_a_wait_is_put_down_to_what_the_lanes_ran() -> None:
    by_query = found()
    first = by_query[1]
    assert (first.wait_ns, first.larger) == (8 * MS, 1.0)
    assert first.stretches == ((2 * MS, 10 * MS, "lane"),)
    second = by_query[2]
    assert (second.wait_ns, second.larger) == (MS, 0.0)
    # Lane 1 was idle from 10 ms on, and ran the query at 12.
    assert second.stretches == ((11 * MS, 12 * MS, "window"),)
    assert by_query[0].wait_ns == 0 and by_query[0].stretches == ()


def test_others_that_go_first_are_the_queue() -> None:
    by_query = found(
        lanes=1, chunk_query=[0, 1, 2], chunk_lane=[0, 0, 0], chunk_start_ns=[0, 10 * MS, 15 * MS],
        chunk_end_ns=[10 * MS, 15 * MS, 18 * MS], arrival_ns=[0, MS, 2 * MS],
    )  # fmt: skip
    assert by_query[1].stretches == ((MS, 10 * MS, "lane"),)
    assert by_query[2].stretches == ((2 * MS, 10 * MS, "queue"), (10 * MS, 15 * MS, "lane"))
    assert by_query[2].share("queue") == 8 / 13


def test_a_merge_window_is_told_from_a_busy_lane() -> None:
    """The lane is busy till 10 ms and then held idle till 12 for query 2 to join query 1."""
    by_query = found(
        lanes=1, chunk_query=[0, 1, 2], chunk_lane=[0, 0, 0], chunk_start_ns=[0, 12 * MS, 12 * MS],
        chunk_end_ns=[10 * MS, 15 * MS, 15 * MS], arrival_ns=[0, MS, 11 * MS],
    )  # fmt: skip
    assert by_query[1].stretches == ((MS, 10 * MS, "lane"), (10 * MS, 12 * MS, "window"))
    assert by_query[2].stretches == ((11 * MS, 12 * MS, "window"),)


def test_a_query_that_ran_on_the_accelerator_waited_for_it() -> None:
    """Lane 0 idles all the time: the accelerator's queue is not the lane's."""
    by_query = found(
        lane_kinds=["lane", "accelerator"], chunk_query=[0, 1, 2], chunk_lane=[1, 1, 0],
        chunk_start_ns=[0, 10 * MS, 12 * MS], chunk_end_ns=[10 * MS, 15 * MS, 13 * MS],
        arrival_ns=[0, MS, 12 * MS],
    )  # fmt: skip
    assert by_query[1].stretches == ((MS, 10 * MS, "accelerator"),)
    assert by_query[2].stretches == ()


def test_chunks_of_one_merged_batch_take_a_lane_once() -> None:
    by_query = found(
        chunk_query=[0, 1, 2], chunk_lane=[0, 0, 0], lanes=1, chunk_start_ns=[0, 0, 10 * MS],
        chunk_end_ns=[10 * MS, 10 * MS, 12 * MS], arrival_ns=[0, 0, 0], rows=[5, 50, 10],
    )  # fmt: skip
    assert by_query[2].larger == 0.5
