"""`History`: what `fit` returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastnn.core import hints
from fastnn.core.drawing import draw
from fastnn.metrics import is_number, scalars


@dataclass(repr=False)
class History:
    """What `fit` returns.

    Attributes
    ----------
    history : dict of str to list of float
        For each result, one number per epoch: "loss" and the metrics, both also for the
        validation data with the prefix "val_", and the results that callbacks add. NaN for an
        epoch that does not have the result, because it was not validated, for example.
    epoch : list of int
        Numbers of the epochs, from 0, or from the `initial_epoch` of `fit`.
    stop_reason : str
        Why `fit` ended.
    samples_per_second : float
        Training samples per second, excluding validation.
    learning_rates : list of float
        Rate of the last step of each epoch; empty for an optimizer without a learning rate.
    loss_names : list of str
        The results that are losses: "loss" and, for several outputs, the loss of each.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> model.fit(x, y, epochs=2, verbose=0).stop_reason
    'completed 2 epochs'
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    epoch: list[int] = field(default_factory=list)
    stop_reason: str = ""
    samples_per_second: float = 0.0
    learning_rates: list[float] = field(default_factory=list)
    loss_names: list[str] = field(default_factory=lambda: ["loss"])

    def plot(self, *, ax: Any = None) -> Any:
        """Plot loss, metrics and learning rate over the epochs; needs the extra ``plot``.

        See `fastnn.plots.history`.
        """
        return draw("history", self, ax=ax)

    if not TYPE_CHECKING:  # otherwise type checkers would accept any name

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise hints.missing_attribute(type(self), name, ["plot", *vars(self)])

    def __repr__(self) -> str:
        ends = scalars({name: _last(values) for name, values in self.history.items()})
        last = ", ".join(f"{name} {value:.4g}" for name, value in ends.items())
        return f"<History of {len(self.epoch)} epochs: {last}; {self.stop_reason}>"

    def add(self, epoch: int, logs: dict[str, float]) -> None:
        """Add the results of an epoch, or those that callbacks have added or changed."""
        if self.epoch[-1:] != [epoch]:
            self.epoch.append(epoch)
        place = len(self.epoch) - 1
        for name, value in logs.items():
            values = self.history.setdefault(name, [])
            if len(values) == place:  # as usual
                values.append(value)
            else:
                values += [math.nan] * (place - len(values))  # some epochs may lack a result
                values[place:] = [value]
        if len(self.history) > len(logs):
            for values in self.history.values():
                if len(values) == place:
                    values.append(math.nan)


def _last(values: list) -> Any:
    """Return the last result that is not NaN, if any."""
    return next((v for v in reversed(values) if not (is_number(v) and math.isnan(v))), values[-1])
