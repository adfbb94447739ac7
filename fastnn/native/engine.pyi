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
HALVES_FROM_ROWS: int

def compiled_isas() -> list[str]: ...
def supported_isas() -> list[str]: ...
def variants(table: str) -> dict[str, tuple[str, str, float]]: ...
def kernel_names() -> list[str]: ...
def address_of(array: np.ndarray) -> int: ...
def barrier_seconds(workers: int, times: int) -> float: ...

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

class Update:
    def __init__(self, executor: Executor, counter: np.ndarray, *, work: float) -> None: ...
    def step(self, learning_rate: float) -> None: ...

class FewRows:
    most: int
    alone: int
    workers: int
    def __init__(
        self,
        executor: Executor,
        most: int,
        alone: int,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        dtype: str,
        *,
        key: int,
        work: float,
        workers: int,
    ) -> None: ...
    def predict(self, x: object, workers: int = 1) -> np.ndarray | None: ...

class OneRow:
    loss: float
    is_done: bool
    objective: object
    def __init__(
        self,
        executor: Executor,
        inputs: list[np.ndarray],
        output_shape: tuple[int, ...],
        results: Sequence[str],
        *,
        key: int,
        work: float,
        target: np.ndarray | None = None,
        classes: int = 0,
        target_range: tuple[float, float] = ...,
        counter: np.ndarray | None = None,
        parameters: np.ndarray | None = None,
        snapshot: np.ndarray | None = None,
        objective: object = None,
        settings: dict[str, object] | None = None,
    ) -> None: ...
    def predict(self, x: object) -> np.ndarray | None: ...
    def learn(self, x: object, y: object, settings: dict[str, object]) -> float | None: ...
    def has_settings(self, settings: dict[str, object]) -> bool: ...
