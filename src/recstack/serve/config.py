"""What a server may be told: where to listen, and every limit."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1)]
MIB = 1 << 20


class ServeConfig(BaseModel):
    """Options of `Server`; the defaults suit one machine behind a load balancer.

    host: loopback unless told otherwise; another address is served with a warning in the log.
    port: 0 takes a free one.
    max_body_bytes: of a request, before and after decompression; beyond it 413. Also of the scores
        of a reply; beyond it 400.
    max_json_bytes: of a request's JSON part; long ones are read on a thread, one at a time. Also
        of the scores, as float32, that a request wants as JSON.
    max_buffered_bytes: request bodies held by the whole process; beyond it 503.
    max_pipeline: requests of one connection that are worked on at once; more wait unread.
    max_in_flight: infer requests that have been begun and not answered; beyond it 503.
    max_rows, max_queries: of one request; beyond them 400.
    head_timeout_s: from a request's first byte to the end of its headers.
    body_timeout_s: for its body, extended by the time that the bytes received take at
        `min_body_bytes_per_s`.
    idle_timeout_s: between requests on one connection.
    write_timeout_s: for a client that does not read its reply.
    reply_timeout_s: for a SUT that does not answer; then 504.
    linger_s: how long input is still read and dropped after the last reply.
    drain_timeout_s: how long `stop` waits for requests in flight.
    default_timeout_us: deadline of a request that names none; None for no deadline.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=0, ge=0, le=65_535)
    backlog: Count = 1024
    max_connections: Count = 1024
    max_head_bytes: Count = 16_384
    max_body_bytes: Count = 64 * MIB
    max_json_bytes: Count = MIB // 2
    max_buffered_bytes: Count = 1024 * MIB
    max_pipeline: Count = 16
    max_in_flight: Count = 4096
    max_rows: Count = 1 << 20
    max_queries: Count = 1024
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    min_body_bytes_per_s: Count = 65_536
    idle_timeout_s: Seconds = 75.0
    write_timeout_s: Seconds = 30.0
    reply_timeout_s: Seconds = 60.0
    linger_s: Seconds = 2.0
    drain_timeout_s: Seconds = 10.0
    default_timeout_us: Count | None = None

    @property
    def sweep_period_s(self) -> float:
        """How often time limits are looked at: often enough for the shortest."""
        shortest = min(
            self.head_timeout_s,
            self.body_timeout_s,
            self.idle_timeout_s,
            self.write_timeout_s,
            self.reply_timeout_s,
            self.linger_s,
        )
        return min(1.0, shortest / 4)
