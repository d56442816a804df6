"""Steps that form branches alike, which threads can share a branch at a time: turns.

    bags, unit | bags, unit | ...        an attention unit's groups of tables (unit_sum.py)
    linear, linear | linear, linear ...  the towers of tasks over one trunk

A turn is a run of neighbouring steps of item scope; no turn reads what another of its run writes.
A thread that runs a turn whole meets nobody on the way, and keeps what only the turn needs in its
own workspace (`Buffer.own`), so that neither keys nor hidden values cross to another core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count

from recstack.engine.native.plan import Buffer, Plan, Step

LONGEST = 16  # steps of a turn
Indexed = Sequence[tuple[int, Step]]


def mark_turns(plan: Plan) -> None:
    """Give the steps of `plan` their turns, and the buffers that one turn alone uses to it."""
    items = [(i, step) for i, step in enumerate(plan.steps) if step.scope == "item"]
    at = 0
    while at < len(items):
        found = ((n, k) for k in range(1, LONGEST + 1) if (n := _turns_at(items[at:], k)) > 1)
        turns, length = next(found, (1, 1))
        if turns > 1:
            _mark(plan, items[at : at + turns * length], length)
        at += turns * length


def _turns_at(items: Indexed, length: int) -> int:
    """How many turns of `length` steps there are from the start of `items` on."""
    first = [step for _, step in items[:length]]
    read, written = set[Buffer](), set[Buffer]()
    sizes = [_size(step) for step in first]
    for n in count():
        turn = [step for _, step in items[n * length : (n + 1) * length]]
        reads, writes = _traffic(turn)
        alike = [step.kind for step in turn] == [step.kind for step in first]
        if not turn or not alike or reads & written or writes & read:
            return n
        if (now := [_size(step) for step in turn]) != sizes:
            # The last may be smaller, if it is not one of two.
            smaller = all(a <= b for a, b in zip(now, sizes, strict=True))
            return n + 1 if n > 1 and smaller else n
        read |= reads
        written |= writes
    raise AssertionError


def _mark(plan: Plan, items: Indexed, length: int) -> None:
    turn_of = {i: at // length for at, (i, _) in enumerate(items)}
    users: dict[Buffer, set[int | None]] = {}
    for i, step in enumerate(plan.steps):
        for buffer in _buffers(step):
            users.setdefault(buffer, set()).add(turn_of.get(i))
    for i, turn in turn_of.items():
        plan.steps[i] = replace(plan.steps[i], turn=turn)
    for buffer, turns in users.items():
        if buffer.kind != "item" or turns == {None}:
            continue
        if len(turns) == 1:
            buffer.own = True
        else:  # what turns share lasts for all of them, as they run at once
            buffer.touch(items[0][0])
            buffer.touch(items[-1][0])


def _size(step: Step) -> int:
    """A measure of the work of a step, beside others of its kind."""
    return len(step.operands) if step.kind == "bags" else sum(w.size for w in step.weights)


def _traffic(steps: Iterable[Step]) -> tuple[set[Buffer], set[Buffer]]:
    """What `steps`, one after the other, read that others wrote, and what they write."""
    reads, writes = set[Buffer](), set[Buffer]()
    for step in steps:
        inputs = 0 if step.kind == "bags" else len(step.operands) - 1
        buffers = [place.buffer for place in step.operands]
        reads |= {b for b in buffers[:inputs] if b is not None} - writes
        writes |= {b for b in buffers[inputs:] if b is not None}
    return reads, writes


def _buffers(step: Step) -> set[Buffer]:
    return {place.buffer for place in step.operands if place.buffer is not None}
