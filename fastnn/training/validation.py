"""`validation_split` and `validation_data` of `fit`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastnn import data
from fastnn.core import checks
from fastnn.data.adapter import adapter_of
from fastnn.data.base import Batching, DataAdapter, Given
from fastnn.data.batches_of import batches_of, is_batches, is_iterator
from fastnn.data.sample_weight import weights_of_outputs
from fastnn.network import Network
from fastnn.runtime import ROWS
from fastnn.training.evaluation import evaluate

# The validation data: x, y and sample_weight, or batches and None.
Held = tuple[object, ...]


@dataclass
class ValidationSettings:
    """The arguments of `Model.fit` that specify how to validate, checked.

    Parameters
    ----------
    steps, batch_size, freq : object
        `validation_steps`, `validation_batch_size` and `validation_freq` of `Model.fit`.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    steps: Any = None
    batch_size: Any = None
    freq: Any = 1

    def __post_init__(self) -> None:
        """Check all arguments."""
        if self.steps is not None:
            self.steps = checks.integer("validation_steps", self.steps)
        if self.batch_size is not None:
            self.batch_size = checks.integer("validation_batch_size", self.batch_size)
        if not isinstance(self.freq, (int, str, bytes)) and isinstance(self.freq, Iterable):
            self.freq = {checks.integer("validation_freq", one) for one in self.freq}
        else:
            self.freq = checks.integer("validation_freq", self.freq)

    def is_due(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, is validated."""
        if isinstance(self.freq, set):
            return epoch + 1 in self.freq
        return (epoch + 1) % self.freq == 0

    def check_use(self, held: Held | None, epochs: range) -> None:
        """Raise ValueError if an argument would have no effect on the training."""
        if held is not None:
            if not any(map(self.is_due, epochs)):
                shown = sorted(self.freq) if isinstance(self.freq, set) else self.freq
                raise ValueError(
                    f"validation_freq={shown} leaves none of the epochs {epochs.start + 1} to "
                    f"{epochs.stop} to validate"
                )
            return
        if self == _DEFAULT:
            return
        for name, given in vars(self).items():
            if given != getattr(_DEFAULT, name):
                raise ValueError(
                    f"validation_{name} needs data to validate with: give validation_data or "
                    "validation_split"
                )


_DEFAULT = ValidationSettings()


class Validation:
    """Validates epochs on held-out data.

    Parameters
    ----------
    network : Network
    held : tuple
        As `split` returns it.
    settings : ValidationSettings

    Raises
    ------
    TypeError, ValueError
        The data or the settings do not fit.
    """

    def __init__(self, network: Network, held: Held, settings: ValidationSettings) -> None:
        self._network, self._batch = network, settings.batch_size or ROWS
        self._iterator: Iterator[Any] | None = None
        x, y, sample_weight = (*held, None)[:3]
        self._yields_batches = yields_batches = is_batches(x, takes_lists=y is None)
        if settings.steps is not None and not yields_batches:
            raise ValueError(
                "validation_steps is for validation_data that yields batches (x, y); of arrays "
                "give as many rows as are to be used"
            )
        if settings.batch_size is not None and yields_batches:
            raise ValueError(
                "validation_batch_size is for arrays; validation_data yields batches (x, y)"
            )
        if is_iterator(x) and settings.steps is None:
            raise TypeError(
                "validation_data must be (x, y) or an iterable of batches that can be read once "
                f"an epoch, got an iterator ({type(x).__name__}); give validation_steps for one "
                "that does not end"
            )
        try:
            if yields_batches:
                self._batching = Batching(steps_per_epoch=settings.steps)
                x = self._with_checked_first(x)
                self._iterator = x if is_iterator(x) else None
                self._adapter = self._of_batches(x)
            else:
                self._adapter = adapter_of(Given(network.specify, x, y, sample_weight))
                self._check(self._adapter)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from None

    def _of_batches(self, x: object) -> DataAdapter:
        return adapter_of(Given(self._network.specify, x), self._batching)

    def _with_checked_first(self, x: Any) -> Any:
        """Return batches, of which the first has been checked."""
        batches = batches_of(x)
        first = list(itertools.islice(batches, 1))
        if not first:
            data.not_empty(0)
        self._check(adapter_of(Given(self._network.specify, first)))
        return itertools.chain(first, batches) if is_iterator(x) else x

    def _check(self, adapter: DataAdapter) -> None:
        parts = adapter.once(self._batch)
        first = next(parts, None)
        parts.close()
        data.not_empty(0 if first is None else first.rows)

    def pass_over(self, times: int) -> None:
        """Read batches as often as has been validated: only so is an iterable where it was then."""
        if self._yields_batches:
            for _ in range(times):
                if self._iterator is not None:
                    self._adapter = self._of_batches(self._iterator)
                for _ in self._adapter.once(self._batch):
                    pass

    def results(self) -> dict[str, Any]:
        """Return the current loss and metrics; an iterator that has ended ends the training."""
        if self._iterator is not None:
            first = list(itertools.islice(self._iterator, 1))
            if not first:
                self._network.stop("validation_data has ended", overrides=True)
                return {}
            self._adapter = self._of_batches(itertools.chain(first, self._iterator))
        return evaluate(self._network, self._adapter, self._batch)


def split(
    network: Network,
    x: object,
    y: object,
    sample_weight: object,
    share: object,
    validation_data: object,
) -> tuple[object, object, object, Held | None]:
    """Hold out the last `share` of the rows for validation, as Keras does.

    Parameters
    ----------
    network : Network
    x, y, sample_weight : object
        As in `Model.fit`.
    share, validation_data : object
        `validation_split` and `validation_data` of `Model.fit`.

    Returns
    -------
    x, y, sample_weight : object
        The remaining data to train on.
    held : tuple or None

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """
    part = checks.number("validation_split", share, least=0, below=1)
    if part and is_batches(x, takes_lists=y is None):
        raise ValueError("validation_split needs arrays; with batches, give validation_data")
    if validation_data is not None:
        held = _given(network, validation_data)
        if part:
            raise ValueError("give validation_split or validation_data, not both")
        return x, y, sample_weight, held
    if not part:
        return x, y, sample_weight, None
    return _last_rows(network, x, y, sample_weight, part)


def _given(network: Network, validation_data: object) -> Held:
    """Return the validation data that the user gave."""
    if is_batches(validation_data, takes_lists=False) or _lists_batches(network, validation_data):
        return validation_data, None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        got = (
            f"{len(validation_data)} entries"
            if isinstance(validation_data, (tuple, list))
            else type(validation_data).__name__
        )
        raise TypeError(f"validation_data must be a tuple (x, y), got {got}")
    return tuple(validation_data)


def _last_rows(
    network: Network, x: object, y: object, sample_weight: object, share: float
) -> tuple[object, object, object, Held]:
    """Split all arrays at the same row."""
    given = [
        _Parts("x", x, network.built and len(network.input_shapes) > 1, network.input_readers()),
        _Parts("y", y, network.built and len(network.output_names) > 1),
    ]
    if sample_weight is not None:
        given.append(_Parts("sample_weight", _by_output(network, sample_weight), False))
    total = given[0].arrays[0].shape[0]
    for one in given:
        for array in one.arrays:
            if array.shape[0] != total:
                raise ValueError(
                    f"{one.name} must have as many rows as x, {total}, got {array.shape[0]}"
                )
    cut = total - checks.rows_of_share(total, share)
    if not 0 < cut < total:
        raise ValueError(
            f"validation_split={share} leaves {cut} of {total} rows to train on and "
            f"{total - cut} to validate with; both must have at least one"
        )
    before = [one.of(slice(None, cut)) for one in given] + [None] * (len(given) == 2)
    return before[0], before[1], before[2], tuple(one.of(slice(cut, None)) for one in given)


def _by_output(network: Network, sample_weight: object) -> object:
    """Return weights as they are, or in a dict where there are some for each output."""
    if not network.built:
        return sample_weight
    names = network.output_names
    each = weights_of_outputs(sample_weight, names)
    if each is None:
        return sample_weight
    return {name: part for name, part in zip(names, each, strict=True) if part is not None}


def _lists_batches(network: Network, given: object) -> bool:
    """Whether this is a list of (x, y), not [x, y] with several arrays in each."""
    is_plain = not network.built or len(network.input_shapes) == 1
    return (
        isinstance(given, list)
        and is_plain
        and all(
            isinstance(batch, tuple) and batch and hasattr(batch[0], "shape") for batch in given
        )
    )


class _Parts:
    """The arrays given for an argument: one, or one for each input or output."""

    def __init__(
        self,
        name: str,
        given: object,
        is_several: bool,
        readers: Sequence[Any] = (),
    ) -> None:
        self.name = name
        self._keys: list[str] | None = None
        if type(given) is dict:
            is_several, self._keys, given = True, list(given), list(given.values())
        self._is_several = is_several and isinstance(given, (list, tuple))
        listed: Sequence[object] = cast(Sequence[object], given) if self._is_several else [given]
        self.arrays = [
            data.read(name, part, readers[i], None)
            if i < len(readers) and readers[i]
            else data.sliceable(name, part)
            for i, part in enumerate(listed)
        ]
        if any(array.ndim == 0 for array in self.arrays):
            raise ValueError(f"{name} must have one entry for each row, got a single number")

    def of(self, rows: slice) -> object:
        """Return a slice of the rows, in the form in which the argument was given."""
        parts = [array[rows] for array in self.arrays]
        if self._keys is not None:
            return dict(zip(self._keys, parts, strict=True))
        return parts if self._is_several else parts[0]
