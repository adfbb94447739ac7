"""`Network`: the part of a model that training, inspection and saving work with.

It holds the layers, parameters, programs and what `compile` was given. Users never call it
directly: `Model` and `Sequential` are its public interface, and all that reaches it is checked.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, NoReturn, cast

import numpy as np

from fastnn import data
from fastnn.core import checks
from fastnn.core.formats import brief
from fastnn.data import (
    DataSpecification,
    InputSpecification,
    Names,
    Samples,
    TargetSpecification,
    labels,
)
from fastnn.data import names as data_names
from fastnn.data.samples import inputs_alone, with_targets
from fastnn.data.specification import classes_told_apart
from fastnn.layers import Layer, Shape, Tensor
from fastnn.layers import graph as layer_graph
from fastnn.layers.base import Composite, name_layers
from fastnn.layers.composition import Composition, Inner
from fastnn.layers.inputs import input_checks, input_lookups
from fastnn.layers.preprocessing import Measuring
from fastnn.optimizers import Optimizer
from fastnn.program.graph import Graph
from fastnn.program.objective import Objective
from fastnn.program.precision import MIXED
from fastnn.program.purpose import Purpose
from fastnn.runtime import Runtime
from fastnn.runtime.arenas import ParameterArena, memory_for_parameters
from fastnn.runtime.fast_path import FastPath
from fastnn.runtime.turns import ALL, NOTHING, Turns

# What the arrays of a network hold, by the dtype that it is given.
DTYPES = {"float32": "float32", "float64": "float64", "bfloat16": "float32"}


def checked_options(dtype: object, seed: object) -> tuple[str, int | None]:
    """Return the dtype's name and the seed of a network.

    Raises
    ------
    ValueError
        The dtype is none of `DTYPES`, or the seed is not an integer of at least 0.
    """
    name = dtype if isinstance(dtype, str) and dtype in DTYPES else _dtype_name(dtype)
    if name not in DTYPES:
        is_half = isinstance(dtype, str) and "bf" in dtype.lower() and "16" in dtype
        raise ValueError(
            "dtype must be 'float32', 'float64' or 'bfloat16', got "
            f"{brief(repr(dtype))}{'; did you mean ' + repr('bfloat16') + '?' if is_half else ''}"
        )
    if seed is None:
        return name, None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0 or None, got {seed!r}")
    return name, int(seed)


def _dtype_name(dtype: object) -> str:
    """Return the name of what NumPy takes for a dtype, or ""."""
    if not isinstance(dtype, (str, type, np.dtype)):
        return ""
    try:
        return str(np.dtype(dtype).name)
    except (TypeError, ValueError):  # text that is no dtype, and text that is no text
        return ""


def network_of(model: object, name: str = "model") -> Network:
    """Return the network of a model, or a network as it is.

    Raises
    ------
    TypeError
        It is something else.
    """
    network = getattr(model, "network", model)
    if not isinstance(network, Network):
        raise TypeError(f"{name} must be a Model, got {checks.shown(model, Network)}")
    return network


def measuring(layers: Sequence[Layer]) -> list[Any]:
    """Return the layers that measure data, those inside other layers included."""
    return [part for layer in dict.fromkeys(layers) for part in layer.parts() if part.measures]


class _NotBuilt:
    """The runtime of a network that is not built yet: any use of it raises an error saying so."""

    fast_path = FastPath(Turns())  # with nothing prepared

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # copying and pickling ask for these
            raise AttributeError(name)
        raise RuntimeError(
            "the model has no parameters yet: give Sequential an input_shape, or fit it first"
        )

    def __reduce__(self) -> str:
        return "_NOT_BUILT"  # the only instance


_NOT_BUILT: Any = _NotBuilt()


class Network(Composite):
    """Layers, their parameters and programs, and how they are trained.

    It can be called on tensors like a layer; the network around it has its layers, too.

    Parameters
    ----------
    dtype : {"float32", "float64", "bfloat16"}
        The last is float32 with the precision "mixed_bfloat16".
    seed : int or None
        Determines initial weights, shuffling and dropout.
    chain : sequence of Layer or Network, optional
        The parts of a sequential network, which is built when the shape of its input is known;
        any other network is built from its tensors.
    name : str, optional
        Default: "sequential" or "model".

    Attributes
    ----------
    dtype : {"float32", "float64"}
        Of the arrays.
    precision : {"float32", "float64", "mixed_bfloat16"}
        The dtype's name, or "mixed_bfloat16" if large products round their operands.
    parts : tuple of Layer or Network
        Each once if the network is built.
    layers : tuple of Layer
        The layers of all parts, each once; of a network that is not built, those that are parts.
    frozen : set of Layer
        The layers that this network does not train, whatever their `trainable`.
    chain : tuple of Layer or Network
        The argument.
    chain_shape : tuple of int or None
        The shape of the input of a sequential network, where the user has said it.
    inputs, outputs : list of Tensor
        Of the graph, if the network is built.
    composition : fastnn.layers.composition.Composition
        How the parts are put together.
    face : weakref to fastnn.Model, or None
        The model that stands for the network.
    is_sequential : bool
        Whether the layers form a chain.
    objective : Objective or None
        What `compile` was given.
    generator : numpy.random.Generator
        Used for shuffling.
    history : fastnn.History or None
        Of the last `fit`.
    stop_training, stop_reason : bool and str
        Whether `fit` is to end, and why.
    is_fitting : bool
    turns : Turns
        Which thread may change it, and when others may look at it; each copy has its own.
    runtime : Runtime
        Arenas and programs; any access to it raises RuntimeError if the network is not built.
    names : Names
        Names of columns and classes of the data that it was trained on.
    """

    composition: Composition

    def __init__(
        self,
        dtype: str,
        seed: int | None,
        chain: Sequence[Layer | Composite] | None = None,
        name: str | None = None,
    ) -> None:
        self.dtype, self.seed = DTYPES[dtype], seed
        self.precision = MIXED if dtype == "bfloat16" else dtype
        self.is_sequential = chain is not None
        self.given_name = name
        self.name = name or ("sequential" if self.is_sequential else "model")
        self._weight_seed, shuffle_seed, dropout_seed = np.random.SeedSequence(seed).spawn(3)
        self.generator = np.random.default_rng(shuffle_seed)
        self._key = int(dropout_seed.generate_state(1, np.uint64)[0])
        self.chain: tuple[Layer | Composite, ...] = tuple(chain or ())
        self.chain_shape: Shape | None = None
        self.parts = self.chain
        self._drawn: set[Layer] = set()  # whose parameters were drawn when the network was built
        self.frozen: AbstractSet[Layer] = frozenset()
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.face: Any = None
        self.objective: Objective | None = None
        self.history: Any = None
        self.stop_training, self.stop_reason = False, ""
        self.is_fitting = False
        self.kept: dict[str, Any] = {}  # what calls have prepared; see `fastnn.training.kept`
        self.turns = Turns(self.name)
        self.runtime: Runtime = _NOT_BUILT
        self._specification: DataSpecification | None = None
        self._measuring: list[Measuring] = []  # known when the network is built
        self._names = Names()

    # --- building -----------------------------------------------------------------------------

    def build(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        names: Mapping[Layer | Composite, str] | None = None,
        check: Callable[[Graph], None] | None = None,
        *,
        draws: bool = True,
    ) -> None:
        """Name the layers between the tensors, and create the parameters that they do not have yet.

        Parameters
        ----------
        inputs, outputs : sequence of Tensor
        names : dict of Layer or Network to str, optional
            What the parts are called in this network; default: see `name_layers`.
        check : callable, optional
            Takes the graph before anything is allocated for it, and may raise.
        draws : bool, default True
            Whether new parameters get their initial values; otherwise they are zeros.

        Raises
        ------
        ValueError
            The tensors do not fit together, or a layer has parameters of another dtype.
        MemoryError
            The parameters do not fit in memory; the message names the largest layer.
        """
        built = layer_graph.build(inputs, outputs, names)
        graph, shared = built.graph, _shared_parameters(built.graph, self.dtype)
        if check is not None:
            check(graph)
        shapes = {name: value.shape for name, value in graph.parameters.items()}
        self._drawn = set()  # otherwise layers that are gone would keep their arenas
        with memory_for_parameters(graph, self.dtype):
            runtime = Runtime(
                graph, self.dtype, shapes, self._key, shared, self.turns, self.precision
            )
            for i, (name, view) in enumerate(runtime.parameters.items()):
                if name in shared:
                    continue
                part, own = graph.owners[name][0].owner_of(graph.owners[name][1])
                if own in part.parameters:  # of a copied layer, or of a network that is gone
                    view[...] = part.parameters[own]
                    continue
                self._drawn.add(part)
                if not draws:
                    continue
                # Not spawn(), which keeps a count: a rebuilt network must get the same weights.
                key = (*self._weight_seed.spawn_key, i)
                seed = np.random.SeedSequence(self._weight_seed.entropy, spawn_key=key)
                initializer = built.initializers[name]
                view[...] = initializer.sample(view.shape, np.random.default_rng(seed))
            if self.objective is not None:
                runtime.configure(self.objective, self.frozen)
        self.inputs, self.outputs, self.composition = list(inputs), list(outputs), built.composition
        self.parts = tuple(built.composition.items)
        self.runtime, self._specification = runtime, None
        self.kept.clear()
        self._measuring = measuring(built.layers)
        views = _views_by_layer(graph, runtime.parameters)
        for layer in built.layers:
            if not layer.is_built:
                layer.take(runtime.arena, views.get(layer, {}))
                layer.keep_output(built.first_outputs.get(layer))
            layer.used_by(runtime)
        self._share_turns(shared)

    def _share_turns(self, shared: Iterable[str]) -> None:
        """Take note of the networks that share parameters; raise if two threads train the same."""
        owners = (self.graph.owners[name] for name in shared)
        parts = {layer.owner_of(own)[0] for layer, own in owners}
        users: set[Any] = {user for part in parts for user in part.users}
        self.runtime.share_turns_with(users - {self.runtime})
        self.turns.check_ownership()

    def build_chain(
        self,
        shape: Shape,
        names: Mapping[Layer | Composite, str] | None = None,
        check: Callable[[Graph], None] | None = None,
        *,
        draws: bool = True,
    ) -> None:
        """Build a sequential network for samples of a given shape; see `build`."""
        if not self.chain:
            raise ValueError("the model has no layers: call add(layer) first")
        if names is None:
            name_layers(list(dict.fromkeys(self.chain)))  # the messages name them
        self.build(*_ends_of_chain(self.chain, shape), names, check, draws=draws)

    def set_chain(self, chain: Sequence[Layer | Composite], shape: Shape | None) -> None:
        """Change the parts of a sequential network; the parameters of layers that stay are kept.

        Parameters
        ----------
        chain : sequence of Layer or Network
        shape : tuple of int, optional
            Of the input, if it is known.

        Raises
        ------
        ValueError
            The parts do not fit together; nothing has changed.
        """
        known = _shape_that_chain_reads(chain) if shape is None else shape
        if known is not None and chain:  # raises what building would raise
            graph = layer_graph.build(*_ends_of_chain(chain, known)).graph
            _shared_parameters(graph, self.dtype)
        if self.built:
            self.unbuild()
        self.chain = self.parts = tuple(chain)
        self.chain_shape = shape
        self.names = Names(self.names.inputs)  # those of targets belong to the outputs before
        if known is not None and chain:
            self.build_chain(known)

    @property
    def chain_start(self) -> list[Tensor]:
        """The input of a sequential network, if its shape has been given."""
        return [] if self.chain_shape is None else [Tensor(self.chain_shape, name="input")]

    def contains(self, other: Network) -> bool:
        """Whether another network is this one or one of its parts."""
        inside = (part for part in self.parts if isinstance(part, Network))
        return other is self or any(part.contains(other) for part in inside)

    def unbuild(self) -> None:
        """Return to the state before building; the layers that no other network has are free."""
        runtime, layers = self.runtime, self.layers
        self.runtime, self._specification, self.parts = _NOT_BUILT, None, self.chain
        self.kept.clear()
        self.inputs, self.outputs = [], []
        for layer in layers:
            layer.left_by(runtime)
        self.turns.leave_relatives()

    def called_on(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs for symbolic inputs; build the network if it waited for their shape.

        Raises
        ------
        ValueError
            The number or a shape of the inputs does not fit.
        """
        if not self.built and len(tensors) == 1:
            self.build_chain(tensors[0].shape)
        wanted = self.input_shapes
        if len(tensors) != len(wanted):
            raise ValueError(
                f"model {self.name!r} has {checks.counted(len(wanted), 'input')}, "
                f"got {checks.counted(len(tensors), 'tensor')}"
            )
        for (name, shape), tensor in zip(wanted, tensors, strict=True):
            if tensor.shape != shape:
                raise ValueError(
                    f"model {self.name!r}: input {name!r} must have shape {shape}, "
                    f"got {tensor.shape}"
                )
        inputs = tuple(tensors)
        return [Tensor(s, self, inputs, index=i) for i, s in enumerate(self.output_shapes)]

    @contextlib.contextmanager
    def built_on_trial(self) -> Iterator[None]:
        """Undo building a network that had waited for its data if the data do not fit."""
        was_built, last, names = self.built, self.history, self.names
        try:
            yield
        except Exception:
            has_begun = self.history is not last  # training has begun, and its results are kept
            if not has_begun:
                self.names = names
            if self.built and not was_built and not has_begun:
                self.unbuild()
                for layer in self._drawn:
                    layer.forget_parameters()
            raise

    def specify(self, x: object) -> DataSpecification:
        """Return the specification of the data; build the network if it waited for their shape.

        Raises
        ------
        RuntimeError
            A layer has yet to measure data.
        """
        specification = self._shaped_by(x)
        for layer in self._measuring:
            layer.require_adapted()
        return specification

    def _shaped_by(self, x: object) -> DataSpecification:
        if not self.built:
            x = x["input"] if type(x) is dict and list(x) == ["input"] else x
            (first,) = self.input_readers()
            rows = data.checked_rows("x", x) if first is None else data.read("x", x, first, None)
            shape = rows.shape
            if len(shape) < 2 or 0 in shape:
                raise ValueError(f"x must have shape (rows, inputs), got {shape}")
            self.build_chain(shape[1:])
        return self.specification

    def specify_for_training(self, x: object) -> DataSpecification:
        """Do the same, and remember the names that x has."""
        self.learn_names(x, None)
        return self.specify(x)

    def checked_inputs(self, x: object) -> Samples:
        """Return x, checked; build the network if it waited for its shape."""
        with self.built_on_trial():
            return inputs_alone(x, self.specify(x))

    def checked_samples(
        self,
        x: object,
        y: object,
        sample_weight: object = None,
        class_weight: object = None,
        *,
        learns: bool = False,
    ) -> Samples:
        """Return a batch, checked; build a compiled network if it waited for its shape.

        `learns` says whether the network is to remember names and classes that the batch has.
        """
        self.require_objective()
        with self.built_on_trial():
            if learns:
                self.learn_names(x, y)
            samples = with_targets(x, y, sample_weight, class_weight, self.specify(x))
            data.not_empty(samples.rows)
            return samples

    def input_readers(self) -> list[Any]:
        """Return, for each input, the lookup that reads its data, or None."""
        if self.built:
            return list(input_lookups(self.graph))
        first = next((layer for layer in self.layers if not layer.is_reshape), None)
        return [first if first is not None and first.is_lookup else None]

    def layers_to_adapt(self) -> list[Measuring]:
        """Return the layers that have yet to measure data, those inside other layers included."""
        found = self._measuring if self.built else measuring(self.layers)
        return [layer for layer in found if not layer.is_adapted]

    def learn_names(self, x: object, y: object) -> None:
        """Remember the names and classes of data that the network is about to be trained on."""
        has_names = not (_is_plain(x) and (y is None or _is_plain(y)))
        if self.built and not has_names:
            return
        specification = self._shaped_by(x)
        if not has_names:
            return
        names = data_names.learnt(self.names, x, y, specification)
        if names != self.names:
            self.names = names

    @contextlib.contextmanager
    def names_on_trial(self, x: object, y: object) -> Iterator[None]:
        """Know the names and classes that a training on x and y would find, for a while."""
        self.require_objective()
        names = self.names
        try:
            with self.built_on_trial():
                self.learn_names(x, y)
                yield
        finally:
            self.names = names

    @property
    def names(self) -> Names:
        """Names of columns and classes of the data that it was trained on."""
        return self._names

    @names.setter
    def names(self, names: Names) -> None:
        if names is not self._names:
            self._names, self._specification = names, None
            self.kept.clear()
            if self.built:
                self.runtime.fast_path.forget(Purpose.TRAIN)

    def feature_names(self) -> list[list[str] | None]:
        """Return the names of the columns of each input; None where they are not known."""
        if not self.built:
            return [None]
        found = [data_names.at(self.names.inputs, i) for i in range(len(self.graph.inputs))]
        return [None if one is None else list(one) for one in found]

    def set_feature_names(self, given: Sequence[object]) -> None:
        """Set the names of the columns of each input; None forgets them."""
        inputs = self.graph.inputs
        if len(given) != len(inputs):
            raise ValueError(f"feature_names must be for {len(inputs)} inputs, got {len(given)}")
        found: list[tuple[str, ...] | None] = []
        for one, (name, shape) in zip(given, inputs, strict=True):
            listed = None if one is None else tuple(cast(Sequence[str], one))
            if isinstance(one, str) or (listed is not None and (len(listed),) != shape):
                raise ValueError(
                    f"feature_names of input {name!r} must be a name for each column of {shape}, "
                    f"got {one!r}"
                )
            if listed is not None and not all(isinstance(each, str) for each in listed):
                raise TypeError(f"feature_names must be strings, got {list(listed)}")
            if listed is not None and len(set(listed)) != len(listed):
                raise ValueError(f"feature_names must be distinct, got {list(listed)}")
            found.append(listed)
        self.names = replace(self.names, inputs=tuple(found))

    def classes(self) -> list[list[str | int] | None]:
        """Return the labels of the classes of each output; None where they are numbers."""
        return [None if one is None else list(one) for one in self.known_classes()]

    def known_classes(self) -> list[labels.Classes | None]:
        """Return the same as tuples, as far as they fit the outputs and their losses."""
        if not self.built:
            return [None]
        if self.objective is None or not self.objective.has_loss:
            return [data_names.at(self.names.classes, i) for i in range(len(self.output_names))]
        return [one.classes for one in self.specification.targets]

    def set_classes(self, given: Sequence[object]) -> None:
        """Set the labels of the classes of each output; None stands for the numbers."""
        targets = self.specification.targets
        self.require_objective()
        if len(given) != len(targets):
            raise ValueError(f"classes must be for {len(targets)} outputs, got {len(given)}")
        found: list[labels.Classes | None] = []
        for one, target in zip(given, targets, strict=True):
            outputs = classes_told_apart(target.shape, target.loss)
            if one is not None and not outputs:
                raise ValueError(
                    f"classes are for losses of classes, but output {target.name!r} has "
                    f"{target.loss.name!r}"
                )
            found.append(None if one is None else labels.checked("classes", one, outputs))
        self.names = replace(self.names, classes=tuple(found))

    @property
    def specification(self) -> DataSpecification:
        """The specification of the data that the network takes."""
        if self._specification is None:
            checks = input_checks(self.graph)
            lookups = input_lookups(self.graph)
            names, at = self.names, data_names.at
            inputs = tuple(
                InputSpecification(name, shape, tuple(checks[i]), lookups[i], at(names.inputs, i))
                for i, (name, shape) in enumerate(self.graph.inputs)
            )
            ends = zip(self.output_names, self.output_shapes, strict=True)
            losses = () if self.objective is None else self.objective.outputs
            targets = tuple(
                TargetSpecification(
                    name,
                    shape,
                    one.loss,
                    at(names.targets, i),
                    _known_classes(at(names.classes, i), shape, one.loss),
                    bool(one.metrics),
                    bool(one.weighted_metrics),
                )
                for i, ((name, shape), one) in enumerate(zip(ends, losses, strict=bool(losses)))
            )
            self._specification = DataSpecification(inputs, targets, self.dtype)
        return self._specification

    @property
    def shown_dtype(self) -> str:
        """The dtype as users read it, with the precision if that is another."""
        return self.dtype if self.precision == self.dtype else f"{self.dtype} ({self.precision})"

    @property
    def given_dtype(self) -> str:
        """The dtype with which a network like this one is made."""
        return "bfloat16" if self.precision == MIXED else self.dtype

    def configure(
        self,
        objective: Objective,
        frozen: AbstractSet[Layer] = frozenset(),
        precision: str | None = None,
    ) -> None:
        """Take a new optimizer, losses and metrics. The optimizer's state is reset.

        Parameters
        ----------
        objective : Objective
        frozen : set of Layer, optional
            The layers that this network does not train, whatever their `trainable`.
        precision : {"float32", "float64", "mixed_bfloat16"}, optional
            Default: as it is.
        """
        with self.turns.change("compile", NOTHING):
            if self.built:
                with memory_for_parameters(self.graph, self.dtype):
                    self.runtime.configure(objective, frozen)
            if precision is not None:
                self.precision = precision
                if self.built:
                    self.runtime.set_precision(precision)
            self.objective, self.frozen, self._specification = objective, frozen, None
            self.kept.clear()

    def clone(self, dtype: str | None = None, *, keeps_optimizer_state: bool = False) -> Network:
        """Return a copy with the same weights and dropout, to be trained or changed.

        It has arenas and programs of its own; the layers, which it only reads, are shared.

        Parameters
        ----------
        dtype : {"float32", "float64"}, optional
            Default: the same.
        keeps_optimizer_state : bool, default False
            Whether its optimizer, of the same dtype, continues from this one's state.
        """
        with self.turns.look():
            return self._cloned(dtype, keeps_optimizer_state)

    def _cloned(self, dtype: str | None, keeps_optimizer_state: bool) -> Network:
        runtime = self.runtime
        other = copy.copy(self)
        other.face, other.kept = None, {}
        if dtype not in (None, self.dtype):
            other.dtype = other.precision = dtype
        other.generator = copy.deepcopy(self.generator)
        other._specification = None
        other.runtime = Runtime(
            runtime.graph,
            other.dtype,
            runtime.shapes,
            runtime.key,
            turns=other.turns,
            precision=other.precision,
        )
        other.runtime.has_warned = runtime.has_warned
        if self.objective is not None:
            other.runtime.configure(self.objective, self.frozen)
        views = other.runtime.parameters.values()
        for view, array in zip(views, self.get_weights(), strict=True):
            view[...] = (
                array  # whatever it holds: that of a training that diverged is looked at, too
            )
        other.runtime.weights_set()
        if keeps_optimizer_state:
            other.runtime.arenas["state"][...] = runtime.arenas["state"]
            other.runtime.step, other.runtime.accumulated = runtime.step, runtime.accumulated
        return other

    def __getstate__(self) -> dict[str, Any]:
        own = ("face", "turns", "kept")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        precision = state.get("precision", state["dtype"])  # a pickle may come from before it
        vars(self).update(
            state, face=None, kept={}, turns=Turns(state["name"]), precision=precision
        )

    def rebuilt(self, seed: int | None) -> Network:
        """Return a network of copies of the layers, with newly initialized parameters.

        Parameters
        ----------
        seed : int or None
        """
        return self._copied(seed, {}, self.inner if self.built else None)

    def _copied(self, seed: int | None, copies: dict[int, Any], inner: Inner | None) -> Network:
        """Return a network of copied parts; `copies` has those that exist already.

        `inner` is what it consisted of when it was built, or when it became part of another one.
        """

        def copied(part: Layer | Composite, own: Inner | None) -> Layer | Network:
            if id(part) not in copies:
                if isinstance(part, Network):
                    copies[id(part)] = part._copied(part.seed, copies, own)
                else:
                    copies[id(part)] = copy.deepcopy(part)
                    for one in copies[id(part)].parts():
                        if not one.measures:  # what was measured is not learned
                            one.parameters = {}
            return copies[id(part)]

        uses: list[tuple[Layer | Composite, Inner | None]]
        if inner is None:
            uses = [
                (part, part.inner if isinstance(part, Network) and part.built else None)
                for part in self.chain
            ]
        else:
            uses = [(call.item, call.inner) for call in inner.composition.calls]
        parts = [copied(*use) for use in uses]
        chain = parts if self.is_sequential else None
        other = Network(self.given_dtype, seed, chain, self.given_name)
        other.chain_shape = self.chain_shape
        if inner is None:
            return other
        calls = inner.composition.calls
        names: dict[Layer | Composite, str] = {
            part: call.name for part, call in zip(parts, calls, strict=True)
        }
        if self.is_sequential:
            other.build_chain(inner.graph.inputs[0][1], names)
            return other
        inputs = [Tensor(shape, name=name) for name, shape in inner.graph.inputs]
        tensors = list(inputs)
        for part, call in zip(parts, calls, strict=True):
            given = [tensors[i] for i in call.inputs]
            tensors += [part(*given)] if isinstance(part, Layer) else part.called_on(given)
        other.build(inputs, [tensors[i] for i in inner.composition.outputs], names)
        return other

    # --- components ---------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        """Whether the shapes, and so the parameters, are known."""
        return self.runtime is not _NOT_BUILT

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, also those of networks that are parts, each once."""
        if self.built:
            return tuple(dict.fromkeys(step.layer for step in self.graph.steps))
        found: dict[Layer, None] = {}
        for part in self.chain:
            found |= dict.fromkeys([part] if isinstance(part, Layer) else part.layers)
        return tuple(found)

    @property
    def ends(self) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors that the network begins and ends with; raises if it is not built."""
        if not self.built:
            self.runtime.step  # raises  # noqa: B018
        return self.inputs, self.outputs

    def named_parts(self) -> dict[str, Layer | Network]:
        """Return the parts by name, those within parts as "part/name"."""
        if not self.built:
            return {part.name: part for part in self.chain}  # type: ignore[misc]
        return self.composition.named()  # type: ignore[return-value]

    @property
    def inner(self) -> Inner:
        """What the built network consists of now."""
        kind = "Sequential" if self.is_sequential else "Model"
        return Inner(kind, self.composition, self.graph)

    @property
    def graph(self) -> Graph:
        """The layers in the order in which they are computed."""
        return self.runtime.graph

    def require_objective(self) -> Objective:
        """Return what `compile` was given; raise RuntimeError without it, or without a loss."""
        if self.objective is None:
            raise RuntimeError("call compile(optimizer, loss) first")
        if not self.objective.has_loss:
            raise RuntimeError(
                "compile was given no loss: call compile(optimizer, loss), or train with forward, "
                "backward and apply_gradients"
            )
        return self.objective

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer given to `compile`; raises RuntimeError if it has not been called."""
        if self.objective is None:
            raise RuntimeError("call compile(optimizer, loss) first")
        return self.objective.optimizer

    @property
    def input_shapes(self) -> list[tuple[str, Shape]]:
        """Name and shape of one sample of each input."""
        return list(self.graph.inputs)

    @property
    def output_names(self) -> list[str]:
        """Name of each output: that of the layer, or of the part, that it comes from."""
        return list(self.graph.output_names)

    @property
    def output_shapes(self) -> list[Shape]:
        """Shape of one sample of each output."""
        return list(self.runtime.output_shapes)

    def stop(self, reason: str, *, overrides: bool = False) -> None:
        """Make `fit` end; the first reason counts, unless a later one overrides it."""
        if overrides or not self.stop_training:
            self.stop_reason = reason
        self.stop_training = True

    def count_parameters(self) -> int:
        """Return the number of parameters."""
        return sum(math.prod(shape) for shape in self.runtime.shapes.values())

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all parameters, in the order of the layers."""
        with self.turns.look():
            return [view.copy() for view in self.runtime.parameters.values()]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Set all parameters, and their moving average if the optimizer keeps one.

        Parameters
        ----------
        weights : sequence of array_like
            As `get_weights` returns them.

        Raises
        ------
        ValueError
            The number, a shape or the content does not fit; nothing has changed.
        """
        views = self.runtime.parameters
        arrays = self.runtime.checked_weights(views, weights)
        with self.turns.change("set_weights", ALL):
            for view, array in zip(views.values(), arrays, strict=True):
                view[...] = array
            self.weights_set()

    def weights_set(self) -> None:
        """Take note that the parameters have been set, also where other networks share them."""
        users = {user for layer in self.layers for user in layer.users}
        if self.runtime not in users:  # a copy, whose layers are another network's
            users = {self.runtime}
        for user in users:
            user.weights_set()

    def __repr__(self) -> str:
        name = f"Network of {checks.counted(len(self.layers), 'layer')}"
        if not self.built:
            return f"<{name}, not built yet>"
        return f"<{name}, {self.count_parameters():,} parameters, {self.shown_dtype}>"


def _shape_that_chain_reads(chain: Sequence[Layer | Composite]) -> Shape | None:
    """Return the shape of the input of a chain that begins with a built network, else None."""
    first = chain[0] if chain else None
    if not isinstance(first, Network) or not first.built or len(first.input_shapes) > 1:
        return None
    return first.input_shapes[0][1]


def _ends_of_chain(
    chain: Sequence[Layer | Composite], shape: Shape
) -> tuple[list[Tensor], list[Tensor]]:
    """Call each part of a chain on the output of the one before; return its input and output."""
    first = tensor = Tensor(shape, name="input")
    for part in chain:
        made = [part(tensor)] if isinstance(part, Layer) else part.called_on([tensor])
        if len(made) > 1:
            raise ValueError(
                f"a part of a Sequential must have one output, {part.name!r} has {len(made)}"
            )
        tensor = made[0]
    return [first], [tensor]


def _known_classes(known: labels.Classes | None, shape: Shape, loss: Any) -> labels.Classes | None:
    """Return the classes that an output is known by, if it has such with this loss."""
    return known if known and len(known) == classes_told_apart(shape, loss) else None


def _is_plain(value: object) -> bool:
    """Whether this is an array of numbers, which has no names."""
    return type(value) is np.ndarray and value.dtype.kind in "fiub"


def _views_by_layer(
    graph: Graph, parameters: dict[str, np.ndarray]
) -> dict[Layer, dict[str, np.ndarray]]:
    """Return the parameters of each layer, keyed by the layer's own names for them."""
    found: dict[Layer, dict[str, np.ndarray]] = {}
    for full, (layer, own) in graph.owners.items():
        found.setdefault(layer, {})[own] = parameters[full]
    return found


def _shared_parameters(graph: Graph, dtype: str) -> dict[str, tuple[ParameterArena, np.ndarray]]:
    """Return the parameters that other networks have created: their arenas and views."""
    found = {}
    for name, (layer, own) in graph.owners.items():
        part, own = layer.owner_of(own)
        if not part.is_built:
            continue
        view = part.parameters[own]
        if view.dtype != dtype:
            raise ValueError(
                f"layer {part.name!r} is part of a model of dtype {view.dtype}, this one has "
                f"{dtype}: models that share layers must have one dtype"
            )
        found[name] = part.arena, view
    return found
