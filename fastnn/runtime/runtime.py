"""The memory and the programs of a built network: its arenas, and the programs bound to them.

Parameters, gradients and optimizer state are one flat, aligned array each, so that the update,
a checkpoint and a snapshot are one pass over one array. Programs are made when first needed.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence

import numpy as np

from fastnn.data.arrays import Source
from fastnn.data.steps import Steps
from fastnn.native.engine import Executor
from fastnn.program.fuse import fuse
from fastnn.program.graph import Graph
from fastnn.program.lower import Program, lower, watched
from fastnn.program.objective import Objective
from fastnn.program.plan import ARENAS, plan
from fastnn.program.purpose import Purpose
from fastnn.runtime.arenas import aligned, offsets_of
from fastnn.runtime.bound import Bound
from fastnn.runtime.fast_path import PREPARED, FastPath

# Rows in a step of predict and evaluate: enough for packing to pay, few enough for the caches.
ROWS = 512

# Held while a program is looked up or made, so that threads may share a model, and during a
# fork, so that the child finds it released.
_programs_lock = threading.Lock()
os.register_at_fork(
    before=_programs_lock.acquire,
    after_in_parent=_programs_lock.release,
    after_in_child=_programs_lock.release,
)


class Runtime:
    """The arenas and programs of one network.

    Parameters
    ----------
    graph : Graph
    dtype : {"float32", "float64"}
    shapes : dict of str to tuple of int
        Shapes of the parameters, by name.
    key : int
        Seed of dropout.

    Attributes
    ----------
    graph, dtype, shapes
        The arguments.
    objective : Objective or None
        The arguments of `compile`.
    counter : ndarray of int64, shape (1,)
        Number of updates made so far; the engine counts them.
    arenas : dict of str to ndarray
        "parameters" and "gradients", shape (count,), "state", shape (slots, count).
    parameters, gradients : dict of str to ndarray
        Views into the arenas, by name.
    offsets : dict of str to int
        Offset of each parameter in its arena, in elements.
    slots : list of str
        Names of the optimizer's state arrays.
    fast_path : FastPath
        Programs prepared for one row and for few rows.
    """

    def __init__(
        self, graph: Graph, dtype: str, shapes: dict[str, tuple[int, ...]], key: int
    ) -> None:
        self.graph, self.dtype, self.shapes = graph, dtype, shapes
        self.objective: Objective | None = None
        self.counter = np.zeros(1, np.int64)
        self.slots: list[str] = []
        self.offsets, self.count = offsets_of(shapes, dtype)
        self.arenas = {name: aligned(self.count, dtype) for name in ARENAS.values()}
        self.arenas["state"] = aligned((0, self.count), dtype)
        self.parameters = self.views_of(self.arenas["parameters"])
        self.gradients = self.views_of(self.arenas["gradients"])
        self._key = key
        self._snapshot: np.ndarray | None = None
        self.programs: dict[tuple, Bound] = {}
        self.fast_path = FastPath()

    @property
    def key(self) -> int:
        """Seed of dropout."""
        return self._key

    @key.setter
    def key(self, key: int) -> None:
        self._key = key
        self._forget(lambda purpose: True)

    @property
    def step(self) -> int:
        """Number of updates made so far."""
        return int(self.counter[0])

    @step.setter
    def step(self, step: int) -> None:
        self.counter[0] = step

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one sample of each output."""
        return self.graph.output_shapes

    def snapshot(self) -> np.ndarray:
        """Copy the parameters to an array reserved for single steps, and return it."""
        if self._snapshot is None:
            self._snapshot = np.empty_like(self.arenas["parameters"])
        np.copyto(self._snapshot, self.arenas["parameters"])
        return self._snapshot

    def last_snapshot(self) -> np.ndarray:
        """Return the parameters as they were before the last single step."""
        assert self._snapshot is not None
        return self._snapshot

    def views_of(self, arena: np.ndarray) -> dict[str, np.ndarray]:
        """Return views, by parameter name, of an array that is laid out like the parameters.

        Parameters
        ----------
        arena : ndarray, shape (count,)
            May have any dtype.

        Returns
        -------
        dict of str to ndarray
        """
        return {
            name: arena[first : first + math.prod(shape)].reshape(shape)
            for (name, shape), first in zip(self.shapes.items(), self.offsets.values(), strict=True)
        }

    # --- the optimizer ------------------------------------------------------------------------

    def configure(self, objective: Objective) -> None:
        """Set a new optimizer, loss and metrics; the optimizer starts afresh."""
        self.objective = objective
        self._forget(lambda purpose: purpose.needs_objective)
        self.slots = objective.optimizer.slots
        self.arenas["state"] = aligned((len(self.slots), self.count), self.dtype)
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Reset the optimizer's state."""
        assert self.objective is not None
        self.arenas["state"][...] = np.reshape(self.objective.optimizer.initial_states, (-1, 1))
        self.step = 0

    def take_average(self) -> None:
        """Set the parameters that learn to their moving average, if one is kept."""
        if "average" not in self.slots or self.step == 0:
            return
        average = self.views_of(self.arenas["state"][self.slots.index("average")])
        for name, factor in self.graph.rate_factors().items():
            if factor:
                self.parameters[name][...] = average[name]

    def forget_average(self) -> None:
        """Restart the moving average, if one is kept, from the current parameters."""
        if "average" in self.slots:
            self.arenas["state"][self.slots.index("average")] = self.arenas["parameters"]

    def state_views(self) -> dict[str, np.ndarray]:
        """Return views of the optimizer's state, by "slot/parameter"."""
        if self.objective is None:
            return {}
        return {
            f"{slot}/{name}": view
            for slot, arena in zip(self.slots, self.arenas["state"], strict=True)
            for name, view in self.views_of(arena).items()
        }

    def check_slots(self) -> None:
        """Raise if the optimizer's settings now require other state than was allocated."""
        assert self.objective is not None
        optimizer = self.objective.optimizer
        if optimizer.slots != self.slots:
            raise RuntimeError(
                f"{optimizer!r} keeps other state than when compile was called; call it again"
            )

    # --- programs -----------------------------------------------------------------------------

    def bound(
        self,
        purpose: Purpose,
        rows: int,
        target_types: str | tuple[str, ...] = "real",
        sparse: tuple[int, ...] = (),
        *,
        collects: bool = False,
    ) -> Bound:
        """Return a program planned for at least `rows` rows.

        Parameters
        ----------
        purpose : Purpose
        rows : int
        target_types : str or tuple of {"real", "label", "weight"}
            For a purpose that has targets: the dtype of the target of each output, followed by
            "weight" if samples have weights.
        sparse : tuple of int
            Positions of the inputs that are sparse.
        collects : bool, default False
            Whether the predictions are kept for the metrics that need all of them; a run must
            then be given arrays for them.
        """
        collects = collects and self.objective is not None and self.objective.needs_all
        target_types = (target_types,) if isinstance(target_types, str) else target_types
        with _programs_lock:
            settings = self._settings() if purpose.depends_on_optimizer else None
            key = (purpose, target_types, sparse, collects, settings)
            found = self.programs.get(key)
            if found is None or found.plan.capacity < rows:
                if settings is not None:
                    self.check_slots()
                for old in [old for old in self.programs if old[:4] == key[:4]]:
                    del self.programs[old]
                self.fast_path.forget(purpose)
                program = fuse(self.program(purpose, target_types, sparse, collects=collects))
                found = self.programs[key] = self._bind(program, rows)
        return found

    def program(
        self,
        purpose: Purpose,
        target_types: tuple[str, ...] = ("real",),
        sparse: tuple[int, ...] = (),
        *,
        collects: bool = False,
    ) -> Program:
        """Return an unfused program; the parameters are as for `bound`."""
        if not purpose.needs_objective:
            return lower(purpose, self.graph, sparse=sparse)
        assert self.objective is not None
        optimizer = self.objective.optimizer
        if purpose.updates:
            optimizer.require_single_steps()
        return lower(
            purpose,
            self.graph,
            sparse=sparse,
            objectives=self.objective.outputs,
            target_types=target_types,
            collects=collects,
            optimizer=optimizer,
            count=self.count,
        )

    def _bind(self, program: Program, rows: int) -> Bound:
        """Plan a program and bind it to the arenas and a workspace of its own."""
        # Offsets in arenas; the average is the last slot of the state.
        places = {**self.offsets, "average": max(len(self.slots) - 1, 0) * self.count}
        made = plan(program, self.dtype, rows, places)
        arenas = {**self.arenas, "workspace": aligned(made.workspace_bytes, "uint8")}
        if not program.purpose.updates:  # a new optimizer's state must not keep the old alive
            del arenas["state"]
        executor = Executor(
            made.calls(), self.dtype, arenas, made.externals.total, len(program.inputs)
        )
        return Bound(made, executor, arenas, self.counter, self.key)

    def prepare_one_row(self, purpose: Purpose) -> None:
        """Prepare the program PREDICT or TRAIN for one row; see `FastPath`."""
        if len(self.output_shapes) > 1 or self.graph.has_lookups:
            return  # a sample has several arrays, or is looked up first: the general path
        if purpose is Purpose.PREDICT:
            self.fast_path.prepare_predict_one(self.bound(purpose, 1), self.graph)
            return
        assert self.objective is not None
        takes_labels = self.objective.loss.takes_labels
        bound = self.bound(purpose, 1, "label" if takes_labels else "real")
        self.fast_path.prepare_learn(
            bound, self.graph, self.objective, self.arenas["parameters"], self.snapshot()
        )

    def forget_training_programs(self) -> None:
        """Drop the programs that depend on which parameters learn, and how fast."""
        with _programs_lock:
            self._forget(lambda purpose: purpose.depends_on_trainable)
            self.clear_frozen_gradients()

    layer_changed = forget_training_programs  # the name by which layers call it

    def _forget(self, is_stale: Callable[[Purpose], bool]) -> None:
        """Drop the programs of some purposes."""
        self.programs = {key: p for key, p in self.programs.items() if not is_stale(key[0])}
        for purpose in filter(is_stale, PREPARED):
            self.fast_path.forget(purpose)

    def clear_frozen_gradients(self) -> None:
        """Zero the gradients of frozen parameters, because they count toward the global norm."""
        for name, factor in self.graph.rate_factors().items():
            if not factor:
                self.gradients[name][...] = 0

    def _settings(self) -> tuple:
        """The optimizer's settings that are built into a program; a change makes a new program."""
        assert self.objective is not None
        return self.objective.optimizer.settings()

    # --- errors -------------------------------------------------------------------------------

    def first_non_finite(self, batch: Sequence[np.ndarray]) -> str:
        """Return the first layer whose output is not finite in the coming step.

        Parameters
        ----------
        batch : sequence of ndarray, each shape (rows, ...)
            The inputs of the step; later entries are ignored.

        Returns
        -------
        str
            The layer's name; "loss" if every layer is finite.
        """
        program = watched(self.graph)
        rows = len(batch[0])
        sources = [Source(np.ascontiguousarray(array)) for array in batch[: len(program.inputs)]]
        if not all(np.isfinite(source.array).all() for source in sources):
            return "loss"  # the data have changed since; no layer is to blame
        bound = self._bind(program, rows)
        steps = Steps(sources, rows, rows, in_place=False)
        bound.prepare(steps).make()
        layers = {value: op.layer for op in program.ops for value in op.writes()}
        for value, array in zip(program.outputs, bound.kept(steps), strict=True):
            if not np.isfinite(array).all():
                return layers[value]
        return "loss"
