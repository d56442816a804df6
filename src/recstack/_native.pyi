from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def instruction_sets() -> list[tuple[str, bool]]: ...

def fill_uniform(
    out: NDArray[Any], seed: int, stream: int, low: float, high: float, threads: int
) -> None: ...
def empty_pages(nbytes: int) -> tuple[NDArray[Any], bool]: ...

class InputLayout:
    def __init__(
        self,
        user_features: Sequence[bool],
        fixed_lengths: Sequence[int],
        dense_columns: int,
        user_dense_columns: int,
        outputs: int,
        weighted: bool,
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

class TeamFactory(ExecutorFactory):
    def __init__(self, factory: ExecutorFactory, threads: int) -> None: ...

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
        out: NDArray[Any],
    ) -> tuple[int, int, int, int, int, int] | None: ...
