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
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn import layers, losses, metrics, optimizers
from fastnn.compilation import objective_of
from fastnn.core import checks, files
from fastnn.core.declare import Declaration
from fastnn.core.registry import Registry
from fastnn.exchange import architecture
from fastnn.layers import Layer
from fastnn.layers.base import Kinds, UnknownKind
from fastnn.losses import Custom
from fastnn.metrics import Function
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


def _check_layers(network: Network) -> None:
    """Raise ValueError if a layer could not be loaded again."""
    for layer in (part for whole in network.layers for part in whole.parts()):
        if layer.kind not in layers.registry or layers.registry[layer.kind] is not type(layer):
            raise ValueError(
                f"layer {layer.name!r} is a {type(layer).__name__}, which load would not know: "
                "decorate the class with fastnn.layers.registry.add"
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
        "attachments": attachments,
    }


def _described_objective(objective: Objective) -> dict[str, Any]:
    """Return the arguments of `compile`, without metrics that are the user's functions."""
    optimizer = _config(objective.optimizer, optimizers.registry)
    if not objective.has_loss:
        return {"optimizer": optimizer, "loss": None}
    return {
        "optimizer": optimizer,
        "loss": [_config(output.loss, losses.registry) for output in objective.outputs],
        "metrics": [
            [
                _config(metric, metrics.registry)
                for metric in output.metrics
                if not isinstance(metric, Function)
            ]
            for output in objective.outputs
        ],
        "loss_weights": [output.weight for output in objective.outputs],
    }


def _config(declared: Declaration, registry: Registry) -> dict[str, Any]:
    """Return what makes an equal object; of a user's subclass, one of the class it derives from."""
    config = declared.config()
    if declared.name not in registry or registry[declared.name] is type(declared):
        return config
    known = ("name", *registry[declared.name].fields())
    return {name: value for name, value in config.items() if name in known}


def load(
    path: str | os.PathLike,
    custom_objects: Mapping[str, type[Layer] | Custom] | None = None,
) -> Network:
    """Return the network of a model file; see `fastnn.load`."""
    kinds: dict[str, type[Layer]] = {}
    own: dict[str, Custom] = {}
    for name, one in (custom_objects or {}).items():
        if isinstance(one, Custom):
            own |= {name: one, one.name: one}
        elif isinstance(one, type) and issubclass(one, Layer):
            kinds |= {name: one, one.kind: one}
        else:
            raise TypeError(
                f"custom_objects[{name!r}] must be a class of layers or a losses.Custom, "
                f"got {one!r}"
            )
    return restore(*read(path), path, kinds, own)


def from_bytes(content: bytes, own_losses: Mapping[str, Custom] | None = None) -> Network:
    """Return the network that `to_bytes` encoded; models are copied and pickled this way."""
    from safetensors.numpy import load as deserialize

    # safetensors: the length of the header in eight bytes, the header, the tensors.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = json.loads(header["__metadata__"]["fastnn"])
    return restore(about, deserialize(content), "copy of a model", None, own_losses)


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
    kinds: Kinds | None = None,
    own_losses: Mapping[str, Custom] | None = None,
) -> Network:
    """Build the model whose description and tensors `read` returned.

    Parameters
    ----------
    about, tensors
        From `read`.
    path : path-like
        The file that they come from, for messages.
    kinds : dict of str to type, optional
        Layer classes that are not in the registry, keyed by kind.
    own_losses : dict of str to Custom, optional
        Losses that are not in the registry, keyed by name.
    """
    try:
        network = _described_network(about, kinds or {}, own_losses or {})
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
    except Exception as error:  # a damaged description can raise anything
        raise ValueError(
            f"path: the description in {str(path)!r} is damaged ({type(error).__name__}: {error})"
        ) from None
    _fill(_views(network.runtime), tensors, path)
    return network


def _described_network(
    about: dict[str, Any], kinds: Kinds, own_losses: Mapping[str, Custom]
) -> Network:
    """Build the network of a description, with newly allocated parameters."""
    options = checked_options(about["dtype"], about["seed"])
    network = architecture.restore(about["architecture"], about["kind"], options, kinds)
    if about["compile"] is not None:
        own = _with_own_losses(about["compile"]["loss"], own_losses)
        told = {"metrics": None, "loss_weights": None, **about["compile"], "loss": own}
        names = about.get("frozen", ())
        frozen = frozenset(one.layer for one in network.graph.steps if one.name in names)
        network.configure(objective_of(**told, outputs=network.output_names), frozen)
    network.runtime.step = int(about["step"])
    network.runtime.accumulated = int(about.get("accumulated", 0))
    network.runtime.key = int(about["key"])
    network.generator.bit_generator.state = about["generator"]
    return network


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


def _with_own_losses(saved: Any, own: Mapping[str, Custom]) -> list[object] | None:
    """Return the saved descriptions of losses, with the user's own losses in place of theirs."""
    if saved is None:
        return None
    found: list[object] = []
    for config in saved if isinstance(saved, list) else [saved]:  # format 1 had one
        name = config["name"]
        if name not in own and name not in losses.registry:
            raise _UnknownLoss(name)
        found.append(own.get(name, config))
    return found
