"""PyTorch's sides of `peers.py`: eager with fused optimizers, and one compiled graph per step.

Compiling a step written with `backward` and an optimizer object produces two or three graphs with
Python between them, 2 to 4 times slower on the small networks than a single graph of a step
written as a function of parameters and state, which is what `Compiled` does.
"""

import math

import numpy as np
import torch
from peer_sides import Side
from torch._inductor import config as inductor_config
from torch.nn import functional

LOSSES = {"mse": functional.mse_loss, "crossentropy": functional.cross_entropy}
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": functional.gelu}
MODULES = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}


class _Torch(Side):
    """What both configurations share: arrays, the loop over batches."""

    def __init__(self, cell, arrays):
        # Code compiled for the previous cell would count toward the limit of recompilations.
        torch.compiler.reset()
        super().__init__(cell, arrays)

    def array(self, values: np.ndarray):
        return torch.from_numpy(values)

    def train(self, steps):
        step = self.step
        for x, y in self.batches[:steps]:
            step(x, y)

    def epoch(self):
        order = torch.from_numpy(self.generator.permutation(len(self.x)))
        batch, step = self.network.batch, self.step
        for x, y in zip(self.x[order].split(batch), self.y[order].split(batch), strict=True):
            step(x, y)

    def predict(self, x):
        with torch.inference_mode():
            return self.forward(x)


class Eager(_Torch):
    """`torch.nn.Sequential`, `backward`, and the fused optimizer if there is one."""

    def build(self):
        layers = []
        dtype = getattr(torch, self.cell.dtype)
        for inputs, units in zip(self.network.sizes, self.network.sizes[1:], strict=False):
            layers += [torch.nn.Linear(inputs, units, dtype=dtype), MODULES[self.cell.activation]()]
        self.forward = torch.nn.Sequential(*layers[:-1])
        self.loss_function = LOSSES[self.network.loss]

    def set_weights(self):
        with torch.no_grad():
            for parameter, weight in zip(
                self.forward.parameters(), self.arrays.weights, strict=True
            ):
                parameter.copy_(torch.from_numpy(weight.T.copy()))
        self.optimizer = self._optimizer()

    def _optimizer(self):
        parameters, h = self.forward.parameters(), self.hyper_parameters
        rate = h["learning_rate"]
        if self.cell.optimizer == "adam":
            betas = h["beta_1"], h["beta_2"]
            return torch.optim.Adam(parameters, rate, betas, h["epsilon"], fused=True)
        if self.cell.optimizer == "momentum":
            return torch.optim.SGD(parameters, rate, h["momentum"], fused=True)
        return torch.optim.RMSprop(parameters, rate, h["rho"], h["epsilon"])

    def step(self, x, y):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss_function(self.forward(x), y).backward()
        self.optimizer.step()


def _adam(parameter, gradient, state, number, h):
    mean, variance = state
    mean.lerp_(gradient, 1 - h["beta_1"])
    variance.mul_(h["beta_2"]).addcmul_(gradient, gradient, value=1 - h["beta_2"])
    # 1 - beta ** number, without losing digits in float32
    rate = h["learning_rate"] / -torch.expm1(number * math.log(h["beta_1"]))
    correction = (-torch.expm1(number * math.log(h["beta_2"]))).sqrt()
    parameter.sub_(rate * mean / (variance.sqrt() / correction + h["epsilon"]))


def _rmsprop(parameter, gradient, state, number, h):
    (square,) = state
    square.mul_(h["rho"]).addcmul_(gradient, gradient, value=1 - h["rho"])
    parameter.sub_(h["learning_rate"] * gradient / (square.sqrt() + h["epsilon"]))


def _momentum(parameter, gradient, state, number, h):
    (velocity,) = state
    velocity.mul_(h["momentum"]).add_(gradient)
    parameter.sub_(velocity, alpha=h["learning_rate"])


# The update of one parameter, in place; and the number of state arrays that it keeps.
UPDATES = {"adam": (_adam, 2), "rmsprop": (_rmsprop, 1), "momentum": (_momentum, 1)}


class TorchScript(Eager):
    """Predictions by a traced network with frozen weights."""

    frozen = None

    def set_weights(self):
        if self.frozen is None:  # and never again, because there is no training
            super().set_weights()
            with torch.inference_mode():
                traced = torch.jit.trace(self.forward.eval(), self.x)
                self.frozen = self.forward = torch.jit.freeze(traced)


class Compiled(_Torch):
    """One graph for a whole step, and one for predictions."""

    def build(self):
        self.parameters = [torch.from_numpy(weight.copy()) for weight in self._weights()]
        update, slots = UPDATES[self.cell.optimizer]
        self.state = [
            [torch.zeros_like(parameter) for _ in range(slots)] for parameter in self.parameters
        ]
        # One-dimensional, because a float64 scalar would be treated as a constant and not updated.
        self.number = torch.zeros(1, dtype=self.parameters[0].dtype)
        activation, loss = ACTIVATIONS[self.cell.activation], LOSSES[self.network.loss]
        hyper_parameters = self.hyper_parameters

        def forward(parameters, x):
            *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
            for kernel, bias in hidden:
                x = activation(functional.linear(x, kernel, bias))
            return functional.linear(x, *last)

        gradients_of = torch.func.grad(lambda parameters, x, y: loss(forward(parameters, x), y))

        def step(parameters, state, number, x, y):
            gradients = gradients_of(parameters, x, y)
            number.add_(1)
            for parameter, gradient, slots in zip(parameters, gradients, state, strict=True):
                update(parameter, gradient, slots, number, hyper_parameters)

        self.compiled_step = self.compiled(step)
        self.forward = lambda x: compiled_forward(self.parameters, x)
        compiled_forward = self.compiled(forward)

    def compiled(self, function):
        return torch.compile(function, fullgraph=True, dynamic=False)

    def _weights(self):
        return [weight.T for weight in self.arrays.weights]

    def set_weights(self):
        for parameter, weight in zip(self.parameters, self._weights(), strict=True):
            parameter.copy_(torch.from_numpy(weight.copy()))
        for slots in self.state:
            for slot in slots:
                slot.zero_()
        self.number.zero_()

    def step(self, x, y):
        with torch.no_grad():
            self.compiled_step(self.parameters, self.state, self.number, x, y)


class Autotuned(Compiled):
    """The same, of kernels that were tried out, and called from C++."""

    def compiled(self, function):
        inductor_config.cpp_wrapper = True
        return torch.compile(function, fullgraph=True, dynamic=False, mode="max-autotune")
