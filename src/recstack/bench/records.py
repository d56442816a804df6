"""One cell of the table: a model at one number of rows and threads, every contender in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from recstack import results
from recstack.bench.contenders import OWN, installed
from recstack.errors import DataError

KIND = "bench"
Status = Literal["ok", "missing", "unsupported", "failed", "disagrees"]


class Found(BaseModel):
    """One contender in one cell.

    status: ok; missing (package), unsupported, failed or disagrees (scores), each with `reason`.
    error: largest difference of its scores to recstack's fp32 ones, of those compared.
    us: median over rounds of each round's median; quartiles_us: the same. p99_us: of all runs.
    samples_ns: up to SAMPLES runs of each round, evenly spread over it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    contender: str
    name: str
    version: str = ""
    status: Status = "ok"
    reason: str = ""
    error: float = 0.0
    us: float | None = None
    quartiles_us: tuple[float, float] | None = None
    p99_us: float | None = None
    runs: int = 0
    round_medians_us: tuple[float, ...] = ()
    samples_ns: tuple[tuple[int, ...], ...] = ()


class Cell(BaseModel):
    """What was measured for `rows` rows on `threads` threads; the first contender is recstack.

    cold_bytes: table rows and dense columns read before an input comes round again.
    plan: the precision plan of the contender "recstack_plan": its file and a digest; "" for none.
    steady_spread: p99 over median of fixed work as long as recstack's run, in the same turns: what
        the machine itself adds to slow runs.
    floor_us: modelled, where the machine's peaks are stored; roofline: the record that reports draw
        it from (`profile.roofline_record`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    origin: Literal["measured"] = "measured"
    record: Literal["cell"] = "cell"
    model: str
    rows: int
    threads: int
    isa: str
    inputs: str
    rows_scale: float
    seed: int
    plan: str = ""
    git: str
    batches: int
    cold_bytes: int
    found: tuple[Found, ...]
    steady_spread: float | None = None
    floor_us: float | None = None
    roofline: dict[str, Any] | None = None

    @property
    def own(self) -> Found:
        """recstack in fp32."""
        return self.found[0]

    @property
    def best_own(self) -> Found:
        """recstack at the precision that is quickest here."""
        return _quickest([f for f in self.found if f.contender in OWN]) or self.own

    @property
    def best_peer(self) -> Found | None:
        """The quickest peer that ran, if any did."""
        return _quickest([f for f in self.found if f.contender not in OWN])

    @property
    def ratio(self) -> float | None:
        """Best peer's time over recstack's best: above 1, recstack is quicker."""
        best, own = self.best_peer, self.best_own
        return None if best is None or not best.us or not own.us else best.us / own.us

    @property
    def spread(self) -> float | None:
        """recstack's p99 over its median."""
        own = self.own
        return own.p99_us / own.us if own.p99_us and own.us else None

    def as_dict(self) -> dict[str, Any]:
        """As plain data, with the derived figures."""
        best = self.best_peer
        return {
            **self.model_dump(),
            "best_own": self.best_own.contender,
            "best_peer": None if best is None else best.contender,
            "ratio": self.ratio,
            "spread": self.spread,
            "over_floor": self.own.us / self.floor_us if self.floor_us and self.own.us else None,
        }


def _quickest(found: Sequence[Found]) -> Found | None:
    return min((f for f in found if f.us is not None), key=lambda f: f.us or 0.0, default=None)


class Store:
    """The cells of one run of the bench, one file per model, threads, isa and inputs.

    Every file is rewritten whole when a cell joins it, so that a run that was cut short goes on
    where it stopped. A file's cells are all of one machine: its header says which.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, cell: Cell) -> Path:
        """The file that holds `cell`."""
        inputs = Path(cell.inputs).name.split(".")[0]
        name = cell.model.replace("/", "_")
        return self._folder / f"{name}-t{cell.threads}-{cell.isa}-{inputs}.jsonl"

    def find(self, wanted: Cell, contenders: Sequence[str]) -> Cell | None:
        """The stored cell of the same question with all `contenders`, if there is one.

        A contender whose package was missing, and by now is not, is asked again.
        """
        for cell in self._read(self.path(wanted)):
            if question(cell) == question(wanted):
                known = {
                    f.contender
                    for f in cell.found
                    if f.status != "missing" or not installed(f.contender)
                }
                return cell if known >= set(contenders) else None
        return None

    def put(self, cell: Cell) -> None:
        """Add a cell, in place of one that answers the same question."""
        path = self.path(cell)
        cells = [c for c in self._read(path) if question(c) != question(cell)]
        cells = sorted([*cells, cell], key=lambda c: c.rows)
        rooflines = [c.roofline for c in cells if c.roofline is not None]
        records = [*(c.model_dump() for c in cells), *rooflines]
        results.write(path, KIND, records, seed=self._seed)

    def _read(self, path: Path) -> list[Cell]:
        if not path.exists():
            return []
        there, here = results.read(path, KIND).header.machine, results.fingerprint()
        if (there.cpu, there.cores) != (here.cpu, here.cores):
            raise DataError(
                f"{path}: expected cells of this machine, {here.cpu} with {here.cores} cores, got "
                f"{there.cpu}'s with {there.cores}: give another folder"
            )
        return read_cells(path)


def question(cell: Cell) -> tuple[Any, ...]:
    """What a cell was asked: everything but the answers and the revision."""
    asked = (cell.model, cell.rows, cell.threads, cell.isa, cell.inputs, cell.rows_scale, cell.seed)
    return (*asked, cell.plan)


def read_cells(path: Path) -> list[Cell]:
    """The cells of a result file. Raises DataError naming the file."""
    try:
        records = results.read(path, KIND).records
        return [Cell.model_validate(r) for r in records if r.get("record") != "roofline"]
    except ValueError as error:
        raise DataError(f"{path}: expected cells of recstack bench: {error}") from error
