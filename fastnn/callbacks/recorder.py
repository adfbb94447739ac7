"""A callback that keeps how a network changed as it was trained: numbers by layer, and pictures."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fastnn.analysis import inspection
from fastnn.callbacks.base import Callback, Logs
from fastnn.core.declare import integer, state
from fastnn.runtime import Runtime, aligned

BINS = 64
BLOCK_BYTES = 8 << 20  # of copies: large pages come five times as quickly as as many small ones
_LARGEST = 1e307


@dataclass(frozen=True)
class Histogram:
    """How many numbers lie where, and what sums them up.

    Attributes
    ----------
    counts : ndarray of int, shape (bins,)
        Of the finite numbers, or of the decimal logarithms of their magnitudes.
    low, high : float
        Where the first bin begins and the last one ends.
    zeros : float
        Share of the numbers that are exactly 0.
    finite : float
        Share of the numbers that are finite.
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
        # float64's largest numbers are further apart than it can tell.
        chosen = np.clip(chosen, -_LARGEST, _LARGEST)
        low, high = (float(chosen.min()), float(chosen.max())) if chosen.size else (0.0, 0.0)
        least = 4 * BINS * float(np.spacing(max(abs(low), abs(high))))
        if high - low < least:  # bins could not tell them apart
            low, high = low - max(0.5, least), high + max(0.5, least)
        with np.errstate(all="ignore"):  # numbers that are infinite, or whose squares are
            summary = float(values.mean()), float(values.std()), float(np.linalg.norm(values))
        counts = np.histogram(chosen, BINS, (low, high))[0]
        zeros, finite = float(np.mean(values == 0)), float(is_finite.mean())
        return cls(counts, low, high, zeros, finite, *summary)

    def _below(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the edges of the bins, and the share of the numbers below each."""
        below = np.concatenate([[0], np.cumsum(self.counts)]) / max(self.counts.sum(), 1)
        return np.linspace(self.low, self.high, BINS + 1), below

    def on(self, edges: np.ndarray) -> np.ndarray:
        """Return the share of the numbers between each two edges."""
        return np.diff(np.interp(edges, *self._below()))

    @property
    def is_empty(self) -> bool:
        """Whether no number was counted."""
        return not self.counts.any()

    @property
    def median(self) -> float:
        """What half of the numbers lie below, to a bin's width; NaN of none."""
        edges, below = self._below()
        return math.nan if self.is_empty else float(np.interp(0.5, below, edges))


class Recorder(Callback):
    """Keep the parameters over the epochs of a training, and show what they made of the data.

    For a look inside the layers (`means`, `deviations`, `zeros`, `gradient_norms`), for
    `fastnn.plots.histograms`, the path in `fastnn.plots.landscape`, and
    `fastnn.plots.animate_decision_boundary`. While training it only copies the parameters: before
    the first epoch, and after epochs evenly spread, the last among them. What the layers output
    and the gradients are computed when they are asked for, with the model as it is compiled then,
    on some of the training rows, evenly spread over them, the same ones each time. Outputs are
    those of `predict`, without dropout. Among the callbacks it belongs behind those that give
    weights back (`EarlyStopping`), so that its last look is at what they have chosen.

    Parameters
    ----------
    rows : int, default 256
        How many training rows to look at; all, if there are fewer.
    looks : int, default 100
        How many copies to keep, at most, and about half of that at least: when there are more,
        every second one is dropped, and from then on half as many are made. At least 4.
    every : int, default 1
        Epochs from one look to the next, as long as there are not too many.

    Attributes
    ----------
    epochs : list of int
        Epochs that were done at each look: 0 is before the first.
    parameters : list of ndarray
        All parameters at each look, laid out as the model's.
    layers : list of str
        The layers in the order in which they are computed; "name:2" is the second use of one.
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

    def set_up(self) -> None:
        """Start without a record."""
        self._forget()

    def _forget(self) -> None:
        self.epochs, self.parameters = [], []
        self._gap, self._done = self.every, 0
        self._free: list[np.ndarray] = []
        self._activations: dict[int, dict[str, Histogram]] = {}  # by epochs done
        self._gradients: dict[int, dict[str, Histogram]] = {}

    def on_train_begin(self) -> None:
        """Choose the rows, and look at what there is before the first step."""
        self._forget()
        runtime = self.model.runtime
        self.layers = inspection.layer_names(runtime)
        self.parameter_names = list(runtime.parameters)
        self._sample = inspection.sample(self.training_data[0], self.rows)
        self._look()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Look, if it is time."""
        self._done = epoch + 1
        if self._done % self._gap == 0:
            self._make_room()
        if self._done % self._gap == 0:
            self._look()

    def on_train_end(self, logs: Logs) -> None:
        """Look at the end: other callbacks may have given other parameters back."""
        if not self._done:
            return
        if self.epochs[-1] == self._done:
            self.epochs.pop()
            self.parameters.pop()
            for known in (self._activations, self._gradients):
                known.pop(self._done, None)  # some callback may have asked already
        self._make_room()
        self._look()

    def _make_room(self) -> None:
        if len(self.epochs) >= self.looks:
            self.epochs, self.parameters = self.epochs[::2], self.parameters[::2]
            self._gap *= 2

    def _look(self) -> None:
        self.epochs.append(self._done)
        arena = self.model.runtime.arenas["parameters"]
        if not self._free:
            rows = min(max(1, BLOCK_BYTES // max(arena.nbytes, 1)), self.looks)
            self._free = list(aligned((rows, arena.size), arena.dtype.name))
        copy = self._free.pop()
        np.copyto(copy, arena)
        self.parameters.append(copy)

    @property
    def activations(self) -> list[dict[str, Histogram]]:
        """Histograms of what the layers output at each look, by layer; without dropout."""

        def look() -> dict[str, Histogram]:
            found = inspection.activations(self.model.runtime, self._sample)
            return {name: Histogram.of(array) for name, array in found.items()}

        return self._at_each(self._activations, look)

    @property
    def gradients(self) -> list[dict[str, Histogram]]:
        """Histograms of the decimal logarithms of the gradients' magnitudes, by "layer/parameter".

        Of the mean loss of the rows that are looked at.
        """

        def look() -> dict[str, Histogram]:
            runtime, target_types = self.model.runtime, self.training_data[1]
            found = inspection.gradients(runtime, self._sample, target_types)
            return {name: Histogram.of(array, is_logarithmic=True) for name, array in found.items()}

        return self._at_each(self._gradients, look)

    @property
    def means(self) -> np.ndarray:
        """Mean of what each layer outputs, over rows and units, shape (looks, layers)."""
        return self._table(self.activations, self.layers, "mean")

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of what each layer outputs, shape (looks, layers)."""
        return self._table(self.activations, self.layers, "deviation")

    @property
    def zeros(self) -> np.ndarray:
        """Share of zeros in what each layer outputs, shape (looks, layers)."""
        return self._table(self.activations, self.layers, "zeros")

    @property
    def gradient_norms(self) -> np.ndarray:
        """Euclidean norm of the gradient with respect to each parameter, (looks, parameters).

        Of the mean loss of the rows that are looked at.
        """
        return self._table(self.gradients, self.parameter_names, "norm")

    @staticmethod
    def _table(looks: list[dict[str, Histogram]], names: list[str], what: str) -> np.ndarray:
        numbers = [[getattr(look[name], what) for name in names] for look in looks]
        return np.array(numbers, np.float64).reshape(len(looks), len(names))

    def _at_each(
        self, known: dict[int, dict[str, Histogram]], look: Callable[[], dict[str, Histogram]]
    ) -> list[dict[str, Histogram]]:
        for done, parameters in zip(self.epochs, self.parameters, strict=True):
            if done not in known:
                with parameters_of(self.model.runtime, parameters):
                    known[done] = look()
        return [known[done] for done in self.epochs]


def used(recorder: Recorder) -> Recorder:
    """Return a recorder that has seen a training.

    Raises
    ------
    TypeError, ValueError
        It is not a recorder, or has seen none.
    """
    if not isinstance(recorder, Recorder):
        raise TypeError(f"recorder must be a Recorder, got {recorder!r}")
    if not recorder.epochs:
        raise ValueError("recorder has seen no training: give it to fit, callbacks=[recorder]")
    return recorder


@contextlib.contextmanager
def parameters_of(runtime: Runtime, parameters: np.ndarray) -> Iterator[None]:
    """Let a network have other parameters for a while; laid out as a Recorder's.

    What `Model.forward` has kept stays valid: the parameters come back.
    """
    arena = runtime.arenas["parameters"]
    if parameters.shape != arena.shape:
        raise ValueError("the recorder has watched another model")
    kept = arena.copy()
    try:
        arena[...] = parameters
        yield
    finally:
        arena[...] = kept
