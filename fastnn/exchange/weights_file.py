"""The parameters of a network alone, as a safetensors file.

    <layer>/<name>    a parameter, under the name that `Model.parameters` has

A file that `Model.save` wrote is read, too: its tensors "parameters/<layer>/<name>" are taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.core import files
from fastnn.core.formats import quoted
from fastnn.core.interruption import InterruptLater
from fastnn.data.arrays import check_finite
from fastnn.exchange import tensor_file
from fastnn.network import Network

SAVED = "parameters/"  # before the names in a file of a whole model


class LoadedWeights(NamedTuple):
    """What `Model.load_weights` found.

    Attributes
    ----------
    loaded : list of str
        Parameters that were set.
    missing : list of str
        Parameters of the model that the file does not hold; they keep their values.
    unexpected : list of str
        Tensors of the file that the model has no parameter for.
    mismatched : list of str
        Parameters of another shape in the file; they keep their values.
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]


def save(network: Network, path: files.Target) -> None:
    """Save the parameters of a network; see `Model.save_weights`."""
    with network.turns.look():
        arrays = {name: view.copy() for name, view in network.runtime.parameters.items()}
    files.write(path, tensor_file.packed(arrays, {"format": "np"}))


def load(network: Network, path: files.Target, *, strict: bool) -> LoadedWeights:
    """Set the parameters that a file holds; see `Model.load_weights`."""
    where = tensor_file.named(path)
    tensors = _read(path)
    parameters = network.runtime.parameters
    shared = [name for name in parameters if name in tensors]
    fitting = [name for name in shared if tensors[name].shape == parameters[name].shape]
    found = LoadedWeights(
        fitting,
        [name for name in parameters if name not in tensors],
        [name for name in tensors if name not in parameters],
        [name for name in shared if tensors[name].shape != parameters[name].shape],
    )
    if strict and (found.missing or found.unexpected or found.mismatched):
        raise ValueError(
            f"path: {where} does not hold the parameters of this model: "
            + _difference(network, tensors, found)
            + "; strict=False loads those that fit"
        )
    for name in fitting:
        check_finite(f"tensor {name!r}", tensors[name], network.dtype)
    with InterruptLater():  # all or none
        for name in fitting:
            parameters[name][...] = tensors[name]
        network.weights_set()
    return found


def _read(path: files.Target) -> dict[str, np.ndarray]:
    """Return the parameters that a file holds, by name."""
    metadata, tensors = tensor_file.read(path, "file")
    if "fastnn" not in metadata:
        return tensors
    return {n.removeprefix(SAVED): one for n, one in tensors.items() if n.startswith(SAVED)}


def _difference(network: Network, tensors: dict[str, np.ndarray], found: LoadedWeights) -> str:
    """Return in words what does not fit."""
    parts = []
    if found.missing:
        parts.append(f"it lacks {_some(found.missing)}")
    if found.unexpected:
        parts.append(f"the model has no {_some(found.unexpected)}")
    for name in found.mismatched[:3]:
        wanted = network.runtime.parameters[name].shape
        parts.append(f"{quoted(name)} has shape {tensors[name].shape}, expected {wanted}")
    return ", ".join(parts)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(quoted, names[:3])) + more


__all__ = ["LoadedWeights", "load", "save"]
