"""The progress that `fit`, `evaluate` and `predict` show while they run."""

from __future__ import annotations

import sys
from numbers import Integral
from typing import Any

from fastnn.metrics import scalars


def verbosity(value: object, auto: int) -> int:
    """Return 0 (silent), 1 (a bar) or 2 (lines); "auto" stands for `auto`.

    Raises
    ------
    ValueError
        It is something else.
    """
    if isinstance(value, str) and value == "auto":
        return auto
    if not isinstance(value, (int, Integral)) or value not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2, got {value!r} ('auto' stands for {auto})")
    return int(value)


class Progress:
    """Shows one bar over all epochs, one line per epoch, or nothing.

    Parameters
    ----------
    verbose : {0, 1, 2}
    epochs : range
        Their numbers, counted from 0.
    steps : int or None
        Steps of an epoch, if known.
    done : int, default 0
        Steps that were made before the training was resumed.
    """

    def __init__(self, verbose: int, epochs: range, steps: int | None, done: int = 0) -> None:
        self._epochs = epochs.stop
        self._bar, self._lines = _bar_or_lines(
            verbose, "steps", None if steps is None else len(epochs) * steps, done
        )

    def advance(self, steps: int) -> None:
        """Show that a number of steps have been completed."""
        if self._bar is not None:
            self._bar.update(steps)

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Show the results of an epoch."""
        if self._bar is None and not self._lines:
            return
        text = _shown(logs)
        number = f"epoch {epoch + 1:{len(str(self._epochs))}}/{self._epochs}"
        if self._bar is not None:
            self._bar.set_description_str(number, refresh=False)
            self._bar.set_postfix_str(text, refresh=False)
        elif self._lines:
            print(f"{number}  {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


class PassProgress:
    """Shows one pass over rows: a bar, a line at its end, or nothing.

    Parameters
    ----------
    verbose : {0, 1, 2}
    name : str
        Of the method.
    rows : int or None
        How many there are, if known.
    """

    def __init__(self, verbose: int, name: str, rows: int | None) -> None:
        self._name, self._done = name, 0
        self._bar, self._lines = _bar_or_lines(verbose, "rows", rows)
        if self._bar is not None:
            self._bar.set_description_str(name, refresh=False)

    def advance(self, rows: int) -> None:
        """Show that a number of rows have been computed."""
        self._done += rows
        if self._bar is not None:
            self._bar.update(rows)

    def end(self, logs: dict[str, Any]) -> None:
        """Show the results."""
        text = _shown(logs)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        elif self._lines:
            rows = "" if text else f"{self._done:,} rows"
            print(f"{self._name}  {text or rows}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


def _bar_or_lines(verbose: int, unit: str, total: int | None, done: int = 0) -> tuple[Any, bool]:
    """Return the bar or None, and whether lines are shown instead of it."""
    if not verbose:
        return None, False
    if verbose == 2 or not sys.stderr.isatty():
        return None, True
    from tqdm import tqdm

    shape = "{desc} {percentage:3.0f}%|{bar:12}| {elapsed}{postfix}"
    if total is None:
        shape = "{desc} {n_fmt} " + unit + " {elapsed}{postfix}"
    return tqdm(total=total, initial=done, bar_format=shape, dynamic_ncols=True), False


def _shown(logs: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in scalars(logs).items())
