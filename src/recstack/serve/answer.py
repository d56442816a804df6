"""How an infer request is answered, well or not: scores, refusals, faults."""

from __future__ import annotations

import time

from recstack.batch import Batch
from recstack.engine.reference.checks import check_batch
from recstack.errors import BatchError
from recstack.model import Model
from recstack.serve.flight import Flight
from recstack.serve.http.exchange import Exchange
from recstack.serve.http.fault import answer_fault, logger
from recstack.serve.http.reply import OCTETS
from recstack.serve.http.status import RETRY, HttpError
from recstack.serve.protocol.reply import error_body
from recstack.types import Completion, Status

REFUSALS: dict[Status, tuple[int, str, bytes]] = {
    "queue_full": (503, "the queue is full", RETRY),
    "deadline": (504, "the deadline passed, or cannot be met", b""),
    "shutting_down": (503, "the server is shutting down", RETRY),
}


def answer(flight: Flight) -> None:
    """Answer a request whose queries have all ended."""
    try:
        if flight.failure is None:
            _send_scores(flight)
        else:
            _send_failure(flight, *flight.failure)
    except Exception as error:
        refuse(flight.exchange, error)


def refuse(exchange: Exchange, error: Exception) -> None:
    """Answer with an error: the client's, or one of ours, which is logged."""
    if isinstance(error, HttpError):
        body = error_body(str(error), error.where)
        exchange.respond(error.status, body, headers=error.headers)
    elif isinstance(error, BatchError):
        exchange.respond(400, error_body(str(error), error.where))
    else:
        answer_fault(exchange, error)


def _send_scores(flight: Flight) -> None:
    began_ns = time.monotonic_ns()
    served = flight.served
    try:
        scores = flight.scores()
    except ValueError as error:
        logger.error("model %r: %s", served.name, error)
        raise HttpError(500, "the model gave scores of another shape") from None
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


def _send_failure(flight: Flight, i: int, completion: Completion) -> None:
    """What became of query i stands for the request."""
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


def _find_fault(model: Model, batch: Batch) -> BatchError | None:
    """What is wrong with the contents of a batch that could not be scored: the slow, exact look."""
    try:
        check_batch(model, batch)
    except BatchError as error:
        return error
    return None
