"""A callback that saves the training, and resumes it where a run before was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastnn.callbacks.base import Logs
from fastnn.callbacks.writing import Writing, a_folder
from fastnn.core import checks
from fastnn.core.declare import boolean, checked

FILE = "training.safetensors"


def _frequency(name: str, value: object) -> Any:
    if isinstance(value, str):
        if value == "epoch":
            return value
        raise ValueError(f"{name} must be 'epoch' or a number of batches, got {value!r}")
    return checks.integer(name, value)


class BackupAndRestore(Writing):
    """Save the training as it goes on, and resume it if it was interrupted.

    A script that is killed and started again continues where the last backup was made, to the same
    bits as if nothing had happened: parameters, optimizer, rates, moving averages, the order of the
    rows, dropout, history, and what the other callbacks have noted (`Callback.get_state`). The
    script builds and compiles the same model and calls `fit` with the same arguments; `epochs` may
    be larger. A backup is also made when Ctrl-C or the time budget ends a training, unless
    something is half done at that moment, such as the batch hook of a callback: then the one before
    stays. When all epochs are done, or a callback has ended the training, the backup is deleted.

    Parameters
    ----------
    backup_dir : path-like
        Folder for the file ``training.safetensors``; created when `fit` begins. Each training
        needs one of its own. The file is complete at all times: a crash leaves the previous one.
        It is a model file, too: `fastnn.load` gives the model as it was.
    save_freq : "epoch" or int, default "epoch"
        Save after each epoch, or within epochs after this number of batches.
    delete_checkpoint : bool, default True
        Whether to delete the backup when the training is complete.
    on_error : {"raise", "warn"}, default "raise"
        What a backup that cannot be written does, on a full disk or in a folder that has vanished:
        it ends the training with the error, or is a warning, and the training goes on.

    Attributes
    ----------
    path : Path
        Of the file.

    See Also
    --------
    Model.fit : `resume_from` takes such a file.

    Notes
    -----
    An iterable of batches must yield the same batches again: those of the epochs that are done are
    read and dropped. `LBFGS` repeats its iterations, since SciPy's state cannot be saved.

    Examples
    --------
    >>> import fastnn as fnn, tempfile
    >>> x, y = fnn.datasets.load_digits()
    >>> folder = tempfile.mkdtemp()
    >>> def train(**more):
    ...     model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    ...     model.compile("adam", "crossentropy")
    ...     backup = fnn.BackupAndRestore(folder)
    ...     return model.fit(x / 16, y, epochs=3, verbose=0, callbacks=[backup], **more)
    >>> train(time_budget=1e-6).stop_reason
    'the time_budget of 1e-06 seconds is used up in epoch 1, step 1'
    >>> train().epoch
    [0, 1, 2]
    """

    _is_open = False
    added_results = ()

    backup_dir: str = checked(a_folder)
    save_freq: Any = checked(_frequency, default="epoch")
    delete_checkpoint: bool = boolean(default=True, kw_only=True)

    def _set_up(self) -> None:
        """Start without a backup."""
        self._saved = 0  # number of batches at the last one

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.backup_dir) / FILE

    @property
    def resume_from(self) -> Path | None:
        """The file, if it exists."""
        return self.path if self.path.is_file() else None

    def check(self) -> None:
        """Check that the training can be saved, and create the folder."""
        self.training.check_saving()
        Path(self.backup_dir).mkdir(parents=True, exist_ok=True)

    def get_state(self) -> dict[str, Any]:
        """Return nothing: a backup knows how many batches it has."""
        return {}

    def on_train_begin(self) -> None:
        """Count batches from here."""
        self._saved = 0

    def set_state(self, state: dict[str, Any]) -> None:
        """Count batches from the backup on."""
        self._saved = self.training.batches

    @property
    def rest_every(self) -> int | None:
        """Batches from one backup within an epoch to the next; None: it is made after the epoch."""
        return None if self.save_freq == "epoch" else self.save_freq

    def on_rest(self) -> None:
        """Save the training if it is time, or if it ends unfinished."""
        waits = self.training.batches - self._saved
        if self.save_freq != "epoch" and waits < self.save_freq and not self.training.is_cut_short:
            return
        self._saved = self.training.batches
        with self._writing(str(self.path)):
            self.training.save(self.path)

    def on_train_end(self, logs: Logs) -> None:
        """Delete the backup if nothing is left to resume."""
        if self.delete_checkpoint and self.training.is_complete:
            self.path.unlink(missing_ok=True)
