"""How fast dense weights can be read, and from where."""

from __future__ import annotations

from recstack.machine.peaks import Level, Peaks


def weights_ns_per_byte(peaks: Peaks, dense_bytes: int, threads: int) -> float:
    """Nanoseconds per byte of weights that are `dense_bytes` in all, read once per batch.

    Each thread reads its share, so its footprint is the share: the least that any division of the
    work needs (threads that divide a batch by rows each read all weights). The faster of a plain
    stream and of the one-row kernel's reading counts, as a floor must not rest on the slower.
    """
    share = -(-dense_bytes // threads)
    return 1e9 / max(
        peaks.read_bytes_per_s(share, threads, "stream"),
        peaks.read_bytes_per_s(share, threads, "weights"),
    )


def level_of(peaks: Peaks, footprint_bytes: int, threads: int) -> Level:
    """The smallest level that holds `footprint_bytes`, shared evenly by `threads` threads.

    L1 and L2 are each core's own; the last cache is shared.
    """
    share = -(-footprint_bytes // threads)
    if share <= peaks.l1_bytes:
        return "L1"
    if share <= peaks.l2_bytes:
        return "L2"
    return "L3" if footprint_bytes <= peaks.l3_bytes else "DRAM"
