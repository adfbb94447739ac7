"""Trainings that can be resumed: a model file, with what `fit` knows at the end of a step.

The file is a model file as any other: `fastnn.load` gives the model as it was in the midst of the
training. The attachment "fit" holds the state of the training, the tensors "preprocessing/fit/0"
and so on its arrays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import optimizers
from fastnn.analysis.diagnosis import Finding
from fastnn.callbacks.monitored import BestSoFar
from fastnn.core import files, notices
from fastnn.core.formats import FormatError, brief, quoted, whole_number
from fastnn.core.registry import with_custom_objects
from fastnn.exchange import model_file
from fastnn.exchange.description import check_layers, description, views_of
from fastnn.exchange.plain_data import NotPlain, decode, encode
from fastnn.exchange.restoring import Counts, check_tensor
from fastnn.network import Network
from fastnn.optimizers import Optimizer
from fastnn.runtime.turns import ALL
from fastnn.schedules import Schedule
from fastnn.training.checkpoint import HISTORY, Checkpoint

FORMAT = 1
_ENTRY = "fit"
_PREFIX = f"preprocessing/{_ENTRY}/"
# What callbacks may keep besides Python's own types.
CLASSES: dict[str, type] = {one.__name__: one for one in (BestSoFar, Finding)}


def check(network: Network) -> None:
    """Raise ValueError if a training of the network could not be saved."""
    check_layers(network)


def save(network: Network, path: str | os.PathLike, state: Mapping[str, Any]) -> None:
    """Save a network in training and the state of its training.

    Parameters
    ----------
    network : Network
    path : path-like
    state : dict
        Plain data; see `plain_data`. Of "callbacks", what is not plain is left out, with a warning.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    OSError
        The file cannot be written; the old one is unchanged.
    ValueError
        The network cannot be saved.
    """
    tensors: dict[str, np.ndarray] = {}
    whole = {**state, "callbacks": [_plain(one) for one in state["callbacks"]]}
    described = {"format": FORMAT, "state": encode(whole, tensors, CLASSES)}
    named = {f"{_ENTRY}/{name}": array for name, array in tensors.items()}
    model_file.save(network, path, attachments={_ENTRY: described}, tensors=named)


def _plain(callback: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a callback without what is not plain data."""
    kept, lost = {}, []
    for name, value in callback["state"].items():
        try:
            encode(value, {}, CLASSES)
        except NotPlain as error:
            lost.append(f"{name} ({error})")
        else:
            kept[name] = value
    if lost:
        notices.warn(
            f"the state of the callback {callback['class']} is saved without "
            f"{', '.join(lost)}: its get_state and set_state may give and take it as numbers, "
            "text, arrays, lists and dicts"
        )
    return {**callback, "state": kept}


def read(path: str | os.PathLike) -> Checkpoint:
    """Return a training that was saved.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FormatError
        It is damaged, or was not written by fastnn.
    ValueError
        It holds no training.
    """
    about, tensors = model_file.read(path)
    shown = files.described(path)
    described = (about.get("attachments") or {}).get(_ENTRY)
    if described is None:
        raise ValueError(
            f"resume_from: {shown} holds a model, but no training that could be resumed; "
            "the callback BackupAndRestore saves one"
        )
    own = {
        name.removeprefix(_PREFIX): array
        for name, array in tensors.items()
        if name.startswith(_PREFIX)
    }
    try:
        version = described["format"]
        if version != FORMAT:
            raise FormatError(f"it has format {quoted(version)}, this fastnn reads {FORMAT}")
        state = decode(described["state"], own, CLASSES)
        _check(state)
    except Exception as error:  # a damaged description can raise anything
        raise _damaged(shown, error) from None
    return Checkpoint(Path(path), state, _Saved(shown, about, tensors))


def _damaged(shown: str, error: Exception) -> FormatError:
    return FormatError(f"resume_from: the training in {shown} is damaged ({brief(error)})")


# What `TrainingLoop.state` returns.
_TYPES: dict[str, type] = {
    "first_epoch": int, "epoch": int, "is_amid": bool, "results": dict, "history": dict,
    "stop": tuple, "validations": int, "data": dict, "trainer": dict, "callbacks": list,
}  # fmt: skip


def _check(state: Any) -> None:
    """Raise unless this is the state of a training; what belongs to others, they check."""
    if not isinstance(state, dict) or set(state) != set(_TYPES):
        raise FormatError("its entries are others than those of a training")
    for name, kind in _TYPES.items():
        if type(state[name]) is not kind:
            raise FormatError(f"{name} is a {type(state[name]).__name__}")
    whole_number("first_epoch", state["first_epoch"])
    whole_number("epoch", state["epoch"], least=state["first_epoch"])
    whole_number("validations", state["validations"])
    stop, reason = state["stop"]
    if not isinstance(stop, bool) or not isinstance(reason, str):
        raise FormatError("the reason for its end is damaged")
    for one in state["callbacks"]:
        if not (isinstance(one["class"], str) and isinstance(one["state"], dict)):
            raise FormatError("the state of a callback is damaged")
    _check_history(state["history"])


def _check_history(history: dict[str, Any]) -> None:
    """Raise unless these are the results of epochs."""
    epochs, columns = history["epoch"], history["history"]
    rates = history["learning_rates"]
    lists = [epochs, rates, *columns.values()]
    is_whole = all(
        isinstance(one, list) and (one is rates or len(one) == len(epochs)) for one in lists
    )
    if not is_whole or set(history) != set(HISTORY):
        raise FormatError("its history is damaged")
    for epoch in epochs:
        whole_number("epoch", epoch)


class _Saved:
    """The network of a saved training; see `fastnn.training.checkpoint.SavedNetwork`."""

    def __init__(self, path: str, about: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        self._path, self._about, self._tensors = path, about, tensors

    def check(self, network: Network) -> None:
        """Raise ValueError if the network is another than that which was saved."""
        now = json.loads(json.dumps(description(network, {})))
        try:
            pairs = self._compared(now)
        except Exception as error:  # a damaged description can raise anything
            raise _damaged(self._path, error) from None
        for what, own, saved in pairs:
            if own != saved:
                raise ValueError(
                    f"resume_from: {self._path} is a training of another model: {what} was "
                    f"{quoted(saved, 200)}, is {quoted(own, 200)}"
                )
        for name, view in views_of(network.runtime).items():
            check_tensor(self._tensors, name, view.shape, view.dtype, self._path)
        try:
            self._counts = Counts.of(self._about)
            self._counts.check_accumulated(network.optimizer)
            self._rate = self._rate_for(network.optimizer)
        except Exception as error:
            raise _damaged(self._path, error) from None

    def _compared(self, now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        """Return what must agree: what it is, as the network has it, as it was saved."""
        saved = self._about
        pairs = [(name, now[name], saved[name]) for name in ("kind", "dtype")]
        layers = [one["architecture"].get("layers", []) for one in (now, saved)]
        if len(layers[0]) == len(layers[1]):
            pairs += [
                (f"layer {own['path']!r}", own, other) for own, other in zip(*layers, strict=True)
            ]
        pairs += [
            ("the number of layers", len(layers[0]), len(layers[1])),
            ("the architecture", now["architecture"], saved["architecture"]),
        ]
        own, other = dict(now["compile"] or {}), dict(saved["compile"] or {})
        optimizer, former = own.pop("optimizer", {}), other.pop("optimizer", {})
        pairs += [(f"the optimizer's {name}", optimizer.get(name), former.get(name))
                  for name in ("name", *former) if name != "learning_rate"]  # fmt: skip
        pairs += [(name, own.get(name), other.get(name)) for name in {**other, **own}]
        return [*pairs, ("what is frozen", now["frozen"], saved["frozen"])]

    def _rate_for(self, optimizer: Optimizer) -> float | Schedule | None:
        """Return the learning rate that was saved; None where the optimizer has none."""
        saved = self._about["compile"]["optimizer"].get("learning_rate")
        if saved is None:
            return None
        former = type(optimizer.learning_rate)  # a schedule may be of the user's own class
        config = {**optimizer.config(), "learning_rate": saved}
        known = {former.__name__: former}
        return with_custom_objects(known, optimizers.get, config).learning_rate

    def restore(self, network: Network) -> None:
        """Set parameters, optimizer and generators to what was saved; `check` has passed."""
        with network.turns.change("fit", ALL):
            for name, view in views_of(network.runtime).items():
                view[...] = self._tensors[name]
        if self._rate is not None:
            network.optimizer.learning_rate = self._rate
        self._counts.put_into(network)
        network.runtime.parameters_change()
