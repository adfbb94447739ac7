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
from typing import Any, NoReturn

import numpy as np

from fastnn import data
from fastnn.core import checks
from fastnn.data import DataSpecification, InputSpecification, Samples, TargetSpecification
from fastnn.data.samples import inputs_alone, with_targets
from fastnn.layers import Layer, Shape, Tensor
from fastnn.layers import graph as layer_graph
from fastnn.layers.preprocessing import Measuring
from fastnn.optimizers import Optimizer
from fastnn.program.graph import Graph
from fastnn.program.objective import Objective
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


def measuring(layers: Sequence[Layer]) -> list[Any]:
    """Return the layers that measure data, those inside other layers included."""
    return [part for layer in dict.fromkeys(layers) for part in layer.parts() if part.measures]


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
        self._measuring: list[Measuring] = []  # known when the network is built

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
        self._measuring = measuring(layers)
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
        chain, was_built, last = self.layers, self.built, self.history
        try:
            yield
        except Exception:
            has_begun = self.history is not last  # training has begun, and its results are kept
            if self.built and not was_built and not has_begun:
                self.runtime, self._specification, self.layers = _NOT_BUILT, None, chain
                for layer in chain:
                    layer.take(None, {})
            raise

    def specify(self, x: object) -> DataSpecification:
        """Return the specification of the data; build the network if it waited for their shape."""
        if not self.built:
            (first,) = self.input_readers()
            rows = data.checked_rows("x", x) if first is None else data.read("x", x, first, None)
            shape = rows.shape
            if len(shape) < 2 or 0 in shape:
                raise ValueError(f"x must have shape (rows, inputs), got {shape}")
            self.build_chain(shape[1:])
        for layer in self._measuring:
            layer.require_adapted()
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
    ) -> Samples:
        """Return a batch, checked; build a compiled network if it waited for its shape."""
        self.require_objective()
        with self.built_on_trial():
            samples = with_targets(x, y, sample_weight, class_weight, self.specify(x))
            data.not_empty(samples.rows)
            return samples

    def input_readers(self) -> list[Any]:
        """Return, for each input, the lookup that reads its data, or None."""
        if self.built:
            return list(layer_graph.input_lookups(self.graph))
        first = next((layer for layer in self.layers if not layer.is_reshape), None)
        return [first if first is not None and first.is_lookup else None]

    def layers_to_adapt(self) -> list[Measuring]:
        """Return the layers that have yet to measure data, those inside other layers included."""
        return [layer for layer in measuring(self.layers) if not layer.is_adapted]

    @property
    def specification(self) -> DataSpecification:
        """The specification of the data that the network takes."""
        if self._specification is None:
            checks = layer_graph.input_checks(self.graph)
            lookups = layer_graph.input_lookups(self.graph)
            inputs = tuple(
                InputSpecification(name, shape, tuple(checks[i]), lookups[i])
                for i, (name, shape) in enumerate(self.graph.inputs)
            )
            ends = zip(self.output_names, self.output_shapes, strict=True)
            losses = () if self.objective is None else self.objective.outputs
            targets = tuple(
                TargetSpecification(name, shape, one.loss)
                for (name, shape), one in zip(ends, losses, strict=bool(losses))
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


def _views_of_layer(name: str, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters of a layer, keyed by the layer's own names for them."""
    prefix = name + "/"
    return {
        full.removeprefix(prefix): view
        for full, view in parameters.items()
        if full.startswith(prefix)
    }
