"""What `minimize` returns: the points of a walk down a function, with values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.core.drawing import draw
from fastnn.optimizers import LBFGS, Optimizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d.axes3d import Axes3D

Point = Any  # a float where x0 is a number, else an array


@dataclass(repr=False, eq=False)
class Descent:
    """A walk down a function: what `minimize` returns.

    Attributes
    ----------
    function : callable
    optimizer : Optimizer
        The optimizer as it was set at the start.
    path : ndarray of float64, shape (points,), or (points, variables) where x0 is an array
        The points, the start first.
    values : ndarray of float64, shape (points,)
        Values of the function there.
    gradient_norms : ndarray of float64, shape (points,)
        Euclidean norms of the gradient there.
    learning_rates : ndarray of float64, shape (points - 1,)
        Learning rate of each step; NaN for `LBFGS`, which has none.
    stop_reason : str
    x : float or ndarray
        The last point; with an optimizer that keeps a moving average, that average, unless the
        walk has ended because something was not finite.

    Examples
    --------
    >>> import fastnn as fnn
    >>> descent = fnn.descent.minimize(fnn.descent.functions.square, 3.0, steps=2,
    ...                                optimizer=fnn.SGD(0.1))
    >>> descent.path
    array([3.  , 2.4 , 1.92])
    >>> descent.stop_reason
    'completed 2 steps'
    """

    function: Callable[[Point], float]
    optimizer: Optimizer | LBFGS
    path: np.ndarray
    values: np.ndarray
    gradient_norms: np.ndarray
    learning_rates: np.ndarray
    stop_reason: str
    x: Point

    def __repr__(self) -> str:
        shown = np.array2string(np.asarray(self.x), precision=6, threshold=6)
        return (
            f"<Descent of {self.steps} steps with {self.optimizer!r} to {shown}, "
            f"where it is {self.values[-1]:.6g}; {self.stop_reason}>"
        )

    @property
    def steps(self) -> int:
        """Number of steps made."""
        return len(self.values) - 1

    @property
    def variables(self) -> int:
        """Number of variables."""
        return 1 if self.path.ndim == 1 else self.path.shape[1]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the walk: on the curve of one variable, on the contours of two.

        With more variables, the value over the steps is drawn. See `fastnn.plots.descent`, which
        draws several walks in one picture.
        """
        return draw("descent", self, ax=ax)

    def plot_surface(self, *, ax: Axes3D | None = None) -> Axes3D:
        """Draw the walk on the surface of a function of two variables, in three dimensions."""
        return draw("surface", self, ax=ax)

    def plot_convergence(self, *, ax: Any = None) -> Any:
        """Draw value and gradient norm over the steps, one axes for each."""
        return draw("convergence", self, ax=ax)

    def animate(self, file: str | Path, *, fps: float = 10, frames: int = 100) -> Path:
        """Save the walk as a moving picture; see `fastnn.plots.animate_descent`.

        Parameters
        ----------
        file : str or Path
            ``walk.gif``, or ``walk.mp4`` where ffmpeg is installed.
        fps : float, default 10
            Frames a second; of a gif at most 50.
        frames : int, default 100
            The most frames to draw; steps are left out evenly.
        """
        return draw("animate_descent", self, file, fps=fps, frames=frames)
