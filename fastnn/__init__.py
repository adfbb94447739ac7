"""fastnn: train and run small and mid-size neural networks on CPUs."""

try:
    import fastnn.native.engine as _engine
except ModuleNotFoundError as error:
    if error.name != "fastnn.native.engine":
        raise
    raise ImportError(
        "fastnn is not compiled here: this is its source tree. Run `pip install .` in it and "
        "start Python elsewhere, or `pip install --no-build-isolation -e .` to work on it."
    ) from None

from fastnn import activations, datasets, initializers, losses, metrics, optimizers
from fastnn.callbacks import Callback, EarlyStopping
from fastnn.config import get_num_threads, set_num_threads, show_config
from fastnn.gradients import GradientError, gradcheck
from fastnn.layers import Activation, Add, Concatenate, Dense, Dropout, Flatten, Input, Layer
from fastnn.losses import (
    BinaryCrossentropy,
    Crossentropy,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
)
from fastnn.model import Model, load
from fastnn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from fastnn.sequential import Sequential
from fastnn.training import History, NonFiniteLossError

__version__: str = _engine.VERSION

__all__ = [
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "BinaryCrossentropy",
    "Callback",
    "Concatenate",
    "Crossentropy",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Flatten",
    "GradientError",
    "Hinge",
    "History",
    "Huber",
    "Input",
    "KLDivergence",
    "Layer",
    "Lion",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Model",
    "NAdam",
    "NonFiniteLossError",
    "Poisson",
    "Quantile",
    "RMSprop",
    "Sequential",
    "__version__",
    "activations",
    "datasets",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "set_num_threads",
    "show_config",
]
