"""`Model.find_learning_rate`: Smith's range test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import checks
from fastnn.core.drawing import draw
from fastnn.network import Network
from fastnn.runtime import Purpose, Steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SMOOTHING = 0.9  # weight of the past in the running mean of the losses
EXPLODED = 4.0  # times the minimum of the smoothed loss so far
FIRST = 10  # steps after which the running mean can tell that the loss has exploded
WINDOW = 0.1  # fraction of the steps to which a line is fitted to measure the slope


@dataclass(repr=False, eq=False)
class LearningRateFinder:
    """Losses at rising learning rates; what `Model.find_learning_rate` returns.

    Attributes
    ----------
    rates : ndarray, shape (steps,)
        Learning rates of the steps that were taken.
    losses : ndarray, shape (steps,)
        Loss of the batch before each step.
    smoothed : ndarray, shape (steps,)
        Running mean of the losses, in which each loss weighs 0.9 times as much as the next.
    suggestion : float or None
        The rate at which the smoothed loss falls most steeply; None if it never falls.
    stop_reason : str
        Why the test ended.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None
    stop_reason: str

    def __repr__(self) -> str:
        suggested = (
            "no suggestion: the loss never falls"
            if self.suggestion is None
            else f"suggestion {self.suggestion:.2g}"
        )
        tried = f"{len(self.rates)} rates"
        if len(self.rates):
            tried += f" from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        return f"<LearningRateFinder of {tried}: {suggested}; {self.stop_reason}>"

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Plot the losses over the learning rates; needs the extra ``plot``.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; default: a new figure.

        Returns
        -------
        matplotlib Axes
            Save it with ``ax.figure.savefig("range.png")``.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        ValueError
            There is no step to draw.

        Examples
        --------
        >>> model.find_learning_rate(x, y).plot()  # doctest: +SKIP
        """
        return draw("learning_rate_finder", self, ax=ax)


def find_learning_rate(
    network: Network,
    x: object,
    y: object,
    *,
    batch_size: int | None,
    min_rate: float,
    max_rate: float,
    steps: int,
) -> LearningRateFinder:
    """Train a copy at rising rates; see `Model.find_learning_rate`."""
    if batch_size is not None:
        batch_size = checks.integer("batch_size", batch_size)
    min_rate = checks.number("min_rate", min_rate, is_positive=True)
    max_rate = checks.number("max_rate", max_rate, is_positive=True)
    steps = checks.integer("steps", steps, least=FIRST)
    if min_rate >= max_rate:
        raise ValueError(f"min_rate must be below max_rate, got {min_rate:g} and {max_rate:g}")
    samples = network.checked_samples(x, y)
    rows = samples.rows
    batch = network.optimizer.rows_of_a_step(batch_size, rows)
    generator = np.random.default_rng(0)
    epochs = -(-steps * batch // rows)
    order = np.concatenate([generator.permutation(rows) for _ in range(epochs)])
    todo = Steps(
        samples.sources, steps * batch, batch, order[: steps * batch],
        target_types=samples.target_types,
    )  # fmt: skip
    rates = np.geomspace(min_rate, max_rate, steps)
    losses, smoothed, reason = _run(network.clone(keeps_optimizer_state=True), todo, rates)
    made = len(smoothed)
    return LearningRateFinder(
        rates[:made], losses[:made], smoothed, _suggestion(rates[:made], smoothed, steps), reason
    )


def _run(network: Network, todo: Steps, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Run steps until the loss explodes; return losses, smoothed losses, and why it ended."""
    runtime = network.runtime
    bound = runtime.bound(Purpose.TRAIN, todo.batch, todo.target_types, todo.sparse)
    results = np.empty((len(rates), len(bound.plan.program.results)))
    run = bound.prepare(todo, results=results, learning_rates=rates)
    smoothed: list[float] = []
    mean = 0.0
    for step in range(len(rates)):
        if not run.make(step):
            return results[:, 0], np.array(smoothed), f"the loss is not finite at {rates[step]:.2g}"
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(results[step, 0])
        smoothed.append(mean / (1 - SMOOTHING ** (step + 1)))
        if step >= FIRST and smoothed[-1] > EXPLODED * min(smoothed):
            return (
                results[:, 0],
                np.array(smoothed),
                f"the smoothed loss exploded at {rates[step]:.2g}",
            )
    return results[:, 0], np.array(smoothed), f"all {len(rates)} steps made"


def _suggestion(rates: np.ndarray, smoothed: np.ndarray, steps: int) -> float | None:
    """Return the rate in the middle of the window in which the smoothed loss falls most steeply.

    The slope is that of a least-squares line over the logarithm of the rate, which noise from step
    to step hardly affects. Steps after the minimum of the loss are ignored.
    """
    width = max(5, round(WINDOW * steps)) | 1
    end = int(np.argmin(smoothed)) + 1 if len(smoothed) else 0
    if end < width:
        return None
    offsets = np.arange(width) - width // 2
    slopes = np.correlate(smoothed[:end], offsets, "valid")
    best = int(np.argmin(slopes))
    return float(rates[best + width // 2]) if slopes[best] < 0 else None
