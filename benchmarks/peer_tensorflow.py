"""TensorFlow's side of `peers.py`: a step, and predictions, compiled by XLA.

The step is a function of variables that it updates in place, with optimizers written out: those of
Keras keep Python between two steps.
"""

import tensorflow as tf
from peer_sides import Side

ACTIVATIONS = {
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
}


def _mean_squared_error(outputs, y):
    return tf.reduce_mean((outputs - y) ** 2)


def _crossentropy(outputs, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=outputs))


def _adam(parameter, gradient, slots, number, h):
    mean, variance = slots
    mean.assign(h["beta_1"] * mean + (1 - h["beta_1"]) * gradient)
    variance.assign(h["beta_2"] * variance + (1 - h["beta_2"]) * gradient**2)
    number = tf.cast(number, tf.float64)
    rate = tf.cast(h["learning_rate"] / (1 - h["beta_1"] ** number), parameter.dtype)
    correction = tf.cast(tf.sqrt(1 - h["beta_2"] ** number), parameter.dtype)
    parameter.assign_sub(rate * mean / (tf.sqrt(variance) / correction + h["epsilon"]))


def _rmsprop(parameter, gradient, slots, number, h):
    (square,) = slots
    square.assign(h["rho"] * square + (1 - h["rho"]) * gradient**2)
    parameter.assign_sub(h["learning_rate"] * gradient / (tf.sqrt(square) + h["epsilon"]))


def _momentum(parameter, gradient, slots, number, h):
    (velocity,) = slots
    velocity.assign(h["momentum"] * velocity + gradient)
    parameter.assign_sub(h["learning_rate"] * velocity)


# The update of one parameter, in place; and the number of slots that it keeps.
UPDATES = {"adam": (_adam, 2), "rmsprop": (_rmsprop, 1), "momentum": (_momentum, 1)}


class TensorFlow(Side):
    """One call per step."""

    def array(self, values):
        return tf.constant(values)

    def build(self):
        activation = ACTIVATIONS[self.cell.activation]
        loss = _mean_squared_error if self.network.loss == "mse" else _crossentropy
        update, slots = UPDATES[self.cell.optimizer]
        self.parameters = [tf.Variable(weight) for weight in self.arrays.weights]
        self.state = [
            [tf.Variable(tf.zeros_like(weight)) for _ in range(slots)]
            for weight in self.arrays.weights
        ]
        self.number = tf.Variable(0, dtype=tf.int64)
        hyper_parameters = self.hyper_parameters

        def forward(x):
            *hidden, last = zip(self.parameters[::2], self.parameters[1::2], strict=True)
            for kernel, bias in hidden:
                x = activation(x @ kernel + bias)
            return x @ last[0] + last[1]

        def step(x, y):
            with tf.GradientTape() as tape:
                value = loss(forward(x), y)
            gradients = tape.gradient(value, self.parameters)
            self.number.assign_add(1)
            for parameter, gradient, own in zip(
                self.parameters, gradients, self.state, strict=True
            ):
                update(parameter, gradient, own, self.number, hyper_parameters)

        self.step = tf.function(step, jit_compile=True)
        self.forward = tf.function(forward, jit_compile=True)

    def set_weights(self):
        for variable, weight in zip(self.parameters, self.arrays.weights, strict=True):
            variable.assign(weight)
        for slots in self.state:
            for slot in slots:
                slot.assign(tf.zeros_like(slot))
        self.number.assign(0)

    def train(self, steps):
        step = self.step
        for x, y in self.batches[:steps]:
            step(x, y)

    def epoch(self):
        order = self.generator.permutation(len(self.x))
        batch, step = self.network.batch, self.step
        x, y = tf.gather(self.x, order), tf.gather(self.y, order)
        for first in range(0, len(order), batch):
            step(x[first : first + batch], y[first : first + batch])

    def predict(self, x):
        return self.forward(x)
