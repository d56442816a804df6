from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> list[tuple[str, bool]]: ...
def fill_uniform(
    out: NDArray[Any], seed: int, stream: int, low: float, high: float, threads: int
) -> None: ...
def empty_pages(nbytes: int) -> tuple[NDArray[Any], bool]: ...
def huge_pages_available() -> bool: ...
def quantise_rows(
    table: NDArray[Any], format: int, greedy: bool, out: NDArray[Any], isa: str, threads: int
) -> int: ...
def dequantise_rows(
    stored: NDArray[Any], format: int, out: NDArray[Any], isa: str, threads: int
) -> None: ...
def compute_peaks() -> list[tuple[str, str]]: ...
def peak_compute(dtype: str, isa: str, cores: Sequence[int], budget_ns: int) -> float: ...
def peak_stream(
    isa: str, arena: NDArray[Any], footprint_bytes: int, cores: Sequence[int], budget_ns: int
) -> float: ...
def peak_weights(
    isa: str,
    arena: NDArray[Any],
    k: int,
    n: int,
    layers: int,
    cores: Sequence[int],
    budget_ns: int,
) -> float: ...
def peak_gather(
    isa: str,
    arena: NDArray[Any],
    footprint_bytes: int,
    row_bytes: int,
    tables: int,
    lookups: int,
    choices: Sequence[tuple[str, int, int]],
    seed: int,
    cores: Sequence[int],
    budget_ns: int,
) -> list[float]: ...

class InputLayout:
    def __init__(
        self,
        user_features: Sequence[bool],
        fixed_lengths: Sequence[int],
        dense_columns: int,
        user_dense_columns: int,
        outputs: int,
        weighted: bool,
        finite: bool = True,
    ) -> None: ...

class ExecutorFactory: ...

class Program(ExecutorFactory):
    def __init__(
        self,
        isa: str,
        layout: InputLayout,
        tile_rows: int,
        item_floats: int,
        user_floats: int,
        steps: Sequence[tuple[Any, ...]],
    ) -> None: ...

class StepTimes(ExecutorFactory):
    def __init__(self, program: Program) -> None: ...
    def read(self) -> tuple[list[int], list[int]]: ...
    def clear(self) -> None: ...

class TeamFactory(ExecutorFactory):
    def __init__(self, program: Program, threads: int) -> None: ...

class Runner:
    def __init__(self, factory: ExecutorFactory) -> None: ...
    def run(
        self,
        dense: NDArray[Any],
        user_dense: NDArray[Any],
        values: NDArray[Any],
        lengths: NDArray[Any],
        query_offsets: NDArray[Any],
        weights: NDArray[Any] | None,
        out: NDArray[np.float32] | None,
    ) -> NDArray[np.float32] | None: ...

class PythonExecutorFactory(ExecutorFactory):
    def __init__(self, run: Callable[..., NDArray[Any]], layout: InputLayout) -> None: ...

class HistogramSnapshot:
    def __init__(self) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def sum(self) -> int: ...
    @property
    def max(self) -> int: ...
    def percentile(self, share: float) -> int: ...
    def at_most(self, limit: int) -> int: ...
    def merge(self, other: HistogramSnapshot) -> None: ...
    def subtract(self, earlier: HistogramSnapshot) -> None: ...

class Histogram:
    def __init__(self) -> None: ...
    def record(self, value: int) -> None: ...
    def snapshot(self) -> HistogramSnapshot: ...

class CostCurve:
    def __init__(
        self, busy: Sequence[int], service_ns: Sequence[float], query_ns: float
    ) -> None: ...
    def service_ns(self, rows: int, queries: int = 1, busy: int = 1) -> int: ...
    def rows_within(self, limit_ns: int, busy: int = 1) -> int: ...
    def efficient_rows(self, share: float, busy: int = 1) -> int: ...
    def observe(self, rows: int, queries: int, busy: int, took_ns: int) -> None: ...

class Policy: ...

class SlackPolicy(Policy):
    def __init__(self, target_ns: int, shed_largest: bool = True, stretch: float = 8.0) -> None: ...

class LaneKind:
    def __init__(
        self,
        lanes: int,
        cost: CostCurve,
        spread: Literal["none", "lognormal", "exponential", "empirical"] = "none",
        sigma: float = 0.0,
        factors: Sequence[float] = (),
        idle_ns: int = 0,
    ) -> None: ...

def simulate(
    policy: Policy,
    kinds: Sequence[LaneKind],
    believed: Sequence[CostCurve],
    arrival_ns: NDArray[Any],
    rows: NDArray[Any],
    deadline_ns: int,
    queue_queries: int,
    queue_rows: int,
    seed: int,
    started_ns: NDArray[Any],
    finished_ns: NDArray[Any],
    status: NDArray[Any],
    chunks: NDArray[Any],
) -> dict[str, int]: ...

class FixedPolicy(Policy):
    def __init__(
        self,
        chunk_rows: int,
        merge_rows: int = 0,
        merge_window_ns: int = 0,
        by_deadline: bool = False,
        accelerator_rows: int = 0,
    ) -> None: ...

class HttpBounds:
    def __init__(
        self,
        *,
        connections: int,
        opened: int,
        max_waiting: int,
        max_response_bytes: int,
        connect_timeout_s: float,
        request_timeout_s: float,
    ) -> None: ...

def run_http(
    address: tuple[str, int, int, int],
    bounds: HttpBounds,
    messages: Sequence[tuple[bytes, bytes]],
    timeout: tuple[bytes, int],
    which: NDArray[Any],
    scheduled_ns: NDArray[Any],
    lead_ns: int,
    deadline_ns: int,
    drain_ns: int,
    spin_ns: int,
    issued_ns: NDArray[Any],
    sent_ns: NDArray[Any],
    finished_ns: NDArray[Any],
) -> tuple[int, list[bytes | str | None]]: ...

class Dispatcher:
    def __init__(
        self,
        executors: Sequence[ExecutorFactory],
        cores: Sequence[Sequence[int]],
        policy: Policy,
        queue_queries: int,
        queue_rows: int,
        spin_ns: int,
        costs: Sequence[CostCurve] = (),
        kinds: Sequence[int] = (),
    ) -> None: ...
    @property
    def outputs(self) -> int: ...
    def submit(
        self,
        id: int,
        dense: NDArray[Any],
        user_dense: NDArray[Any],
        values: NDArray[Any],
        lengths: NDArray[Any],
        query_offsets: NDArray[Any],
        weights: NDArray[Any] | None,
        out: NDArray[Any],
        deadline_ns: int,
    ) -> Literal["ok", "queue_full", "deadline", "shutting_down"]: ...
    def drain(
        self,
    ) -> list[
        tuple[
            int,
            Literal["ok", "queue_full", "deadline", "shutting_down", "error"],
            int,
            tuple[int, int, int, int, int],
            tuple[int, int, int, int, int, int, str] | None,
        ]
    ]: ...
    def run_schedule(
        self,
        batches: Sequence[tuple[NDArray[Any] | None, ...]],
        which: NDArray[Any],
        scheduled_ns: NDArray[Any],
        lead_ns: int,
        deadline_ns: int,
        drain_ns: int,
        spin_ns: int,
        issued_ns: NDArray[Any],
        finished_ns: NDArray[Any],
        status: NDArray[Any],
        stages_ns: NDArray[Any],
    ) -> tuple[int, list[tuple[int, tuple[int, int, int, int, int, int, str]]]]: ...
    def wait(self, timeout_ms: int) -> None: ...
    def fileno(self) -> int: ...
    def close(self, drain: bool) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def set_policy(self, policy: Policy) -> None: ...
    def begin_trace(self, chunks: int) -> None: ...
    def traced(self) -> list[tuple[int, int, int, int, int, int]]: ...
    def pin_errors(self) -> list[str]: ...
