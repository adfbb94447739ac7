"""`fit`: epochs, validation, stop reasons; and what happens when a loss is not finite.

The engine runs a slice of steps at a time, at most about 50 ms long, so that Python can look for
Ctrl-C between them: the model is then whole, at the end of a step.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn import checks, data
from fastnn.callbacks import Callback, EarlyStopping, asks_for_batches
from fastnn.data import Source
from fastnn.runtime import Bound, Runtime, Steps

if TYPE_CHECKING:
    from fastnn.model import Model


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the message names step and layer."""


@dataclass(repr=False)
class History:
    """What `fit` returns.

    Attributes
    ----------
    history : dict of str to list of float
        For each result, one number an epoch: "loss", the metrics, and both of the validation
        data with "val_" in front.
    epoch : list of int
        Numbers of the epochs, from 0.
    stop_reason : str
        Why `fit` ended.
    samples_per_second : float
        Training samples a second, validation left out.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile("adam", "crossentropy")
    >>> model.fit(x, y, epochs=2, verbose=0).stop_reason
    'completed 2 epochs'
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    epoch: list[int] = field(default_factory=list)
    stop_reason: str = ""
    samples_per_second: float = 0.0

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.history.items())
        return f"<History of {len(self.epoch)} epochs: {last}; {self.stop_reason}>"

    def add(self, epoch: int, logs: dict[str, float]) -> None:
        """Append the results of an epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


@dataclass
class _Epochs:
    """What does not change from one epoch to the next."""

    model: Model
    bound: Bound
    steps: Steps
    names: list[str]
    callbacks: Sequence[Callback]
    snapshot: np.ndarray
    kind: tuple[str, ...]
    by_batch: bool
    seconds: float = 0.0
    rows_done: int = 0

    def run(self, epoch: int, progress: _Progress) -> dict[str, float]:
        """Train one epoch and return its results: means over its samples."""
        runtime, count = self.model.runtime, self.steps.count
        assert runtime.training is not None
        snapshot = self.snapshot
        np.copyto(snapshot, runtime.arenas["parameters"])
        results = np.full((count, len(self.names)), np.nan)
        rates = np.empty(count)
        done = 0
        while done < count and not self.model.stop_training:
            if self.by_batch:
                for callback in self.callbacks:
                    callback.on_train_batch_begin(done)
                if self.model.stop_training:
                    break
                self.bound = runtime.bound("train", self.steps.batch, self.kind)
            rates[done:] = runtime.training.optimizer.learning_rate
            first = done * self.steps.batch
            self.model.forget_forward()
            if self.by_batch:
                began = time.perf_counter()
                ran = runtime.run(
                    self.bound, self.steps, first=done, results=results, learning_rates=rates
                )
                asked, elapsed = 1, time.perf_counter() - began
            else:
                asked, ran, elapsed = runtime.run_slice(
                    self.bound, self.steps, done, results=results, learning_rates=rates
                )
            self.seconds += elapsed
            done += ran
            self.rows_done += min(done * self.steps.batch, self.steps.rows) - first
            if ran < asked:
                self._refuse(epoch, done, results[done, 0], snapshot)
            for callback in self.callbacks if self.by_batch else ():
                callback.on_train_batch_end(done - 1, self._logs(results[done - 1 : done]))
            progress.advance(ran)
        if not_finite(runtime):
            self._refuse(epoch, done, np.nan, snapshot)
        return self._logs(results[:done])

    def _logs(self, results: np.ndarray) -> dict[str, float]:
        rows = np.full(len(results), float(self.steps.batch))
        last = self.steps.rows - (self.steps.count - 1) * self.steps.batch
        if len(results) == self.steps.count:
            rows[-1] = last
        means = rows @ results / rows.sum() if len(results) else results.sum(axis=0)
        return dict(zip(self.names, map(float, means), strict=True))

    def _refuse(self, epoch: int, step: int, loss: float, snapshot: np.ndarray) -> None:
        """Put the model back to finite parameters and say what went wrong, and where."""
        steps = self.steps
        step = min(step, steps.count - 1)  # the last one's update may be what went wrong
        first = step * steps.batch
        rows = np.arange(first, min(first + steps.batch, steps.rows))
        rows = rows if steps.order is None else steps.order[rows]
        # on_train_end runs in reverse, so the first that gives weights back has the last word.
        last = next(
            (c for c in self.callbacks if isinstance(c, EarlyStopping) and c.is_going_back), None
        )
        raise refusal(
            self.model,
            self.bound,
            [source.array[rows] for source in steps.sources],
            f"epoch {epoch + 1}, step {step + 1} of {steps.count}",
            loss,
            snapshot,
            best_epoch=None if last is None else last.best_epoch,
        )


def refusal(
    model: Model,
    bound: Bound,
    batch: list[np.ndarray],
    where: str,
    loss: float,
    snapshot: np.ndarray,
    since: str = "the epoch",
    best_epoch: int | None = None,
) -> NonFiniteLossError:
    """Put the model back to finite parameters and return the error to raise.

    Parameters
    ----------
    model : Model
    bound : Bound
        The training program.
    batch : list of ndarray
        The rows of its inputs in the step that went wrong.
    where : str
        Names the step.
    loss : float
    snapshot : ndarray
        Parameters known to be finite.
    since : str, default "the epoch"
        When they were.
    best_epoch : int, optional
        Whose parameters `EarlyStopping` is about to give back.
    """
    from fastnn.program import reference  # only a training that failed needs it

    runtime = model.runtime
    layer = reference.first_non_finite(
        bound.plan.program, batch, runtime.parameters, runtime.dtype, runtime.key, runtime.step + 1
    )
    bad = not_finite(runtime)
    kept, afresh = "before this step", ""
    if bad:
        layer = bad[0].rsplit("/", 1)[0]
        np.copyto(runtime.arenas["parameters"], snapshot)
        runtime.reset_optimizer()
        kept, afresh = f"from the start of {since}", ", the optimizer starts afresh"
    if best_epoch is not None:
        kept = f"of epoch {best_epoch + 1}, the best, which EarlyStopping gives back"
    found = (
        "every layer is finite, the loss is not"
        if layer == "loss"
        else f"layer {layer!r} is the first with a number that is not finite"
    )
    shown = "nan" if np.isnan(loss) else f"{loss:g}"
    return NonFiniteLossError(
        f"the loss is {shown} in {where}: {found}; the parameters are those {kept}{afresh}. "
        "Try a smaller learning_rate, global_clipnorm=1.0, or scaled inputs"
    )


def refused_step(
    model: Model,
    bound: Bound,
    sources: Sequence[Source],
    is_done: bool,
    loss: float,
    snapshot: np.ndarray,
) -> NonFiniteLossError:
    """Put the model back after a single step that went wrong and return the error to raise.

    Parameters
    ----------
    model : Model
    bound : Bound
        The training program.
    sources : sequence of Source
        Its inputs.
    is_done : bool
        Whether the update was made; it has then lost the parameters.
    loss : float
    snapshot : ndarray
        The parameters before the step.
    """
    where = f"step {model.runtime.step + (not is_done)}"
    batch = [source.array for source in sources]
    loss = np.nan if is_done else loss
    return refusal(model, bound, batch, where, loss, snapshot, "this step")


def not_finite(runtime: Runtime) -> list[str]:
    """Return the names of the parameters that hold a NaN or an infinity."""
    with np.errstate(all="ignore"):
        return [
            name
            for name, view in runtime.parameters.items()
            if not (np.isfinite(view.min()) and np.isfinite(view.max()))
        ]


class _Progress:
    """One bar over all epochs, or one line an epoch, or silence."""

    def __init__(self, verbose: int, epochs: int, steps: int) -> None:
        self._epochs = epochs
        self._bar: Any = None
        self._lines = verbose == 2 or (verbose == 1 and not sys.stderr.isatty())
        if verbose == 1 and not self._lines:
            from tqdm import tqdm

            shape = "{desc} {percentage:3.0f}%|{bar:12}| {elapsed}{postfix}"
            self._bar = tqdm(total=epochs * steps, bar_format=shape, dynamic_ncols=True)

    def advance(self, steps: int) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        text = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        number = f"epoch {epoch + 1:{len(str(self._epochs))}}/{self._epochs}"
        if self._bar is not None:
            self._bar.set_description_str(number, refresh=False)
            self._bar.set_postfix_str(text, refresh=False)
        elif self._lines:
            print(f"{number}  {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def fit(
    model: Model,
    x: object,
    y: object,
    *,
    batch_size: int,
    epochs: int,
    verbose: int,
    callbacks: Iterable[Callback] | None,
    validation_split: float,
    validation_data: tuple[object, ...] | None,
    shuffle: bool,
    sample_weight: object = None,
    class_weight: dict[int, float] | None = None,
) -> History:
    """Train; see `Model.fit`."""
    batch_size = checks.integer("batch_size", batch_size)
    epochs = checks.integer("epochs", epochs)
    shuffle = checks.boolean("shuffle", shuffle)
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
    followers = checks.items("callbacks", callbacks, Callback)
    x, y, sample_weight, validation_data = _split(
        model, x, y, sample_weight, validation_split, validation_data
    )
    sources, kind = model.training_data(x, y, sample_weight, class_weight)
    if validation_data is not None:
        model.check_validation(validation_data)
    rows = len(sources[0].array)
    data.not_empty(rows)

    runtime = model.runtime
    assert runtime.training is not None
    steps = Steps(sources, rows, min(batch_size, rows))
    bound = runtime.bound("train", steps.batch, kind)
    by_batch = any(asks_for_batches(callback) for callback in followers)
    names = bound.plan.program.results
    snapshot = np.empty_like(runtime.arenas["parameters"])
    run = _Epochs(model, bound, steps, names, followers, snapshot, kind, by_batch)
    expected = names + [f"val_{name}" for name in names if validation_data is not None]
    model.stop_training, model.stop_reason = False, ""
    for callback in followers:
        callback.model, callback.results = model, tuple(expected)
        callback.on_train_begin()
        if type(callback).on_epoch_end is not Callback.on_epoch_end:
            expected = []  # it may add results for those behind it
    history = model.history = History()
    progress = _Progress(verbose, epochs, steps.count)
    logs: dict[str, float] = {}
    model.is_fitting = True
    try:
        for epoch in range(epochs):
            for callback in followers:
                callback.on_epoch_begin(epoch)
            if model.stop_training:
                break
            steps.order = model.generator.permutation(rows) if shuffle else None
            run.bound = runtime.bound("train", steps.batch, kind)
            logs = run.run(epoch, progress)
            if validation_data is not None:
                results = model.evaluate(*validation_data)
                logs |= {f"val_{name}": value for name, value in results.items()}
            history.add(epoch, logs)
            progress.epoch_end(epoch, logs)
            for callback in followers:
                callback.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        runtime.take_average()
        if model.stop_training:
            history.stop_reason = model.stop_reason or "a callback set stop_training"
        else:
            history.stop_reason = f"completed {epochs} epoch{'s' * (epochs != 1)}"
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
        raise
    except NonFiniteLossError as error:
        history.stop_reason = str(error)
        raise
    except Exception as error:
        history.stop_reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        model.is_fitting = False
        progress.close()
        if run.seconds:
            history.samples_per_second = run.rows_done / run.seconds
        with contextlib.ExitStack() as ends:  # each gets its turn, even if one raises
            for callback in reversed(followers):
                ends.callback(callback.on_train_end, logs)
    return history


def _split(
    model: Model,
    x: object,
    y: object,
    sample_weight: object,
    share: float,
    validation_data: tuple[object, ...] | None,
) -> tuple[object, object, object, tuple[object, ...] | None]:
    """Take the last `share` of the rows for validation, as Keras does."""
    share = checks.number("validation_split", share, least=0, below=1)
    if validation_data is not None:
        is_sequence = isinstance(validation_data, (tuple, list))
        if not is_sequence or len(validation_data) not in (2, 3):
            got = (
                f"{len(validation_data)} entries" if is_sequence else type(validation_data).__name__
            )
            raise TypeError(f"validation_data must be a tuple (x, y), got {got}")
        if share:
            raise ValueError("give validation_split or validation_data, not both")
        return x, y, sample_weight, tuple(validation_data)
    if not share:
        return x, y, sample_weight, None
    parts = _Parts("x", x, model.built and len(model.input_shapes) > 1)
    targets = _Parts("y", y, model.built and len(model.runtime.output_shapes) > 1)
    weights = [] if sample_weight is None else [_Parts("sample_weight", sample_weight, False)]
    total = len(parts.arrays[0])
    for one in (parts, targets, *weights):
        for array in one.arrays:
            if len(array) != total:
                raise ValueError(
                    f"{one.name} must have as many rows as x, {total}, got {len(array)}"
                )
    cut = total - int(total * share)
    if not 0 < cut < total:
        raise ValueError(
            f"validation_split={share} leaves {cut} of {total} rows to train on and "
            f"{total - cut} to validate with; both must have at least one"
        )
    first, last = slice(None, cut), slice(cut, None)
    given = (parts, targets, *weights)
    before = [one.of(first) for one in given] + [None] * (not weights)
    return before[0], before[1], before[2], tuple(one.of(last) for one in given)


class _Parts:
    """What was given for an argument as arrays: one, or one for each input or output."""

    def __init__(self, name: str, given: object, is_several: bool) -> None:
        self.name = name
        self._keys: list[str] | None = None
        if is_several and isinstance(given, dict):
            self._keys, given = list(given), list(given.values())
        self._is_several = is_several and isinstance(given, (list, tuple))
        listed: Sequence[object] = cast(Sequence[object], given) if self._is_several else [given]
        self.arrays = [data.checked_array(name, part) for part in listed]
        if any(array.ndim == 0 for array in self.arrays):
            raise ValueError(f"{name} must have one entry for each row, got a single number")

    def of(self, rows: slice) -> object:
        """Return some of the rows, in the form in which all were given."""
        parts = [array[rows] for array in self.arrays]
        if self._keys is not None:
            return dict(zip(self._keys, parts, strict=True))
        return parts if self._is_several else parts[0]
