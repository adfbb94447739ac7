"""A network of dense layers with one activation between them, trained in well-written NumPy.

Parameters, gradients and the optimizer's state are flat arrays, as in fastnn, so that an
update is one pass; kernels and biases are views. A step allocates nothing whose size grows with
the network.
"""

import numpy as np
import numpy_kernels

from fastnn.program.ops import ACTIVATIONS, OPTIMIZERS

ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}


class NumpyNetwork:
    """The NumPy side of a network of `networks.py`.

    Parameters
    ----------
    network : Network
    weights : sequence of ndarray
        Kernel of shape (inputs, units) and bias of shape (units,), for one layer after another.
    generator : numpy.random.Generator
        Determines the order of the rows.
    learning_rate : float
    activation : str, default "relu"
        Applied after each hidden layer; it must not have a parameter.
    optimizer : str, default "adam"
        A row of `src_c/optimizers.h`.
    hyper_parameters : dict of str to float
        Those of that row.
    """

    def __init__(
        self,
        network,
        weights,
        generator,
        learning_rate,
        activation="relu",
        optimizer="adam",
        hyper_parameters=ADAM,
    ):
        self.network, self.generator = network, generator
        self.learning_rate, self.step_number = learning_rate, 0
        dtype, batch, sizes = weights[0].dtype, network.batch, network.sizes

        count = sum(weight.size for weight in weights)
        self.flat, gradients = np.empty(count, dtype), np.empty(count, dtype)
        self.weights = self._views(self.flat, weights)
        grads = self._views(gradients, weights)
        self.kernels, self.biases = self.weights[::2], self.weights[1::2]
        self.kernel_grads, self.bias_grads = grads[::2], grads[1::2]
        slots = int(OPTIMIZERS[optimizer][2])
        self.state = np.empty((slots, count), dtype)
        self.update = numpy_kernels.Update(
            optimizer, self.flat, gradients, self.state, hyper_parameters
        )
        self.reset(weights)

        def buffers():
            return [np.empty((batch, width), dtype) for width in sizes]

        # values[i] is the input of layer i; values[-1] is the output. deltas likewise.
        self.values, self.deltas, self.gates = buffers(), buffers(), buffers()
        # sums[i] is the input of the activation that computes values[i], products[i] that of its
        # gradient, which computes deltas[i]: in place, unless the gradient needs the sums.
        self.activation = numpy_kernels.activation(activation)
        self.activation_gradient = numpy_kernels.activation_gradient(activation)
        in_place = ACTIVATIONS[activation][0] == "output"
        self.sums = self.values if in_place else [*buffers()[:-1], self.values[-1]]
        self.products = self.deltas if in_place else buffers()
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

    def reset(self, weights):
        """Set the parameters; the optimizer starts afresh."""
        for view, weight in zip(self.weights, weights, strict=True):
            view[...] = weight
        self.state[...] = 0
        self.step_number = 0

    def forward(self):
        """Fill values[1:] from values[0]."""
        last = len(self.kernels) - 1
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            out = self.sums[i + 1]
            np.matmul(self.values[i], kernel, out=out)
            np.add(out, bias, out=out)
            if i < last:
                self.activation(out, self.values[i + 1], self.gates[i + 1], 0)

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
                np.matmul(delta, self.kernels[i].T, out=self.products[i])
                self.activation_gradient(
                    self.sums[i], self.products[i], self.deltas[i], self.gates[i], 0
                )

    def step(self):
        """Make one step on the batch in values[0] and target; return its loss."""
        self.forward()
        loss = self.loss()
        self.backward()
        self.step_number += 1
        self.update(self.learning_rate, self.step_number)
        return loss

    def step_on(self, x, y):
        """Make one step on a batch that is read in place; return its loss."""
        buffers = self.values[0], self.target
        self.values[0], self.target = x, y
        loss = self.step()
        self.values[0], self.target = buffers
        return loss

    def epoch(self, x, y):
        """Train one epoch in a new order; return the mean loss."""
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
