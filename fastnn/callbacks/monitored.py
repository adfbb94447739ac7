"""Shared by callbacks that monitor a result: which result, and whether less or more is better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from fastnn.callbacks.base import Logs
from fastnn.core import notices
from fastnn.core.hints import did_you_mean
from fastnn.metrics import direction_of, is_number, metric_of
from fastnn.network import network_of

MODES = ("auto", "min", "max")


def a_result(name: str, value: object) -> str:
    """Return the name of a result, or raise."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be the name of a result, got {value!r}")
    return value


def a_mode(name: str, value: object) -> str:
    """Return the mode, which says which results are better, or raise."""
    if not isinstance(value, str) or value not in MODES:
        raise ValueError(f"{name} must be 'auto', 'min' or 'max', got {value!r}")
    return value


class Monitored:
    """Mixin for callbacks that monitor one result; its fields are `monitor` and `mode`.

    Attributes
    ----------
    direction : {"min", "max"} or None
        What `mode` means for the training that was checked last; None before the first check.
    """

    monitor: str
    mode: str
    model: Any
    results: tuple[str, ...]
    validation_results: tuple[str, ...]
    _direction: str | None = None
    _unusable: str = ""  # "NaN" or "missing", if the last result could not be compared
    _has_warned: bool = False

    @property
    def direction(self) -> str | None:
        """Whether less or more is better in this training; None if that is not known yet."""
        return self._direction if self.mode == "auto" else self.mode

    def _set_up(self) -> None:
        """Reset the state."""
        self._forget()

    def check(self) -> None:
        """Check that the result exists, and that its direction of improvement is known.

        Raises
        ------
        ValueError
            There is no such result; or `mode` is "auto", and the result is neither a loss nor a
            metric that says whether more is better.
        """
        if self.results:
            self._check_monitor(self.results)
        self._find_direction()

    def _find_direction(self) -> None:
        """Ask the model's losses and metrics whether less or more of the result is better."""
        network = network_of(self.model)
        objectives = network.require_objective().outputs
        metric = metric_of(self.monitor, objectives, network.output_names)
        if metric is not None and not metric.is_scalar:
            raise ValueError(
                f"monitor must be a result that is one number, got {self.monitor!r}, which "
                f"{metric!r} makes"
            )
        self._direction = direction_of(self.monitor, objectives, network.output_names)
        if self.direction is None:
            raise ValueError(
                f"{type(self).__name__} cannot tell whether less or more of monitor "
                f"{self.monitor!r} is better: give mode='min' or mode='max'"
            )

    def on_train_begin(self) -> None:
        """Discard the state of earlier runs."""
        self._find_direction()  # a subclass may have another check
        self._unusable, self._has_warned = "", False
        self._forget()

    def _forget(self) -> None:
        """Reset the state."""

    @property
    def _sign(self) -> float:
        """Return the factor of a result that makes less better."""
        # Where another callback or a loop of the user's calls this one, nothing has been checked.
        if self.direction is None and self.model is not None:
            self._find_direction()
        return -1.0 if self.direction == "max" else 1.0

    def _height(self, epoch: int, logs: Logs) -> float | None:
        """Return the result, with its sign changed if necessary so that less is better.

        None if there is nothing to compare: the epoch was not validated, or the result is missing
        or NaN, of which a training is warned once.
        """
        result, self._unusable = logs.get(self.monitor), ""
        if self.monitor not in logs:
            if self.monitor in self.validation_results:
                return None  # it was not due
            self._unusable, what = "missing", self._not_among(logs)
        elif not is_number(result):
            raise ValueError(
                f"monitor must be a result that is one number, but {self.monitor!r} gave a "
                f"{type(result).__name__}"
            )
        elif math.isnan(cast(float, result)):
            self._unusable = what = "NaN"
        else:
            return self._sign * cast(float, result)
        if not self._has_warned:
            self._has_warned = True
            notices.warn(
                f"{type(self).__name__}: in epoch {epoch + 1} monitor {self.monitor!r} is {what}"
            )
        return None

    def _check_monitor(self, results: Iterable[str]) -> None:
        if self.monitor in results:
            return
        raise ValueError(f"monitor {self.monitor!r} is {self._not_among(results)}")

    def _not_among(self, results: Iterable[str]) -> str:
        """Return what is to be said of a result that is missing."""
        if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in results):
            hint = "; give fit validation_data"
        else:
            hint = did_you_mean(self.monitor, results)
        return f"not among the results {', '.join(results)}{hint}"


@dataclass
class BestSoFar:
    """Detects improvements of a height (less is better) by at least `min_delta`."""

    min_delta: float = 0.0
    best: float = math.inf

    def improves(self, height: float) -> bool:
        """Whether this is the best height so far, which later ones must then beat."""
        if not height < self.best - self.min_delta:
            return False
        self.best = height
        return True
