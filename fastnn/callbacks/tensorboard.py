"""A callback that writes logs for TensorBoard, using tensorboardX, which is an extra."""

from __future__ import annotations

import os
from typing import Any

from fastnn.callbacks.base import Logs
from fastnn.callbacks.writing import Writing, a_folder
from fastnn.core import extras
from fastnn.core.declare import checked, integer
from fastnn.metrics import scalars
from fastnn.network import network_of


class TensorBoard(Writing):
    """Write the results of each epoch for TensorBoard; needs the extra ``tensorboard``.

    As in Keras, results ("epoch_loss" and so on) and the learning rate are written to the folder
    "train", and validation results under the same names to the folder "validation". To view them,
    run ``tensorboard --logdir logs``.

    Parameters
    ----------
    log_dir : path-like, default "logs"
    histogram_freq : int, default 0
        Epochs from one histogram of each parameter to the next; 0: none.
    on_error : {"raise", "warn"}, default "raise"
        What a file that cannot be written does, on a full disk or in a folder that has vanished:
        it ends the training with the error, or is a warning, and the training goes on.

    Raises
    ------
    ImportError
        tensorboardX is not installed.

    Examples
    --------
    >>> import fastnn as fnn
    >>> board = fnn.TensorBoard("logs/first", histogram_freq=10)
    >>> model.fit(x, y, epochs=50, callbacks=[board])  # doctest: +SKIP
    """

    _is_open = False
    added_results = ()

    log_dir: str = checked(a_folder, default="logs")
    histogram_freq: int = integer(default=0, least=0)

    def _set_up(self) -> None:
        """Start with no open files."""
        self._writers: dict[str, Any] = {}
        self._next = 0
        self._first: int | None = None  # what was written from this epoch on is no longer shown

    def on_train_begin(self) -> None:
        """Check that tensorboardX is installed."""
        _writer_class()
        self._first = None

    def get_state(self) -> dict[str, Any]:
        """Return the number of the next epoch."""
        return {"_next": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue with that epoch, and hide what has been written of later ones."""
        self._next = self._first = state["_next"]

    def _writer(self, folder: str) -> Any:
        """Return the writer of a folder, opened on first use, because it starts a thread."""
        if folder not in self._writers:
            self._writers[folder] = _writer_class()(
                os.path.join(self.log_dir, folder), purge_step=self._first
            )
        return self._writers[folder]

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the results, and histograms if they are due."""
        with self._writing(self.log_dir):
            self._write(epoch, logs)

    def _write(self, epoch: int, logs: Logs) -> None:
        rates = self.model.history.learning_rates  # empty for an optimizer without a rate
        rate = {"learning_rate": rates[-1]} if rates else {}
        for name, value in {**rate, **scalars(logs)}.items():
            is_validation = name.startswith("val_")
            writer = self._writer("validation" if is_validation else "train")
            writer.add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histogram_freq and (epoch + 1) % self.histogram_freq == 0:
            for name, view in network_of(self.model).runtime.parameters.items():
                self._writer("train").add_histogram(f"{name}/histogram", view, epoch)
        for writer in self._writers.values():
            writer.flush()
        self._next = epoch + 1

    def on_train_end(self, logs: Logs) -> None:
        """Close the files."""
        while self._writers:
            with self._writing(self.log_dir):
                self._writers.popitem()[1].close()


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise extras.missing("TensorBoard needs tensorboardX", "tensorboard") from None
    return SummaryWriter
