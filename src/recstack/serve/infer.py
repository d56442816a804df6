"""The life of an infer request: decompress, decode, issue each query; `answer` sends its reply."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial

from recstack.batch import Batch
from recstack.errors import BatchError, DeadlineExceeded, QueueFull, Refused, ShuttingDown
from recstack.serve.answer import answer, refuse
from recstack.serve.bridge import Bridge
from recstack.serve.config import ServeConfig
from recstack.serve.flight import Flight
from recstack.serve.http.compression import coding_of, decompress
from recstack.serve.http.exchange import Exchange
from recstack.serve.http.fault import log_fault, logger
from recstack.serve.http.head import quoted
from recstack.serve.http.status import RETRY, HttpError
from recstack.serve.protocol import Codec, Request
from recstack.serve.protocol.reply import error_body
from recstack.serve.served import Served
from recstack.serve.worker import Worker
from recstack.types import Clock, Completion, Query, Status

HEADER_LENGTH = b"inference-header-content-length"
INLINE_INFLATE_BYTES = 4096
INLINE_JSON_BYTES = 16_384  # a millisecond or two of decoding; a hop to a thread costs 0.1 ms
INFLATE_THREADS = 4

Decoded = tuple[Request, list[Batch], int]  # the request, a batch per query, nanoseconds taken


class Inference:
    """Answers infer requests; every method runs on the loop's thread."""

    def __init__(
        self, config: ServeConfig, clock: Clock, loop: asyncio.AbstractEventLoop, bridge: Bridge
    ) -> None:
        self._config = config
        self._clock = clock
        self._bridge = bridge
        self._inflate = Worker(loop, INFLATE_THREADS, "inflate")
        self._decode = Worker(loop, 1, "decode")
        self._flights: dict[int, Flight] = {}
        self._next_query = 0

    @property
    def in_flight(self) -> int:
        """Requests begun and not answered."""
        return len(self._flights) + self._inflate.pending + self._decode.pending

    def close(self) -> None:
        """End the threads; requests that they had not begun are dropped."""
        self._inflate.close()
        self._decode.close()

    def start(self, exchange: Exchange, served: Served) -> None:
        """Answer one infer request, now or when its queries complete.

        Raises HttpError and BatchError for what is wrong with the request as sent.
        """
        served.metrics.in_flight += 1
        exchange.observe = partial(self._observe, served)
        if self.in_flight >= self._config.max_in_flight:
            raise HttpError(503, "too many requests are in flight", headers=RETRY)
        coding = coding_of(exchange.headers)
        if coding == "identity":
            self._read(exchange, served, exchange.body)
            return
        work = partial(decompress, exchange.body, coding, self._config.max_body_bytes)
        read = partial(self._read_inflated, exchange, served)
        if len(exchange.body) <= INLINE_INFLATE_BYTES:
            read(work())
        else:
            self._inflate.run(work, read, partial(refuse, exchange))

    def sweep(self, now_ns: int) -> None:
        """Give up requests whose SUT has not answered in `reply_timeout_s`."""
        oldest = now_ns - int(self._config.reply_timeout_s * 1e9)
        late = []
        for flight in self._flights.values():  # oldest first, but for slow decompression
            if flight.exchange.received_ns > oldest:
                break
            late.append(flight)
        for flight in late:
            logger.error("model %r has not answered in time", flight.served.name)
            del self._flights[id(flight)]
            flight.exchange.respond(504, error_body("the model has not answered in time"))

    def _read_inflated(self, exchange: Exchange, served: Served, body: bytes | bytearray) -> None:
        exchange.hold(len(body))
        self._read(exchange, served, body)

    def _read(self, exchange: Exchange, served: Served, body: bytes | bytearray) -> None:
        """Decode a request, on a thread where its JSON is long, and issue it."""
        json_bytes = _json_bytes(exchange)
        size = len(body) if json_bytes is None else min(json_bytes, len(body))
        if size > (most := self._config.max_json_bytes):
            message = f"expected at most {most} bytes of JSON, got {size}: send tensors in binary"
            raise HttpError(413, message, "body")
        work = partial(_decoded, served.codec, body, json_bytes)
        issue = partial(self._issue, exchange, served)
        if size <= INLINE_JSON_BYTES:
            issue(work())
        else:
            self._decode.run(work, issue, partial(refuse, exchange))

    def _issue(self, exchange: Exchange, served: Served, decoded: Decoded) -> None:
        request, parts, decode_ns = decoded
        exchange.body = b""  # what the batch views of it stays, what it copied need not
        metrics = served.metrics
        metrics.rows.add(request.batch.rows)
        exchange.observe = partial(self._observe, served, rows=request.batch.rows)
        metrics.queries += len(parts)
        metrics.stage("decode", decode_ns)
        flight = Flight(exchange, served, request, parts)
        self._flights[id(flight)] = flight
        deadline_ns = self._deadline_ns(exchange, request)
        for i, part in enumerate(parts):
            if not part.rows:
                continue
            query = Query(self._next_query, part, deadline_ns, _key(request, i, len(parts)))
            self._next_query += 1
            done = partial(self._bridge.deliver, partial(self._completed, flight, i))
            try:
                served.sut.issue(query, done)
            except Exception as error:
                self._completed(flight, i, self._not_issued(query, error))
        if not flight.left:
            self._finish(flight)

    def _deadline_ns(self, exchange: Exchange, request: Request) -> int | None:
        timeout_us = request.timeout_us or self._config.default_timeout_us
        return None if timeout_us is None else exchange.received_ns + timeout_us * 1000

    def _not_issued(self, query: Query, error: Exception) -> Completion:
        status: Status = "error"
        if isinstance(error, QueueFull):
            status = "queue_full"
        elif isinstance(error, DeadlineExceeded):
            status = "deadline"
        elif isinstance(error, Refused | ShuttingDown):
            status = "shutting_down"
        elif not isinstance(error, BatchError):
            log_fault(error)
        return Completion(query.id, status, self._clock.now_ns())

    def _completed(self, flight: Flight, i: int, completion: Completion) -> None:
        """One query has ended; nothing may be raised from here into the SUT's drain."""
        if i not in flight.left or id(flight) not in self._flights:
            return
        flight.end(i, completion)
        if not flight.left:
            self._finish(flight)

    def _finish(self, flight: Flight) -> None:
        if self._flights.pop(id(flight), None) is not None:
            answer(flight)

    def _observe(self, served: Served, exchange: Exchange, rows: int = 0) -> None:
        metrics = served.metrics
        metrics.in_flight -= 1
        metrics.replies[exchange.status] += 1
        elapsed_ns = self._clock.now_ns() - exchange.received_ns
        (metrics.ok if exchange.status == 200 else metrics.failed).add(elapsed_ns)
        if exchange.status == 200:
            metrics.scored += rows
            metrics.last_inference_ms = time.time_ns() // 1_000_000


def _decoded(codec: Codec, body: bytes | bytearray, json_bytes: int | None) -> Decoded:
    began_ns = time.monotonic_ns()
    request = codec.decode(body, json_bytes)
    return request, codec.split(request.batch), time.monotonic_ns() - began_ns


def _key(request: Request, i: int, queries: int) -> str:
    """What a query's labels will name: the request's id, with the query's place if it has more."""
    if request.id is None:
        return ""
    return request.id if queries == 1 else f"{request.id}/{i}"


def _json_bytes(exchange: Exchange) -> int | None:
    value = exchange.headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,18}", value.strip()):
        raise BatchError(f"expected a number of bytes, got {quoted(value)}", HEADER_LENGTH.decode())
    return int(value)
