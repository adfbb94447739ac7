"""A callback that records how a network changed during training, for statistics and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.analysis import inspection
from fastnn.callbacks.base import Callback, Logs
from fastnn.core.declare import integer, state
from fastnn.network import Network, network_of
from fastnn.runtime import Runtime, aligned

BINS = 64
BLOCK_BYTES = 8 << 20  # of copies: allocating huge pages is five times faster than small ones
_LARGEST = 1e307


@dataclass(frozen=True)
class Histogram:
    """A histogram of numbers, with summary statistics.

    Attributes
    ----------
    counts : ndarray of int, shape (bins,)
        Counts of the finite numbers, or of the decimal logarithms of their magnitudes.
    low, high : float
        The lower edge of the first bin and the upper edge of the last.
    zeros : float
        Fraction of the numbers that are exactly 0.
    finite : float
        Fraction of the numbers that are finite.
    mean, deviation : float
        Mean and standard deviation of the numbers themselves; not finite if one of them is not.
    norm : float
        Root of the sum of their squares.
    """

    counts: np.ndarray
    low: float
    high: float
    zeros: float
    finite: float
    mean: float
    deviation: float
    norm: float

    @classmethod
    def of(cls, array: np.ndarray, *, is_logarithmic: bool = False) -> Histogram:
        """Count the elements of an array, or the decimal logarithms of their magnitudes."""
        values = np.asarray(array, np.float64).reshape(-1)
        if not values.size:
            nan = math.nan
            return cls(np.zeros(BINS, np.int64), -0.5, 0.5, 0.0, 1.0, nan, nan, 0.0)
        is_finite = np.isfinite(values)
        chosen = values[is_finite]
        if is_logarithmic:
            chosen = np.log10(np.abs(chosen[chosen != 0]))
        # The difference of float64's largest numbers would overflow.
        chosen = np.clip(chosen, -_LARGEST, _LARGEST)
        low, high = (float(chosen.min()), float(chosen.max())) if chosen.size else (0.0, 0.0)
        least = 4 * BINS * float(np.spacing(max(abs(low), abs(high))))
        if high - low < least:  # too narrow to be divided into bins
            low, high = low - max(0.5, least), high + max(0.5, least)
        with np.errstate(all="ignore"):  # numbers or their squares may be infinite
            summary = float(values.mean()), float(values.std()), float(np.linalg.norm(values))
        counts = np.histogram(chosen, BINS, (low, high))[0]
        zeros, finite = float(np.mean(values == 0)), float(is_finite.mean())
        return cls(counts, low, high, zeros, finite, *summary)

    def _below(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the edges of the bins, and the fraction of the numbers below each."""
        below = np.concatenate([[0], np.cumsum(self.counts)]) / max(self.counts.sum(), 1)
        return np.linspace(self.low, self.high, BINS + 1), below

    def on(self, edges: np.ndarray) -> np.ndarray:
        """Return the fraction of the numbers between adjacent edges."""
        return np.diff(np.interp(edges, *self._below()))

    @property
    def is_empty(self) -> bool:
        """Whether no number was counted."""
        return not self.counts.any()

    @property
    def median(self) -> float:
        """The median of the numbers, to within a bin's width; NaN if there are none."""
        edges, below = self._below()
        return math.nan if self.is_empty else float(np.interp(0.5, below, edges))


class Recorder(Callback):
    """Record the parameters over the epochs of a training, to compute outputs and gradients later.

    It provides statistics of the layers (`means`, `deviations`, `zeros`, `gradient_norms`), and
    the data for `fastnn.plots.histograms`, the path in `fastnn.plots.landscape`, and
    `fastnn.plots.animate_decision_boundary`. During training it only copies the parameters: before
    the first epoch, and after evenly spaced epochs including the last. The outputs of the layers
    and the gradients are computed on request, with the model as it is compiled then, on the same
    evenly spaced sample of the training rows each time. Outputs are those of `predict`, without
    dropout. Place it after callbacks that restore weights (`EarlyStopping`), so that its last
    record is of the weights that they have chosen.

    Parameters
    ----------
    rows : int, default 256
        How many training rows to use; all, if there are fewer.
    looks : int, default 100
        Maximum number of records to keep; at least 4. When it is reached, every second record is
        dropped and the interval between records doubles, so that at least about half remain.
    every : int, default 1
        Epochs from one record to the next, until the interval doubles.

    Attributes
    ----------
    epochs : list of int
        Number of completed epochs at each record: 0 is before the first.
    parameters : list of ndarray
        All parameters at each record, in the model's memory layout.
    layers : list of str
        The layers in the order of computation; "name:2" is the second use of a layer.
    parameter_names : list of str
        "layer/parameter".

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(16, "relu"), fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> recorder = fnn.Recorder()
    >>> history = model.fit(x / 16, y, epochs=3, verbose=0, callbacks=[recorder])
    >>> recorder.epochs, recorder.layers
    ([0, 1, 2, 3], ['dense', 'dense_1'])
    >>> recorder.zeros.shape  # the share of zeros in what each layer outputs, at each look
    (4, 2)
    >>> recorder.parameter_names
    ['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias']
    >>> recorder.gradient_norms.shape
    (4, 4)
    >>> recorder.gradients[0]["dense/kernel"].finite  # the share of them
    1.0
    """

    _is_open = False
    added_results = ()

    rows: int = integer(default=256)
    looks: int = integer(default=100, least=4, kw_only=True)
    every: int = integer(default=1, kw_only=True)
    epochs: list[int] = state(default_factory=list)
    parameters: list[np.ndarray] = state(default_factory=list)
    layers: list[str] = state(default_factory=list)
    parameter_names: list[str] = state(default_factory=list)

    def _set_up(self) -> None:
        """Start without a record."""
        self._forget()

    def _forget(self) -> None:
        self.epochs, self.parameters = [], []
        self._gap, self._done = self.every, 0
        self._free: list[np.ndarray] = []
        self._activations: dict[int, dict[str, Histogram]] = {}  # keyed by completed epochs
        self._gradients: dict[int, dict[str, Histogram]] = {}

    def get_state(self) -> dict[str, Any]:
        """Return the records, without what is computed from them or chosen at the beginning."""
        kept = ("epochs", "parameters", "_gap", "_done")
        return {name: getattr(self, name) for name in kept}

    def on_train_begin(self) -> None:
        """Choose the rows, and record the parameters before the first step."""
        self._forget()
        runtime = network_of(self.model).runtime
        self.layers = inspection.layer_names(runtime)
        self.parameter_names = list(runtime.parameters)
        self._sample = inspection.sample(self.training_data[0], self.rows)
        self._look()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Record the parameters if a record is due."""
        self._done = epoch + 1
        if self._done % self._gap == 0:
            self._make_room()
        if self._done % self._gap == 0:
            self._look()

    def on_train_end(self, logs: Logs) -> None:
        """Make the last record, because other callbacks may have restored other parameters."""
        if not self._done:
            return
        if self.epochs[-1] == self._done:
            self.epochs.pop()
            self.parameters.pop()
            for known in (self._activations, self._gradients):
                known.pop(self._done, None)  # a callback may have requested it already
        self._make_room()
        self._look()

    def _make_room(self) -> None:
        if len(self.epochs) >= self.looks:
            self.epochs, self.parameters = self.epochs[::2], self.parameters[::2]
            self._gap *= 2

    def _look(self) -> None:
        self.epochs.append(self._done)
        runtime = network_of(self.model).runtime
        if not self._free:
            size = runtime.arenas["gradients"].nbytes  # that of the parameters
            rows = min(max(1, BLOCK_BYTES // max(size, 1)), self.looks)
            self._free = list(aligned((rows, runtime.count), runtime.dtype))
        self.parameters.append(runtime.copy_parameters(self._free.pop()))

    @property
    def activations(self) -> list[dict[str, Histogram]]:
        """Histograms of the layers' outputs at each record, keyed by layer; without dropout."""

        def look(runtime: Runtime) -> dict[str, Histogram]:
            found = inspection.activations(runtime, self._sample)
            return {name: Histogram.of(array) for name, array in found.items()}

        return self._at_each(self._activations, look)

    @property
    def gradients(self) -> list[dict[str, Histogram]]:
        """Histograms of log10 of the gradients' magnitudes, keyed by "layer/parameter".

        The gradients are those of the mean loss of the rows that are used.
        """

        def look(runtime: Runtime) -> dict[str, Histogram]:
            found = inspection.gradients(runtime, self._sample, self.training_data[1])
            return {name: Histogram.of(array, is_logarithmic=True) for name, array in found.items()}

        return self._at_each(self._gradients, look)

    @property
    def means(self) -> np.ndarray:
        """Mean of each layer's outputs over rows and units, shape (looks, layers)."""
        return self._table(self.activations, self.layers, "mean")

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of each layer's outputs, shape (looks, layers)."""
        return self._table(self.activations, self.layers, "deviation")

    @property
    def zeros(self) -> np.ndarray:
        """Fraction of zeros in each layer's outputs, shape (looks, layers)."""
        return self._table(self.activations, self.layers, "zeros")

    @property
    def gradient_norms(self) -> np.ndarray:
        """Euclidean norm of the gradient with respect to each parameter, (looks, parameters).

        The gradient is that of the mean loss of the rows that are used.
        """
        return self._table(self.gradients, self.parameter_names, "norm")

    @staticmethod
    def _table(looks: list[dict[str, Histogram]], names: list[str], what: str) -> np.ndarray:
        numbers = [[getattr(look[name], what) for name in names] for look in looks]
        return np.array(numbers, np.float64).reshape(len(looks), len(names))

    def _at_each(
        self,
        known: dict[int, dict[str, Histogram]],
        look: Callable[[Runtime], dict[str, Histogram]],
    ) -> list[dict[str, Histogram]]:
        missing = [i for i, done in enumerate(self.epochs) if done not in known]
        if missing:
            network = network_of(self.model).clone()
            for i in missing:
                put_parameters(network, self.parameters[i])
                known[self.epochs[i]] = look(network.runtime)
        return [known[done] for done in self.epochs]


def used(recorder: Recorder) -> Recorder:
    """Return a recorder, checked to have been used in a training.

    Raises
    ------
    TypeError, ValueError
        It is not a recorder, or has not been used.
    """
    if not isinstance(recorder, Recorder):
        raise TypeError(f"recorder must be a Recorder, got {recorder!r}")
    if not recorder.epochs:
        raise ValueError("recorder has seen no training: give it to fit, callbacks=[recorder]")
    return recorder


def put_parameters(network: Network, parameters: np.ndarray) -> None:
    """Set the parameters of a copy of a network, given in the layout of a Recorder's.

    A copy (`Network.clone`), so that nothing has to be put back, which Ctrl-C might prevent, and so
    that other threads may use the network meanwhile.
    """
    if parameters.shape != (network.runtime.count,):
        raise ValueError("the recorder has watched another model")
    network.runtime.parameters_change()
    network.runtime.put_parameters(parameters)
