"""Models as safetensors files: tensors, and the architecture as JSON in the metadata. No pickle.

    parameters/<layer>/<name>         the parameters
    optimizer/<slot>/<layer>/<name>   the optimizer's state, for a compiled model
    preprocessing/<name>              further tensors saved with the model (see `save`)

The metadata hold a single entry, "fastnn": JSON with the format version, the architecture, the
arguments of `compile`, and attachments.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import layers, losses
from fastnn.compilation import objective_of
from fastnn.core import checks, files, notices
from fastnn.core.declare import Declaration, Declared, with_class_names
from fastnn.core.registry import UnknownClass, custom_objects_scope
from fastnn.data import Names
from fastnn.exchange import architecture
from fastnn.layers import Layer
from fastnn.layers.base import UnknownKind
from fastnn.losses import Custom
from fastnn.metrics import Function, Metric
from fastnn.native import engine
from fastnn.network import Network, checked_options
from fastnn.runtime import Objective, Runtime

FORMAT = 3  # 1 had one output, 2 no models as parts


def save(
    network: Network,
    path: str | os.PathLike,
    *,
    attachments: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
) -> None:
    """Save a network.

    Parameters
    ----------
    network : Network
    path : path-like
    attachments : dict, optional
        Additional entries for the metadata, of JSON types.
    tensors : dict of str to ndarray, optional
        Additional tensors to store under "preprocessing/".

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    TypeError, ValueError
        `path` does not name a file.
    """
    path = checks.file_path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: there is no folder {str(path.parent)!r}")
    files.write_atomically(path, to_bytes(network, attachments=attachments, tensors=tensors))


def to_bytes(
    network: Network,
    *,
    attachments: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
) -> bytes:
    """Return the bytes that `save` writes."""
    from safetensors.numpy import save as serialize

    _check_layers(network)
    if network.runtime.objective is not None:
        network.runtime.check_slots()  # otherwise the file could not be loaded
    arrays = dict(_views(network.runtime))
    arrays |= {f"preprocessing/{name}": array for name, array in (tensors or {}).items()}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return serialize(contiguous, {"fastnn": json.dumps(_description(network, attachments or {}))})


def _parts(network: Network) -> list[Layer]:
    """Return the layers, and the layers inside them."""
    return [part for whole in network.layers for part in whole.parts()]


def _check_layers(network: Network) -> None:
    """Raise ValueError if a layer could not be loaded again."""
    for layer in _parts(network):
        if layer.kind not in layers.registry or layers.registry[layer.kind] is not type(layer):
            raise ValueError(
                f"layer {layer.name!r} is a {type(layer).__name__}, which load would not know: "
                "decorate the class with fastnn.layers.registry.add"
            )
        lacking = layer.lacking_arguments()
        if lacking:
            raise ValueError(
                f"layer {layer.name!r} cannot be saved: {type(layer).__name__}.__init__ takes "
                f"{', '.join(lacking)}, which must be kept as attributes of these names, or "
                "returned by a config method"
            )
        try:
            json.dumps(layer.config())
        except TypeError as error:
            raise ValueError(
                f"layer {layer.name!r} cannot be saved: its config must be JSON ({error})"
            ) from None


def _views(runtime: Runtime) -> dict[str, np.ndarray]:
    """Return views of parameters and optimizer state, keyed by the names of their tensors."""
    views = {f"parameters/{name}": view for name, view in runtime.parameters.items()}
    return views | {f"optimizer/{name}": view for name, view in runtime.state_views().items()}


def _description(network: Network, attachments: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the metadata: everything except the tensors, in JSON types."""
    with with_class_names():
        return _described(network, attachments)


def _described(network: Network, attachments: dict[str, Any]) -> dict[str, Any]:
    runtime = network.runtime
    return {
        "format": FORMAT,
        "version": engine.VERSION,
        "kind": "Sequential" if network.is_sequential else "Model",
        "dtype": network.dtype,
        "seed": network.seed,
        "step": runtime.step,
        "accumulated": runtime.accumulated,
        "key": runtime.key,
        "generator": network.generator.bit_generator.state,
        "architecture": architecture.describe(network),
        "compile": None if runtime.objective is None else _described_objective(runtime.objective),
        "frozen": sorted({one.name for one in network.graph.steps if one.layer in network.frozen}),
        "names": network.names.described(),
        "attachments": attachments,
    }


def _described_objective(objective: Objective) -> dict[str, Any]:
    """Return the arguments of `compile`; of the user's functions, only the names."""
    if not objective.has_loss:
        return {"optimizer": objective.optimizer.config(), "loss": None}
    outputs = objective.outputs
    return {
        "optimizer": objective.optimizer.config(),
        "loss": [output.loss.config() for output in outputs],
        "metrics": [list(map(_described_metric, output.metrics)) for output in outputs],
        "loss_weights": [output.weight for output in outputs],
        "weighted_metrics": [
            list(map(_described_metric, output.weighted_metrics)) for output in outputs
        ],
    }


def _described_metric(metric: Metric) -> dict[str, Any]:
    if isinstance(metric, Function):
        return {"function": metric.label, "direction": metric.direction}
    return metric.config()


def load(path: str | os.PathLike, custom_objects: Mapping[str, object] | None = None) -> Network:
    """Return the network of a model file; see `fastnn.load`."""
    own = checked_custom_objects(custom_objects)
    return restore(*read(path), path, own)


def checked_custom_objects(given: Mapping[str, object] | None) -> dict[str, object]:
    """Return the user's classes, losses and functions, each also under the name that it has.

    Raises
    ------
    TypeError
        Something else is among them.
    """
    found: dict[str, object] = {}
    for key, one in (given or {}).items():
        is_class = isinstance(one, type) and issubclass(one, Declared)
        is_function = callable(one) and not isinstance(one, (type, Declared))
        if not (is_class or is_function or isinstance(one, Declaration)):
            raise TypeError(
                f"custom_objects[{key!r}] must be a class of layers, optimizers, losses, metrics, "
                "schedules, initializers or regularizers, a losses.Custom, or the function of a "
                f"metric, got {one!r}"
            )
        names = [key, getattr(one, "__name__", "")]
        if isinstance(one, type):  # a name that it inherits is that of another class
            names += [str(vars(one).get(what, "")) for what in ("kind", "name")]
        elif isinstance(one, Declaration):
            names.append(one.name)
        found |= dict.fromkeys(filter(None, names), one)
    return found


@dataclass
class Copied:
    """A network in a form that can be copied and pickled, from which `from_copied` builds another.

    Attributes
    ----------
    about : dict
        The description, in Python's own types.
    tensors : dict of str to ndarray
    objective : Objective or None
        What `compile` was given.
    classes : dict of str to type
        Classes of the user's that the description names.
    own : list of dict
        For each layer, and each layer inside another, the attributes that the user has given it.
    history : object
        That of the last `fit`.
    """

    about: dict[str, Any]
    tensors: dict[str, np.ndarray]
    objective: Objective | None
    classes: dict[str, object]
    own: list[dict[str, Any]]
    history: Any


def copied(network: Network) -> Copied:
    """Return a network in a form that can be copied and pickled.

    Its optimizer and what else `compile` was given are not copied yet.
    """
    runtime = network.runtime
    if runtime.objective is not None:
        runtime.check_slots()
    parts = _parts(network)
    classes: dict[str, object] = {part.kind: type(part) for part in parts}
    for part in parts:
        classes |= {cls.__name__: cls for cls in _own_classes(part)}
    tensors = {name: view.copy() for name, view in _views(runtime).items()}
    return Copied(
        _description(network, {}) | {"compile": None},
        tensors,
        runtime.objective,
        classes,
        [part.own_attributes() for part in parts],
        deepcopy(network.history),
    )


def _own_classes(declared: Declared) -> Iterator[type]:
    """Yield the classes of the declared objects within an object, at any depth."""
    for value in vars(declared).values():
        if isinstance(value, Declared):
            yield type(value)
            yield from _own_classes(value)


def from_copied(copy: Copied, shared: Mapping[str, Layer] | None = None) -> Network:
    """Return a network like that which `copied` was given.

    Parameters
    ----------
    copy : Copied
    shared : dict of str to Layer, optional
        Layers that exist already, by their names in the network, with the same parameters.
    """
    with custom_objects_scope(copy.classes):
        network = _described_network(copy.about, copy.classes, "copy of a model", shared)
    if copy.objective is not None:
        step, waiting = network.runtime.step, network.runtime.accumulated
        network.configure(copy.objective, _frozen(network, copy.about))
        network.runtime.step, network.runtime.accumulated = step, waiting
    _fill(_views(network.runtime), copy.tensors, "copy of a model")
    kept = {part for layer in (shared or {}).values() for part in layer.parts()}
    for part, own in zip(_parts(network), copy.own, strict=True):
        if part not in kept:
            vars(part).update(own)
    network.history = copy.history
    return network


def read(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the metadata and the tensors of a model file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is a folder, was not written by fastnn, or has a newer format.
    """
    from safetensors import SafetensorError, safe_open

    path = checks.file_path(path)
    if path.is_dir():
        raise ValueError(f"path: {str(path)!r} is a folder, expected a model file")
    if not path.is_file():
        raise FileNotFoundError(f"path: there is no model file {str(path)!r}")
    with open(path, "rb"):
        pass  # safetensors says of a file that it may not read that there is none
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"path: {str(path)!r} is not a safetensors file ({error})") from None
    if "fastnn" not in metadata:
        raise ValueError(
            f"path: {str(path)!r} is a safetensors file, but not a model saved by fastnn"
        )
    try:
        about = json.loads(metadata["fastnn"])
        version = int(about["format"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"path: the description in {str(path)!r} is damaged") from None
    if version > FORMAT:
        raise ValueError(
            f"path: {str(path)!r} has format {version}, this fastnn reads up to {FORMAT}; upgrade"
        )
    return about, tensors


def restore(
    about: dict[str, Any],
    tensors: dict[str, np.ndarray],
    path: str | os.PathLike,
    custom_objects: Mapping[str, object] | None = None,
) -> Network:
    """Build the model whose description and tensors `read` returned.

    Parameters
    ----------
    about, tensors
        From `read`.
    path : path-like
        The file that they come from, for messages.
    custom_objects : dict of str to object, optional
        From `checked_custom_objects`.
    """
    own = custom_objects or {}
    try:
        with custom_objects_scope(own):
            network = _described_network(about, own, path)
    except UnknownKind as error:
        kind = error.args[0]
        raise ValueError(
            f"path: {str(path)!r} has a layer of kind {kind!r}, which is not known here: decorate "
            f"its class with fastnn.layers.registry.add, or give custom_objects={{{kind!r}: ...}}"
        ) from None
    except _UnknownLoss as error:
        name = error.args[0]
        raise ValueError(
            f"path: {str(path)!r} was compiled with loss {name!r}, which is not known here: give "
            f"custom_objects={{{name!r}: fastnn.losses.Custom(function, derivative)}}"
        ) from None
    except UnknownClass as error:
        raise ValueError(f"path: {str(path)!r}: {error}") from None
    except _NotALoss as error:
        raise TypeError(*error.args) from None
    except Warning:
        raise
    except Exception as error:  # a damaged description can raise anything
        raise ValueError(
            f"path: the description in {str(path)!r} is damaged ({type(error).__name__}: {error})"
        ) from None
    _fill(_views(network.runtime), tensors, path)
    return network


def _described_network(
    about: dict[str, Any],
    own: Mapping[str, object],
    path: str | os.PathLike,
    shared: Mapping[str, Layer] | None = None,
) -> Network:
    """Build the network of a description, with newly allocated parameters where none are shared."""
    kinds = {
        kind: one for kind, one in own.items() if isinstance(one, type) and issubclass(one, Layer)
    }
    options = checked_options(about["dtype"], about["seed"])
    network = architecture.restore(about["architecture"], about["kind"], options, kinds, shared)
    told = about["compile"]
    if told is not None:
        told = {"metrics": None, "loss_weights": None, "weighted_metrics": None, **told}
        told["loss"] = _with_own_losses(told["loss"], own)
        for argument in ("metrics", "weighted_metrics"):
            told[argument] = _with_own_metrics(told[argument], own, path)
        objective = objective_of(**told, outputs=network.output_names)
        network.configure(objective, _frozen(network, about))
    network.names = Names.of(about["names"]) if "names" in about else Names()
    network.runtime.step = int(about["step"])
    network.runtime.accumulated = int(about.get("accumulated", 0))
    network.runtime.key = int(about["key"])
    network.generator.bit_generator.state = about["generator"]
    return network


def _with_own_metrics(
    saved: list[Any] | None, own: Mapping[str, object], path: str | os.PathLike
) -> list[list[object]] | None:
    """Return saved descriptions of metrics, with the user's functions in place of their names."""
    if saved is None:
        return None
    if not all(isinstance(one, list) for one in saved):  # format 1 had one output
        saved = [saved]
    return [
        [metric for config in of_output if (metric := _metric(config, own, path)) is not None]
        for of_output in saved
    ]


def _metric(config: Any, own: Mapping[str, object], path: str | os.PathLike) -> object:
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
        f"{str(path)!r} was compiled with the metric function {name!r}, which is not known here "
        f"and is left out: give load custom_objects={{{name!r}: {_identifier(name)}}}"
    )
    return None


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "..."


def _frozen(network: Network, about: dict[str, Any]) -> frozenset[Layer]:
    """Return the layers that a description says the network does not train."""
    names = about.get("frozen", ())
    return frozenset(one.layer for one in network.graph.steps if one.name in names)


def _fill(
    views: dict[str, np.ndarray], tensors: dict[str, np.ndarray], path: str | os.PathLike
) -> None:
    """Copy the tensors of a file into the views of a model."""
    for name, view in views.items():
        found = tensors.get(name)
        if found is None or found.shape != view.shape or found.dtype != view.dtype:
            got = "missing" if found is None else f"{found.dtype} of shape {found.shape}"
            raise ValueError(
                f"path: tensor {name!r} of {str(path)!r} must be {view.dtype} of shape "
                f"{view.shape}, is {got}"
            )
        view[...] = found


class _UnknownLoss(LookupError):
    """The name of a loss is unknown."""


class _NotALoss(TypeError):
    """There is something else under the name of a loss."""


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
                raise _NotALoss(
                    f"custom_objects[{name!r}] must be a losses.Custom(function, derivative), "
                    f"got {own[name]!r}"
                )
            raise _UnknownLoss(name)
        found.append(own[name] if is_own else config)
    return found
