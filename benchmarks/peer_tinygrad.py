"""tinygrad's side of `peers.py`: a step, and predictions, captured once and replayed."""

import itertools

import numpy as np
from peer_sides import Side
from tinygrad import Context, Tensor, TinyJit, dtypes

ACTIVATIONS = {
    "relu": Tensor.relu,
    "tanh": Tensor.tanh,
    "gelu": lambda x: 0.5 * x * (1 + (x * 0.5**0.5).erf()),
}


def _adam(parameter, gradient, slots, powers, h):
    mean, variance = slots
    mean.assign(h["beta_1"] * mean + (1 - h["beta_1"]) * gradient)
    variance.assign(h["beta_2"] * variance + (1 - h["beta_2"]) * gradient.square())
    rate = h["learning_rate"] / (1 - powers[0])
    correction = (1 - powers[1]).sqrt()
    parameter.assign(parameter - rate * mean / (variance.sqrt() / correction + h["epsilon"]))


def _rmsprop(parameter, gradient, slots, powers, h):
    (square,) = slots
    square.assign(h["rho"] * square + (1 - h["rho"]) * gradient.square())
    parameter.assign(parameter - h["learning_rate"] * gradient / (square.sqrt() + h["epsilon"]))


def _momentum(parameter, gradient, slots, powers, h):
    (velocity,) = slots
    velocity.assign(h["momentum"] * velocity + gradient)
    parameter.assign(parameter - h["learning_rate"] * velocity)


# The update of one parameter; and the number of slots that it keeps.
UPDATES = {"adam": (_adam, 2), "rmsprop": (_rmsprop, 1), "momentum": (_momentum, 1)}


class Tinygrad(Side):
    """One call per step."""

    def array(self, values):
        values = values.astype(np.int32) if values.dtype.kind == "i" else values
        return Tensor(values, device="CPU").realize()

    def build(self):
        activation = ACTIVATIONS[self.cell.activation]
        update, slots = UPDATES[self.cell.optimizer]
        self.parameters = [self.array(weight) for weight in self.arrays.weights]
        for parameter in self.parameters:
            parameter.requires_grad = True
        self.state = [
            [self.array(np.zeros_like(weight)) for _ in range(slots)]
            for weight in self.arrays.weights
        ]
        # beta_1 and beta_2 to the power of the step's number.
        self.powers = self.array(np.ones(2))
        h = self.hyper_parameters
        betas = self.array(np.array([h.get("beta_1", 1.0), h.get("beta_2", 1.0)]))
        real = dtypes.float64 if self.cell.dtype == "float64" else dtypes.float32

        def forward(x):
            *hidden, last = zip(self.parameters[::2], self.parameters[1::2], strict=True)
            for kernel, bias in hidden:
                x = activation(x @ kernel + bias)
            return x @ last[0] + last[1]

        def loss(outputs, y):
            if self.network.loss == "mse":
                return (outputs - y).square().mean()
            return outputs.sparse_categorical_crossentropy(y)

        def step(x, y):
            for parameter in self.parameters:
                parameter.grad = None
            loss(forward(x), y).backward()
            self.powers.assign(self.powers * betas)
            powers = self.powers.cast(real)
            for parameter, slots in zip(self.parameters, self.state, strict=True):
                update(parameter, parameter.grad, slots, powers, h)
            slots = itertools.chain.from_iterable(self.state)
            Tensor.realize(*self.parameters, *slots, self.powers)

        self.step = TinyJit(step)
        self.forward = TinyJit(lambda x: forward(x).realize())

    def set_weights(self):
        for parameter, weight in zip(self.parameters, self.arrays.weights, strict=True):
            parameter.assign(self.array(weight)).realize()
        for slots, weight in zip(self.state, self.arrays.weights, strict=True):
            for slot in slots:
                slot.assign(self.array(np.zeros_like(weight))).realize()
        self.powers.assign(self.array(np.ones(2))).realize()

    def train(self, steps):
        with Context(TRAINING=1):
            for x, y in self.batches[:steps]:
                self.step(x, y)

    def epoch(self):
        order = self.generator.permutation(len(self.x))
        batch = self.network.batch
        x, y = self.arrays.x[order], self.arrays.y[order]
        with Context(TRAINING=1):
            for first in range(0, len(order), batch):
                self.step(
                    self.array(x[first : first + batch]), self.array(y[first : first + batch])
                )

    def predict(self, x):
        return self.forward(x).numpy()
