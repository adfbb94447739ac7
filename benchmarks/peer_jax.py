"""JAX's sides of `peers.py`: a jitted step called in a loop, and a jitted scan over steps.

Parameters and optimizer state are donated, so that both are updated in place. The last call's
results are waited for.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from peer_sides import Side

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


def _optimizer(name, h):
    if name == "adam":
        return optax.adam(h["learning_rate"], h["beta_1"], h["beta_2"], h["epsilon"])
    if name == "rmsprop":
        return optax.rmsprop(h["learning_rate"], h["rho"], h["epsilon"], eps_in_sqrt=False)
    return optax.sgd(h["learning_rate"], h["momentum"])


def _mean_squared_error(outputs, y):
    return jnp.mean((outputs - y) ** 2)


def _crossentropy(outputs, y):
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()


class _Jax(Side):
    """What both configurations share: the network, the step, predictions."""

    def __init__(self, cell, arrays):
        jax.clear_caches()
        jax.config.update("jax_enable_x64", cell.dtype == "float64")
        super().__init__(cell, arrays)

    def array(self, values: np.ndarray):
        # The dtype of labels that JAX uses by default.
        return jnp.asarray(values.astype(np.int32) if values.dtype.kind == "i" else values)

    def build(self):
        activation = ACTIVATIONS[self.cell.activation]
        loss = _mean_squared_error if self.network.loss == "mse" else _crossentropy
        self.optimizer = optimizer = _optimizer(self.cell.optimizer, self.hyper_parameters)

        def forward(parameters, x):
            *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
            for kernel, bias in hidden:
                x = activation(x @ kernel + bias)
            return x @ last[0] + last[1]

        value_and_gradients = jax.value_and_grad(lambda p, x, y: loss(forward(p, x), y))

        def step(carry, batch):
            """The batches in the form that `lax.scan` takes."""
            parameters, state = carry
            value, gradients = value_and_gradients(parameters, *batch)
            updates, state = optimizer.update(gradients, state, parameters)
            return (optax.apply_updates(parameters, updates), state), value

        def gathering_step(carry, x, y, rows):
            batch = (values.at[rows].get(mode="promise_in_bounds") for values in (x, y))
            return step(carry, tuple(batch))

        self.forward = jax.jit(forward)
        self.compile(step, gathering_step)

    def set_weights(self):
        parameters = [jnp.array(weight) for weight in self.arrays.weights]
        self.carry = jax.block_until_ready((parameters, self.optimizer.init(parameters)))

    def order(self):
        """Return the rows of an epoch, one row for each batch."""
        order = self.generator.permutation(len(self.x)).astype(np.int32)
        return order.reshape(-1, self.network.batch)

    def predict(self, x):
        return jax.block_until_ready(self.forward(self.carry[0], x))


class Jit(_Jax):
    """One call per step."""

    def compile(self, step, gathering_step):
        self.step = jax.jit(step, donate_argnums=0)
        self.gathering_step = jax.jit(gathering_step, donate_argnums=0)

    def train(self, steps):
        step, carry = self.step, self.carry
        for batch in self.batches[:steps]:
            carry, _ = step(carry, batch)
        self.carry = jax.block_until_ready(carry)

    def epoch(self):
        step, carry, x, y = self.gathering_step, self.carry, self.x, self.y
        for rows in self.order():
            carry, _ = step(carry, x, y, rows)
        self.carry = jax.block_until_ready(carry)


class Scan(_Jax):
    """One call per block of steps."""

    def compile(self, step, gathering_step):
        self.scan = jax.jit(lambda carry, blocks: lax.scan(step, carry, blocks), donate_argnums=0)
        self.gathering_scan = jax.jit(
            lambda carry, x, y, order: lax.scan(
                lambda carry, rows: gathering_step(carry, x, y, rows), carry, order
            ),
            donate_argnums=0,
        )
        self.blocks = {}

    def train(self, steps):
        if steps not in self.blocks:
            parts = zip(*self.batches[:steps], strict=True)
            self.blocks[steps] = tuple(jnp.stack(part) for part in parts)
        self.carry, _ = jax.block_until_ready(self.scan(self.carry, self.blocks[steps]))

    def epoch(self):
        result = self.gathering_scan(self.carry, self.x, self.y, self.order())
        self.carry, _ = jax.block_until_ready(result)


class Constants(Jit):
    """Predictions with the weights compiled in."""

    def build(self):
        super().build()
        parameters = [jnp.array(weight) for weight in self.arrays.weights]
        self.constant = jax.jit(lambda x: self.forward(parameters, x))

    def predict(self, x):
        return jax.block_until_ready(self.constant(x))
