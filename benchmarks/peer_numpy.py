"""NumPy's side of `peers.py`: `numpy_network.NumpyNetwork`."""

from dataclasses import replace

import numpy as np
from numpy_network import NumpyNetwork
from peer_sides import Side


class Numpy(Side):
    """Preallocated buffers: one network for the batches, one with its weights for predictions."""

    def build(self):
        self.trained = self._network(self.network.batch)
        self.readers = {}

    def _network(self, rows):
        hyper_parameters = {"nesterov": False, **self.hyper_parameters}
        return NumpyNetwork(
            replace(self.network, batch=rows),
            self.arrays.weights,
            self.generator,
            hyper_parameters.pop("learning_rate"),
            self.cell.activation,
            self.cell.optimizer,
            hyper_parameters,
        )

    def set_weights(self):
        self.trained.reset(self.arrays.weights)

    def train(self, steps):
        for x, y in self.batches[:steps]:
            self.trained.step_on(x, y)

    def epoch(self):
        self.trained.generator = self.generator
        self.trained.epoch(self.x, self.y)

    def predict(self, x) -> np.ndarray:
        reader = self.readers.get(len(x))
        if reader is None:
            reader = self.readers[len(x)] = self._network(len(x))
            reader.kernels, reader.biases = self.trained.kernels, self.trained.biases
        reader.values[0] = x
        reader.forward()
        return reader.values[-1]
