"""Cores and caches, as the system describes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SYSTEM = Path("/sys/devices/system/cpu")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Caches:
    """Data caches that a thread on one core can use.

    l3_bytes: 0 where there is none; l3_cores: how many of the allowed cores share it.
    """

    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    l3_cores: int


# Where the system does not say: what server cores of the last years have at least.
ASSUMED = Caches(l1_bytes=32 << 10, l2_bytes=512 << 10, l3_bytes=16 << 20, l3_cores=1)


def read_caches(core: int, allowed: frozenset[int], system: Path = SYSTEM) -> Caches:
    """Caches of `core` from sysfs; `ASSUMED` where its L1 or L2 is not described."""
    sizes: dict[int, int] = {}
    shared: dict[int, int] = {}
    for folder in sorted((system / f"cpu{core}" / "cache").glob("index*")):
        try:
            if (folder / "type").read_text().strip() == "Instruction":
                continue
            level = int((folder / "level").read_text())
            sizes[level] = _bytes((folder / "size").read_text().strip())
            shared[level] = len(_cores((folder / "shared_cpu_list").read_text()) & allowed)
        except (OSError, ValueError):
            continue
    if not (sizes.get(1) and sizes.get(2)):
        return ASSUMED
    return Caches(sizes[1], sizes[2], sizes.get(3, 0), max(shared.get(3, 1), 1))


def caches_here() -> Caches:
    """Caches of the first core that this process may use."""
    allowed = frozenset(os.sched_getaffinity(0))
    return read_caches(min(allowed), allowed)


def cores_apart(allowed: frozenset[int], system: Path = SYSTEM) -> list[int]:
    """The allowed cores, ordered so that siblings of one physical core come late.

    >>> cores_apart(frozenset({1, 0}), Path("nowhere"))
    [0, 1]
    """
    rank: dict[int, int] = {}
    seen: dict[frozenset[int], int] = {}
    for core in sorted(allowed):
        try:
            siblings = _cores(
                (system / f"cpu{core}" / "topology" / "thread_siblings_list").read_text()
            )
        except (OSError, ValueError):
            siblings = frozenset({core})
        rank[core] = seen.get(siblings, 0)
        seen[siblings] = rank[core] + 1
    return sorted(allowed, key=lambda core: (rank[core], core))


def _bytes(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else int(text)


def _cores(text: str) -> frozenset[int]:
    """Cores of a list such as "0-3,8"."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
