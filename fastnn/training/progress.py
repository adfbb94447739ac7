"""The progress that `fit` shows while it runs."""

from __future__ import annotations

import sys
from typing import Any

from fastnn.metrics import scalars


class Progress:
    """Shows one bar over all epochs, one line per epoch, or nothing.

    Parameters
    ----------
    verbose : {0, 1, 2}
    epochs : int
    steps : int or None
        Steps of an epoch, if known.
    """

    def __init__(self, verbose: int, epochs: int, steps: int | None) -> None:
        self._epochs = epochs
        self._bar: Any = None
        self._lines = verbose == 2 or (verbose == 1 and not sys.stderr.isatty())
        if verbose == 1 and not self._lines:
            from tqdm import tqdm

            shape = "{desc} {percentage:3.0f}%|{bar:12}| {elapsed}{postfix}"
            if steps is None:
                shape = "{desc} {n_fmt} steps {elapsed}{postfix}"
            total = None if steps is None else epochs * steps
            self._bar = tqdm(total=total, bar_format=shape, dynamic_ncols=True)

    def advance(self, steps: int) -> None:
        """Show that a number of steps have been completed."""
        if self._bar is not None:
            self._bar.update(steps)

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Show the results of an epoch."""
        if self._bar is None and not self._lines:
            return
        text = "  ".join(f"{name} {value:.4f}" for name, value in scalars(logs).items())
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
