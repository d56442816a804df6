"""Runs a function in a process of its own.

The generator then does not hold the interpreter lock of a system under test, nor share its cores
where `cpus` keeps it off them. `LoadResult`, `Traffic` and the configurations cross by pickle;
monotonic time is the machine's, so that times agree on both sides.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from typing import Any, TypeVar, cast

from recstack.errors import ConfigError, RecstackError

T = TypeVar("T")


class ProcessFailed(RecstackError):
    """A process of the load generator raised, died, or did not end in time."""


def run_apart(
    function: Callable[..., T],
    *args: object,
    timeout_s: float,
    cpus: Collection[int] | None = None,
) -> T:
    """Call a function in a fresh process and wait for what it returns.

    Parameters
    ----------
    function: importable by its name (no lambda); it, `args` and what it returns must pickle.
    timeout_s: after which the process is killed.
    cpus: cores to keep to; any when None.

    Raises
    ------
    ConfigError: `cpus` names cores that this process may not use.
    ProcessFailed: it raised something other than a RecstackError, died, or took too long. A
        RecstackError is raised again as it is.

    >>> run_apart(max, 2, 3, timeout_s=60.0)
    3
    """
    if cpus is not None and not set(cpus) <= os.sched_getaffinity(0):
        raise ConfigError(
            f"expected cores out of {sorted(os.sched_getaffinity(0))}, got {sorted(cpus)}"
        )
    # A forked child would inherit locks held by native threads.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, function, args, cpus), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(timeout_s):
            raise ProcessFailed(f"no result within {timeout_s:g} s")
        ended, value = ours.recv()
        process.join(timeout=5.0)
    except EOFError:
        process.join(timeout=10.0)
        raise ProcessFailed(f"died with exit code {process.exitcode}") from None
    finally:
        ours.close()
        process.kill()
        process.join(timeout=10.0)
    if ended:
        return cast(T, value)
    raise value


def _child(
    theirs: Connection,
    function: Callable[..., Any],
    args: tuple[object, ...],
    cpus: Collection[int] | None,
) -> None:
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    try:
        theirs.send((True, function(*args)))
    except Exception as error:
        theirs.send((False, error if _crosses(error) else ProcessFailed(f"it raised {error!r}")))


def _crosses(error: Exception) -> bool:
    """Whether an error is recstack's own and survives pickling."""
    try:
        return isinstance(pickle.loads(pickle.dumps(error)), RecstackError)
    except Exception:
        return False
