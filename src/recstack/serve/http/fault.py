"""The server's own faults: logged, and answered with 500."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from recstack.serve.protocol.reply import error_body

if TYPE_CHECKING:
    from recstack.serve.http.exchange import Exchange

logger = logging.getLogger("recstack.serve")


def log_fault(error: BaseException) -> None:
    """Log where `error` arose; not its text, which may quote a payload."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("internal error: %s\n%s", type(error).__name__, frames)


def answer_fault(exchange: Exchange, error: BaseException) -> None:
    """Log `error` and answer 500."""
    log_fault(error)
    exchange.respond(500, error_body("internal error; the server's log says where"))
