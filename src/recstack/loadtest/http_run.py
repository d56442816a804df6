"""A whole schedule sent over HTTP by a native thread: what `HttpSUT.issue_schedule` does.

Nothing but sockets between the schedule and the server, and nobody's interpreter lock. Answers are
kept as they come and decoded after the run: a client that shares the server's cores takes less from
it that way (`bench/load_client.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.loadtest.endpoint import Answer, HttpConfig, reached, read_answer
from recstack.loadtest.http1 import ResponseReader
from recstack.loadtest.oip import TIMEOUT_DIGITS, TIMEOUT_KEY, Message
from recstack.types import Issued, Status

MAX_ERRORS = 8
_CODES = {status: code for code, status in enumerate(get_args(Status))}


def send_schedule(
    config: HttpConfig,
    messages: Sequence[Message],
    which: NDArray[np.int32],
    scheduled_ns: NDArray[np.int64],
    *,
    output: str,
    lead_ns: int,
    deadline_ns: int | None,
    drain_ns: int,
) -> Issued:
    """Send messages[which[i]] at `scheduled_ns[i]`; see `recstack.types.ScheduleSUT`.

    messages: the encoded batches. output: the answer's output to read.
    """
    n = scheduled_ns.size
    issued, sent, finished = (np.full(n, -1, np.int64) for _ in range(3))
    start_ns, answers = _native.run_http(
        reached(config), _bounds(config), [(m.before, m.after) for m in messages],
        (TIMEOUT_KEY, TIMEOUT_DIGITS), which, scheduled_ns, lead_ns,
        -1 if deadline_ns is None else deadline_ns, drain_ns, round(config.spin_us * 1e3),
        issued, sent, finished,
    )  # fmt: skip
    stages = {
        "client_wait": np.where(sent < 0, -1, sent - issued),
        "round_trip": np.where((sent < 0) | (finished < 0), -1, finished - sent),
    }
    status = np.full(n, len(_CODES), np.uint8)
    errors: dict[str, None] = {}
    for i, answer in enumerate(answers):
        if answer is None:
            continue
        found = _read(answer, config.max_response_bytes, output, messages[which[i]].rows)
        status[i] = _CODES[found.status]
        if found.error and len(errors) < MAX_ERRORS:
            errors[found.error] = None
        for name, duration_ns in found.stages_ns.items():
            if name not in stages:
                stages[name] = np.full(n, -1, np.int64)
            stages[name][i] = duration_ns
    return Issued(start_ns, issued, finished, status, stages, tuple(errors))


def _bounds(config: HttpConfig) -> _native.HttpBounds:
    return _native.HttpBounds(
        connections=config.connections,
        opened=config.opened,
        max_waiting=config.max_waiting,
        max_response_bytes=config.max_response_bytes,
        connect_timeout_s=config.connect_timeout_s,
        request_timeout_s=config.request_timeout_s,
    )


def _read(answer: bytes | str, max_body_bytes: int, output: str, rows: int) -> Answer:
    """A response's bytes, or why there are none, as an answer to a query of so many rows."""
    if isinstance(answer, str):
        return Answer("error", None, answer, {})
    try:
        response = ResponseReader(max_body_bytes).feed(answer)
    except ValueError as error:
        return Answer("error", None, f"bad response: {error}", {})
    if response is None:
        return Answer("error", None, "bad response: cut short", {})
    return read_answer(response, output, rows)
