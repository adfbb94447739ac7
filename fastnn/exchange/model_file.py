"""Models as safetensors files: tensors, and the architecture as JSON in the metadata. No pickle.

    parameters/<layer>/<name>         the parameters
    optimizer/<slot>/<layer>/<name>   the optimizer's state, for a compiled model
    preprocessing/<name>              further tensors saved with the model (see `save`)

The metadata hold two entries: "fastnn", JSON with the format version, the architecture, the
arguments of `compile`, and attachments; and "checksum" (see `tensor_file`), which files of earlier
versions lack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fastnn.core import files
from fastnn.core.declare import Declaration, Declared
from fastnn.core.formats import FormatError, brief, check_depth, check_finite, parsed_json, quoted
from fastnn.core.registry import UnknownClass, with_custom_objects
from fastnn.exchange import restoring, tensor_file
from fastnn.exchange.description import FORMAT, check_layers, description, views_of
from fastnn.layers.base import UnknownKind
from fastnn.network import Network


def save(
    network: Network,
    path: files.Target,
    *,
    attachments: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
) -> None:
    """Save a network.

    Parameters
    ----------
    network : Network
    path : path-like or binary file object
    attachments : dict, optional
        Additional entries for the metadata, of JSON types.
    tensors : dict of str to ndarray, optional
        Additional tensors to store under "preprocessing/".

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    OSError
        The file cannot be written; an old one is unchanged.
    TypeError, ValueError
        `path` does not name a file.
    """
    check_layers(network)
    if network.runtime.objective is not None:
        network.runtime.check_slots()  # otherwise the file could not be loaded
    with network.turns.look():
        about = description(network, attachments or {})
        arrays = {name: view.copy() for name, view in views_of(network.runtime).items()}
    arrays |= {f"preprocessing/{name}": array for name, array in (tensors or {}).items()}
    check_depth(about, "the description of the model")
    check_finite(
        {key: one for key, one in about.items() if key != "attachments"},
        "the model cannot be saved: its description",
    )
    files.write(path, tensor_file.packed(arrays, {"fastnn": json.dumps(about)}))


def load(path: files.Target, custom_objects: Mapping[str, object] | None = None) -> Network:
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


def read(path: files.Target) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the metadata and the tensors of a model file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FormatError
        It was not written by fastnn, is damaged, or has a newer format.
    ValueError
        It is a folder.
    """
    where = tensor_file.named(path)
    metadata, tensors = tensor_file.read(path, "model file")
    if "fastnn" not in metadata:
        raise FormatError(f"path: {where} is a safetensors file, but not a model saved by fastnn")
    what = f"path: the description in {where}"
    # An attachment may hold a score that is not a number.
    about = parsed_json(metadata["fastnn"], what, allows_nan=True)
    version = about.get("format") if isinstance(about, dict) else None
    if type(version) is not int or version < 1:
        raise FormatError(f"{what} is damaged (it has no format)")
    if version > FORMAT:
        raise FormatError(
            f"path: {where} has format {brief(version, 40)}, this fastnn reads up to {FORMAT}; "
            "upgrade"
        )
    check_finite({key: one for key, one in about.items() if key != "attachments"}, what)
    if not isinstance(about.get("attachments") or {}, dict):
        raise FormatError(f"{what} is damaged (its attachments have no names)")
    return about, tensors


def restore(
    about: dict[str, Any],
    tensors: dict[str, np.ndarray],
    path: files.Target,
    custom_objects: Mapping[str, object] | None = None,
) -> Network:
    """Build the model whose description and tensors `read` returned.

    Parameters
    ----------
    about, tensors
        From `read`.
    path : path-like or binary file object
        What they come from, for messages.
    custom_objects : dict of str to object, optional
        From `checked_custom_objects`.

    Raises
    ------
    FormatError
        The description is damaged, or holds a layer or loss that is not known.
    """
    where = tensor_file.named(path)
    own = custom_objects or {}
    stored = restoring.Stored(tensors, where)
    try:
        network = with_custom_objects(
            own, partial(restoring.restored, about, own, where, stored=stored)
        )
    except UnknownKind as error:
        kind = quoted(error.args[0])
        raise FormatError(
            f"path: {where} has a layer of kind {kind}, which is not known here: decorate "
            f"its class with fastnn.layers.registry.add, or give custom_objects={{{kind}: ...}}"
        ) from None
    except restoring.UnknownLoss as error:
        name = quoted(error.args[0])
        raise FormatError(
            f"path: {where} was compiled with loss {name}, which is not known here: give "
            f"custom_objects={{{name}: fastnn.losses.Custom(function, derivative)}}"
        ) from None
    except UnknownClass as error:
        raise FormatError(f"path: {where}: {brief(error)}") from None
    except restoring.NotALoss as error:
        raise TypeError(*error.args) from None
    except Warning:
        raise
    except MemoryError:
        if stored.agrees:  # the model is what its file says, and too large for this machine
            raise
        raise _damaged(where, "what it describes takes too much memory") from None
    except FormatError as error:
        raise error if str(error).startswith("path: ") else _damaged(where, str(error)) from None
    except Exception as error:  # a damaged description can raise anything
        raise _damaged(where, f"{type(error).__name__}: {brief(error)}") from None
    for name, view in views_of(network.runtime).items():
        view[...] = tensors[name]
    return network


def _damaged(where: str, reason: str) -> FormatError:
    return FormatError(f"path: the description in {where} is damaged ({reason})")


__all__ = ["checked_custom_objects", "load", "read", "restore", "save"]
