"""A callback that diagnoses why a model is not learning."""

from __future__ import annotations

from fastnn.callbacks.base import Callback, Logs
from fastnn.core import notices
from fastnn.core.declare import integer, state
from fastnn.network import network_of


class Diagnose(Callback):
    """Run `Model.diagnose` at the end of some epochs, and warn about each finding once.

    It costs nothing within an epoch; at the end of one it costs as much as one hundred to one
    thousand steps.

    Parameters
    ----------
    every : int, default 10
        Epochs from one diagnosis to the next.
    batch_size : int, default 32
        Batch size of the trials of the learning rate; use that of `fit`.

    Attributes
    ----------
    findings : list of fastnn.analysis.diagnosis.Finding
        All findings so far, each once.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> look = fnn.Diagnose(every=2)
    >>> history = model.fit(x / 16, y, epochs=4, verbose=0, callbacks=[look])
    >>> look.findings
    []
    """

    _is_open = False
    added_results = ()

    every: int = integer(default=10)
    batch_size: int = integer(default=32, kw_only=True)
    findings: list = state(default_factory=list)

    def on_train_begin(self) -> None:
        """Discard the state of earlier runs."""
        self.findings = []

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Diagnose the model, and warn about new findings."""
        if (epoch + 1) % self.every:
            return
        from fastnn.analysis import diagnosis

        found = diagnosis.diagnose(
            network_of(self.model), *self.training_data, batch_size=self.batch_size
        )
        known = {(finding.problem, finding.layer) for finding in self.findings}
        for finding in found.findings:
            if (finding.problem, finding.layer) not in known:
                self.findings.append(finding)
                notices.warn(f"epoch {epoch + 1}: {finding}", diagnosis.DiagnosisWarning)
