"""A walk whose steps are updates of an optimizer, one at a time."""

from __future__ import annotations

import math

from fastnn.core import checks
from fastnn.descent.walk import Walk, is_true
from fastnn.native.engine import Prepared
from fastnn.runtime import Bound, Objective, Purpose

RATES_AT_ONCE = 256


class StepwiseWalk(Walk):
    """A walk whose steps are made by the program that updates a network's parameters."""

    advice = ": try a smaller learning_rate"

    def run(self, steps: int) -> str:
        """Make steps until it is time to stop, and return why."""
        optimizer = self._optimizer
        bound, update = self._prepared(None, None)
        has_tolerance = self._tolerances != (None, None)
        chosen: object = None
        first, rates = 0, [0.0]
        # Local names instead of attributes: this loop is most of the time of a walk down a fast
        # function.
        point, found_at, is_finite = self._point, self._found_at, math.isfinite
        points, values, norms = self.points.append, self.values.append, self.norms.append
        make, made, callback = update.update, self.rates.append, self._callback
        for done in range(steps):
            if has_tolerance and (reason := self._is_there(done)):
                return reason
            if optimizer.learning_rate is not chosen or done - first == len(rates):
                chosen, first = optimizer.learning_rate, done
                rates = optimizer.rates(done, min(steps - done, RATES_AT_ONCE)).tolist()
            rate = rates[done - first]
            make(rate)
            x = point()
            try:
                value, norm = found_at(x)
            except ArithmeticError:
                return self._is_lost(done + 1)
            if not (is_finite(value) and is_finite(norm)):
                return self._is_lost(done + 1)
            made(rate)
            points(x)
            values(value)
            norms(norm)
            if callback is not None:
                if is_true(callback(done + 1, x, value)):
                    return f"the callback ended it after {checks.counted(done + 1, 'step')}"
                bound, update = self._prepared(bound, update)
                make = update.update
        return self._is_there(steps) or f"completed {checks.counted(steps, 'step')}"

    def _prepared(self, bound: Bound | None, update: Prepared | None) -> tuple[Bound, Prepared]:
        """Return the program of the optimizer as it is set now, prepared."""
        runtime = self._runtime
        if self._optimizer.slots != runtime.slots:
            self._change_slots()
        found = runtime.bound(Purpose.UPDATE, 1)
        if found.plan.schedules:
            raise ValueError(
                "optimizer: weight_decay must be a number in a descent, got "
                f"{self._optimizer.weight_decay!r}"
            )
        if update is None or found is not bound:
            update = Prepared(
                found.executor, runtime.dtype, counter=runtime.counter, work=found.plan.work(1)
            )
        return found, update

    def _change_slots(self) -> None:
        """Lay out the state that the optimizer needs as it is set now; slots that stay are kept."""
        runtime = self._runtime
        step = runtime.step
        known = dict(zip(runtime.slots, runtime.arenas["state"], strict=True))
        runtime.configure(Objective(self._optimizer, ()))
        runtime.step = step
        if "average" not in known:
            runtime.forget_average()
        for slot, state in zip(runtime.slots, runtime.arenas["state"], strict=True):
            if slot in known:
                state[...] = known[slot]
