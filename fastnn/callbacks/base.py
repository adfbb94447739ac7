"""The base class of callbacks, what `fit` queries of them, and how they end training."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

from fastnn.core.declare import Declared, Field
from fastnn.core.hints import did_you_mean
from fastnn.data import AnySource
from fastnn.network import network_of

Logs = dict[str, float]

# Hooks of Keras and Lightning that have a different name here, or no counterpart.
_ELSEWHERE = {
    "on_batch_begin": "did you mean on_train_batch_begin? (Keras has it under both names)",
    "on_batch_end": "did you mean on_train_batch_end? (Keras has it under both names)",
    "on_epoch_start": "did you mean on_epoch_begin?",
    "on_fit_end": "did you mean on_train_end?",
    "on_fit_start": "did you mean on_train_begin?",
    "on_train_batch_start": "did you mean on_train_batch_begin?",
    "on_train_epoch_end": "did you mean on_epoch_end?",
    "on_train_epoch_start": "did you mean on_epoch_begin?",
    "on_train_start": "did you mean on_train_begin?",
}
# Methods of Keras' callbacks without "on_", which are never called either.
_SETTERS = {
    "set_model": "self.model is set before check",
    "set_params": "what fit was given is known where it is called",
}
_OF_VALIDATION = "did you mean on_epoch_end? (it is called after the validation, with its results)"
_OF_PREDICTION = "predict calls no callbacks"
_OF_MODEL = frozenset({"stop_training", "stop_reason"})
_SET_BY_FIT = frozenset({"model", "training", "results", "validation_results", "training_data"})


class Training(Protocol):
    """What a callback may ask of the training that it is part of.

    Attributes
    ----------
    batches : int
        Number of batches trained on so far, those before an interruption included.
    is_resumed : bool
        Whether the training continues one that was saved.
    is_cut_short : bool
        Whether Ctrl-C or the time budget has ended it.
    is_complete : bool
        Whether training has ended, and nothing of that kind, nor an error, has ended it.
    """

    @property
    def batches(self) -> int:
        """As above."""

    @property
    def is_resumed(self) -> bool:
        """As above."""

    is_cut_short: bool
    is_complete: bool

    def check_saving(self) -> None:
        """Raise ValueError if the training could not be saved."""

    def save(self, path: str | os.PathLike) -> None:
        """Save the training; only within `on_rest`."""


class Callback(Declared):
    """Base class of all callbacks: `fit` calls its hooks during training.

    Override the hooks that you need. The others cost nothing; only a batch hook makes `fit` return
    to Python after every batch.

    - ``check(self)``: before `on_train_begin` of any callback; may raise.
    - ``on_train_begin(self)``: before the first epoch.
    - ``on_epoch_begin(self, epoch)``: before an epoch, counted from 0.
    - ``on_train_batch_begin(self, batch)``: before a batch, counted from 0 in each epoch.
    - ``on_train_batch_end(self, batch, logs)``: after a batch, with its results.
    - ``on_epoch_end(self, epoch, logs)``: after an epoch and its validation, with their results.
      Entries that it adds to `logs` become results of the epoch.
    - ``on_nonfinite_loss(self, error) -> bool``: when the loss is NaN or infinite; True ends the
      training without an exception.
    - ``on_train_end(self, logs)``: after the last epoch, also when `fit` is interrupted.
    - ``on_rest(self)``: when the training may be saved with ``self.training.save(path)``: after
      `on_epoch_end` of all callbacks; within epochs after every ``rest_every`` batches, a property;
      and when Ctrl-C or the time budget ends the training.
    - ``get_state(self)``, ``set_state(self, state)``: what it has noted; see `BackupAndRestore`.
    - ``restores_epoch``, a property: the epoch whose weights `on_train_end` will restore.
    - ``average_seen_by``, a property: who is to see the moving average of the parameters.

    Attributes
    ----------
    model : Model
        Set before `check`. ``model.stop_training = True`` ends `fit` after the epoch (after the
        batch, from a batch hook); ``model.stop_reason`` may give the reason.
    training : Training
        Set with `model`, until `fit` returns: ``training.batches``, ``training.is_resumed``,
        ``training.is_cut_short``, ``training.is_complete``, and ``training.save(path)``, which
        ``fit(resume_from=path)`` continues from.
    results : tuple of str
        Names of the results of an epoch, set with `model`; empty if they are not known, because an
        earlier callback may add some.
    validation_results : tuple of str
        Names of those of the validation, which an epoch lacks if it is not validated. Set with
        `model`.
    training_data : tuple (sources, target_types)
        The training data as the programs take them, and the types of the sources after the inputs
        (see `Runtime.bound`); for an iterable of batches, those of the first. Set with `model`.
    added_results : tuple of str or None
        Names of the results that `on_epoch_end` of the same class adds; None: not known.

    Raises
    ------
    TypeError
        A subclass is defined with a method, of its own or of a base, whose name begins with "on_"
        and that `fit` would never call.

    Examples
    --------
    >>> import fastnn as fnn
    >>> class Lowest(fnn.Callback):
    ...     "Adds the lowest loss so far to the results, and stops below a limit."
    ...
    ...     added_results = ("lowest",)
    ...
    ...     def __init__(self, limit):
    ...         self.limit = limit
    ...
    ...     def on_train_begin(self):
    ...         self.lowest = float("inf")
    ...
    ...     def on_epoch_end(self, epoch, logs):
    ...         self.lowest = logs["lowest"] = min(self.lowest, logs["loss"])
    ...         if self.lowest < self.limit:
    ...             self.model.stop_training = True
    ...             self.model.stop_reason = f"the loss is below {self.limit}"
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> history = model.fit(x / 16, y, epochs=50, verbose=0, callbacks=[Lowest(1.0)])
    >>> history.stop_reason
    'the loss is below 1.0'
    >>> history.history["lowest"] == history.history["loss"]
    True
    """

    _is_fixed: ClassVar[bool] = False
    _is_open: ClassVar[bool] = True
    _has_hooks: ClassVar[bool] = True

    # Not annotated, because they are not fields: `fit` sets them.
    model = cast("Any", None)
    training = cast("Training", None)
    results = cast("tuple[str, ...]", ())
    validation_results = cast("tuple[str, ...]", ())
    training_data = cast("tuple[Sequence[AnySource], tuple[str, ...]]", ((), ("real",)))
    added_results: ClassVar[tuple[str, ...] | None] = None

    @classmethod
    def _declared(cls) -> tuple[dict[str, Field], list[str]]:
        """Return the fields; plain defaults are not fields, because a callback's are state."""
        found, dropped = super()._declared()
        own = vars(cls)
        declared = {
            name: field
            for name, field in found.items()
            if name in cls._fields or isinstance(own[name], Field)
        }
        return declared, dropped

    def __init_subclass__(cls, **options: Any) -> None:
        """Collect the fields, and reject methods that look like hooks but are not."""
        if "_is_open" not in vars(cls):
            cls._is_open = True  # even if the base, one of fastnn's own classes, is not
        super().__init_subclass__(**options)
        others = [base for base in cls.__mro__ if not issubclass(base, Callback)]
        for name, value in (item for one in (cls, *others) for item in vars(one).items()):
            if is_never_called(name) and (callable(value) or isinstance(value, classmethod)):
                raise TypeError(f"{cls.__name__}.{name} is never called{instead_of(name)}")

    def __setattr__(self, name: str, value: object) -> None:
        if is_never_called(name) and callable(value):
            raise AttributeError(f"{type(self).__name__}.{name} is never called{instead_of(name)}")
        if name in _OF_MODEL:
            raise AttributeError(
                f"{type(self).__name__}.{name} is never read: set self.model.{name}"
            )
        if name in _SET_BY_FIT:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or self._is_open:
            return self is other
        return self.arguments() == cast("Callback", other).arguments()

    def __hash__(self) -> int:
        return object.__hash__(self) if self._is_open else hash(type(self))

    def check(self) -> None:
        """Raise if the callback cannot work with this training.

        `fit` calls this method of all callbacks before `on_train_begin` of any; `model`, `results`
        and `training_data` are set.
        """

    def on_train_begin(self) -> None:
        """Run before the first epoch; an error here stops `fit` before the model has changed."""

    def on_train_end(self, logs: Logs) -> None:
        """Run after the last epoch, also when `fit` is interrupted."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Run before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Run after an epoch and its validation, with their results."""

    def on_train_batch_begin(self, batch: int) -> None:
        """Run before a batch, counted from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Run after a batch, with its results."""

    def on_rest(self) -> None:
        """Run when the training may be saved: all is as it is between two batches."""

    @property
    def rest_every(self) -> int | None:
        """From how many batches to how many `on_rest` is called within epochs; default None: not.

        Asked when `fit` begins.
        """
        return None

    @property
    def resume_from(self) -> Path | None:
        """A training that `fit` is to resume, if it was saved; default None."""
        return None

    def get_state(self) -> dict[str, Any]:
        """Return what the callback has noted, so that a training can be saved and resumed.

        Returns
        -------
        dict of str to object
            Numbers, text, arrays, and lists, tuples, sets and dicts of them. Default: all
            attributes except the declared fields and what `fit` sets.
        """
        fields = type(self).fields()
        return {
            name: value
            for name, value in vars(self).items()
            if name not in fields and name not in _SET_BY_FIT
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned when the training was saved.

        Called after `on_train_begin`. The default sets the attributes.

        Raises
        ------
        TypeError
            For fastnn's own classes: the state is damaged.
        """
        if not type(self)._is_open:
            for name, value in state.items():
                if not _is_like(vars(self).get(name), value):
                    raise TypeError(f"{type(self).__name__}.{name} cannot be {value!r}")
        vars(self).update(state)

    def on_nonfinite_loss(self, error: FloatingPointError) -> bool:
        """Run when the loss is NaN or infinite; the model has finite parameters again.

        Parameters
        ----------
        error : NonFiniteLossError
            The error that `fit` is about to raise; its message names the step and the layer.

        Returns
        -------
        bool
            True: `fit` returns instead, and its ``stop_reason`` names this callback. Every callback
            is called; ``stop_reason`` names the first that returns True. Default: False.
        """
        return False

    @property
    def restores_epoch(self) -> int | None:
        """Epoch whose weights `on_train_end` will restore, counted from 0; None: it will not.

        The message about a non-finite loss mentions it.
        """
        return None

    @property
    def average_seen_by(self) -> tuple[str, ...]:
        """Who is to see the moving average of an optimizer with ``use_ema=True``; default: no one.

        "validation", or also "callbacks": `on_epoch_end` of all callbacks. It is in the place of
        the parameters meanwhile.
        """
        return ()


def _is_like(now: object, value: object) -> bool:
    """Whether an attribute that is `now` may become a value: of the same type, or once None."""
    if now is None:
        return True
    if isinstance(now, (list, deque)) and type(value) is type(now):
        return all(_is_like(now[0], one) for one in cast("Any", value)) if now else True
    return type(value) is type(now)


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def is_never_called(name: str) -> bool:
    """Whether a name looks like that of a hook but is not."""
    return (name.startswith("on_") and name not in HOOKS) or name in _SETTERS


def instead_of(name: str) -> str:
    """Return the end of the message about a method that is never called."""
    if name in _ELSEWHERE:
        return f"; {_ELSEWHERE[name]}"
    if name in _SETTERS:
        return f"; {_SETTERS[name]}"
    if name.startswith(("on_test_", "on_validation_")):
        return f"; {_OF_VALIDATION}"
    if name.startswith("on_predict_"):
        return f"; {_OF_PREDICTION}"
    return did_you_mean(name, HOOKS).replace("'", "") or f"; the hooks are {', '.join(HOOKS)}"


def _has(callback: Callback, hook: str) -> bool:
    """Whether a callback overrides a hook, in its class or in the instance."""
    return hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook)


def asks_for_batches(callback: Callback) -> bool:
    """Whether a callback has a batch hook."""
    return _has(callback, "on_train_batch_begin") or _has(callback, "on_train_batch_end")


def asks_to_rest(callback: Callback) -> bool:
    """Whether a callback may save the training."""
    return _has(callback, "on_rest")


def results_behind(callback: Callback, results: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the results that callbacks after this one see; () if not known."""
    if not results or not _has(callback, "on_epoch_end"):
        return tuple(results)
    owner: object = callback
    if "on_epoch_end" not in vars(callback):
        owner = next(cls for cls in type(callback).__mro__ if "on_epoch_end" in vars(cls))
    added = vars(owner).get("added_results")
    return () if added is None else tuple(dict.fromkeys([*results, *added]))


def end_training(callback: Callback, reason: str) -> None:
    """Make `fit` end after this epoch; the first callback to request it gives the reason."""
    network_of(callback.model).stop(f"{type(callback).__name__}: {reason}")
