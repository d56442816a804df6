"""How fast dense weights can be read, and from where."""

from __future__ import annotations

from recstack.machine.peaks import Level, Peaks


def weights_ns_per_byte(peaks: Peaks, dense_bytes: int, threads: int) -> float:
    """Nanoseconds per byte of weights that are `dense_bytes` in all, read once per batch.

    Each thread reads its share, so its footprint is the share: the least that any division of the
    work needs (threads that divide a batch by rows each read all weights). The faster of a plain
    stream and of the one-row kernel's reading counts, as a floor must not rest on the slower.
    """
    share = share_bytes(dense_bytes, threads)
    return 1e9 / max(
        peaks.read_bytes_per_s(share, threads, "stream"),
        peaks.read_bytes_per_s(share, threads, "weights"),
    )


def weights_level(peaks: Peaks, dense_bytes: int, threads: int) -> Level:
    """The smallest level that holds all dense weights, each thread its share."""
    return peaks.level(share_bytes(dense_bytes, threads), threads)


def share_bytes(dense_bytes: int, threads: int) -> int:
    """What one of the threads reads at least."""
    return -(-dense_bytes // threads)
