"""Iterables of batches: the same results as from arrays, threads that end, and error cases."""

from __future__ import annotations

import threading
import traceback

import numpy as np
import pytest
from helpers import assert_same_bits
from model_helpers import unchanged, weights_as_bytes
from scipy import sparse

import fastnn as fnn
from fastnn.data.read_ahead import ReadAhead

ROWS, BATCH = 50, 8


@pytest.fixture(autouse=True)
def _no_thread_stays():
    yield
    reading = [t for t in threading.enumerate() if t.name.startswith("fastnn")]
    for thread in reading:
        thread.join(5)
    assert not any(thread.is_alive() for thread in reading)


@pytest.fixture
def xy(rng):
    return rng.standard_normal((ROWS, 6)), rng.integers(0, 3, ROWS)


def small(built=True):
    layers = [fnn.Dense(7, activation="tanh"), fnn.Dropout(0.2), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(6,) if built else None, seed=0)
    model.compile(fnn.Adam(0.01), "crossentropy", ["accuracy"])
    return model


def batches(xy, size=BATCH):
    x, y = xy
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def forever(xy):
    while True:
        yield from batches(xy)


class Iterable:
    """An iterable that can be read repeatedly."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class OldSequence:
    """It has no __iter__, and does not end on its own."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i % len(self.items)]


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize(
    "make", [list, tuple, Iterable, OldSequence, iter, lambda b: (pair for pair in b * 2)]
)
def test_same_bits_and_history_as_from_arrays(make, built, xy):
    one, other = small(built), small(built)
    want = one.fit(*xy, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    data = make(batches(xy) * (2 if make is iter else 1))
    steps = None if hasattr(data, "__len__") else 7
    got = other.fit(data, epochs=2, steps_per_epoch=steps, verbose=0)
    assert weights_as_bytes(other) == weights_as_bytes(one)
    assert got.history == want.history
    assert got.stop_reason == "completed 2 epochs"
    assert got.samples_per_second > 0


def test_iterator_is_read_once_and_not_beyond_what_is_needed(xy):
    taken = []

    def counted():
        for i, pair in enumerate(forever(xy)):
            taken.append(i)
            yield pair

    data = counted()
    model = small()
    model.fit(data, epochs=3, steps_per_epoch=4, verbose=0)
    assert len(taken) == 12
    model.fit(data, epochs=1, steps_per_epoch=2, verbose=0)
    assert len(taken) == 14
    short = small().fit(iter(batches(xy)), verbose=0)
    assert short.stop_reason == "completed 1 epoch"


def test_batches_may_be_sparse_or_of_any_size_and_dtype(xy):
    x, y = xy
    data = [
        (x[:3].astype(np.float32), y[:3]), (sparse.csr_array(x[3:20]), y[3:20].astype(np.uint8)),
        ((x[20:21] * 10).astype(int), np.eye(3)[y[20:21]]), [x[21:].tolist(), y[21:].tolist()],
    ]  # fmt: skip
    model = small()
    history = model.fit(data, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert np.isfinite(model.evaluate(data)["loss"])


def test_arrays_that_the_generator_fills_again(xy):
    """The reader is some batches ahead, and batches that it has yielded must not change."""
    x, y = np.empty((BATCH, 6)), np.empty(BATCH, int)

    def refilled():
        for a, b in batches(xy)[:-1]:
            x[...], y[...] = a, b
            yield x, y

    one, other = small(), small()
    one.fit(refilled(), verbose=0)
    other.fit(batches(xy)[:-1], verbose=0)
    assert weights_as_bytes(one) == weights_as_bytes(other)


def test_evaluate_and_predict(xy):
    model = small()
    want = model.evaluate(*xy)
    for data in (batches(xy), Iterable(batches(xy)), iter(batches(xy)), OldSequence(batches(xy))):
        got = model.evaluate(data)
        assert got.keys() == want.keys()
        assert all(abs(got[name] - want[name]) < 1e-6 for name in want)
    predicted = model.predict(xy[0])
    assert_same_bits(model.predict(Iterable(batches(xy))), predicted)
    assert_same_bits(model.predict(x for x, _ in batches(xy)), predicted)
    with pytest.raises(ValueError, match="x must yield at least one batch"):
        model.predict(iter([]))
    with pytest.raises(ValueError, match="x must yield at least one batch"):
        model.evaluate([])


def test_validation_data_of_batches(xy):
    one, other = small(), small()
    a = one.fit(*xy, validation_data=xy, verbose=0, epochs=2)
    b = other.fit(*xy, validation_data=Iterable(batches(xy)), verbose=0, epochs=2)
    assert np.allclose(a.history["val_loss"], b.history["val_loss"], rtol=1e-6)
    with pytest.raises(TypeError, match="can be read once an epoch, got an iterator"):
        other.fit(*xy, validation_data=iter(batches(xy)), verbose=0)
    bad = Iterable([(xy[0][:, :5], xy[1])])
    with unchanged(other), pytest.raises(ValueError, match="validation_data: batch 1: x must have"):
        other.fit(*xy, validation_data=bad, verbose=0)


def test_batch_hooks_count_on_from_batch_to_batch(xy):
    seen = []

    class Watch(fnn.Callback):
        def on_train_batch_begin(self, batch):
            seen.append(batch)

        def on_train_batch_end(self, batch, logs):
            assert batch == seen[-1]
            assert np.isfinite(logs["loss"])
            if len(seen) == 10:
                self.model.stop_training = True

    history = small().fit(forever(xy), steps_per_epoch=7, epochs=5, callbacks=[Watch()], verbose=0)
    assert seen == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]
    assert history.stop_reason == "a callback set stop_training"


@pytest.mark.parametrize(
    ("count", "epochs", "reason"),
    [
        (9, 2, "x ended after 2 of 7 batches of epoch 2"),
        (7, 1, "x ended after 0 of 7 batches of epoch 2"),
        (3, 1, "x ended after 3 of 7 batches of epoch 1"),
    ],
)
def test_end_before_the_last_epoch(count, epochs, reason, xy):
    data = (pair for pair, _ in zip(forever(xy), range(count), strict=False))
    model = small()
    history = model.fit(data, steps_per_epoch=7, epochs=4, verbose=0)
    assert history.stop_reason == reason
    assert len(history.history["loss"]) == epochs
    assert model.network.runtime.step == count


def spoiled(xy, what):
    """Three good batches, then something else."""
    yield from batches(xy)[:3]
    x, y = batches(xy)[3]
    if what == "width":
        yield x[:, :5], y
    elif what == "nan":
        yield np.where(np.arange(6) == 2, np.nan, x), y
    elif what == "label":
        yield x, y + 3
    elif what == "not a pair":
        yield x
    elif what == "four":
        yield x, y, np.ones(len(x)), None
    elif what == "empty":
        yield x[:0], y[:0]
    elif what == "raises":
        raise KeyError("the user's own")


@pytest.mark.parametrize(
    ("what", "error", "match"),
    [
        ("width", ValueError, r"batch 4 of epoch 1: x must have shape \(rows, 6\), got \(8, 5\)"),
        ("nan", ValueError, r"batch 4 of epoch 1: x must hold finite numbers, got nan at \[0, 2\]"),
        ("label", ValueError, "batch 4 of epoch 1: y must hold class labels from 0 to 2"),
        ("not a pair", TypeError, r"batch 4 of epoch 1: must be a tuple \(x, y\), got ndarray"),
        ("four", TypeError, r"must be \(x, y\) or \(x, y, sample_weight\), got 4 entries"),
        ("empty", ValueError, "batch 4 of epoch 1: x must have at least one row"),
        ("raises", KeyError, "the user's own"),
    ],
)
def test_wrong_batch_leaves_the_model_at_the_end_of_the_step_before(what, error, match, xy):
    model, twin = small(), small()
    with pytest.raises(error, match=match) as caught:
        model.fit(spoiled(xy, what), verbose=0)
    if what == "raises":
        assert "spoiled" in [
            frame.name for frame in traceback.extract_tb(caught.value.__traceback__)
        ]
    twin.fit(batches(xy)[:3], verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert model.history.stop_reason.startswith(error.__name__)
    assert not model.network.is_fitting
    model.fit(*xy, verbose=0)  # training continues
    with pytest.raises(error, match=match.replace(" of epoch 1", "")):
        model.evaluate(spoiled(xy, what))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (
            {"y": np.zeros(3)},
            ValueError,
            "y must be None where x yields batches .*, which generator",
        ),
        ({"epochs": 2}, ValueError, "steps_per_epoch must be given for 2 epochs of an iterator"),
        ({"validation_split": 0.2}, ValueError, "validation_split needs arrays"),
        ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch must be a positive integer, got 0"),
        ({"x": []}, ValueError, "x must yield at least one batch"),
        ({"x": [np.zeros((3, 6))]}, TypeError, r"batch 1 of epoch 1: must be a tuple \(x, y\)"),
        ({"x": "abc"}, TypeError, "x must hold real numbers|y must be an array of numbers"),
        ({"x": np.zeros((3, 6))}, TypeError, "y must be an array of numbers, got None"),
        (
            {"x": np.zeros((3, 6)), "y": [0, 1, 2], "steps_per_epoch": 1},
            ValueError,
            "steps_per_epo",
        ),
    ],
)
def test_bad_arguments_are_refused_before_anything_has_changed(arguments, error, match, xy):
    model = small()
    given = {"x": (pair for pair in batches(xy)), **arguments}
    with unchanged(model), pytest.raises(error, match=match):
        model.fit(**given, verbose=0)
    model = small(built=False)
    with pytest.raises(error):
        model.fit(**{"x": (pair for pair in batches(xy)), **arguments}, verbose=0)
    assert not model.built


def test_first_batch_that_is_wrong_builds_nothing(xy):
    model = small(built=False)
    with pytest.raises(ValueError, match="batch 1 of epoch 1"):
        model.fit([(xy[0], xy[1] + 9)], verbose=0)
    assert not model.built


def test_interrupt_and_errors_of_callbacks_end_the_thread(xy):
    class Stop(fnn.Callback):
        def on_epoch_begin(self, epoch):
            raise KeyboardInterrupt

    model = small()
    with pytest.raises(KeyboardInterrupt):
        model.fit(forever(xy), steps_per_epoch=100, callbacks=[Stop()], verbose=0)
    assert model.history.stop_reason == "interrupted"


def test_loss_that_is_not_finite_names_the_step(xy):
    model = small()
    model.optimizer.learning_rate = 1e300
    with pytest.raises(fnn.NonFiniteLossError, match=r"epoch 1, step 2 of 5"):
        model.fit(forever(xy), steps_per_epoch=5, verbose=0)


def test_progress_without_a_known_number_of_steps(xy, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    small().fit(Iterable(batches(xy)), verbose=1)
    assert "7 steps" in capsys.readouterr().err


def test_reader_stays_within_its_depth():
    made, is_free = [], threading.Semaphore(0)

    def items():
        for i in range(10):
            made.append(i)
            is_free.release()
            yield i

    reader = ReadAhead(items(), depth=3)
    assert reader.peek() == 0
    for _ in range(3):
        assert is_free.acquire(timeout=5)
    assert not is_free.acquire(timeout=0.05)
    assert next(reader) == 0
    assert is_free.acquire(timeout=5)
    assert list(reader) == list(range(1, 10))
    assert next(reader, None) is None


def test_batches_may_bring_weights_of_their_samples(xy):
    x, y = xy
    w = np.linspace(0, 2, len(x))
    one, other = small(), small()
    one.fit([(x[i : i + 8], y[i : i + 8], w[i : i + 8]) for i in range(0, len(x), 8)], verbose=0)
    other.fit(x, y, sample_weight=w, batch_size=8, shuffle=False, verbose=0)
    assert weights_as_bytes(one) == weights_as_bytes(other)
    with pytest.raises(ValueError, match="sample_weight must be None where x yields batches"):
        one.fit([(x, y)], sample_weight=w, verbose=0)


def test_validation_data_may_be_a_list_of_batches(xy):
    x, y = xy
    model = small()
    lists = [(x[:30], y[:30]), (x[30:], y[30:])]
    history = model.fit(x, y, verbose=0, validation_data=lists)
    assert history.history["val_loss"][0] == pytest.approx(model.evaluate(x, y)["loss"])
    assert model.fit(x, y, verbose=0, validation_data=[x, y]).history.keys() == (
        history.history.keys()
    )


# --- epochs over a part of the batches ------------------------------------------------------------


class Seen(fnn.Callback):
    """Notes, at learning rate 0, the loss of each batch, which says which batch it is."""

    def __init__(self):
        self.epochs = []

    def on_epoch_begin(self, epoch):
        self.epochs.append([])

    def on_train_batch_end(self, batch, logs):
        self.epochs[-1].append(logs["loss"])


def seen(data, **options):
    """The batches of each epoch, as numbers counted from the first one that is seen."""
    model, watch = fnn.Sequential([fnn.Dense(3)], input_shape=(6,), seed=0), Seen()
    model.compile(fnn.SGD(0.0), "crossentropy")
    history = model.fit(data, callbacks=[watch], verbose=0, **options)
    order = list(dict.fromkeys(loss for epoch in watch.epochs for loss in epoch))
    return [[order.index(loss) for loss in epoch] for epoch in watch.epochs], history


@pytest.mark.parametrize("make", [list, tuple, Iterable, OldSequence])
def test_an_epoch_goes_on_where_the_last_one_stopped(make, xy):
    data = make(batches(xy))
    assert len(batches(xy)) == 7
    found, history = seen(data, steps_per_epoch=3, epochs=5)
    assert found == [[0, 1, 2], [3, 4, 5], [6, 0, 1], [2, 3, 4], [5, 6, 0]]
    assert history.stop_reason == "completed 5 epochs"
    found, _ = seen(data, steps_per_epoch=7, epochs=2)
    assert found == [list(range(7))] * 2
    found, _ = seen(data, steps_per_epoch=16, epochs=1)
    assert found == [[*range(7), *range(7), 0, 1]]
    found, _ = seen(data, steps_per_epoch=3, epochs=1)  # each fit begins anew
    assert found == [[0, 1, 2]]


def test_an_iterable_that_ends_at_once_ends_the_training(xy):
    class Once:
        def __init__(self):
            self.items = iter(batches(xy))

        def __iter__(self):
            return self.items

    found, history = seen(Once(), steps_per_epoch=5, epochs=4)
    assert found == [[0, 1, 2, 3, 4], [5, 6]]
    assert history.stop_reason == "x ended after 2 of 5 batches of epoch 2"


class Told(OldSequence):
    """A Sequence of Keras' kind, which shuffles its batches after each epoch."""

    def __init__(self, items):
        super().__init__(items)
        self.calls = []

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")
        self.items = self.items[1:] + self.items[:1]


@pytest.mark.parametrize("steps", [None, 7])
def test_data_are_told_when_an_epoch_begins_and_ends(steps, xy):
    data = Told(batches(xy))
    found, _ = seen(data, epochs=3, steps_per_epoch=steps)
    assert data.calls == ["begin", "end"] * 3
    if steps is None:
        assert [epoch[0] for epoch in found] == [0, 1, 2]
    data = Told(batches(xy))
    small().predict(data)
    small().evaluate(data)
    assert data.calls == ["begin", "end"] * 2
    data = Told(batches(xy))
    small().fit(*xy, validation_data=data, epochs=2, verbose=0)
    assert data.calls == ["begin", "end"] * 2


def test_data_are_told_after_the_last_step_and_before_validation(xy):
    calls = []

    class Data(Told):
        def on_epoch_end(self):
            calls.append("data")

    class Watch(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            calls.append("callback")

        def on_train_batch_end(self, batch, logs):
            calls.append(batch)

    small().fit(Data(batches(xy)[:2]), epochs=2, callbacks=[Watch()], verbose=0)
    assert calls == [0, 1, "data", "callback"] * 2


def test_an_error_of_the_datas_own_hook_is_passed_on(xy):
    class Broken(Told):
        def on_epoch_end(self):
            raise LookupError("mine")

    model = small()
    with pytest.raises(LookupError, match="mine"):
        model.fit(Broken(batches(xy)), verbose=0)
    assert model.history.stop_reason == "LookupError: mine"


def test_validation_on_some_batches(xy):
    """The first ones each time; of an iterator, the next ones."""
    first = small()
    first.optimizer.learning_rate = 0.0
    per_batch = [first.evaluate([pair])["loss"] for pair in batches(xy)]
    for data, steps, expected in (
        (batches(xy), 2, [per_batch[:2]] * 3),
        (OldSequence(batches(xy)), 1, [per_batch[:1]] * 3),
        (iter(batches(xy)), 2, [per_batch[:2], per_batch[2:4], per_batch[4:6]]),
        (forever(xy), 1, [per_batch[:1], per_batch[1:2], per_batch[2:3]]),
    ):
        history = first.fit(
            *xy, validation_data=data, validation_steps=steps, epochs=3, verbose=0
        ).history["val_loss"]
        assert np.allclose(history, [np.mean(part) for part in expected], rtol=1e-6)


def test_validation_batches_that_end_end_the_training(xy):
    few = iter(batches(xy)[:3])
    model = small()
    history = model.fit(*xy, validation_data=few, validation_steps=2, epochs=9, verbose=0)
    assert history.stop_reason == "validation_data has ended"
    assert history.epoch == [0, 1, 2]
    assert [np.isnan(value) for value in history.history["val_loss"]] == [False, False, True]


def test_batches_of_a_resumed_training_are_counted_on(xy):
    model = small()
    bad = [*batches(xy)[:2], (xy[0][:, :5], xy[1])]
    with pytest.raises(ValueError, match="batch 3 of epoch 4: x must have shape"):
        model.fit(bad, initial_epoch=3, epochs=5, verbose=0)
    short = (pair for pair in batches(xy))
    history = model.fit(short, initial_epoch=3, epochs=5, steps_per_epoch=5, verbose=0)
    assert history.stop_reason == "x ended after 2 of 5 batches of epoch 5"
    assert history.epoch == [3, 4]


class OnceOnly:
    """Batches of the first epoch; later there are none."""

    def __init__(self, found):
        self.found, self.epochs = found, 0

    def __iter__(self):
        self.epochs += 1
        return iter(self.found if self.epochs == 1 else ())


def test_batches_that_come_once_end_the_training_by_name(xy):
    model = small()
    history = model.fit(OnceOnly(batches(xy)), epochs=4, verbose=0)
    assert len(history.epoch) == 1
    assert history.stop_reason == "x yielded no batch in epoch 2"


@pytest.mark.parametrize(
    ("hook", "hint"),
    [("on_epoch_ends", "did you mean on_epoch_end"), ("on_batch_end", "on_epoch_end are"),
     ("on_train_begin", "on_epoch_end are")],
)  # fmt: skip
def test_a_hook_of_batches_that_is_never_called_is_refused(hook, hint):
    class Batches:
        def __len__(self):
            return 2

        def __getitem__(self, number):
            return np.ones((4, 2)), np.ones(4)

    model = fnn.Sequential([fnn.Dense(1)], input_shape=(2,))
    model.compile("sgd", "mse")
    model.fit(Batches(), verbose=0)
    setattr(Batches, hook, lambda self: None)
    with pytest.raises(TypeError, match=f"x: Batches.{hook} is never called, .*{hint}"):
        model.fit(Batches(), verbose=0)
