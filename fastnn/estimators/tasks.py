"""Telling the callbacks of scikit-learn (`sklearn.callback`) how a training goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Iterations:
    """The iterations of one `fit`, as tasks that the callbacks of an estimator are told of.

    Parameters
    ----------
    estimator : estimator
    context : sklearn.callback.CallbackContext
        That of the whole `fit`.
    X, y : array_like
        The training data, as the user gave them.
    metadata : dict or None
        What else `fit` was given, such as `sample_weight`.
    attributes : function
        Returns the fitted attributes of an estimator that could predict now.
    """

    def __init__(
        self,
        estimator: Any,
        context: Any,
        X: object,
        y: object,
        metadata: dict[str, Any] | None,
        attributes: Callable[[], dict[str, Any]],
    ) -> None:
        self._context = context
        self._open: Any = None
        self._data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._attributes = attributes
        # An estimator without callbacks is still told of, once, so that those of a search or a
        # pipeline around it know its place.
        self.are_awaited = hasattr(estimator, "_skl_callbacks")
        context.call_on_fit_task_begin(**self._data)

    def begin(self) -> None:
        """Begin an iteration."""
        if self.are_awaited:
            self._open = self._context.subcontext(task_name="iteration")
            self._open.call_on_fit_task_begin(**self._data)

    def end(self) -> bool:
        """End an iteration; return whether a callback asks to stop."""
        if self._open is None:
            return False
        task, self._open = self._open, None
        return task.call_on_fit_task_end(**self._data, reconstruction_attributes=self._attributes)

    def close(self) -> None:
        """End the whole `fit`."""
        self.end()  # an iteration that was interrupted
        self._context.call_on_fit_task_end(**self._data, reconstruction_attributes=self._attributes)
