"""A quiet interpreter for the length of a run."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def calm(switch_interval_s: float) -> Iterator[None]:
    """No garbage collection and short thread switches inside; as before afterwards."""
    collected, interval = gc.isenabled(), sys.getswitchinterval()
    frozen = gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(switch_interval_s)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if not frozen:
            gc.unfreeze()
        if collected:
            gc.enable()
