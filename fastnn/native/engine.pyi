from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.program.plan import Call

VERSION: str
COMPILER: str
HAS_OPENMP: bool
MOST_WORK_UNWATCHED: float  # multiply-adds of a step; longer ones answer Ctrl-C
ISA: str
HAS_BFLOAT16: bool
PRECISIONS: dict[str, int]
LANES: dict[str, int]
MAX_INPUTS_OF_CONCATENATE: int
NORM_CHUNK: int
SCRATCH_VECTORS: int
HALVES_FROM_ROWS: int
GRADIENT_ROWS_AS_GIVEN: int

def compiled_isas() -> list[str]: ...
def supported_isas() -> list[str]: ...
def variants(table: str) -> dict[str, tuple[str, str, float]]: ...
def kernel_names() -> list[str]: ...
def forks() -> int: ...
def can_open_a_team() -> bool: ...
def address_of(array: np.ndarray) -> int: ...
def try_threads_again() -> None: ...
def openmp_threads() -> int | None: ...
def processors_allowed() -> int: ...
def openmp_processors() -> int | None: ...
def barrier_seconds(workers: int, times: int) -> float: ...

class Executor:
    @property
    def absence(self) -> float: ...
    @property
    def present(self) -> int: ...
    @property
    def was_idle(self) -> bool: ...
    is_watched: bool
    def __init__(
        self,
        calls: Sequence[Call],
        dtype: str,
        arenas: Mapping[str, np.ndarray],
        externals: int,
        inputs: int,
    ) -> None: ...
    def run(
        self,
        addresses: Addresses,
        *,
        batch: int,
        total_rows: int,
        first_step: int = 0,
        steps: int = 1,
        learning_rates: np.ndarray | None = None,
        scheduled: np.ndarray | None = None,
        counter: np.ndarray | None = None,
        first_number: int = 1,
        key: int = 0,
        begin: int = 0,
        end: int = -1,
        workers: int = 1,
        seconds: np.ndarray | None = None,
    ) -> int: ...

class Addresses:
    def __init__(self, executor: Executor) -> None: ...
    def put(
        self,
        place: int,
        array: np.ndarray,
        row_bytes: int = 0,
        step_bytes: int = 0,
        offset: int = 0,
    ) -> None: ...
    def gather(self, number: int, source: int, stride: int) -> None: ...

class Turn:
    what: str
    thread: int
    is_active: bool
    writes: str
    bell: Any
    number: int
    def __init__(
        self,
        turns: object,
        uses: list[Any],
        is_free: Callable[[Any], bool],
        what: str,
        is_active: bool = True,
        writes: str = "learned",
    ) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *raised: object) -> None: ...

class Prepared:
    workers: int
    objective: object
    what: str
    thread: int
    is_active: bool
    writes: str
    def __init__(
        self,
        executor: Executor,
        dtype: str,
        *,
        rows: int = 1,
        workers: int = 1,
        key: int = 0,
        work: float = 0,
        inputs: Sequence[tuple[int, tuple[int, ...]]] = (),
        output: tuple[int, tuple[int, ...]] | None = None,
        results: Sequence[int] = (),
        target: tuple[int, tuple[int, ...], int, tuple[float, float]] | None = None,
        weights: int | None = None,
        counter: np.ndarray | None = None,
        stretches: Sequence[tuple[np.ndarray, np.ndarray]] = (),
        objective: object = None,
        settings: dict[str, object] | None = None,
        turns: object = None,
    ) -> None: ...
    def predict_one(self, x: object) -> np.ndarray | None: ...
    def predict_few(self, x: object, workers: int = 1) -> np.ndarray | None: ...
    def has_settings(self, settings: dict[str, object]) -> bool: ...
    def learn(
        self,
        x: object,
        y: object,
        settings: dict[str, object],
        judge: Callable[[Any, Any, bool, float], float],
        owner: object,
    ) -> float | None: ...
    def learn_batch(
        self,
        x: object,
        y: object,
        weights: object,
        settings: dict[str, object],
        judge: Callable[[Any, Any, bool, float], float],
        owner: object,
        workers: int = 1,
    ) -> float | None: ...
    def update(self, learning_rate: float) -> None: ...
