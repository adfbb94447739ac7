"""`fit` with L-BFGS: SciPy moves the parameters, a program computes loss and gradient of all rows.

SciPy sees one float64 vector of all trained parameters. The arena holds the last iterate, and
another point only while that is evaluated.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from fastnn.core import extras
from fastnn.data import Steps
from fastnn.data.base import DataAdapter
from fastnn.network import Network
from fastnn.optimizers import LBFGS
from fastnn.program.lower import Program
from fastnn.runtime import ROWS, Bound, Purpose, Runtime
from fastnn.runtime.gradients import sum_gradients
from fastnn.runtime.nonfinite import refusal
from fastnn.training.evaluation import evaluate
from fastnn.training.trainers import Loop, Trainer

# Parameters, loss with weight decay, gradient, results of the program.
Look = tuple[np.ndarray, float, np.ndarray, np.ndarray]

# Training ops whose results differ between evaluations of the same rows, or depend on which rows
# are evaluated together, with the layer and what to do instead.
NOT_A_FUNCTION = {
    "dropout": ("Dropout", "leave it out; weight_decay or a regularizer does its work"),
    "batch_normalization": (
        "BatchNormalization",
        "freeze it (trainable = False), or take LayerNormalization",
    ),
}


class _Ended(Exception):
    """Training ends before SciPy would; the network says why."""


def minimizer() -> Any:
    """Return `scipy.optimize.minimize`.

    Raises
    ------
    ImportError
        SciPy is not installed.
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise extras.missing("LBFGS needs SciPy", "scipy") from None
    return minimize


def options(optimizer: LBFGS, iterations: int) -> dict[str, float]:
    """Return the options for SciPy."""
    return {
        "maxiter": iterations,
        "maxfun": np.inf if optimizer.max_evaluations is None else optimizer.max_evaluations,
        "maxcor": optimizer.memory,
        "gtol": optimizer.tolerance_gradient,
        "ftol": optimizer.tolerance_change,
    }


def turned_back(
    start: np.ndarray, value: float, gradient: np.ndarray, point: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return a value and gradient that lead a line search back from a point without finite ones.

    SciPy would treat infinity as a number. It gets a parabola along the line instead, with the
    value and slope of the line's start, and its minimum at a tenth of the distance.
    """
    way = point - start
    slope = float(gradient @ way)
    return value - 4 * slope, way * (-9 * slope / float(way @ way))


def check(runtime: Runtime, program: Program) -> None:
    """Raise ValueError if this method cannot find a minimum of the loss."""
    for op in program.ops:
        if op.name in NOT_A_FUNCTION:
            layer_type, instead = NOT_A_FUNCTION[op.name]
            raise ValueError(
                f"LBFGS needs a loss that only the parameters change, and layer {op.layer!r} is a "
                f"{layer_type}: {instead}"
            )
    if not any(runtime.graph.rate_factors().values()):
        raise ValueError("LBFGS has nothing to train: all layers are frozen")


class IterationTrainer(Trainer):
    """Runs SciPy's L-BFGS, one iteration per epoch; each may evaluate all rows several times."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._minimize = minimizer()  # raises early if SciPy is missing
        assert isinstance(self.optimizer, LBFGS)  # the optimizer that chose this trainer
        self._settings = self.optimizer

    def prepare(self, adapter: DataAdapter) -> list[str]:
        """Take the data and return the names of the results of an epoch."""
        self._adapter, steps = adapter, adapter.first()
        self._steps = Steps(
            steps.sources, steps.rows, min(ROWS, steps.rows), target_types=steps.target_types
        )
        runtime = self.network.runtime
        check(runtime, self._bound().plan.program)
        self._names = [name for name, factor in runtime.graph.rate_factors().items() if factor]
        sizes = [runtime.parameters[name].size for name in self._names]
        self._ends = np.cumsum(sizes)[:-1]
        decayed = self.optimizer.decayed(runtime.parameters)
        self._decayed = np.repeat([float(decayed[name]) for name in self._names], sizes)
        self._total = np.empty(runtime.count)
        self._views = runtime.views_of(self._total)
        self._looked_at: Look | None = None
        self._iterate: Look | None = None
        self._epoch, self._is_open = 0, False
        self._start: np.ndarray | None = None
        self._again = 0  # iterations of a resumed training that are still to be repeated
        return [one.name for one in self._bound(collects=True).plan.program.reported]

    def data(self) -> dict[str, Any]:
        """Return the number of rows."""
        return {"rows": self._steps.rows, "types of targets": self._steps.target_types}

    def get_state(self, *, is_amid: bool) -> dict[str, Any]:
        """Return the counts and the point that the iterations began with."""
        return {**super().get_state(is_amid=is_amid), "start": self._start}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from the point that the iterations began with."""
        super().set_state(state)
        start = state["start"]
        if np.shape(start) != (len(self._decayed),):
            raise TypeError("the point that the iterations began with does not fit the model")
        self._start = start

    def pass_over(self, epochs: range) -> None:
        """Repeat the iterations of these epochs when it runs: SciPy's state cannot be saved."""
        self._again = len(epochs)

    def settle(self, epoch: int) -> bool:
        """Return False: within an iteration there is nothing to continue from."""
        return False

    def run(self, epochs: range, loop: Loop) -> None:
        """Run one iteration per epoch."""
        self._loop, network = loop, self.network
        self._epoch = epochs.start - self._again
        self._saved = {name: network.runtime.parameters[name].copy() for name in self._names}
        if self._start is None:
            self._start = self._gathered(network.runtime.parameters)
        start = self._start
        found = None
        iterations = epochs.stop - self._epoch
        try:
            found = self._minimize(
                self._look, start, jac=True, method="L-BFGS-B", callback=self._accept,
                options=options(self._settings, iterations),
            )  # fmt: skip
        except _Ended:
            pass
        finally:
            if self._again:  # it was resumed, and has not come as far as it was
                self._put_saved()
            else:
                self._write(start if self._iterate is None else self._iterate[0])
        if self._again and found is not None:
            raise self._other_data()
        if self._is_open:  # it had already converged, found no lower loss, or ran out of time
            self._finish()
        if found is None or network.stop_training:
            return
        reason = found.message.strip(" :")
        if found.status != 1:
            network.stop(reason + ": the line search has found no lower loss" * bool(found.status))
        elif self._epoch < epochs.stop:  # not the number of epochs, but that of evaluations
            network.stop(reason)

    def _bound(self, *, collects: bool = False) -> Bound:
        """Return the program that computes loss and gradient."""
        steps = self._steps
        return self.network.runtime.bound(
            Purpose.GRADIENTS, steps.batch, steps.target_types, steps.sparse, collects=collects
        )

    def _gathered(self, views: dict[str, np.ndarray]) -> np.ndarray:
        parts = [views[name].reshape(-1) for name in self._names]
        return np.concatenate(parts, dtype=np.float64)

    def _write(self, point: np.ndarray) -> None:
        self.network.runtime.parameters_change()
        with (
            self.network.turns.change("fit"),
            np.errstate(over="ignore"),
        ):  # after an overflow the loss is not finite
            for name, part in zip(self._names, np.split(point, self._ends), strict=True):
                self.network.runtime.parameters[name].reshape(-1)[...] = part

    def _look(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss, including weight decay, and the gradient at a point."""
        if not self._is_open and not self._again:
            if not self._loop.epoch_begin(self._epoch):
                raise _Ended
            self._is_open = True
        decay: Any = self.optimizer.weight_decay  # a number: its class takes no schedule
        steps = self._steps
        began = time.perf_counter()
        with np.errstate(all="ignore"):  # non-finite results are handled below
            results = self._evaluated(point)
            means = steps.rows_of(steps.count) @ results / steps.rows
            decaying = self._decayed * point
            value = float(means[0] + decay / 2 * decaying @ point)
            gradient = self._gathered(self._views) + decay * decaying
        if not self._again:
            self.seconds += time.perf_counter() - began
            self.rows_done += steps.rows
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            return self._turned_back(point, results)
        self._looked_at = point.copy(), value, gradient, means
        if self._iterate is None:
            self._iterate = self._looked_at
        return value, gradient

    def _evaluated(self, point: np.ndarray) -> np.ndarray:
        """Evaluate a point, which is nobody's model yet: others see the iterate before and after.

        The gradient is then in `_total`.
        """
        start = self._start
        assert start is not None
        with self.network.turns.change("fit"):
            try:
                self._write(point)
                return sum_gradients(self._bound(), self._steps, self._total, self._look_up)
            finally:
                self._write(start if self._iterate is None else self._iterate[0])

    def _look_up(self, seconds: float) -> None:
        """Check the time after each part of the rows; the first evaluation always completes."""
        budget = self._loop.budget
        budget.record(1, seconds)
        if budget.is_over and self._iterate is not None:
            self._loop.out_of_time(f"in epoch {self._epoch + 1}")
            raise _Ended

    def _turned_back(self, point: np.ndarray, results: np.ndarray) -> tuple[float, np.ndarray]:
        """Return what leads the line search back from a point where the loss is not finite."""
        if self._iterate is None:
            raise self._refusal(results)
        return turned_back(*self._iterate[:3], point)

    def _refusal(self, results: np.ndarray) -> Exception:
        runtime, steps = self.network.runtime, self._steps
        bad = ~np.isfinite(results[:, 0])
        first = int(bad.argmax()) * steps.batch
        rows = np.arange(first, min(first + steps.batch, steps.rows))
        return refusal(
            runtime,
            [source.take(rows) for source in steps.sources],
            f"epoch {self._epoch + 1}, before its step",
            float(results[:, 0].sum()) if bad.any() else np.nan,
            runtime.copy_parameters(),
            advice="other initial weights, or scaled inputs",
        )

    def _accept(self, intermediate_result: Any) -> None:
        """Accept an iterate from SciPy, which ends an epoch."""
        point = intermediate_result.x
        if self._looked_at is None or not np.array_equal(self._looked_at[0], point):
            self._look(point)
        self._iterate = self._looked_at
        with self.network.turns.change("fit"):
            self._write(point)
            if not self._again:
                self.network.runtime.step += 1
        if self._again:
            self._again -= 1
            self._epoch += 1
            if not self._again:
                self._check_repeated()
            return
        self.batches += 1
        if not self._finish():
            raise _Ended

    def _check_repeated(self) -> None:
        """Raise ValueError if the repeated iterations did not lead to the saved parameters."""
        now = self.network.runtime.parameters
        if any(not np.array_equal(now[name], self._saved[name]) for name in self._names):
            self._put_saved()
            raise self._other_data()

    @staticmethod
    def _other_data() -> ValueError:
        return ValueError(
            "resume_from: the iterations of LBFGS, repeated from their beginning, lead to "
            "other parameters than those saved: x or y is not what the training began with"
        )

    def _put_saved(self) -> None:
        """Return to the parameters that the training was resumed with."""
        self.network.runtime.parameters_change()
        with self.network.turns.change("fit"):
            for name, array in self._saved.items():
                self.network.runtime.parameters[name][...] = array

    def _finish(self) -> bool:
        """End an epoch with the results at the iterate; return whether to continue."""
        assert self._iterate is not None
        self._loop.budget.epoch_end()
        program, means = self._bound().plan.program, map(float, self._iterate[3])
        found = dict(zip(program.results, means, strict=True))
        results = {one.name: found[one.name] for one in program.reported}
        self._is_open = False
        self._epoch += 1
        self._loop.progress.advance(1)
        return self._loop.epoch_end(self._epoch - 1, results | self._metrics())

    def _metrics(self) -> dict[str, Any]:
        """Return the metrics of all rows, excluding the losses."""
        if not any(one.labelled() for one in self.network.require_objective().outputs):
            return {}
        losses = {"loss", *(f"{name}_loss" for name in self.network.output_names)}
        found = evaluate(self.network, self._adapter)
        return {name: value for name, value in found.items() if name not in losses}
