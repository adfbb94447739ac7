"""Callbacks that write files: models and tables."""

from __future__ import annotations

import os
from pathlib import Path

from fastnn.callbacks.base import Callback, Logs
from fastnn.callbacks.monitored import BestSoFar, Monitored
from fastnn.core import checks
from fastnn.core.registry import did_you_mean
from fastnn.metrics import scalars


class ModelCheckpoint(Monitored):
    """Save the model at the end of epochs.

    The file is what `Model.save` writes, with the state of the optimizer, so that training can be
    continued from it. It is complete at all times: a crash leaves the file before.

    Parameters
    ----------
    filepath : path-like
        May contain fields: ``{epoch}``, counted from 1, and the results of the epoch, as in
        ``"model-{epoch:03d}-{val_loss:.2f}.safetensors"``. Missing folders are created.
    monitor : str, default "val_loss"
        A key of the history; only used with `save_best_only`.
    save_best_only : bool, default False
        Whether to save only after an epoch that is better than all before it.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better; auto: as the loss or metric says.
    save_freq : "epoch"
    initial_value_threshold : float, optional
        The result that an epoch must beat to be the first that is saved, with `save_best_only`.

    Attributes
    ----------
    last_path : str or None
        The last file written.

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

    added_results = ()

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        *,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath = str(_path("filepath", filepath))
        self.save_best_only = checks.boolean("save_best_only", save_best_only)
        if save_freq != "epoch":
            raise ValueError(
                f"save_freq must be 'epoch', got {save_freq!r}; to save after some batches, call "
                "model.save from a callback's on_train_batch_end"
            )
        import string  # here, because `import fastnn` should be quick

        self.save_freq = save_freq
        self.initial_value_threshold = (
            None
            if initial_value_threshold is None
            else checks.number("initial_value_threshold", initial_value_threshold)
        )
        try:
            self._fields = {field for _, field, _, _ in string.Formatter().parse(self.filepath)}
        except ValueError as error:
            raise ValueError(f"filepath {self.filepath!r}: {error}") from None
        self._fields.discard(None)
        self.last_path: str | None = None
        self._forget()

    def check(self) -> None:
        """Check the fields of the file's name, and the monitor if it is used."""
        if self.results:
            self._check_fields(self.results)
        if self.save_best_only:
            super().check()

    def on_train_begin(self) -> None:
        """Forget earlier trainings."""
        if self.save_best_only:
            super().on_train_begin()

    def _forget(self) -> None:
        if self.initial_value_threshold is None:
            self._best = BestSoFar()
        else:
            self._best = BestSoFar(best=self._sign * self.initial_value_threshold)

    def _check_fields(self, results: tuple[str, ...] | Logs) -> None:
        known = ["epoch", *results]
        for field in self._fields:
            if field not in known:
                raise ValueError(
                    f"filepath {self.filepath!r} has a field {field!r}, but there are only "
                    f"{', '.join(known)}{did_you_mean(field, known)}"
                )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save the model if this epoch is to be saved."""
        self._check_fields(logs)
        if self.save_best_only and not self._best.improves(self._height(logs)):
            return
        path = Path(self.filepath.format(**{**logs, "epoch": epoch + 1}))
        path.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(path)
        self.last_path = str(path)


class CSVLogger(Callback):
    """Write the results to a table, one line per epoch, as soon as the epoch is over.

    Parameters
    ----------
    filename : path-like
        Its first line holds the names of the columns: "epoch" (counted from 0) and the results.
    separator : str, default ","
        One character.
    append : bool, default False
        Whether to append to a table that exists instead of replacing it.

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

    added_results = ()

    def __init__(
        self, filename: str | os.PathLike, separator: str = ",", append: bool = False
    ) -> None:
        self.filename = _path("filename", filename)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator must be one character, got {separator!r}")
        self.separator = separator
        self.append = checks.boolean("append", append)
        self._columns: list[str] = []

    def check(self) -> None:
        """Read the columns of the file if lines are appended to it."""
        import csv  # here, because `import fastnn` should be quick

        self._columns = []
        if self.append and self.filename.exists():
            with self.filename.open(newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file, delimiter=self.separator), [])
            if self.results and self._columns:
                self._check_columns(self.results)

    def on_train_begin(self) -> None:
        """Empty the file unless lines are appended to it."""
        if not (self.append and self.filename.exists()):
            self.filename.write_text("", encoding="utf-8")

    def _check_columns(self, results: tuple[str, ...] | Logs) -> None:
        missing = [name for name in ("epoch", *results) if name not in self._columns]
        if missing:
            raise ValueError(
                f"filename: {str(self.filename)!r} has the columns {', '.join(self._columns)}, "
                f"which have no place for {', '.join(missing)}"
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Add a line. The file is closed again, so that it is complete whatever happens."""
        logs = scalars(logs)
        import csv

        with self.filename.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            if not self._columns:
                self._columns = ["epoch", *logs]
                writer.writerow(self._columns)
            self._check_columns(logs)
            row = {**logs, "epoch": epoch}
            writer.writerow([row.get(name, "NA") for name in self._columns])


def _path(name: str, value: object) -> Path:
    """Return the path of a file; an error names the argument."""
    try:
        return checks.file_path(value)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("path", name, 1)) from None
