"""Caches and cores from a made-up sysfs."""

from __future__ import annotations

from pathlib import Path

from recstack.machine.topology import ASSUMED, Caches, cores_apart, read_caches


def describe(system: Path, core: int, siblings: str, caches: list[tuple[str, ...]]) -> None:
    topology = system / f"cpu{core}" / "topology"
    topology.mkdir(parents=True)
    (topology / "thread_siblings_list").write_text(siblings + "\n")
    for i, (level, kind, size, shared) in enumerate(caches):
        folder = system / f"cpu{core}" / "cache" / f"index{i}"
        folder.mkdir(parents=True)
        for name, text in zip(
            ("level", "type", "size", "shared_cpu_list"), (level, kind, size, shared), strict=True
        ):
            (folder / name).write_text(text + "\n")


INNER = [("1", "Data", "48K", "0"), ("1", "Instruction", "64K", "0"), ("2", "Unified", "2M", "0")]


def test_caches_and_how_many_allowed_cores_share_the_last(tmp_path: Path) -> None:
    describe(tmp_path, 0, "0", [*INNER, ("3", "Unified", "32768K", "0-3,8")])
    expected = Caches(48 << 10, 2 << 20, 32 << 20, l3_cores=3)
    assert read_caches(0, frozenset({0, 3, 8, 9}), tmp_path) == expected


def test_a_core_without_an_l3(tmp_path: Path) -> None:
    describe(tmp_path, 0, "0", INNER)
    assert read_caches(0, frozenset({0}), tmp_path) == Caches(48 << 10, 2 << 20, 0, 1)


def test_caches_are_assumed_where_the_system_says_nothing(tmp_path: Path) -> None:
    assert read_caches(0, frozenset({0}), tmp_path) == ASSUMED
    describe(tmp_path, 0, "0", [("1", "Data", "some", "0"), ("2", "Unified", "2M", "0")])
    assert read_caches(0, frozenset({0}), tmp_path) == ASSUMED


def test_siblings_come_after_every_physical_core(tmp_path: Path) -> None:
    for core, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        describe(tmp_path, core, siblings, [])
    assert cores_apart(frozenset(range(4)), tmp_path) == [0, 2, 1, 3]
    assert cores_apart(frozenset({1, 2, 3}), tmp_path) == [1, 2, 3]
