"""A callback that writes what TensorBoard shows; tensorboardX, an extra, writes its files."""

from __future__ import annotations

import os
from typing import Any

from fastnn.callbacks.base import Callback, Logs
from fastnn.core import checks, extras
from fastnn.metrics import scalars


class TensorBoard(Callback):
    """Write the results of each epoch where TensorBoard finds them; extra ``tensorboard``.

    As Keras writes them: "epoch_loss" and so on, with the learning rate, to the folder "train",
    and those of the validation data under the same names to the folder "validation". See them
    with ``tensorboard --logdir logs``.

    Parameters
    ----------
    log_dir : path-like, default "logs"
    histogram_freq : int, default 0
        Epochs from one histogram of each parameter to the next; 0: none.

    Raises
    ------
    ImportError
        tensorboardX is missing.

    Examples
    --------
    >>> import fastnn as fnn
    >>> board = fnn.TensorBoard("logs/first", histogram_freq=10)
    >>> model.fit(x, y, epochs=50, callbacks=[board])  # doctest: +SKIP
    """

    added_results = ()

    def __init__(self, log_dir: str | os.PathLike = "logs", histogram_freq: int = 0) -> None:
        if not isinstance(log_dir, (str, os.PathLike)) or not os.fspath(log_dir):
            raise TypeError(f"log_dir must be the name of a folder, got {log_dir!r}")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = checks.integer("histogram_freq", histogram_freq, least=0)
        self._writers: dict[str, Any] = {}

    def on_train_begin(self) -> None:
        """Check that there is something to write with."""
        _writer_class()

    def _writer(self, folder: str) -> Any:
        """Return the writer of a folder, opened when it is first needed: it starts a thread."""
        if folder not in self._writers:
            self._writers[folder] = _writer_class()(os.path.join(self.log_dir, folder))
        return self._writers[folder]

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the results, and histograms if it is time."""
        optimizer = self.model.optimizer
        assert optimizer is not None
        last_step = max(self.model.runtime.step - 1, 0)
        has_rate = bool(optimizer.kernel)  # LBFGS has none
        rate = {"learning_rate": float(optimizer.rates(last_step)[0])} if has_rate else {}
        for name, value in {**rate, **scalars(logs)}.items():
            is_validation = name.startswith("val_")
            writer = self._writer("validation" if is_validation else "train")
            writer.add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histogram_freq and (epoch + 1) % self.histogram_freq == 0:
            for name, view in self.model.parameters.items():
                self._writer("train").add_histogram(f"{name}/histogram", view, epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs) -> None:
        """Close the files."""
        while self._writers:
            self._writers.popitem()[1].close()


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise extras.missing("TensorBoard needs tensorboardX", "tensorboard") from None
    return SummaryWriter
