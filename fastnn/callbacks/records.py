"""Callbacks that write files: models and tables."""

from __future__ import annotations

import copy
import io
import math
import os
from pathlib import Path
from typing import Any

from fastnn.callbacks.base import Logs
from fastnn.callbacks.monitored import BestSoFar, Monitored, a_mode, a_result
from fastnn.callbacks.writing import Writing
from fastnn.core import checks
from fastnn.core.declare import boolean, checked, number, state
from fastnn.core.hints import did_you_mean
from fastnn.metrics import scalars


def _path(name: str, value: object) -> str:
    return str(checks.file_path(value, name))


def _path_with_fields(name: str, value: object) -> str:
    path = _path(name, value)
    try:
        _names_in_braces(path)
    except ValueError as error:
        raise ValueError(f"{name} {path!r}: {error}") from None
    return path


def _names_in_braces(path: str) -> set[str]:
    """Return the names in braces."""
    import string  # here, because `import fastnn` should be quick

    return {field for _, field, _, _ in string.Formatter().parse(path) if field is not None}


def _frequency(name: str, value: object) -> str:
    if not isinstance(value, str) or value != "epoch":
        raise ValueError(
            f"{name} must be 'epoch', got {value!r}; to save after some batches, call "
            "model.save from a callback's on_train_batch_end"
        )
    return value


def _one_character(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) != 1:
        raise ValueError(f"{name} must be one character, got {value!r}")
    return value


class ModelCheckpoint(Monitored, Writing):
    """Save the model at the end of epochs.

    The file is written by `Model.save` and includes the state of the optimizer, so that training
    can be continued from it. It is complete at all times: a crash leaves the previous file.

    As in Keras, the best result is kept from one `fit` to the next, unlike that of `EarlyStopping`
    and `ReduceLROnPlateau`: the file of `save_best_only` is the best of all runs that this
    object has seen, also of a loop of one-epoch fits. It is forgotten if `monitor`, its direction
    or `initial_value_threshold` changes.

    Parameters
    ----------
    filepath : path-like
        May contain fields: ``{epoch}``, counted from 1, and the results of the epoch, as in
        ``"model-{epoch:03d}-{val_loss:.2f}.safetensors"``. Missing folders are created when the
        training begins, and not again if they vanish. Epochs are counted from the
        `initial_epoch` of `fit`; give that when training is resumed, or the files of the first
        epochs are written over.
    monitor : str, default "val_loss"
        A key of the history; only used with `save_best_only`.
    save_best_only : bool, default False
        Whether to save only after an epoch that is better than all earlier ones.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; auto: as the loss or metric says.
    save_freq : "epoch"
    initial_value_threshold : float, optional
        With `save_best_only`, the result that the first saved epoch must beat.
    on_error : {"raise", "warn"}, default "raise"
        What a file that cannot be written does, on a full disk or in a folder that has vanished:
        it ends the training with the error, or is a warning, and the training goes on.

    Attributes
    ----------
    last_path : str or None
        The last file written.
    best : float or None
        The best result so far with `save_best_only`; None before the first.

    Examples
    --------
    >>> import fastnn as fnn, os, tempfile
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> folder = tempfile.mkdtemp()
    >>> save = fnn.ModelCheckpoint(os.path.join(folder, "digits-{epoch}.safetensors"))
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[save])
    >>> sorted(os.listdir(folder))
    ['digits-1.safetensors', 'digits-2.safetensors']
    """

    _is_open = False
    added_results = ()

    filepath: str = checked(_path_with_fields)
    monitor: str = checked(a_result, default="val_loss")
    save_best_only: bool = boolean(default=False, kw_only=True)
    mode: str = checked(a_mode, default="auto", kw_only=True)
    save_freq: str = checked(_frequency, default="epoch", kw_only=True)
    initial_value_threshold: float | None = number(default=None, is_optional=True, kw_only=True)
    last_path: str | None = state()

    _kind: tuple[object, ...] = ()  # what the best result is a result of

    def _set_up(self) -> None:
        """Start without a best result."""
        self._best, self._has_best = BestSoFar(), False

    def check(self) -> None:
        """Check the fields of the file name, and the monitor if it is used."""
        if self.results:
            self._check_fields(self.results)
        if self.save_best_only:
            super().check()

    def on_train_begin(self) -> None:
        """Keep the best result of earlier runs if it can be compared with those of this one."""
        with self._writing(self.filepath):
            _folder_of(self.filepath).mkdir(parents=True, exist_ok=True)
        if not self.save_best_only:
            return
        super().on_train_begin()
        kind = self.monitor, self.direction, self.initial_value_threshold
        if kind != self._kind:
            threshold = self.initial_value_threshold
            best = math.inf if threshold is None else self._sign * threshold
            self._kind, self._best = kind, BestSoFar(best=best)
            self._has_best = False

    @property
    def best(self) -> float | None:
        """The best result so far; None before the first."""
        return self._sign * self._best.best if self._has_best else None

    def _check_fields(self, results: tuple[str, ...] | Logs) -> None:
        known = ["epoch", *results]
        for field in _names_in_braces(self.filepath):
            if field not in known:
                raise ValueError(
                    f"filepath {self.filepath!r} has a field {field!r}, but there are only "
                    f"{', '.join(known)}{did_you_mean(field, known)}"
                )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save the model if this epoch is due to be saved."""
        self._check_fields(logs)
        best = copy.copy(self._best)
        if self.save_best_only:
            height = self._height(epoch, logs)
            if height is None or not best.improves(height):
                return
        path = Path(self.filepath.format(**{**logs, "epoch": epoch + 1}))
        with self._writing(str(path)):
            if _folder_of(self.filepath).is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            self.model.save(path)
            self.last_path = str(path)
            self._best, self._has_best = best, self.save_best_only


def _folder_of(filepath: str) -> Path:
    """Return the folder of a path, as far as its name has no fields."""
    found = Path(filepath).parent
    while _names_in_braces(str(found)):
        found = found.parent
    return found


class CSVLogger(Writing):
    """Write the results to a table, one line per epoch, as soon as the epoch ends.

    Parameters
    ----------
    filename : path-like
        Its first line holds the names of the columns: "epoch" (counted from 0, or from the
        `initial_epoch` of `fit`) and the results.
    separator : str, default ","
        One character.
    append : bool, default False
        Whether to append to an existing table instead of replacing it; with `initial_epoch` of
        `fit`, the epochs of a training that is resumed are counted on.
    on_error : {"raise", "warn"}, default "raise"
        What a file that cannot be written does, on a full disk or in a folder that has vanished:
        it ends the training with the error, or is a warning, and the training goes on.

    Examples
    --------
    >>> import fastnn as fnn, os, tempfile
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy", ["accuracy"])
    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[fnn.CSVLogger(path)])
    >>> with open(path) as file:
    ...     print(file.readline(), end="")
    epoch,loss,accuracy
    """

    _is_open = False
    added_results = ()

    filename: str = checked(_path)
    separator: str = checked(_one_character, default=",")
    append: bool = boolean(default=False)

    def _set_up(self) -> None:
        """Start with no known columns."""
        self._columns: list[str] = []
        self._bytes = 0  # of the file, after the last line
        self._is_begun = False

    def check(self) -> None:
        """Read the columns of the file if lines are appended to it."""
        import csv  # here, because `import fastnn` should be quick

        self._columns = []
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file, delimiter=self.separator), [])
            if self.results and self._columns:
                self._check_columns(self.results)

    def on_train_begin(self) -> None:
        """Empty the file unless lines are appended to it, or it goes on (`set_state`)."""
        self._is_begun = False
        if self.training is None or not self.training.is_resumed:
            self._begin()

    def _begin(self) -> None:
        self._is_begun, self._bytes = True, 0
        if self.append and os.path.exists(self.filename):
            self._bytes = os.path.getsize(self.filename)
            return
        with self._writing(self.filename):
            Path(self.filename).write_text("", encoding="utf-8")

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue the table after the line of the last epoch that was saved."""
        super().set_state(state)
        with self._writing(self.filename):
            size = os.path.getsize(self.filename) if os.path.exists(self.filename) else 0
            if size < self._bytes:
                raise OSError(
                    f"filename: {self.filename!r} has {size} bytes, {self._bytes} were written "
                    "before the training was saved"
                )
            if size > self._bytes:
                os.truncate(self.filename, self._bytes)

    def _check_columns(self, results: tuple[str, ...] | Logs) -> None:
        missing = [name for name in ("epoch", *results) if name not in self._columns]
        if missing:
            raise ValueError(
                f"filename: {self.filename!r} has the columns {', '.join(self._columns)}, "
                f"which have no place for {', '.join(missing)}"
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Add a line. The file is closed after each, so that it is always complete."""
        logs = scalars(logs)
        if not self._is_begun:  # it is new in a training that was resumed
            self._begin()
        import csv

        text, columns = io.StringIO(), self._columns or ["epoch", *logs]
        writer = csv.writer(text, delimiter=self.separator, lineterminator="\n")
        if not self._columns:
            writer.writerow(columns)
        else:
            self._check_columns(logs)
        row = {**logs, "epoch": epoch}
        writer.writerow([row.get(name, "NA") for name in columns])
        with self._writing(self.filename):
            self._bytes = _append(self.filename, text.getvalue().encode())
            self._columns = columns


def _append(path: str, content: bytes) -> int:
    """Add bytes to a file, all or none; return how many it has then."""
    with open(path, "ab", buffering=0) as file:
        size = file.tell() if file.seekable() else 0  # a pipe keeps nothing
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            if file.seekable():
                file.truncate(size)
            raise
    return size + len(content)
