"""The event loop: uvloop, imported here and nowhere else."""

from __future__ import annotations

import asyncio
from typing import cast

from recstack.errors import MissingExtra


def new_loop() -> asyncio.AbstractEventLoop:
    """A new uvloop event loop, to be closed by the caller."""
    try:
        import uvloop
    except ImportError:
        raise MissingExtra("uvloop", "serve") from None
    return cast(asyncio.AbstractEventLoop, uvloop.new_event_loop())
