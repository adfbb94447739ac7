"""A callback that looks into the layers."""

from __future__ import annotations

import numpy as np

from fastnn.analysis import inspection
from fastnn.callbacks.base import Callback, Logs
from fastnn.core import checks


class Monitor(Callback):
    """Keep for each epoch what the layers give, and how large the gradients are.

    Computed at the end of an epoch on some of the training rows, evenly spread over them, the
    same ones each time; inside epochs it costs nothing. Activations are those of `predict`,
    without dropout.

    Parameters
    ----------
    rows : int, default 256
        How many training rows to look at; all, if there are fewer.
    every : int, default 1
        Epochs from one look to the next.

    Attributes
    ----------
    layers : list of str
        The layers in the order in which they are computed; "name:2" is the second use of one.
    parameters : list of str
        "layer/parameter".
    epochs : ndarray of int, shape (looks,)
        Numbers of the epochs, from 0.
    means, deviations, zeros : ndarray, shape (looks, layers)
        Of what a layer gives, over rows and units: mean, standard deviation, share of zeros.
    gradient_norms : ndarray, shape (looks, parameters)
        Euclidean norm of the gradient of the mean loss by each parameter.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(16, "relu"), fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> monitor = fnn.Monitor()
    >>> history = model.fit(x / 16, y, epochs=3, verbose=0, callbacks=[monitor])
    >>> monitor.layers, monitor.zeros.shape
    (['dense', 'dense_1'], (3, 2))
    >>> monitor.parameters
    ['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias']
    """

    added_results = ()

    def __init__(self, rows: int = 256, *, every: int = 1) -> None:
        self.rows = checks.integer("rows", rows)
        self.every = checks.integer("every", every)
        self.layers: list[str] = []
        self.parameters: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self._epochs: list[int] = []
        self._activations: list[list[tuple[float, float, float]]] = []
        self._norms: list[list[float]] = []

    def on_train_begin(self) -> None:
        """Choose the rows, and forget earlier trainings."""
        self._forget()
        self.layers = inspection.layer_names(self.model)
        self.parameters = list(self.model.parameters)
        self._sample = inspection.sample(self.training_data[0], self.rows)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Look into the layers."""
        if (epoch + 1) % self.every:
            return
        self._epochs.append(epoch)
        self._activations.append(
            [
                (float(array.mean()), float(array.std()), float(np.mean(array == 0)))
                for array in inspection.activations(self.model, self._sample).values()
            ]
        )
        gradients = inspection.gradients(self.model, self._sample, self.training_data[1])
        self._norms.append([float(np.linalg.norm(array)) for array in gradients.values()])

    @property
    def epochs(self) -> np.ndarray:
        """Numbers of the epochs that were looked at."""
        return np.array(self._epochs, np.int64)

    @property
    def means(self) -> np.ndarray:
        """Means of what the layers give, shape (looks, layers)."""
        return self._of_layers(0)

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviations of what the layers give, shape (looks, layers)."""
        return self._of_layers(1)

    @property
    def zeros(self) -> np.ndarray:
        """Shares of zeros in what the layers give, shape (looks, layers)."""
        return self._of_layers(2)

    @property
    def gradient_norms(self) -> np.ndarray:
        """Norms of the gradients, shape (looks, parameters)."""
        return np.array(self._norms).reshape(-1, len(self.parameters))

    def _of_layers(self, which: int) -> np.ndarray:
        return np.array(self._activations).reshape(-1, len(self.layers), 3)[:, :, which]
