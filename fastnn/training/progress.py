"""The progress that `fit`, `evaluate` and `predict` show while they run.

It is shown on the standard error, or in the notebook. A stream that is missing, closed, full or
broken ends no training: nothing is shown any more.
"""

from __future__ import annotations

import sys
import warnings
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
        total = None if steps is None else len(epochs) * steps
        self._shown = _Shown(verbose, "steps", total, done)
        self._is_silent = not self._shown.is_anything  # a short epoch takes microseconds

    def advance(self, steps: int) -> None:
        """Show that a number of steps have been completed."""
        if not self._is_silent:
            self._shown.on_bar("update", steps)

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Show the results of an epoch."""
        if self._is_silent or not self._shown.is_anything:
            return
        text = _text(logs)
        number = f"epoch {epoch + 1:{len(str(self._epochs))}}/{self._epochs}"
        self._shown.on_bar("set_description_str", number, refresh=False)
        self._shown.on_bar("set_postfix_str", text, refresh=False)
        self._shown.line(f"{number}  {text}")

    def close(self) -> None:
        """Close the bar."""
        self._shown.on_bar("close")


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
        self._shown = _Shown(verbose, "rows", rows)
        self._shown.on_bar("set_description_str", name, refresh=False)

    def advance(self, rows: int) -> None:
        """Show that a number of rows have been computed."""
        self._done += rows
        self._shown.on_bar("update", rows)

    def end(self, logs: dict[str, Any]) -> None:
        """Show the results."""
        text = _text(logs)
        self._shown.on_bar("set_postfix_str", text, refresh=False)
        self._shown.line(f"{self._name}  {text or f'{self._done:,} rows'}")

    def close(self) -> None:
        """Close the bar."""
        self._shown.on_bar("close")


class _Shown:
    """A bar, lines, or nothing.

    Parameters
    ----------
    verbose : {0, 1, 2}
    unit : str
        What is counted, where their number is not known.
    total : int or None
        How many there are.
    done : int, default 0
        How many of them have been done before.
    """

    # What a stream raises that is closed, full, broken, narrow, or no stream.
    FAILURES = (OSError, ValueError, AttributeError, TypeError)

    def __init__(self, verbose: int, unit: str, total: int | None, done: int = 0) -> None:
        self._bar: Any = None
        self._has_lines = bool(verbose) and sys.stderr is not None
        if not self._has_lines or verbose == 2:
            return
        is_notebook = _is_notebook()
        try:
            if is_notebook or sys.stderr.isatty():
                self._bar = _bar(unit, total, done, is_notebook)
                self._has_lines = False
        except self.FAILURES:
            pass  # no bar, but lines

    @property
    def is_anything(self) -> bool:
        """Whether anything is shown."""
        return self._has_lines or self._bar is not None

    def on_bar(self, method: str, *args: Any, **options: Any) -> None:
        """Call a method of the bar, if there is one."""
        if self._bar is None:
            return
        try:
            getattr(self._bar, method)(*args, **options)
        except self.FAILURES:
            self._bar.disable = True  # so that it writes nothing when it is dropped
            self._bar = None

    def line(self, text: str) -> None:
        """Print a line, if there are lines."""
        if not self._has_lines:
            return
        try:
            print(text, file=sys.stderr, flush=True)
        except self.FAILURES:
            self._has_lines = False


def _is_notebook() -> bool:
    """Return whether a notebook shows what is printed; it can have bars, but is no terminal."""
    if "ipykernel" not in sys.modules:
        return False
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _bar(unit: str, total: int | None, done: int, is_notebook: bool) -> Any:
    if is_notebook:  # a bar of text there, if ipywidgets is not installed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    else:
        from tqdm import tqdm

    width = "{bar}" if is_notebook else "{bar:12}"
    shape = "{desc} {percentage:3.0f}%|" + width + "| {elapsed}{postfix}"
    if total is None:
        shape = "{desc} {n_fmt} " + unit + " {elapsed}{postfix}"
    return tqdm(total=total, initial=done, bar_format=shape, dynamic_ncols=not is_notebook)


def _text(logs: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in scalars(logs).items())
