"""From the parameters of scikit-learn's multilayer perceptrons to a model and its optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastnn import activations, layers, optimizers
from fastnn.activations import ActivationFunction
from fastnn.core import checks
from fastnn.model import Model, Sequential
from fastnn.native import kernels
from fastnn.optimizers import Optimizer

# scikit-learn's names for activations; all others are fastnn's.
OTHER_NAMES = {"identity": "linear", "logistic": "sigmoid", "exp": "exponential"}
ACTIVATIONS = frozenset({"identity", "logistic", *activations.NAMES} - {*activations.OF_ROWS})
_ONE_BELOW_1 = float(np.nextafter(np.float32(1), np.float32(0)))
# SciPy's default for the relative change of the loss, which scikit-learn's solver keeps.
_SCIPYS_CHANGE = 2.220446049250313e-09


class Weights(NamedTuple):
    """The parameters of all layers.

    Attributes
    ----------
    kernels : list of ndarray, shape (inputs, units)
    biases : list of ndarray, shape (units,)
    """

    kernels: list[np.ndarray]
    biases: list[np.ndarray]

    @classmethod
    def of(cls, model: Model) -> Weights:
        """Return views of the parameters of a model."""
        dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
        return cls([layer.kernel for layer in dense], [layer.bias for layer in dense])

    @property
    def units(self) -> list[int]:
        """Numbers of inputs, of units of each hidden layer, and of outputs."""
        return [*(len(kernel) for kernel in self.kernels), self.kernels[-1].shape[1]]

    def squares(self) -> float:
        """Return the sum of the squares of all kernels."""
        return sum(map(kernels.sum_of_squares, self.kernels))


def sizes(given: Any) -> list[int]:
    """Return the units of the hidden layers; scikit-learn's message for one that has none."""
    found = list(given) if hasattr(given, "__iter__") else [given]
    if np.any(np.array(found) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {found}.")
    return [checks.integer("hidden_layer_sizes", one) for one in found]


def one_for_each(name: str, given: Any, count: int) -> list[Any]:
    """Return one value for each hidden layer, from one for all or a list."""
    if isinstance(given, (str, ActivationFunction)) or not hasattr(given, "__iter__"):
        return [given] * count
    found = list(given)
    if len(found) != count:
        raise ValueError(
            f"{name} must be one value, or one for each of the {count} hidden layers, "
            f"got {len(found)}: {given!r}"
        )
    return found


def hidden_activations(given: Any, count: int) -> list[ActivationFunction]:
    """Return the activation of each hidden layer."""
    found = one_for_each("activation", given, count)
    return [activations.get(_renamed(one)) for one in found]


def _renamed(activation: Any) -> Any:
    return OTHER_NAMES.get(activation, activation) if isinstance(activation, str) else activation


def dropout_rates(given: Any, count: int) -> list[float]:
    """Return the rate of dropout behind each hidden layer."""
    found = one_for_each("dropout", given, count)
    return [checks.number("dropout", rate, least=0, below=1) for rate in found]


def initial_weights(
    units: Sequence[int], hidden: Sequence[ActivationFunction], generator: Any, dtype: Any
) -> Weights:
    """Return Glorot's initial weights (2010), the same numbers as scikit-learn's.

    Parameters
    ----------
    units : sequence of int
        Numbers of inputs, of units of each hidden layer, and of outputs.
    hidden : sequence of ActivationFunction
        The output layer is initialized like the last of them.
    generator : numpy.random.RandomState
    dtype : dtype

    Returns
    -------
    Weights
    """
    made = Weights([], [])
    names = [one.name for one in hidden] or ["linear"]
    for (inputs, outputs), name in zip(pairwise(units), [*names, names[-1]], strict=False):
        bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / (inputs + outputs))
        made.kernels.append(generator.uniform(-bound, bound, (inputs, outputs)).astype(dtype))
        made.biases.append(generator.uniform(-bound, bound, outputs).astype(dtype))
    return made


def network(
    weights: Weights,
    hidden: Sequence[ActivationFunction],
    dropout: Sequence[float],
    output: str,
    seed: int,
) -> Model:
    """Return a model with given weights.

    Parameters
    ----------
    weights : Weights
        Their dtype is the model's.
    hidden : sequence of ActivationFunction
    dropout : sequence of float
    output : str
        scikit-learn's name for the activation of the outputs.
    seed : int
        Of shuffling and dropout.

    Returns
    -------
    Sequential
    """
    inputs, *units = weights.units
    dtype = np.asarray(weights.kernels[0]).dtype
    model = Sequential(
        _chain(units, [*hidden, activations.get(_renamed(output))], dropout),
        input_shape=(inputs,),
        dtype="float32" if dtype == np.float32 else "float64",
        seed=seed,
    )
    put(weights, Weights.of(model))
    return model


def _chain(
    units: Sequence[int], functions: Sequence[ActivationFunction], dropout: Sequence[float]
) -> Iterator[Any]:
    # The weights are set in any case, so none need to be drawn.
    for size, function, rate in zip(units, functions, [*dropout, 0.0], strict=True):
        yield layers.Dense(size, function, kernel_initializer="zeros")
        if rate:
            yield layers.Dropout(rate)


def put(given: Weights, views: Weights) -> None:
    """Write weights into a model's.

    Raises
    ------
    ValueError
        A shape does not fit; nothing has changed.
    """
    for name, arrays, own in (("coefs_", given.kernels, views.kernels),
                              ("intercepts_", given.biases, views.biases)):  # fmt: skip
        expected = [view.shape for view in own]
        came = [np.shape(array) for array in arrays]
        if came != expected:
            raise ValueError(f"{name} must have the shapes {expected}, got {came}")
    for array, view in zip([*given.kernels, *given.biases], [*views.kernels, *views.biases],
                           strict=True):  # fmt: skip
        if array is not view:
            view[...] = array


def optimizer(told: Any, decay: float) -> Optimizer:
    """Return the optimizer that an estimator's parameters stand for.

    Parameters
    ----------
    told : estimator
        With the parameters of scikit-learn's MLPClassifier.
    decay : float
        The factor of half the sum of squares of all kernels in the loss.

    Returns
    -------
    Adam, SGD or LBFGS
    """
    shared: dict[str, Any] = {"weight_decay": decay, "weight_decay_exclusions": ["bias"]}
    if told.solver == "lbfgs":
        return optimizers.LBFGS(
            tolerance_gradient=told.tol,
            tolerance_change=_SCIPYS_CHANGE,
            max_evaluations=told.max_fun,
            **shared,
        )
    rate = told.learning_rate_init
    if told.solver == "adam":
        return optimizers.Adam(
            rate, beta_1=told.beta_1, beta_2=told.beta_2, epsilon=told.epsilon, **shared
        )
    return optimizers.SGD(
        rate,
        momentum=min(told.momentum, _ONE_BELOW_1),  # scikit-learn admits 1
        nesterov=bool(told.nesterovs_momentum and told.momentum),
        **shared,
    )


def configure(model: Model, wanted: Optimizer, loss: str, weight: float) -> None:
    """Compile a model, or give its optimizer new settings if it can keep its state.

    Parameters
    ----------
    model : Model
    wanted : Optimizer
    loss : str
    weight : float
        Of the loss.
    """
    kept = model.optimizer
    if kept is None or type(kept) is not type(wanted) or kept.slots != wanted.slots:
        model.compile(wanted, loss, loss_weights=[weight])
        return
    for name in wanted.fields():
        value = getattr(wanted, name)
        if name != "learning_rate" and getattr(kept, name) != value:
            setattr(kept, name, value)


def set_learning_rate(model: Model, rate: float) -> None:
    """Set the learning rate of a model's optimizer.

    Momentum is a sum of steps that have been taken, as in scikit-learn; fastnn's `SGD` keeps a sum
    of gradients, which the new rate would multiply, too.
    """
    kept = model.optimizer
    assert kept is not None
    before = float(kept.learning_rate)  # type: ignore[arg-type]
    if rate == before:
        return
    kept.learning_rate = rate
    if "velocity" in kept.slots:
        for velocity in model.network.runtime.slot_views("velocity").values():
            velocity *= before / rate
