from __future__ import annotations

import pytest

from recstack import _native, memory

HUGE = 2 << 20
SMAPS = """\
1000-5000 rw-p 00000000 00:00 0
Rss:                  16 kB
AnonHugePages:         8 kB
VmFlags: rd wr hg
8000-a000 r--s 00000000 fe:00 77   /a/weights.safetensors
AnonHugePages:         0 kB
c000-10000 rw-p 00000000 00:00 0
AnonHugePages:         16 kB
"""


def test_available_bytes() -> None:
    assert 1 << 20 < memory.available_bytes() <= 1 << 62


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], 0),
        ([(0x1000, 0x5000)], 8192),
        ([(0x1000, 0x2000)], 4096),
        ([(0x1000, 0x2000), (0x1000, 0x2000), (0x1800, 0x2800)], 0x1800),
        ([(0x8000, 0xA000)], 0),
        ([(0x1000, 0x10000)], 8192 + 16384),
        ([(0x20000, 0x30000)], 0),
    ],
)
def test_huge_bytes_counts_what_the_ranges_cover(
    monkeypatch: pytest.MonkeyPatch, ranges: list[memory.Range], expected: int
) -> None:
    monkeypatch.setattr(memory, "_text", lambda path: SMAPS)
    assert memory.huge_bytes(ranges) == expected


def test_huge_bytes_without_smaps_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_text", lambda path: "")
    assert memory.huge_bytes([(0, 1 << 40)]) == 0


def test_huge_bytes_of_this_process() -> None:
    """Untouched memory has no pages; once written, the kernel gives huge ones or does not."""
    pages, asked = _native.empty_pages(8 * HUGE)
    begin = pages.ctypes.data
    assert memory.huge_bytes([(begin, begin + pages.nbytes)]) == 0
    pages[:] = 1
    found = memory.huge_bytes([(begin, begin + pages.nbytes)])
    assert found % HUGE == 0 and 0 <= found <= (pages.nbytes if asked else 0)
    assert asked == memory.huge_pages_available()
