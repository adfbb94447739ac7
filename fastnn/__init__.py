"""fastnn: train and run small and mid-size neural networks on CPUs."""

from typing import TYPE_CHECKING

try:
    import fastnn.native.engine as _engine
except ModuleNotFoundError as error:
    if error.name != "fastnn.native.engine":
        raise
    raise ImportError(
        "fastnn is not compiled here: this is its source tree. Run `pip install .` in it and "
        "start Python elsewhere, or `pip install --no-build-isolation -e .` to work on it."
    ) from None

from fastnn import (
    activations,
    callbacks,
    datasets,
    initializers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
from fastnn.analysis.gradcheck import GradientError, gradcheck
from fastnn.callbacks import *  # noqa: F403 - every callback, as that package lists them
from fastnn.core.formats import FormatError
from fastnn.core.threads import get_num_threads, set_num_threads, show_config
from fastnn.layers import (
    Activation,
    Add,
    Average,
    BatchNormalization,
    CategoryEncoding,
    Columns,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    IntegerLookup,
    Layer,
    LayerNormalization,
    MemberDense,
    MemberScale,
    Multiply,
    Normalization,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    PReLU,
    Rescaling,
    Reshape,
    Residual,
    Scale,
    StringLookup,
)
from fastnn.loading import load
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
from fastnn.model import Model, Sequential, clone_model
from fastnn.optimizers import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    GradientDescent,
    Lion,
    NAdam,
    RMSprop,
)
from fastnn.runtime.nonfinite import NonFiniteLossError
from fastnn.training.loop import History
from fastnn.training.soft_update import soft_update

if TYPE_CHECKING:
    from fastnn import descent, estimators, plots, tabular
    from fastnn.estimators import MLPClassifier as MLPClassifier
    from fastnn.estimators import MLPRegressor as MLPRegressor
    from fastnn.estimators import TabularClassifier as TabularClassifier
    from fastnn.estimators import TabularRegressor as TabularRegressor

__version__: str = _engine.VERSION


def __getattr__(name: str) -> object:
    """Import on first use what training does not need: pictures, descents, tables, estimators."""
    if name in ("descent", "estimators", "plots", "tabular"):
        import importlib

        return importlib.import_module(f"fastnn.{name}")
    if name in _ESTIMATORS:
        from fastnn import estimators

        return getattr(estimators, name)
    from fastnn.core import hints

    if name.startswith("_"):
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    raise hints.missing_name("fastnn", name, [*__all__, *_ESTIMATORS])


def __dir__() -> list[str]:
    return sorted([*__all__, *_ESTIMATORS])


# Not in __all__: `from fastnn import *` must not import scikit-learn, nor need it.
_ESTIMATORS = ("MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor")


__all__ = [
    "LBFGS",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "Average",
    "BatchNormalization",
    "BinaryCrossentropy",
    "CategoryEncoding",
    "Columns",
    "Concatenate",
    "Crossentropy",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "FormatError",
    "GradientDescent",
    "GradientError",
    "Hinge",
    "History",
    "Huber",
    "Input",
    "IntegerLookup",
    "KLDivergence",
    "Layer",
    "LayerNormalization",
    "Lion",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MemberDense",
    "MemberScale",
    "Model",
    "Multiply",
    "NAdam",
    "NonFiniteLossError",
    "Normalization",
    "PReLU",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "Poisson",
    "Quantile",
    "RMSprop",
    "Rescaling",
    "Reshape",
    "Residual",
    "Scale",
    "Sequential",
    "StringLookup",
    "__version__",
    "activations",
    "callbacks",
    "clone_model",
    "datasets",
    "descent",
    "estimators",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "regularizers",
    "schedules",
    "set_num_threads",
    "show_config",
    "soft_update",
    "tabular",
]
__all__ += callbacks.__all__
