"""The memory and the programs of a built network: its arenas, and the programs bound to them.

Parameters, gradients and optimizer state are one flat, aligned array each, so that the update,
a checkpoint and a snapshot are one pass over one array. Parameters of layers that belong to other
networks as well lie in those networks' arenas; each stretch of neighbors there is one pass.
Programs are made when first needed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from fastnn.core import notices
from fastnn.core.locks import Lock
from fastnn.data.arrays import Source, checked_weights
from fastnn.data.steps import Steps
from fastnn.native import engine
from fastnn.native.engine import Executor
from fastnn.program.fuse import fuse
from fastnn.program.graph import Graph
from fastnn.program.lower import Program, lower, watched
from fastnn.program.objective import Objective
from fastnn.program.optimizer_ops import Layout
from fastnn.program.plan import plan
from fastnn.program.purpose import Purpose, Wrt
from fastnn.runtime.arenas import ParameterArena, aligned, offsets_of
from fastnn.runtime.bound import Bound
from fastnn.runtime.fast_path import PREPARED, FastPath
from fastnn.runtime.turns import ALL, Turns

# Rows in a step of predict and evaluate: enough for packing to pay, few enough for the caches.
ROWS = 512
# How many settings of the optimizer, or of which layers learn, keep their programs: a training
# that alternates between two of them does not compile each time.
SETTINGS_KEPT = 2
# A program that is made again for a larger batch is made for twice as many rows, up to this number.
MOST_ROWS_AHEAD = 4096

# Held while a program is looked up or made, so that threads may share a model.
_programs_lock = Lock()


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
    shared : dict of str to (ParameterArena, ndarray), optional
        The parameters that exist already: their arenas, and their views.
    turns : Turns, optional
        The network's; default: new ones.
    precision : str, default ""
        "mixed_bfloat16" if large products round their operands to bfloat16.

    Attributes
    ----------
    graph, dtype, shapes, precision
        The arguments.
    arena : ParameterArena
        Of the parameters that are not shared.
    objective : Objective or None
        The arguments of `compile`.
    counter : ndarray of int64, shape (1,)
        Number of updates made so far; the engine counts them.
    arenas : dict of str to ndarray
        "gradients", shape (count,), "state", shape (slots, count), and "parameters", of the same
        shape as the gradients if none is shared; "parameters 1" and so on are other networks'.
    parameters, gradients : dict of str to ndarray
        Views into the arenas, by name.
    offsets : dict of str to int
        Offset of each parameter in the arenas of gradients and state, in elements.
    slots : list of str
        Names of the optimizer's state arrays.
    accumulated : int
        Number of batches whose gradients wait for an update; see `gradient_accumulation_steps`.
    fast_path : FastPath
        Programs prepared for one row and for batches.
    turns : Turns
        Which thread may change the parameters, and when others may look at them.
    """

    def __init__(
        self,
        graph: Graph,
        dtype: str,
        shapes: dict[str, tuple[int, ...]],
        key: int,
        shared: Mapping[str, tuple[ParameterArena, np.ndarray]] | None = None,
        turns: Turns | None = None,
        precision: str = "",
    ) -> None:
        self.graph, self.dtype, self.shapes, self.precision = graph, dtype, shapes, precision
        self.turns = turns or Turns()
        self.objective: Objective | None = None
        self.has_warned = False  # that bfloat16 is emulated
        self.counter = np.zeros(1, np.int64)
        self.slots: list[str] = []
        self.accumulated = 0
        self.offsets, self.count = offsets_of(shapes, dtype)
        shared = shared or {}
        own, count = offsets_of({n: s for n, s in shapes.items() if n not in shared}, dtype)
        self.arena = ParameterArena(aligned(count, dtype))
        self._others = tuple(dict.fromkeys(arena for arena, _ in shared.values()))
        names = {arena: f"parameters {i}" for i, arena in enumerate(self._others, start=1)}
        self._homes = {name: ("parameters", first) for name, first in own.items()}
        for name, (arena, view) in shared.items():
            self._homes[name] = names[arena], arena.offset_of(view)
        self.arenas = {
            "parameters": self.arena.array,
            "gradients": aligned(self.count, dtype),
            "state": aligned((0, self.count), dtype),
            **{name: arena.array for arena, name in names.items()},
        }
        self.layout = Layout(self.offsets, self.count, self._breaks())
        self.parameters = {name: self._view(name) for name in shapes}
        self.gradients = self.views_of(self.arenas["gradients"])
        self._take_learning_state()
        self._key = key
        self._snapshot: np.ndarray | None = None
        self.programs: dict[tuple, Bound] = {}
        self.fast_path = FastPath(self.turns)

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

    # --- parameters that may lie in several arenas -------------------------------------------

    def _breaks(self) -> AbstractSet[str]:
        """Return the parameters that do not lie behind the one before them."""
        found, before = set(), None
        for name, first in self.offsets.items():
            space, own = self._homes[name]
            home = space, own - first
            if before is not None and home != before:
                found.add(name)
            before = home
        return frozenset(found)

    def _view(self, name: str) -> np.ndarray:
        space, first = self._homes[name]
        shape = self.shapes[name]
        return self.arenas[space][first : first + math.prod(shape)].reshape(shape)

    @property
    def is_shared(self) -> bool:
        """Whether the parameters lie in several arenas, or not in the order of this network."""
        return bool(self._others)

    @cached_property
    def stretches(self) -> list[tuple[int, np.ndarray]]:
        """Each stretch of neighboring parameters: its offset in the layout, and a view."""
        if not self.is_shared:
            return [(0, self.arena.array)]
        names = list(self.offsets)
        begins = [i for i, name in enumerate(names) if i == 0 or name in self.layout.breaks]
        found = []
        for i, end in zip(begins, [*begins[1:], len(names)], strict=True):
            first, last = self.offsets[names[i]], names[end - 1]
            width = self.offsets[last] + math.prod(self.shapes[last]) - first
            space, own = self._homes[names[i]]
            found.append((first, self.arenas[space][own : own + width]))
        return found

    def copy_parameters(self, out: np.ndarray | None = None) -> np.ndarray:
        """Return a copy of the parameters in this network's layout, shape (count,).

        Parameters
        ----------
        out : ndarray, shape (count,), optional
            Receives the copy.
        """
        if out is None:
            out = np.zeros(self.count, self.dtype)
        if not (self._others or self.turns.relatives):  # as usual, and a call takes microseconds
            np.copyto(out, self.arena.array)
            return out
        with self.turns.look() if self.turns.relatives else contextlib.nullcontext():
            for first, array in self.stretches:
                np.copyto(out[first : first + array.size], array)
        return out

    def put_parameters(self, flat: np.ndarray) -> None:
        """Set all parameters from an array in this network's layout."""
        for first, array in self.stretches:
            np.copyto(array, flat[first : first + array.size])

    def put_learned(self, flat: np.ndarray) -> None:
        """Set the parameters that a training of this network may have changed.

        Others, of which `flat` may be older, are a matter of the networks that share them.
        """
        if not self.turns.relatives:
            self.put_parameters(flat)
            return
        views = self.views_of(flat)
        for name in self._names_learned():
            self.parameters[name][...] = views[name]

    def share_turns_with(self, others: Iterable[Runtime]) -> None:
        """Take note of other networks that share parameters with this one, for all of them."""
        for other in others:
            for one in (self, other):
                one._tell_turns()
            self.turns.relate(other.turns)

    def _tell_turns(self) -> None:
        """Tell the turns which parameters this network has, and which a training may write."""
        places = {name: view.ctypes.data for name, view in self.parameters.items() if view.size}
        self.turns.parameters = {place: name for name, place in places.items()}
        learned = filter(places.__contains__, self._names_learned())
        self.turns.learned = {places[name]: name for name in learned}

    def _names_learned(self) -> list[str]:
        """Return the parameters that a training may write: moving statistics are among them."""
        found = []
        for name, (layer, own) in self.graph.owners.items():
            part = layer.owner_of(own)[0]
            is_held_still = layer in self.graph.frozen or not (layer.trainable and part.trainable)
            if not (is_held_still or part.measures):
                found.append(name)
        return found

    @property
    def parameter_version(self) -> int:
        """A number that changes whenever a network that shares a parameter changes parameters."""
        return self.arena.version + sum(arena.version for arena in self._others)

    def parameters_change(self) -> None:
        """Take note that the parameters are about to change."""
        self.arena.version += 1
        for arena in self._others:
            arena.version += 1

    def snapshot(self) -> np.ndarray:
        """Copy the parameters to an array reserved for single steps, and return it."""
        if self._snapshot is None:
            self._snapshot = np.zeros(self.count, self.dtype)
        return self.copy_parameters(self._snapshot)

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

    def configure(self, objective: Objective, frozen: AbstractSet[Any] = frozenset()) -> None:
        """Set a new optimizer, loss and metrics; the optimizer starts afresh.

        Parameters
        ----------
        objective : Objective
        frozen : set of Layer, optional
            The layers that this network does not train.
        """
        self.objective, self.graph = objective, self.graph.freezing(frozen)
        self._take_learning_state()
        self._forget(lambda purpose: purpose.needs_objective)
        self.clear_frozen_gradients()
        self.slots = objective.optimizer.slots
        self.arenas["state"] = aligned((len(self.slots), self.count), self.dtype)
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Reset the optimizer's state."""
        assert self.objective is not None
        self.arenas["state"][...] = np.reshape(self.objective.optimizer.initial_states, (-1, 1))
        self.step = self.accumulated = 0

    def take_average(self) -> None:
        """Set the parameters that learn to their moving average, if one is kept."""
        if "average" not in self.slots or self.step == 0:
            return
        average = self.slot_views("average")
        self.parameters_change()
        for name, factor in self.graph.rate_factors().items():
            if factor:
                self.parameters[name][...] = average[name]

    def forget_average(self) -> None:
        """Restart the moving average, if one is kept, from the current parameters."""
        if "average" in self.slots:
            self.copy_parameters(self.arenas["state"][self.slots.index("average")])

    def state_views(self) -> dict[str, np.ndarray]:
        """Return views of the optimizer's state, by "slot/parameter"."""
        if self.objective is None:
            return {}
        return {
            f"{slot}/{name}": view
            for slot, arena in zip(self.slots, self.arenas["state"], strict=True)
            for name, view in self.views_of(arena).items()
        }

    def slot_views(self, slot: str) -> dict[str, np.ndarray]:
        """Return views of one of the optimizer's state arrays, by parameter name."""
        return self.views_of(self.arenas["state"][self.slots.index(slot)])

    def check_slots(self) -> None:
        """Raise if the optimizer's settings now require other state than was allocated."""
        assert self.objective is not None
        optimizer = self.objective.optimizer
        if optimizer.slots != self.slots:
            raise RuntimeError(
                f"{optimizer!r} keeps other state than when compile was called; call it again"
            )

    def set_precision(self, precision: str) -> None:
        """Set how the products of all programs are computed from now on; see `precision.py`."""
        self.precision = precision
        self._forget(lambda purpose: True)

    # --- programs -----------------------------------------------------------------------------

    def bound(
        self,
        purpose: Purpose,
        rows: int,
        target_types: str | tuple[str, ...] = "real",
        sparse: tuple[int, ...] = (),
        *,
        collects: bool = False,
        wrt: Wrt = Wrt.PARAMETERS,
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
        wrt : Wrt, default Wrt.PARAMETERS
            What is differentiated with respect to; see `lower`.

        Raises
        ------
        ValueError
            A gradient with respect to an input was asked for that does not exist.
        """
        collects = collects and self.objective is not None and self.objective.needs_all
        target_types = (target_types,) if isinstance(target_types, str) else target_types
        settings = self._settings() if purpose.depends_on_optimizer else None
        learning = self._learning if purpose.depends_on_trainable else None
        key = (purpose, target_types, sparse, collects, settings, wrt, learning)
        found = self.programs.get(key)
        if found is not None and found.plan.capacity >= rows:
            return found  # without the lock: a short epoch takes microseconds
        with _programs_lock.own():
            found = self.programs.get(key)
            if found is None or found.plan.capacity < rows:
                if settings is not None:
                    self.check_slots()
                if found is not None:  # episodes, say, that are sometimes a little longer
                    rows = max(rows, min(2 * found.plan.capacity, MOST_ROWS_AHEAD))
                unfused = self.program(purpose, target_types, sparse, collects=collects, wrt=wrt)
                self._warn_if_emulated(unfused)
                program = fuse(unfused, rows)
                self.programs.pop(key, None)
                alike = [old for old in self.programs if (*old[:4], old[5]) == (*key[:4], wrt)]
                for old in alike[: max(len(alike) - SETTINGS_KEPT + 1, 0)]:
                    del self.programs[old]
                self.fast_path.forget(purpose)
                found = self.programs[key] = self._bind(program, rows)
        return found

    def program(
        self,
        purpose: Purpose,
        target_types: tuple[str, ...] = ("real",),
        sparse: tuple[int, ...] = (),
        *,
        collects: bool = False,
        wrt: Wrt = Wrt.PARAMETERS,
    ) -> Program:
        """Return an unfused program; the parameters are as for `bound`."""
        if not purpose.needs_objective:
            return lower(purpose, self.graph, sparse=sparse, wrt=wrt, precision=self.precision)
        assert self.objective is not None
        optimizer = self.objective.optimizer
        if purpose.updates:
            optimizer.require_single_steps()
            self._warn_if_nothing_learns()
        return lower(
            purpose,
            self.graph,
            sparse=sparse,
            objectives=self.objective.outputs,
            target_types=target_types,
            collects=collects,
            optimizer=optimizer,
            layout=self.layout,
            wrt=wrt,
            precision=self.precision,
        )

    def _warn_if_nothing_learns(self) -> None:
        if self.shapes and not any(self.graph.rate_factors().values()):
            notices.warn(
                "no parameter of this model learns: all layers have trainable = False; to freeze "
                "layers in another model only, give frozen=[...] to its compile"
            )

    def _warn_if_emulated(self, program: Program) -> None:
        is_emulated = not engine.HAS_BFLOAT16 and not self.has_warned
        if is_emulated and any("precision" in op.attributes for op in program.ops):
            self.has_warned = True
            notices.warn(
                "this processor, or the ISA in use, has no instructions for bfloat16 "
                "(AVX512-BF16): products with the precision 'mixed_bfloat16' are emulated, with "
                "the same results, and take longer than in float32"
            )

    def _bind(self, program: Program, rows: int) -> Bound:
        """Plan a program and bind it to the arenas and a workspace of its own."""
        # Offsets in arenas; the average is the last slot of the state.
        places = {**self.offsets, "average": max(len(self.slots) - 1, 0) * self.count}
        made = plan(program, self.dtype, rows, places, self._homes if self.is_shared else None)
        arenas = {**self.arenas, "workspace": aligned(made.workspace_bytes, "uint8")}
        if program.purpose.returns_gradients:  # the network's own are those of `backward`
            arenas["gradients"] = aligned(self.count, self.dtype)
        if not program.purpose.updates:  # a new optimizer's state must not keep the old alive
            del arenas["state"]
        executor = Executor(
            made.calls(), self.dtype, arenas, made.externals.total, len(program.inputs)
        )
        return Bound(made, executor, arenas, self.counter, self.key)

    def prepare_predict_one(self) -> None:
        """Prepare predictions of one row, if the network can have them; see `FastPath`."""
        if len(self.output_shapes) == 1 and not self.graph.has_lookups:
            self.fast_path.prepare_predict_one(self.bound(Purpose.PREDICT, 1), self.graph)

    def prepare_learn(self, rows: int, target_types: tuple[str, ...]) -> None:
        """Prepare steps on up to some rows, if the network can have them; see `FastPath`.

        Parameters
        ----------
        rows : int
        target_types : tuple of str
            As for `bound`; of a loss that takes labels, only steps on labels are prepared.
        """
        objective = self.objective
        assert objective is not None
        if len(self.output_shapes) > 1 or self.graph.has_lookups:
            return  # a sample has several arrays, or is looked up first: the general path
        one = objective.outputs[0]
        if not one.loss.is_checked_by_range or one.weighted_metrics:
            return
        if one.loss.takes_labels and target_types[0] != "label":
            return
        bound, flat = self.bound(Purpose.TRAIN, rows, target_types), self.snapshot()
        self.fast_path.prepare_learn(
            bound,
            self.graph,
            objective,
            [(array, flat[first : first + array.size]) for first, array in self.stretches],
            has_weights="weight" in target_types,
        )

    def layer_changed(self) -> None:
        """Take note of which parameters learn now, and how fast; layers call it."""
        with _programs_lock.own():
            self._take_learning_state()
            for purpose in PREPARED:
                if purpose.depends_on_trainable:
                    self.fast_path.forget(purpose)
            self.clear_frozen_gradients()

    def checked_weights(
        self, parameters: Mapping[str, np.ndarray], weights: Iterable[object]
    ) -> list[np.ndarray]:
        """Return arrays for some parameters, one each; raise ValueError if they do not fit."""
        return checked_weights(parameters, weights)

    @property
    def number(self) -> int:
        """Lower than those of networks that were made later."""
        return self.turns.number

    def looked_at(self) -> AbstractContextManager[object]:
        """Return a context in which no other thread changes the parameters; layers call it."""
        return self.turns.look()

    def changed_by(self, what: str) -> AbstractContextManager[object]:
        """Return a context in which a layer may set its parameters; see `Turns.change`."""
        return self.turns.change(what, ALL)

    def weights_set(self) -> None:
        """Take note that a layer's parameters have been set; layers call it."""
        self.parameters_change()
        self.forget_average()

    def _forget(self, is_stale: Callable[[Purpose], bool]) -> None:
        """Drop the programs of some purposes."""
        self.programs = {key: p for key, p in self.programs.items() if not is_stale(key[0])}
        for purpose in filter(is_stale, PREPARED):
            self.fast_path.forget(purpose)

    def clear_frozen_gradients(self) -> None:
        """Zero the gradients of frozen parameters, because they count toward the global norm."""
        for name in self._frozen:
            self.gradients[name][...] = 0

    def _take_learning_state(self) -> None:
        """Note which parameters learn, and how fast."""
        self._learning = self.graph.learning_state()
        self._frozen = [name for name, factor in self.graph.rate_factors().items() if not factor]
        if self.turns.relatives:
            self._tell_turns()

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
        program = watched(self.graph, self.precision)
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
