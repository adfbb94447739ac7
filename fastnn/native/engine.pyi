from collections.abc import Mapping, Sequence

import numpy as np

from fastnn.program.plan import Call

VERSION: str
COMPILER: str
HAS_OPENMP: bool
ISA: str
LANES: dict[str, int]
MAX_INPUTS_OF_CONCATENATE: int
NORM_CHUNK: int

def compiled_isas() -> list[str]: ...
def supported_isas() -> list[str]: ...
def variants(table: str) -> dict[str, tuple[str, str, float]]: ...
def kernel_names() -> list[str]: ...

class Executor:
    def __init__(
        self,
        calls: Sequence[Call],
        dtype: str,
        arenas: Mapping[str, np.ndarray],
        externals: Sequence[str],
    ) -> None: ...
    def run(
        self,
        externals: Mapping[str, tuple[int, int, int]],
        *,
        batch: int,
        total_rows: int,
        first_step: int = 0,
        steps: int = 1,
        learning_rates: np.ndarray | None = None,
        counter: np.ndarray | None = None,
        first_number: int = 1,
        key: int = 0,
        begin: int = 0,
        end: int = -1,
        workers: int = 1,
        sources: Mapping[int, tuple[bool, int, int]] | None = None,
        seconds: np.ndarray | None = None,
    ) -> int: ...
