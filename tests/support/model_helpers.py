"""Helpers for tests of models; test_accuracy.py and test_bad_input.py give them wrong answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import fastnn as fnn
from fastnn.model import Model
from fastnn.program import reference
from fastnn.program.purpose import Purpose


def weights_as_bytes(model: Model) -> bytes:
    """Return all weights, for a bitwise comparison."""
    return b"".join(weight.tobytes() for weight in model.get_weights())


def is_finite(model: Model) -> bool:
    """Return whether every weight is finite."""
    return all(bool(np.isfinite(weight).all()) for weight in model.get_weights())


def assert_agree(got: list[np.ndarray], want: list[np.ndarray], tolerance: float) -> None:
    """Fail unless each array differs by at most `tolerance` times its largest magnitude."""
    assert [array.shape for array in got] == [array.shape for array in want]
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        error = np.abs(a.astype(np.float64) - b).max() / np.abs(b).max()
        assert error <= tolerance, f"array {i} differs by {error:.3g} of its size"


def reference_training(
    model: Model, batches: list[tuple[np.ndarray, np.ndarray]], kind: str = "real"
) -> tuple[list[np.ndarray], list[float]]:
    """Return weights and losses of the steps that `reference.run` makes from the model's state.

    The model is not changed. Each batch is a step of its training program.
    """
    runtime = model.network.runtime
    assert runtime.objective is not None
    rate = runtime.objective.optimizer.learning_rate
    program = runtime.bound(Purpose.TRAIN, len(batches[0][0]), kind).plan.program
    parameters = runtime.arenas["parameters"].copy()
    gradients = np.zeros_like(parameters)
    state = runtime.arenas["state"].copy()
    views = runtime.views_of(parameters)
    gradient_views = runtime.views_of(gradients)

    def watch(op: Any, value: Any, result: np.ndarray) -> None:
        if value.storage == "gradient":
            gradient_views[value.name][...] = result

    losses = []
    for number, batch in enumerate(batches):
        context = reference.Context(
            model.dtype, runtime.key, runtime.step + number + 1, rate, len(batch[0]), state
        )
        values = {**views, "parameters": parameters, "gradients": gradients}
        made = reference.run(program, batch, values, context, watch)
        parameters[...] = made[program.ops[-1].output]
        losses.append(next(float(r) for v, r in made.items() if v.name == "loss"))
    return [view.copy() for view in views.values()], losses


def state_of(model: Model) -> dict[str, Any]:
    """Everything that a rejected call must leave unchanged."""
    found: dict[str, Any] = {
        "built": model.built,
        "generator": model.network.generator.bit_generator.state,
        "history": id(model.history),
        "compiled": id(model.network.objective),
        "layers": [layer.name for layer in model.layers],
    }
    if model.built:
        found |= {name: a.tobytes() for name, a in model.network.runtime.arenas.items()}
        found |= {"step": model.network.runtime.step}
    return found


@contextmanager
def unchanged(model: Model) -> Iterator[None]:
    """Fail if weights, optimizer, random generator, history or layers change in between."""
    before = state_of(model)
    yield
    after = state_of(model)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert not changed, f"changed: {', '.join(sorted(changed))}"


def numeric_gradient_norms(model: Model, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Norms of the gradient of the loss with respect to each parameter, by central differences."""
    norms = []
    for view in model.parameters.values():
        squares = 0.0
        for place in np.ndindex(view.shape):
            kept, losses = view[place], []
            for step in (1e-6, -1e-6):
                view[place] = kept + step
                losses.append(model.evaluate(x, y)["loss"])
            view[place] = kept
            squares += ((losses[0] - losses[1]) / 2e-6) ** 2
        norms.append(float(np.sqrt(squares)))
    return norms


def two_inputs():
    """Return a compiled classifier of inputs of shape (4,) and (2, 3)."""
    a, b = fnn.Input((4,)), fnn.Input((2, 3))
    joined = fnn.Concatenate()([a, fnn.Flatten()(b)])
    model = fnn.Model([a, b], fnn.Dense(3)(joined), seed=0)
    model.compile(fnn.Adam(0.1, global_clipnorm=0.1), "crossentropy", ["accuracy"])
    return model


def never_judges(network, x, is_done, loss):
    """Fail: the step of a prepared program was not finite."""
    raise AssertionError((is_done, loss))
