"""A network of dense layers with relu between them, trained with Adam, in good NumPy.

Parameters, gradients and Adam's state are flat arrays, as fastnn's are, so that an update is one
pass; kernels and biases are views. A step allocates nothing that grows with the network.
"""

import numpy as np
import numpy_kernels

ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}


class NumpyNetwork:
    """The NumPy side of a network of `networks.py`.

    Parameters
    ----------
    network : Network
    weights : sequence of ndarray
        Kernel of shape (inputs, units) and bias of shape (units,), layer after layer.
    generator : numpy.random.Generator
        Gives the order of the rows.
    learning_rate : float
    """

    def __init__(self, network, weights, generator, learning_rate):
        self.network, self.generator = network, generator
        self.learning_rate, self.step_number = learning_rate, 0
        dtype, batch, sizes = weights[0].dtype, network.batch, network.sizes

        count = sum(weight.size for weight in weights)
        self.flat, gradients = np.empty(count, dtype), np.empty(count, dtype)
        self.weights = self._views(self.flat, weights)
        grads = self._views(gradients, weights)
        self.kernels, self.biases = self.weights[::2], self.weights[1::2]
        self.kernel_grads, self.bias_grads = grads[::2], grads[1::2]
        for view, weight in zip(self.weights, weights, strict=True):
            view[...] = weight
        state = np.zeros((2, count), dtype)
        self.update = numpy_kernels.Update("adam", self.flat, gradients, state, ADAM)

        # values[i] is what layer i reads; values[-1] is the output. deltas likewise.
        self.values = [np.empty((batch, width), dtype) for width in sizes]
        self.deltas = [np.empty((batch, width), dtype) for width in sizes]
        self.gates = [np.empty((batch, width), dtype) for width in sizes[1:-1]]
        self.losses, self.ones = np.empty(batch, dtype), np.ones(batch, dtype)
        self.row, self.numbers = np.empty((batch, 1), dtype), np.arange(batch)
        self.is_classifier = network.loss == "crossentropy"
        self.target = (
            np.empty(batch, np.int64) if self.is_classifier else np.empty((batch, sizes[-1]), dtype)
        )

    @staticmethod
    def _views(flat, weights):
        ends = np.cumsum([weight.size for weight in weights])
        parts = np.split(flat, ends[:-1])
        return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]

    def forward(self):
        """Fill values[1:] from values[0]."""
        last = len(self.kernels) - 1
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            out = self.values[i + 1]
            np.matmul(self.values[i], kernel, out=out)
            np.add(out, bias, out=out)
            if i < last:
                np.maximum(out, 0, out=out)

    def loss(self):
        """Return the batch's loss and fill deltas[-1]."""
        output, delta = self.values[-1], self.deltas[-1]
        if self.is_classifier:
            numpy_kernels.softmax_crossentropy(
                output, self.target, self.losses, delta, self.row, self.numbers
            )
        else:
            numpy_kernels.mse(output, self.target, self.losses, delta, None, 0)
        return np.add.reduce(self.losses) / len(self.losses)

    def backward(self):
        """Fill the gradients from deltas[-1]."""
        for i in reversed(range(len(self.kernels))):
            delta = self.deltas[i + 1]
            np.matmul(self.values[i].T, delta, out=self.kernel_grads[i])
            np.matmul(self.ones, delta, out=self.bias_grads[i])
            if i:
                np.matmul(delta, self.kernels[i].T, out=self.deltas[i])
                gate = self.gates[i - 1]
                numpy_kernels.relu_gradient(self.values[i], self.deltas[i], self.deltas[i], gate, 0)

    def step(self):
        """Make one step on the batch in values[0] and target; return its loss."""
        self.forward()
        loss = self.loss()
        self.backward()
        self.step_number += 1
        self.update(self.learning_rate, self.step_number)
        return loss

    def epoch(self, x, y):
        """Train one epoch in an order of its own; return the mean loss."""
        batch = self.network.batch
        order = self.generator.permutation(len(x))
        total = 0.0
        for first in range(0, len(x), batch):
            rows = order[first : first + batch]
            # mode="clip": with the default, "raise", take copies out to be able to undo it
            np.take(x, rows, axis=0, out=self.values[0], mode="clip")
            np.take(y, rows, axis=0, out=self.target, mode="clip")
            total += self.step()
        return total * batch / len(x)
