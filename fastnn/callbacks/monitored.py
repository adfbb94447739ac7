"""What callbacks that watch a result share: which result, and whether less or more is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastnn.callbacks.base import Logs
from fastnn.core.hints import did_you_mean
from fastnn.metrics import Function, is_number

if TYPE_CHECKING:
    from fastnn.program.objective import OutputObjective

MODES = ("auto", "min", "max")


def direction_of(
    result: str, objectives: Sequence[OutputObjective], output_names: Sequence[str]
) -> str | None:
    """Return whether less or more of a result is better, as its loss or metric says.

    Parameters
    ----------
    result : str
        A key of the history, such as "loss", "val_f1" or "digit_accuracy".
    objectives : sequence of OutputObjective
        What each output is trained for: `Objective.outputs`.
    output_names : sequence of str

    Returns
    -------
    {"min", "max"} or None
        None: it is no result of the objective, or a function of the user's.
    """
    directions: dict[str, str | None] = {"loss": "min"}
    is_several = len(output_names) > 1
    for name, objective in zip(output_names, objectives, strict=True):
        if is_several:
            directions[f"{name}_loss"] = "min"
        for metric in objective.metrics:
            label = f"{name}_{metric.label}" if is_several else metric.label
            direction = "max" if metric.more_is_better else "min"
            directions[label] = None if isinstance(metric, Function) else direction
    return directions.get(result, directions.get(result.removeprefix("val_")))


def a_result(name: str, value: object) -> str:
    """Return the name of a result, or raise."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be the name of a result, got {value!r}")
    return value


def a_mode(name: str, value: object) -> str:
    """Return what says which results are better, or raise."""
    if not isinstance(value, str) or value not in MODES:
        raise ValueError(f"{name} must be 'auto', 'min' or 'max', got {value!r}")
    return value


class Monitored:
    """What a callback has that watches one result; its fields are `monitor` and `mode`.

    Attributes
    ----------
    direction : {"min", "max"} or None
        What `mode` means for the training that was checked last; None before any.
    """

    monitor: str
    mode: str
    model: Any
    results: tuple[str, ...]
    _direction: str | None = None

    @property
    def direction(self) -> str | None:
        """Whether less or more is better in this training; None where that is not known yet."""
        return self._direction if self.mode == "auto" else self.mode

    def set_up(self) -> None:
        """Start afresh."""
        self._forget()

    def check(self) -> None:
        """Check that there is such a result, and that it is known when it is better.

        Raises
        ------
        ValueError
            There is no such result; or `mode` is "auto", and the result is neither a loss nor a
            metric that says whether more is better.
        """
        if self.results:
            self._check_monitor(self.results)
        model = self.model
        objectives = model.runtime.objective.outputs
        self._direction = direction_of(self.monitor, objectives, model.output_names)
        if self.direction is None:
            raise ValueError(
                f"{type(self).__name__} cannot tell whether less or more of monitor "
                f"{self.monitor!r} is better: give mode='min' or mode='max'"
            )

    def on_train_begin(self) -> None:
        """Forget earlier trainings."""
        self._forget()

    def _forget(self) -> None:
        """Start afresh."""

    @property
    def _sign(self) -> float:
        """What a result is multiplied with, so that less is better."""
        return -1.0 if self.direction == "max" else 1.0

    def _height(self, logs: Logs) -> float:
        """Return the result so that less is better."""
        self._check_monitor(logs)
        if not is_number(logs[self.monitor]):
            raise ValueError(
                f"monitor must be a result that is one number, but {self.monitor!r} gave a "
                f"{type(logs[self.monitor]).__name__}"
            )
        return self._sign * logs[self.monitor]

    def _check_monitor(self, results: Iterable[str]) -> None:
        if self.monitor in results:
            return
        if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in results):
            hint = "; give fit validation_data"
        else:
            hint = did_you_mean(self.monitor, results)
        raise ValueError(
            f"monitor {self.monitor!r} is not among the results {', '.join(results)}{hint}"
        )


class BestSoFar:
    """Tells improvements of a height (less is better) by at least `min_delta`."""

    def __init__(self, min_delta: float = 0.0, best: float = math.inf) -> None:
        self.min_delta, self.best = min_delta, best

    def improves(self, height: float) -> bool:
        """Whether this is the best so far; it is then the one to beat."""
        if not height < self.best - self.min_delta:
            return False
        self.best = height
        return True
