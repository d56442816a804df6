"""The life of an infer request: decode, issue each query, gather, encode."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial

import numpy as np

from recstack.batch import Batch
from recstack.engine.reference.checks import check_batch
from recstack.errors import BatchError, DeadlineExceeded, QueueFull, Refused, ShuttingDown
from recstack.model import Model
from recstack.serve.bridge import Bridge
from recstack.serve.config import ServeConfig
from recstack.serve.http.compression import decompress
from recstack.serve.http.exchange import Exchange
from recstack.serve.http.fault import log_fault, logger
from recstack.serve.http.reply import OCTETS
from recstack.serve.http.status import HttpError
from recstack.serve.protocol import Codec, Request
from recstack.serve.protocol.reply import error_body
from recstack.serve.served import Served
from recstack.serve.worker import Worker
from recstack.types import Clock, Completion, Query, Scores, Status

HEADER_LENGTH = b"inference-header-content-length"
INLINE_INFLATE_BYTES = 4096
INLINE_JSON_BYTES = 16_384  # a millisecond or two of decoding; a hop to a thread costs 0.1 ms
INFLATE_THREADS = 4
RETRY = b"Retry-After: 1\r\n"
REFUSALS: dict[Status, tuple[int, str, bytes]] = {
    "queue_full": (503, "the queue is full", RETRY),
    "deadline": (504, "the deadline passed, or cannot be met", b""),
    "shutting_down": (503, "the server is shutting down", RETRY),
}


Decoded = tuple[Request, list[Batch], int]  # the request, a batch per query, nanoseconds taken


class Flight:
    """An infer request between its queries' issue and its reply."""

    __slots__ = ("exchange", "failure", "left", "parts", "request", "scores", "served", "stages_ns")

    def __init__(
        self, exchange: Exchange, served: Served, request: Request, parts: list[Batch]
    ) -> None:
        self.exchange = exchange
        self.served = served
        self.request = request
        self.parts = parts
        self.scores: list[Scores | None] = [None] * len(parts)
        self.left = set(range(len(parts)))
        self.stages_ns: dict[str, int] = {}
        self.failure: tuple[int, Completion] | None = None


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
            raise HttpError(503, "too many requests are in flight", RETRY)
        coding = exchange.headers.get(b"content-encoding")
        if coding is None:
            self._read(exchange, served, exchange.body)
            return
        name, limit = coding.decode("latin-1").strip().lower(), self._config.max_body_bytes
        if len(exchange.body) <= INLINE_INFLATE_BYTES:
            self._read(exchange, served, decompress(exchange.body, name, limit))
            return
        self._inflate.run(
            partial(decompress, exchange.body, name, limit),
            partial(self._read, exchange, served),
            partial(_failed, exchange),
        )

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
            self._end(flight)
            flight.exchange.respond(504, error_body("the model has not answered in time"))

    def _read(self, exchange: Exchange, served: Served, body: bytes | bytearray) -> None:
        """Decode a request, on a thread where its JSON is long, and issue it."""
        json_bytes = _json_bytes(exchange)
        if (size := len(body) if json_bytes is None else json_bytes) > self._config.max_json_bytes:
            raise HttpError(
                413, f"JSON of {size} bytes is too long; send tensors in the binary form"
            )
        work = partial(_decoded, served.codec, body, json_bytes)
        issue = partial(self._issue, exchange, served)
        if size <= INLINE_JSON_BYTES:
            issue(work())
        else:
            self._decode.run(work, issue, partial(_failed, exchange))

    def _issue(self, exchange: Exchange, served: Served, decoded: Decoded) -> None:
        request, parts, decode_ns = decoded
        metrics = served.metrics
        metrics.rows.add(request.batch.rows)
        metrics.queries += len(parts)
        metrics.stage("decode", decode_ns)
        flight = Flight(exchange, served, request, parts)
        self._flights[id(flight)] = flight
        deadline_ns = self._deadline_ns(exchange, request)
        for i, part in enumerate(parts):
            if part.rows == 0:
                flight.left.discard(i)
                flight.scores[i] = np.zeros((0, served.model.output_width), np.float32)
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
        flight.left.discard(i)
        for stage, duration_ns in completion.stages_ns.items():
            flight.served.metrics.stage(stage, duration_ns)
            flight.stages_ns[stage] = max(duration_ns, flight.stages_ns.get(stage, 0))
        if completion.status == "ok":
            flight.scores[i] = completion.scores
        elif flight.failure is None:
            flight.failure = (i, completion)
        if not flight.left:
            self._finish(flight)

    def _finish(self, flight: Flight) -> None:
        if self._flights.get(id(flight)) is not flight:
            return
        self._end(flight)
        try:
            if flight.failure is None:
                self._answer(flight)
            else:
                self._fail(flight, *flight.failure)
        except HttpError as error:
            refuse(flight.exchange, error)
        except Exception as error:
            log_fault(error)
            flight.exchange.respond(500, error_body("internal error; the server's log says where"))

    def _end(self, flight: Flight) -> None:
        del self._flights[id(flight)]

    def _answer(self, flight: Flight) -> None:
        began_ns = time.monotonic_ns()
        served, width = flight.served, flight.served.model.output_width
        for part, scores in zip(flight.parts, flight.scores, strict=True):
            if scores is None or scores.shape != (part.rows, width):
                got = None if scores is None else scores.shape
                logger.error(
                    "model %r gave scores %s, not %s", served.name, got, (part.rows, width)
                )
                raise HttpError(500, "the model gave scores of another shape")
        stacked = [s for s in flight.scores if s is not None]
        scores = stacked[0] if len(stacked) == 1 else np.concatenate(stacked)
        try:
            body, tail = served.codec.encode(flight.request, scores, flight.stages_ns)
        except ValueError:
            raise HttpError(
                500, "a score is not finite, which JSON cannot hold; ask for binary data"
            ) from None
        served.metrics.stage("encode", time.monotonic_ns() - began_ns)
        if tail is None:
            flight.exchange.respond(200, body)
        else:
            length = b"Inference-Header-Content-Length: %d\r\n" % len(body)
            flight.exchange.respond(200, body, OCTETS, length, tail)

    def _fail(self, flight: Flight, i: int, completion: Completion) -> None:
        if (refusal := REFUSALS.get(completion.status)) is not None:
            status, message, headers = refusal
            body = error_body(message, status=completion.status)
            flight.exchange.respond(status, body, headers=headers)
            return
        fault = _find_fault(flight.served.model, flight.parts[i])
        if fault is not None:
            where = fault.where if len(flight.parts) == 1 else f"query {i}, {fault.where}"
            flight.exchange.respond(400, error_body(str(fault), where, "error"))
            return
        if completion.error:  # else `issue` raised, and that was logged
            logger.error("model %r failed on a query: %.200s", flight.served.name, completion.error)
        flight.exchange.respond(500, error_body("the model failed on this query", status="error"))

    def _observe(self, served: Served, exchange: Exchange) -> None:
        metrics = served.metrics
        metrics.in_flight -= 1
        metrics.replies[exchange.status] += 1
        elapsed_ns = self._clock.now_ns() - exchange.received_ns
        (metrics.ok if exchange.status == 200 else metrics.failed).add(elapsed_ns)
        if exchange.status == 200:
            metrics.last_inference_ms = time.time_ns() // 1_000_000


def _decoded(codec: Codec, body: bytes | bytearray, json_bytes: int | None) -> Decoded:
    began_ns = time.monotonic_ns()
    request = codec.decode(body, json_bytes)
    return request, codec.split(request.batch), time.monotonic_ns() - began_ns


def _failed(exchange: Exchange, error: Exception) -> None:
    """Answer a request that could not be read on a thread."""
    if isinstance(error, HttpError | BatchError):
        refuse(exchange, error)
        return
    log_fault(error)
    exchange.respond(500, error_body("internal error; the server's log says where"))


def refuse(exchange: Exchange, error: HttpError | BatchError) -> None:
    """Answer a request that is wrong."""
    if isinstance(error, HttpError):
        exchange.respond(error.status, error_body(str(error)), headers=error.headers)
    else:
        exchange.respond(400, error_body(str(error), error.where))


def _find_fault(model: Model, batch: Batch) -> BatchError | None:
    """What is wrong with the contents of a batch that could not be scored: the slow, exact look."""
    try:
        check_batch(model, batch)
    except BatchError as error:
        return error
    return None


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
        raise BatchError("expected a number of bytes, got another", HEADER_LENGTH.decode())
    return int(value)
