"""What a built model runs on: its arenas, and its programs bound to them.

One flat, aligned array each for parameters, gradients and optimizer state, so that the update,
a checkpoint and a snapshot are one pass over one array. Programs are made when first needed.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from fastnn.core import threads
from fastnn.data.sparse import Sparse
from fastnn.data.steps import Steps
from fastnn.native.engine import Executor, FewRows, OneRow, address_of
from fastnn.program import lower, python_ops
from fastnn.program.lower import Graph, Program
from fastnn.program.objective import Given, Objective
from fastnn.program.ops import Op, Value
from fastnn.program.plan import ALIGNMENT, ARENAS, Plan, plan
from fastnn.runtime.team import Pace

# Rows of a step of predict and evaluate: enough that packing pays, few enough for the caches.
ROWS = 512
# NumPy asks Linux for huge pages from 4 MB on, and takes memory that was freed before; a step of
# 784-512-512-10, whose arenas are smaller, takes 3 % less in such pages.
HUGE_PAGE = 2 << 20
NUMPY_FROM = 4 << 20


def aligned(shape: int | tuple[int, ...], dtype: str) -> np.ndarray:
    """Return zeros whose first element lies at a multiple of 64 bytes; of a huge page if large."""
    shape = (shape,) if isinstance(shape, int) else shape
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = _zeros_in_huge_pages(size) if HUGE_PAGE <= size < NUMPY_FROM else None
    if raw is None:
        raw = np.zeros(size + ALIGNMENT, np.uint8)
        raw = raw[-raw.ctypes.data % ALIGNMENT :][:size]
    return raw.view(dtype).reshape(shape)


def _zeros_in_huge_pages(size: int) -> np.ndarray | None:
    """Return bytes in huge pages as far as they fill them, None where the system has none."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:  # pages that are never touched take no memory
        pages = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        raw = np.frombuffer(pages, np.uint8)
        first = -raw.ctypes.data % HUGE_PAGE
        pages.madvise(mmap.MADV_HUGEPAGE, first, size // HUGE_PAGE * HUGE_PAGE)
    except (OSError, OverflowError):  # no huge pages, or no memory, which np.zeros reports
        return None
    return raw[first : first + size]


@dataclass
class Bound:
    """A planned program with its executor and workspace."""

    plan: Plan
    executor: Executor
    workspace: np.ndarray
    paces: dict[int, Pace] = field(default_factory=dict)
    # Held while Python runs between native ranges: they share one workspace.
    lock: threading.RLock = field(default_factory=threading.RLock)

    def pace(self, batch: int) -> Pace:
        """Return the pace of many steps of `batch` rows."""
        if batch not in self.paces:
            self.paces[batch] = Pace(self.plan.effort(batch))
        return self.paces[batch]

    def view(self, value: Value, rows: int) -> np.ndarray:
        """Return a value of the workspace, shape (rows, *shape)."""
        offset, size = self.plan.places[value]
        flat = self.workspace[offset : offset + size].view(self.plan.dtype)
        return flat.reshape(-1, *value.shape)[:rows]


# Held while a program is looked up or made, so that threads may share a model; and over a fork,
# so that the child finds it open.
_programs_lock = threading.Lock()
os.register_at_fork(
    before=_programs_lock.acquire,
    after_in_parent=_programs_lock.release,
    after_in_child=_programs_lock.release,
)


@dataclass
class Runtime:
    """The arenas and programs of one model.

    Attributes
    ----------
    graph : Graph
    dtype : {"float32", "float64"}
    shapes : dict of str to tuple of int
        Of the parameters, by name.
    key : int
        Seed of dropout.
    counter : ndarray of int64, shape (1,)
        Updates made so far; the engine counts them.
    """

    graph: Graph
    dtype: str
    shapes: dict[str, tuple[int, ...]]
    key: int
    objective: Objective | None = None
    programs: dict[tuple, Bound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay out the arenas. Each parameter starts on a cache line of its own."""
        self.counter = np.zeros(1, np.int64)
        self.slots: list[str] = []
        per_line = ALIGNMENT // np.dtype(self.dtype).itemsize
        self.offsets: dict[str, int] = {}
        self.count = 0
        for name, shape in self.shapes.items():
            self.offsets[name] = self.count
            self.count += -(-int(np.prod(shape)) // per_line) * per_line
        self.arenas = {name: aligned(self.count, self.dtype) for name in ARENAS.values()}
        self.arenas["state"] = aligned((0, self.count), self.dtype)
        self._snapshot: np.ndarray | None = None
        self.one_row: dict[str, OneRow] = {}  # programs prepared for one row, by name
        self.few_rows: FewRows | bool | None = None  # the one that predicts; False: there is none
        self.parameters = self._views(self.arenas["parameters"])
        self.gradients = self._views(self.arenas["gradients"])

    @property
    def step(self) -> int:
        """Updates made so far."""
        return int(self.counter[0])

    @step.setter
    def step(self, step: int) -> None:
        self.counter[0] = step

    def snapshot(self) -> np.ndarray:
        """Copy the parameters to a place kept for single steps, and return that."""
        if self._snapshot is None:
            self._snapshot = np.empty_like(self.arenas["parameters"])
        np.copyto(self._snapshot, self.arenas["parameters"])
        return self._snapshot

    def last_snapshot(self) -> np.ndarray:
        """Return the parameters as they were before the last single step."""
        assert self._snapshot is not None
        return self._snapshot

    def _views(self, arena: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: arena[first : first + int(np.prod(shape))].reshape(shape)
            for (name, shape), first in zip(self.shapes.items(), self.offsets.values(), strict=True)
        }

    views_of = _views

    def configure(self, objective: Objective) -> None:
        """Take a new optimizer, loss and metrics; the optimizer starts afresh."""
        self.objective = objective
        self.programs = {key: p for key, p in self.programs.items() if key[0] == "predict"}
        self.slots = objective.optimizer.slots
        self.arenas["state"] = aligned((len(self.slots), self.count), self.dtype)
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Let the optimizer forget what it has seen."""
        assert self.objective is not None
        self.arenas["state"][...] = np.reshape(self.objective.optimizer.initial_states, (-1, 1))
        self.step = 0

    def take_average(self) -> None:
        """Give the parameters that learn the values of their moving average, if one is kept."""
        if "average" not in self.slots or self.step == 0:
            return
        average = self._views(self.arenas["state"][self.slots.index("average")])
        for name, factor in self.graph.rate_factors().items():
            if factor:
                self.parameters[name][...] = average[name]

    def forget_average(self) -> None:
        """Let the moving average of the parameters, if one is kept, start from what they are."""
        if "average" in self.slots:
            self.arenas["state"][self.slots.index("average")] = self.arenas["parameters"]

    def state_views(self) -> dict[str, np.ndarray]:
        """Return views of the optimizer's state, by "slot/parameter"."""
        if self.objective is None:
            return {}
        return {
            f"{slot}/{name}": view
            for slot, arena in zip(self.slots, self.arenas["state"], strict=True)
            for name, view in self._views(arena).items()
        }

    # --- programs -----------------------------------------------------------------------------

    def bound(
        self,
        name: str,
        rows: int,
        target_types: str | tuple[str, ...] = "real",
        sparse: tuple[int, ...] = (),
        *,
        collects: bool = False,
    ) -> Bound:
        """Return a program planned for at least `rows` rows.

        Parameters
        ----------
        name : {"predict", "evaluate", "train", "gradients", "manual", "update", "activations"}
        rows : int
        target_types : str or tuple of {"real", "label", "weight"}
            For evaluate and train: the dtype of the target of each output, and "weight" last
            where samples have weights.
        sparse : tuple of int
            Which inputs are sparse.
        collects : bool, default False
            Whether the predictions are kept for the metrics that need all of them; a run must
            then be given room for them.
        """
        collects = collects and self.objective is not None and self.objective.needs_all
        target_types = (target_types,) if isinstance(target_types, str) else target_types
        with _programs_lock:
            return self._bound(name, rows, target_types, sparse, collects)

    def _bound(
        self,
        name: str,
        rows: int,
        target_types: tuple[str, ...],
        sparse: tuple[int, ...],
        collects: bool,
    ) -> Bound:
        settings = self._settings() if name in ("train", "update") else None
        key = (name, target_types, sparse, collects, settings)
        found = self.programs.get(key)
        if found is None or found.plan.capacity < rows:
            if settings is not None:
                self.check_slots()
            for old in [old for old in self.programs if old[:4] == key[:4]]:
                del self.programs[old]
            self.one_row.pop(name, None)
            self.few_rows = None if name == "predict" else self.few_rows
            program = self._program(name, target_types, sparse, collects)
            made = plan(program, self.dtype, rows, self._places())
            workspace = aligned(made.workspace_bytes, "uint8")
            arenas = {**self.arenas, "workspace": workspace}
            executor = Executor(made.calls(), self.dtype, arenas, made.externals())
            found = self.programs[key] = Bound(made, executor, workspace)
        return found

    def _places(self) -> dict[str, int]:
        """Return the offsets of what has a place of its own in an arena, in elements."""
        return {**self.offsets, "average": max(len(self.slots) - 1, 0) * self.count}

    def forget_training_programs(self) -> None:
        """Drop the programs that depend on which parameters learn, and how fast."""
        with _programs_lock:
            self.programs = {k: bound for k, bound in self.programs.items() if k[0] == "predict"}
            self.one_row.pop("train", None)
            self.clear_frozen_gradients()

    layer_changed = forget_training_programs  # what layers call

    def clear_frozen_gradients(self) -> None:
        """Zero the gradients of what does not learn: they count for the norm of all."""
        for name, factor in self.graph.rate_factors().items():
            if not factor:
                self.gradients[name][...] = 0

    def _settings(self) -> tuple:
        """What of the optimizer is built into a program; a change makes a new one."""
        assert self.objective is not None
        settings = vars(self.objective.optimizer)  # quicker than config()
        return tuple([value for name, value in settings.items() if name != "learning_rate"])

    def check_slots(self) -> None:
        """Raise if the optimizer was set to keep other state than there is."""
        assert self.objective is not None
        optimizer = self.objective.optimizer
        if optimizer.slots != self.slots:
            raise RuntimeError(
                f"{optimizer!r} keeps other state than when compile was called; call it again"
            )

    def _program(
        self,
        name: str,
        target_types: tuple[str, ...],
        sparse: tuple[int, ...] = (),
        collects: bool = False,
    ) -> Program:
        if name == "predict":
            return lower.predict_program(self.graph, sparse)
        if name == "manual":
            return lower.manual_program(self.graph, sparse)
        if name == "activations":
            return lower.activations_program(self.graph, sparse)
        assert self.objective is not None
        optimizer, objectives = self.objective.optimizer, self.objective.outputs
        if name in ("train", "update") and not optimizer.kernel:
            raise RuntimeError(
                f"{type(optimizer).__name__} makes no single steps, each of its iterations looks "
                "at all rows several times: use fit, or compile with another optimizer"
            )
        if name == "update":
            return lower.update_program(self.graph, optimizer, self.count)
        is_weighted = target_types[-1] == "weight"
        dtypes = target_types[:-1] if is_weighted else target_types
        targets = tuple(
            Value(f"target of {output}", () if dtype == "label" else shape, True, "input", dtype)
            for output, dtype, shape in zip(
                self.graph.output_names, dtypes, self.output_shapes, strict=True
            )
        )
        given = Given(targets, Value("sample weight", (), kind="input") if is_weighted else None)
        if name == "evaluate":
            return lower.evaluate_program(self.graph, objectives, given, sparse, collects=collects)
        updater = None if name == "gradients" else optimizer
        return lower.train_program(
            self.graph, objectives, given, updater, self.count, sparse, collects=collects
        )

    @cached_property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one sample of each output."""
        shapes = [shape for _, shape in self.graph.inputs]
        for layer, positions in self.graph.steps:
            shapes.append(layer.output_shape(*(shapes[position] for position in positions)))
        return [shapes[position] for position in self.graph.outputs]

    # --- runs ---------------------------------------------------------------------------------

    def run_all(
        self,
        bound: Bound,
        steps: Steps,
        *,
        outputs: dict[str, np.ndarray] | None = None,
        results: np.ndarray | None = None,
    ) -> None:
        """Run all steps, a slice at a time."""
        first = 0
        while first < steps.count:
            first += self.run_slice(bound, steps, first, outputs=outputs, results=results)[0]

    def run_slice(
        self, bound: Bound, steps: Steps, first: int, *, most: int | None = None, **rest: Any
    ) -> tuple[int, int, float]:
        """Run some of the steps from `first` on, as many as the pace of the program says.

        At most `most`, if that is given.

        Returns
        -------
        asked, done : int
            `done` is less if a loss was not finite.
        seconds : float
        """
        pace = bound.pace(min(steps.batch, steps.rows))
        asked, workers = pace.next(steps.count - first)
        is_cut = most is not None and most < asked
        asked = asked if most is None else min(asked, most)
        began = time.perf_counter()
        done = self.run(bound, steps, first=first, count=asked, workers=workers, **rest)
        seconds = time.perf_counter() - began
        if done == asked and not is_cut:  # a slice cut short says nothing of the time of a step
            pace.record(asked, workers, seconds)
        return asked, done, seconds

    def run(
        self,
        bound: Bound,
        steps: Steps,
        *,
        first: int = 0,
        count: int = 1,
        section: str | None = None,
        outputs: dict[str, np.ndarray] | None = None,
        results: np.ndarray | None = None,
        learning_rates: np.ndarray | None = None,
        number: int | None = None,
        workers: int | None = None,
        seconds: np.ndarray | None = None,
    ) -> int:
        """Run steps [first, first + count) natively and return how many were done.

        Parameters
        ----------
        bound : Bound
        steps : Steps
        first, count : int
        section : str, optional
            Only that section of the program.
        outputs : dict of str to ndarray, optional
            Arrays of all rows that the program's outputs go to.
        results : ndarray of float64, shape (steps, results), optional
        learning_rates : ndarray of float64, shape (steps,), optional
        number : int, optional
            Of the first step, for dropout; default: the next update's.
        workers : int, optional
            Size of the team; default: what the work of a step is worth.
        seconds : ndarray of float64, shape (ops,), optional
            The time spent in each op is added to it.

        Returns
        -------
        int
            Fewer than `count` if a loss was not finite.
        """
        made = bound.plan
        itemsize = made.itemsize
        order = steps.order
        places: dict[str, tuple[int, int, int]] = {}
        sources: dict[int, tuple[bool, int, int]] = {}
        if order is not None:
            places["order"] = address_of(order), order.itemsize, 0
        for i, (source, value) in enumerate(zip(steps.sources, made.program.inputs, strict=False)):
            if isinstance(source, Sparse):
                row = 0 if order is not None else source.indptr.itemsize
                places[f"source {i}"] = address_of(source.indptr), row, 0
                places[f"entries {i}"] = address_of(source.entries), 0, 0
                continue
            address = address_of(source.array)
            is_native = source.is_native(made.dtype, value.dtype)
            in_place = steps.in_place and order is None and is_native and not made.has_python
            sources[i] = in_place, source.number, source.stride
            places[f"source {i}"] = address, 0 if order is not None else source.stride, 0
            if in_place:
                places[f"input {i}"] = address, source.stride, 0
            elif value in made.places:
                places[f"input {i}"] = address_of(bound.workspace) + made.places[value][0], 0, 0
        for name, array in (outputs or {}).items():
            width = array[:1].nbytes if len(array) else itemsize
            places[f"output {name}"] = address_of(array), width, 0
        if results is not None:
            assert results.shape[1] == len(made.program.results)
            for k, name in enumerate(made.program.results):
                row = results.strides[0]
                places[f"result {name}"] = address_of(results) + 8 * k, 0, row
        parts = made.parts(section)
        rows = min(steps.batch, steps.rows)
        run = partial(
            bound.executor.run,
            places,
            batch=steps.batch,
            total_rows=steps.rows,
            learning_rates=learning_rates,
            key=self.key,
            workers=threads.workers_for(made.work(rows)) if workers is None else workers,
            sources=sources,
            seconds=seconds,
        )
        counter = self.counter if section is None and made.updates else None
        number = self.step + 1 if number is None else number
        if len(parts) == 1 and isinstance(parts[0], tuple):
            begin, end = parts[0]
            return run(
                first_step=first, steps=count, first_number=number, counter=counter, begin=begin,
                end=end,
            )  # fmt: skip
        with bound.lock:
            for step in range(first, first + count):
                rows = min(steps.batch, steps.rows - step * steps.batch)
                for part in parts:
                    if isinstance(part, Op):
                        python_ops.run(part, partial(self._memory, bound, rows))
                    elif not run(
                        first_step=step, first_number=number + step - first, begin=part[0],
                        end=part[1], counter=counter if part is parts[-1] else None,
                    ):  # fmt: skip
                        return step - first
        return count

    def _memory(self, bound: Bound, rows: int, value: Value) -> np.ndarray:
        """Return the memory of a value in a run of so many rows."""
        space, first, end = bound.plan.interval(value)
        arena = bound.workspace if space == "workspace" else self.arenas[space].reshape(-1)
        dtype = "int32" if value.dtype == "label" else self.dtype
        flat = arena.view("uint8")[first:end].view(dtype)
        if not value.batched:
            return flat.reshape(value.shape)
        return flat[: rows * value.width].reshape(rows, *value.shape)
