"""What fastnn computes, written in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def import_torch() -> Any:
    """PyTorch on one thread, in float64; if it is not installed, the test is skipped."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    return torch


def activations(torch: Any) -> dict[str, Callable]:
    """Each activation, with the default of its parameter."""
    functional = torch.nn.functional
    return {
        "linear": lambda x: x, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
        "gelu": functional.gelu, "silu": functional.silu, "softplus": functional.softplus,
        "elu": functional.elu, "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
        "softmax": lambda x: torch.softmax(x, 1),
        "log_softmax": lambda x: torch.log_softmax(x, 1),
        "selu": functional.selu, "mish": functional.mish,
        # Not hardsigmoid: its derivative in float64 uses the float32 value of 1/6 (PyTorch 2.13).
        "hard_sigmoid": lambda x: functional.relu6(x + 3) / 6,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "softsign": functional.softsign, "exponential": torch.exp,
    }  # fmt: skip


def parametric_activation(torch: Any, name: str, x: Any, alpha: Any) -> Any:
    """x + alpha (f(x) - x)."""
    return x + alpha * (activations(torch)[name](x) - x)


def periodic_embedding(torch: Any, x: Any, p: dict[str, Any]) -> Any:
    """Cosines of each column's waves times its kernel, shape (rows, columns * units)."""
    turns = p["frequency"] * x[:, :, None] + p["phase"]
    waves = torch.cos(2 * torch.pi * turns)
    return (torch.einsum("rcw,cwu->rcu", waves, p["kernel"]) + p["bias"]).flatten(1)


def piecewise_embedding(torch: Any, x: Any, p: dict[str, Any]) -> Any:
    """Shares of each column's bins times its kernel, shape (rows, columns * units)."""
    low, width = p["edges"][:, :-1], p["edges"].diff(dim=1)
    part = (x[:, :, None] - low) / width
    first, last = part[:, :, :1], part[:, :, -1:]
    if part.shape[2] == 1:
        share = part
    else:
        inner = part[:, :, 1:-1].clamp(0, 1)
        share = torch.cat([first.clamp(max=1), inner, last.clamp(min=0)], dim=2)
    return (torch.einsum("rcb,cbu->rcu", share, p["kernel"]) + p["bias"]).flatten(1)


def losses(torch: Any) -> dict[str, Callable]:
    """Each loss of predictions and targets, averaged as in fastnn."""
    functional = torch.nn.functional
    return {
        "mse": functional.mse_loss, "mae": functional.l1_loss, "huber": functional.huber_loss,
        "binary_crossentropy": functional.binary_cross_entropy_with_logits,
        "crossentropy": functional.cross_entropy,
        "poisson": lambda z, t: functional.poisson_nll_loss(z, t, log_input=True),
        "kl_divergence": lambda z, t: functional.kl_div(
            torch.log_softmax(z, 1), t, reduction="batchmean"
        ),
        "hinge": lambda p, t: torch.clamp(1 - t * p, min=0).mean(),
        "log_cosh": lambda p, t: torch.log(torch.cosh(p - t)).mean(),
        "quantile": lambda p, t: torch.maximum(0.5 * (t - p), -0.5 * (t - p)).mean(),
    }  # fmt: skip


class Lion:
    """Lion, which PyTorch lacks, according to algorithm 2 of Chen et al. 2023."""

    def __init__(self, parameters, lr, betas, weight_decay):
        self.parameters, self.rate, self.betas = parameters, lr, betas
        self.weight_decay = weight_decay
        self.momenta = [0 * parameter.detach() for parameter in parameters]

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None

    def step(self):
        beta_1, beta_2 = self.betas
        for i, parameter in enumerate(self.parameters):
            momentum, gradient = self.momenta[i], parameter.grad
            direction = (beta_1 * momentum + (1 - beta_1) * gradient).sign()
            change = direction + self.weight_decay * parameter.detach()
            parameter.data -= self.rate * change
            self.momenta[i] = beta_2 * momentum + (1 - beta_2) * gradient


def optimizer_like(torch: Any, optimizer: Any, parameters: list) -> Any:
    """The same optimizer for PyTorch's tensors."""
    config = optimizer.config()
    common = {"lr": config["learning_rate"], "weight_decay": config["weight_decay"]}
    if "epsilon" in config:
        common["eps"] = config["epsilon"]
    if "beta_1" in config:
        common["betas"] = config["beta_1"], config["beta_2"]
    make = {
        "sgd": lambda: torch.optim.SGD(
            parameters, momentum=config["momentum"], nesterov=config["nesterov"], **common
        ),
        "gradient_descent": lambda: torch.optim.SGD(parameters, **common),
        "adagrad": lambda: torch.optim.Adagrad(
            parameters, initial_accumulator_value=config["initial_accumulator_value"], **common
        ),
        "rmsprop": lambda: torch.optim.RMSprop(
            parameters, alpha=config["rho"], momentum=config["momentum"],
            centered=config["centered"], **common
        ),
        "adam": lambda: torch.optim.Adam(parameters, amsgrad=config["amsgrad"], **common),
        "adamw": lambda: torch.optim.AdamW(parameters, amsgrad=config["amsgrad"], **common),
        "nadam": lambda: torch.optim.NAdam(
            parameters, momentum_decay=config["momentum_decay"], **common
        ),
        "lion": lambda: Lion(parameters, **common),
    }  # fmt: skip
    return make[optimizer.name]()


def relative_error(got: Any, want: Any) -> float:
    """The largest error of an element, relative to its size or to a thousandth of the largest."""
    want = want.detach().numpy() if hasattr(want, "detach") else np.asarray(want)
    got = np.asarray(got)
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    size = np.maximum(np.abs(want), 1e-3 * np.abs(want).max())
    return float(np.max(np.abs(got - want) / np.where(size == 0, 1, size)))
