"""The base class of layers that measure data before they can run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from fastnn.layers.base import Layer, Shape

Parts = Iterable[Any]
# read(layer, data) yields the rows of what `adapt` was given, checked, a part at a time: arrays,
# or matrices of scipy.sparse in compressed rows.
Reader = Callable[["Measuring", object], Iterator[Any]]


class Measuring(Layer):
    """A layer that measures data, in `adapt` or when `fit` begins.

    Attributes
    ----------
    takes_sparse : bool
        Whether it measures sparse matrices.
    reader : callable
        Reads what `adapt` is given. `fastnn.data`, which reads all data and is above the layers,
        sets it.
    """

    measures: ClassVar[bool] = True
    takes_sparse: ClassVar[bool] = False
    reader: ClassVar[Reader]

    def adapt(self, data: object) -> None:
        """Measure data, and forget what was measured before.

        Parameters
        ----------
        data : array_like, shape (rows, ...)
            (rows,) is taken for (rows, 1). Otherwise as for `Model.predict`: an array, a frame, a
            `np.memmap`, or an iterable of such batches that is not a list; of tuples (x, ...), the
            first entries are used.

        Raises
        ------
        TypeError, ValueError
            The data do not fit; the layer is as before.
        """
        self.check_adaptable()
        self.measure(type(self).reader(self, data))

    def check_adaptable(self) -> None:
        """Raise ValueError if the layer must not measure anything."""

    def measure(self, parts: Parts) -> None:
        """Measure rows that come in parts, all of which have been read before anything changes."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget what was measured."""
        raise NotImplementedError

    def check_sample(self, shape: Shape) -> None:
        """Raise ValueError if samples of this shape do not fit what the layer was built for."""

    @property
    def is_adapted(self) -> bool:
        """Whether the layer can run: it was given what it needs, or has measured it."""
        raise NotImplementedError

    def require_adapted(self) -> None:
        """Raise RuntimeError unless the layer can run."""
        if not self.is_adapted:
            raise RuntimeError(
                f"layer {self.name!r} ({type(self).__name__}) has not measured any data yet: call "
                "its adapt(x), or fit the model, which measures the training data first"
            )
