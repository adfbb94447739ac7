"""A network made of its description; with a file, nothing is allocated before both agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import losses
from fastnn.compilation import objective_of
from fastnn.core import notices
from fastnn.core.formats import FormatError, brief, quoted, whole_number
from fastnn.data import Names
from fastnn.exchange import architecture
from fastnn.layers import Layer
from fastnn.losses import Custom
from fastnn.metrics import Function, Metric
from fastnn.network import DTYPES, Network, checked_options
from fastnn.optimizers import Optimizer
from fastnn.program.graph import Graph
from fastnn.runtime import Objective

MOST_STEPS = 2**53  # which nobody makes; beyond 2**63 the count would overflow
MOST_NUMBERS = 2**40  # of a sample
SPARE = 64 << 20  # bytes that a layer may output for a sample, whatever the size of the file


class UnknownLoss(LookupError):
    """The name of a loss is unknown."""


class NotALoss(TypeError):
    """There is something else under the name of a loss."""


@dataclass(frozen=True)
class Counts:
    """How far a network has been trained, and what its random numbers continue from.

    Attributes
    ----------
    step, accumulated, key : int
        See `Runtime`.
    generator : dict
        State of the network's generator.
    """

    step: int
    accumulated: int
    key: int
    generator: Any

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Counts:
        """Return those of a description; raise FormatError if they cannot be such."""
        _check_generator(about["generator"])
        return cls(
            whole_number("step", about["step"], most=MOST_STEPS),
            whole_number("accumulated", about.get("accumulated", 0), most=MOST_STEPS),
            whole_number("key", about["key"], most=2**64 - 1),
            about["generator"],
        )

    def check_accumulated(self, optimizer: Optimizer) -> None:
        """Raise FormatError if as many batches would wait for an update as bring it about."""
        waiting = vars(optimizer).get("gradient_accumulation_steps") or 1
        if self.accumulated >= waiting:
            raise FormatError(f"accumulated must be below {waiting}, is {self.accumulated}")

    def put_into(self, network: Network) -> None:
        """Let a network continue from here."""
        runtime = network.runtime
        runtime.step, runtime.accumulated, runtime.key = self.step, self.accumulated, self.key
        network.generator.bit_generator.state = self.generator


def check_tensor(
    tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: Any, where: str
) -> None:
    """Raise FormatError unless a file holds a tensor as it is wanted.

    Parameters
    ----------
    tensors : dict of str to ndarray
    name : str
    shape : tuple of int
    dtype : dtype
    where : str
        How messages name the file.
    """
    found = tensors.get(name)
    if found is None or found.shape != shape or found.dtype != dtype:
        got = "missing" if found is None else f"{found.dtype} of shape {found.shape}"
        raise FormatError(
            f"path: tensor {quoted(name)} of {where} must be {dtype} of shape {shape}, is {got}"
        )


class Stored:
    """The tensors of a file, against which each network of its description is checked.

    Parameters
    ----------
    tensors : dict of str to ndarray
    where : str
        How messages name the file.

    Attributes
    ----------
    agrees : bool
        Whether the whole description has been found to agree with the tensors.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], where: str) -> None:
        self._tensors, self._where = tensors, where
        self._size = sum(tensor.nbytes for tensor in tensors.values())
        self.agrees = False

    def check_parameters(self, graph: Graph, paths: Mapping[Layer, str], dtype: str) -> None:
        """Raise FormatError unless the file holds the parameters of a network, or of a part.

        Parameters
        ----------
        graph : Graph
        paths : dict of Layer to str
            Names of the layers in the outermost network.
        dtype : {"float32", "float64"}
        """
        for full, (layer, own) in graph.owners.items():
            self._check(f"parameters/{paths[layer]}/{own}", graph.parameters[full].shape, dtype)
        self._check_widths(graph, np.dtype(dtype).itemsize)

    def check_no_more(self, graph: Graph) -> None:
        """Raise FormatError if the file holds parameters that the network does not have."""
        for name in self._tensors:
            kind, _, own = name.partition("/")
            if kind not in ("parameters", "optimizer", "preprocessing") or (
                kind == "parameters" and own not in graph.parameters
            ):
                raise FormatError(
                    f"path: {self._where} holds a tensor {quoted(name)}, which its model has no "
                    "place for"
                )

    def check_state(self, graph: Graph, objective: Objective, dtype: str) -> None:
        """Raise FormatError unless the file holds the state of the optimizer."""
        for slot in objective.optimizer.slots:
            for name, value in graph.parameters.items():
                self._check(f"optimizer/{slot}/{name}", value.shape, dtype)

    def _check(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        check_tensor(self._tensors, name, shape, dtype, self._where)

    def _check_widths(self, graph: Graph, itemsize: int) -> None:
        """Raise FormatError if a layer outputs more than its inputs and the file justify."""
        shapes = [shape for _, shape in graph.inputs]
        if sum(map(math.prod, shapes)) > MOST_NUMBERS:
            raise FormatError(f"path: the inputs in {self._where} have too many numbers")
        limit = (self._size + SPARE) // itemsize
        for layer, positions, name in graph.steps:
            inputs = [shapes[position] for position in positions]
            shapes.append(layer.output_shape(*inputs))
            if math.prod(shapes[-1]) > max(limit, sum(map(math.prod, inputs))):
                raise FormatError(
                    f"path: layer {quoted(name)} in {self._where} outputs more numbers for a "
                    "sample than a file of this size accounts for"
                )


def restored(
    about: dict[str, Any],
    own: Mapping[str, object],
    where: str,
    shared: Mapping[str, Layer] | None = None,
    stored: Stored | None = None,
) -> Network:
    """Build the network of a description, with newly allocated parameters where none are shared.

    Parameters
    ----------
    about : dict
        What `description` returned, or an earlier format.
    own : dict of str to object
        Classes, losses and functions of the user's.
    where : str
        How messages name what it comes from.
    shared : dict of str to Layer, optional
        Layers that exist already, by their names in the network.
    stored : Stored, optional
        What the network will be filled with; it is checked before anything is allocated, and the
        parameters are then not drawn.
    """
    kinds = {
        kind: one for kind, one in own.items() if isinstance(one, type) and issubclass(one, Layer)
    }
    options = checked_options(about["dtype"], about["seed"])
    counts = Counts.of(about)
    frozen = about.get("frozen", [])
    if not isinstance(frozen, list) or not all(isinstance(name, str) for name in frozen):
        raise FormatError("frozen must be a list of names")
    objectives: list[Objective] = []

    def check(graph: Graph, paths: Mapping[Layer, str], *, is_whole: bool) -> None:
        if stored is not None:
            stored.check_parameters(graph, paths, DTYPES[options[0]])
        if not is_whole:
            return
        if about["compile"] is not None:
            objectives.append(_objective(about["compile"], graph, own, where))
            counts.check_accumulated(objectives[0].optimizer)
            if stored is not None:
                stored.check_state(graph, objectives[0], DTYPES[options[0]])
        if stored is not None:
            stored.check_no_more(graph)
            _check_names(about.get("names"), graph)
            stored.agrees = True

    network = architecture.restore(
        about["architecture"], about["kind"], options, kinds, check,
        shared=shared, draws=stored is None,
    )  # fmt: skip
    for objective in objectives:
        network.configure(objective, frozen_layers(network, about))
    network.names = Names.of(about["names"]) if "names" in about else Names()
    counts.put_into(network)
    return network


def _check_generator(state: Any) -> None:
    """Raise FormatError unless it is the state of a generator."""
    trial = np.random.default_rng(0).bit_generator
    try:
        trial.state = state
    except Exception as error:
        raise FormatError(f"the generator is damaged ({brief(error, 80)})") from None
    if trial.state != state:
        raise FormatError("the generator is damaged")


def _check_names(names: Any, graph: Graph) -> None:
    """Raise FormatError unless the names of columns and classes can be those of the network."""
    if names is None:
        return
    shapes = {
        "inputs": [shape for _, shape in graph.inputs],
        "targets": graph.output_shapes,
        "classes": graph.output_shapes,
    }
    if not isinstance(names, dict) or set(names) != set(shapes):
        raise FormatError("the names of columns are damaged")
    for what, given in names.items():
        types = (str, int, float) if what == "classes" else (str,)
        if not isinstance(given, list) or len(given) > len(shapes[what]):
            raise FormatError(f"the names of {what} are damaged")
        for one, shape in zip(given, shapes[what], strict=False):
            if one is None:
                continue
            width = max(2, math.prod(shape)) if what == "classes" else math.prod(shape)
            if not (
                isinstance(one, list)
                and len(one) == width
                and all(isinstance(name, types) for name in one)
                and len(set(one)) == len(one)
            ):
                raise FormatError(f"the names of {what} are damaged")


def _objective(
    told: dict[str, Any], graph: Graph, own: Mapping[str, object], where: str
) -> Objective:
    """Return what `compile` was given."""
    told = {"metrics": None, "loss_weights": None, "weighted_metrics": None, **told}
    told["loss"] = _with_own_losses(told["loss"], own)
    for argument in ("metrics", "weighted_metrics"):
        told[argument] = _with_own_metrics(told[argument], own, where)
    return objective_of(**told, outputs=graph.output_names)


def _with_own_metrics(
    saved: list[Any] | None, own: Mapping[str, object], where: str
) -> list[list[object]] | None:
    """Return saved descriptions of metrics, with the user's functions in place of their names."""
    if saved is None:
        return None
    if not all(isinstance(one, list) for one in saved):  # format 1 had one output
        saved = [saved]
    if any(config is None for of_output in saved for config in of_output):
        raise FormatError("a metric is missing")
    return [
        [metric for config in of_output if (metric := _metric(config, own, where)) is not None]
        for of_output in saved
    ]


def _metric(config: Any, own: Mapping[str, object], where: str) -> object:
    """Return a metric or its description; None, with a warning, for an unknown function."""
    if not isinstance(config, dict) or "function" not in config:
        return config
    name, direction = config["function"], config.get("direction")
    found = own.get(name)
    if isinstance(found, Metric):
        return found
    if found is not None:
        return Function(found, direction)  # type: ignore[arg-type]
    notices.warn(
        f"{where} was compiled with the metric function {quoted(name)}, which is not known here "
        f"and is left out: give load custom_objects={{{quoted(name)}: {_identifier(name)}}}"
    )
    return None


def _identifier(name: str) -> str:
    return name if name.isidentifier() and len(name) < 60 else "..."


def frozen_layers(network: Network, about: dict[str, Any]) -> frozenset[Layer]:
    """Return the layers that a description says the network does not train."""
    names = about.get("frozen", ())
    return frozenset(one.layer for one in network.graph.steps if one.name in names)


def _with_own_losses(saved: Any, own: Mapping[str, object]) -> list[object] | None:
    """Return the saved descriptions of losses, with the user's own losses in place of theirs."""
    if saved is None:
        return None
    found: list[object] = []
    for config in saved if isinstance(saved, list) else [saved]:  # format 1 had one
        name = config["name"]
        is_own = isinstance(own.get(name), Custom)
        if not is_own and name not in losses.registry and "class_name" not in config:
            if name in own:
                raise NotALoss(
                    f"custom_objects[{name!r}] must be a losses.Custom(function, derivative), "
                    f"got {own[name]!r}"
                )
            raise UnknownLoss(name)
        found.append(own[name] if is_own else config)
    return found


__all__ = [
    "Counts",
    "NotALoss",
    "Stored",
    "UnknownLoss",
    "check_tensor",
    "frozen_layers",
    "restored",
]
