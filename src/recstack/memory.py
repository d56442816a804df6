"""What memory the system has left, and how much of an address range lies on huge pages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recstack import _native

Range = tuple[int, int]  # first address, address past the last byte


def available_bytes() -> int:
    """Memory that can be had without swapping, by the system and by the process's cgroup."""
    meminfo = (line.split() for line in _text("/proc/meminfo").splitlines())
    limits = [int(words[1]) * 1024 for words in meminfo if words[0] == "MemAvailable:"]
    most, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if most.isdigit() and used.isdigit():
        limits.append(max(int(most) - int(used), 0))
    return min(limits, default=1 << 62)


def huge_pages_available() -> bool:
    """Whether the kernel gives huge pages to memory that asks for them (madvise or always)."""
    return _native.huge_pages_available()


def huge_bytes(ranges: Iterable[Range]) -> int:
    """Bytes of these address ranges that lie on huge pages now, as the kernel counts them.

    The kernel counts per mapping: of a mapping that the ranges cover in part, the count is the
    smaller of its huge bytes and the bytes covered. 0 where the system does not tell
    (/proc/self/smaps).
    """
    wanted = _merged(ranges)
    total = covered = 0
    for line in _text("/proc/self/smaps").splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            begin, end = (int(part, 16) for part in first.split("-"))
            covered = sum(max(min(end, b) - max(begin, a), 0) for a, b in wanted)
        elif covered and first == "AnonHugePages:":
            total += min(int(line.split()[1]) * 1024, covered)
    return total


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """The same addresses, each once, ascending."""
    merged: list[Range] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
