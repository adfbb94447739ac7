"""`Network`: the part of a model that training, inspection and saving work with.

It holds the layers, parameters, programs and what `compile` was given. Users never call it
directly: `Model` and `Sequential` are its public interface, and all that reaches it is checked.
"""

from __future__ import annotations

import contextlib
import copy
import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast

import numpy as np

from fastnn import data
from fastnn.core import checks
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
from fastnn.optimizers import Optimizer
from fastnn.program.graph import Graph
from fastnn.program.objective import Objective
from fastnn.program.purpose import Purpose
from fastnn.runtime import Runtime
from fastnn.runtime.arenas import memory_for_parameters
from fastnn.runtime.fast_path import FastPath

DTYPES = ("float32", "float64")


def checked_options(dtype: object, seed: object) -> tuple[str, int | None]:
    """Return the dtype's name and the seed of a network.

    Raises
    ------
    ValueError
        The dtype is neither float32 nor float64, or the seed is not an integer of at least 0.
    """
    try:
        name = "" if dtype is None else np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    if seed is None:
        return name, None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0 or None, got {seed!r}")
    return name, int(seed)


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


class _NotBuilt:
    """The runtime of a network that is not built yet: any use of it raises an error saying so."""

    fast_path = FastPath()  # with nothing prepared

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # copying and pickling ask for these
            raise AttributeError(name)
        raise RuntimeError(
            "the model has no parameters yet: give Sequential an input_shape, or fit it first"
        )

    def __reduce__(self) -> str:
        return "_NOT_BUILT"  # the only instance


_NOT_BUILT: Any = _NotBuilt()


class Network:
    """Layers, their parameters and programs, and how they are trained.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    seed : int or None
        Determines initial weights, shuffling and dropout.
    layers : sequence of Layer, optional
        The chain of layers of a sequential network, which is built when the shape of its input is
        known; any other network is built from its tensors.

    Attributes
    ----------
    layers : tuple of Layer
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
    runtime : Runtime
        Arenas and programs; any access to it raises RuntimeError if the network is not built.
    parameter_version : int
        Incremented before the parameters change, which makes earlier results stale.
    names : Names
        Names of columns and classes of the data that it was trained on.
    """

    def __init__(self, dtype: str, seed: int | None, layers: Sequence[Layer] = ()) -> None:
        self.dtype, self.seed = dtype, seed
        self._weight_seed, shuffle_seed, dropout_seed = np.random.SeedSequence(seed).spawn(3)
        self.generator = np.random.default_rng(shuffle_seed)
        self._key = int(dropout_seed.generate_state(1, np.uint64)[0])
        self.layers = tuple(layers)
        self.is_sequential = bool(layers)
        self.objective: Objective | None = None
        self.history: Any = None
        self.stop_training, self.stop_reason = False, ""
        self.is_fitting = False
        self.parameter_version = 0
        self.runtime: Runtime = _NOT_BUILT
        self._specification: DataSpecification | None = None
        self._names = Names()

    # --- building -----------------------------------------------------------------------------

    def build(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Name the layers between the tensors, and create and initialize their parameters.

        Raises
        ------
        ValueError
            A layer belongs to another model, or the tensors do not fit together.
        MemoryError
            The parameters do not fit in memory; the message names the largest layer.
        """
        layers, graph, initializers = layer_graph.build(inputs, outputs)
        shapes = {name: value.shape for name, value in graph.parameters.items()}
        with memory_for_parameters(graph, self.dtype):
            runtime = Runtime(graph, self.dtype, shapes, self._key)
            for i, (name, view) in enumerate(runtime.parameters.items()):
                # Not spawn(), which keeps a count: a rebuilt network must get the same weights.
                key = (*self._weight_seed.spawn_key, i)
                seed = np.random.SeedSequence(self._weight_seed.entropy, spawn_key=key)
                view[...] = initializers[name].sample(view.shape, np.random.default_rng(seed))
            if self.objective is not None:
                runtime.configure(self.objective)
        self.layers, self.runtime, self._specification = tuple(layers), runtime, None
        for layer in layers:
            layer.take(weakref.ref(runtime), _views_of_layer(layer.name, runtime.parameters))

    def build_chain(self, shape: Shape) -> None:
        """Build a sequential network for samples of a given shape."""
        first = tensor = Tensor(shape, name="input")
        layer_graph.name_layers(list(dict.fromkeys(self.layers)))
        chain = self.layers
        for layer in chain:
            tensor = layer(tensor)
        self.build([first], [tensor])

    @contextlib.contextmanager
    def built_on_trial(self) -> Iterator[None]:
        """Undo building a network that had waited for its data if the data do not fit."""
        chain, was_built, last, names = self.layers, self.built, self.history, self.names
        try:
            yield
        except Exception:
            has_begun = self.history is not last  # training has begun, and its results are kept
            if not has_begun:
                self.names = names
            if self.built and not was_built and not has_begun:
                self.runtime, self._specification, self.layers = _NOT_BUILT, None, chain
                for layer in chain:
                    layer.take(None, {})
            raise

    def specify(self, x: object) -> DataSpecification:
        """Return the specification of the data; build the network if it waited for their shape."""
        if not self.built:
            x = x["input"] if type(x) is dict and list(x) == ["input"] else x
            shape = data.checked_rows("x", x).shape
            if len(shape) < 2 or 0 in shape:
                raise ValueError(f"x must have shape (rows, inputs), got {shape}")
            self.build_chain(shape[1:])
        return self.specification

    def specify_for_training(self, x: object) -> DataSpecification:
        """Do the same, and remember the names that x has."""
        self.learn_names(x, None)
        return self.specification

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
            if learns and not (_is_plain(x) and _is_plain(y)):
                self.learn_names(x, y)
            samples = with_targets(x, y, sample_weight, class_weight, self.specify(x))
            data.not_empty(samples.rows)
            return samples

    def learn_names(self, x: object, y: object) -> None:
        """Remember the names and classes of data that the network is about to be trained on."""
        specification = self.specify(x)
        names = data_names.learnt(self.names, x, y, specification)
        if names != self.names:
            self.names = names

    @property
    def names(self) -> Names:
        """Names of columns and classes of the data that it was trained on."""
        return self._names

    @names.setter
    def names(self, names: Names) -> None:
        if names is not self._names:
            self._names, self._specification = names, None
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
        if not self.built:
            return [None]
        found = [data_names.at(self.names.classes, i) for i in range(len(self.output_names))]
        return [None if one is None else list(one) for one in found]

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
            checks = layer_graph.input_checks(self.graph)
            names, at = self.names, data_names.at
            inputs = tuple(
                InputSpecification(name, shape, tuple(checks[i]), at(names.inputs, i))
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

    def configure(self, objective: Objective) -> None:
        """Take a new optimizer, losses and metrics. The optimizer's state is reset."""
        if self.built:
            with memory_for_parameters(self.graph, self.dtype):
                self.runtime.configure(objective)
        self.objective, self._specification = objective, None

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
        runtime = self.runtime
        other = copy.copy(self)
        other.dtype = self.dtype if dtype is None else dtype
        other.generator = copy.deepcopy(self.generator)
        other._specification = None
        other.runtime = Runtime(runtime.graph, other.dtype, runtime.shapes, runtime.key)
        if self.objective is not None:
            other.runtime.configure(self.objective)
        other.set_weights(self.get_weights())
        if keeps_optimizer_state:
            other.runtime.arenas["state"][...] = runtime.arenas["state"]
            other.runtime.step = runtime.step
        return other

    # --- components ---------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        """Whether the shapes, and so the parameters, are known."""
        return self.runtime is not _NOT_BUILT

    @property
    def graph(self) -> Graph:
        """The layers in the order in which they are computed."""
        return self.runtime.graph

    def require_objective(self) -> Objective:
        """Return what `compile` was given; raise RuntimeError if it has not been called."""
        if self.objective is None:
            raise RuntimeError("call compile(optimizer, loss) first")
        return self.objective

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer given to `compile`; raises RuntimeError if it has not been called."""
        return self.require_objective().optimizer

    @property
    def input_shapes(self) -> list[tuple[str, Shape]]:
        """Name and shape of one sample of each input."""
        return list(self.graph.inputs)

    @property
    def output_names(self) -> list[str]:
        """Name of each output: that of the layer it comes from."""
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
        if len(weights) != len(views):
            raise ValueError(f"weights must be {len(views)} arrays, got {len(weights)}")
        arrays = []
        for (name, view), weight in zip(views.items(), weights, strict=True):
            array = data.checked_array(f"weights of {name!r}", weight)
            if array.shape != view.shape:
                raise ValueError(
                    f"weights of {name!r} must have shape {view.shape}, got {array.shape}"
                )
            data.check_finite(f"weights of {name!r}", array, self.dtype)
            arrays.append(array)
        self.parameter_version += 1
        for view, array in zip(views.values(), arrays, strict=True):
            view[...] = array
        self.runtime.forget_average()

    def __repr__(self) -> str:
        name = f"Network of {checks.counted(len(self.layers), 'layer')}"
        if not self.built:
            return f"<{name}, not built yet>"
        return f"<{name}, {self.count_parameters():,} parameters, {self.dtype}>"


def _known_classes(known: labels.Classes | None, shape: Shape, loss: Any) -> labels.Classes | None:
    """Return the classes that an output is known by, if it has such with this loss."""
    return known if known and len(known) == classes_told_apart(shape, loss) else None


def _is_plain(value: object) -> bool:
    """Whether this is an array of numbers, which has no names."""
    return type(value) is np.ndarray and value.dtype.kind in "fiub"


def _views_of_layer(name: str, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters of a layer, keyed by the layer's own names for them."""
    prefix = name + "/"
    return {
        full.removeprefix(prefix): view
        for full, view in parameters.items()
        if full.startswith(prefix)
    }
