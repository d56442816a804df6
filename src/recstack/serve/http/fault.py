"""The server's log of its own faults."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger("recstack.serve")


def log_fault(error: BaseException) -> None:
    """Log where `error` arose; not its text, which may quote a payload."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("internal error: %s\n%s", type(error).__name__, frames)
