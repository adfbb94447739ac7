"""`predict_one` and `learn_one`: the same bits as a batch of one, and the same errors."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from helpers import assert_same_bits
from model_helpers import is_finite, never_judges, state_of, two_inputs, unchanged, weights_as_bytes

import fastnn as fnn
from fastnn.program.purpose import Purpose

ROWS = 6


def plain(loss="mse", *, dtype="float32", optimizer="adam", metrics=(), units=2, end=None):
    """A model of 5 inputs with dropout."""
    model = fnn.Sequential(
        [fnn.Dense(7, activation="relu"), fnn.Dropout(0.3), fnn.Dense(units, activation=end)],
        input_shape=(5,), dtype=dtype, seed=0,
    )  # fmt: skip
    model.compile(optimizer, loss, metrics)
    return model


def numbers(*shape):
    return np.random.default_rng(1).normal(size=(ROWS, *shape))


LABELS = np.array([0, 2, 1, 1, 0, 2])
BITS = np.array([0, 1, 1, 0, 1, 0])
# name: model, samples, targets
CASES = {
    "mse": (plain, numbers(5), numbers(2)),
    "float64": (lambda: plain(dtype="float64"), numbers(5), numbers(2)),
    "float32 data": (plain, numbers(5).astype("f"), numbers(2).astype("f")),
    "float32 data, float64": (
        lambda: plain(dtype="float64"), numbers(5).astype("f"), numbers(2).astype("f"),
    ),
    "one output": (lambda: plain(units=1), numbers(5), numbers(1)),
    "numbers": (lambda: plain(units=1), numbers(5), list(numbers()[:ROWS])),
    "float32 numbers": (lambda: plain(units=1), numbers(5), list(numbers().astype("f")[:ROWS])),
    "whole numbers": (lambda: plain(units=1), numbers(5), [3, -1, 2**60 + 1, np.uint8(7), 1, 0]),
    "labels": (lambda: plain("crossentropy", units=3), numbers(5), list(LABELS)),
    "python labels": (lambda: plain("crossentropy", units=3), numbers(5), LABELS.tolist()),
    "label arrays": (lambda: plain("crossentropy", units=3), numbers(5), LABELS[:, None]),
    "probabilities": (lambda: plain("crossentropy", units=3), numbers(5), np.eye(3)[LABELS]),
    "binary": (
        lambda: plain("binary_crossentropy", units=1, end="sigmoid", metrics=["accuracy"]),
        numbers(5), list(BITS),
    ),
    "booleans": (lambda: plain("binary_crossentropy", units=1), numbers(5), list(BITS == 1)),
    "momentum": (lambda: plain(optimizer=fnn.SGD(0.1, momentum=0.9)), numbers(5), numbers(2)),
    "two inputs": (two_inputs, list(zip(numbers(4), numbers(2, 3), strict=True)), list(LABELS)),
}  # fmt: skip


def batch(x):
    """Return a sample as a batch of one."""
    return [batch(part) for part in x] if isinstance(x, tuple) else np.asarray(x)[None]


def short_way(model, x, y, judge=never_judges):
    """Return the loss if the prepared program takes the sample, otherwise None."""
    learner = model.network.runtime.fast_path.learner
    return (
        None
        if learner is None
        else learner.prepared.learn(x, y, vars(model.optimizer), judge, model)
    )


@pytest.mark.parametrize("case", CASES)
def test_same_bits_as_a_batch_of_one(case):
    make, samples, targets = CASES[case]
    model, twin = make(), make()
    for _ in range(3):
        for x, y in zip(samples, targets, strict=True):
            loss = model.learn_one(x, y)
            assert type(loss) is float
            assert loss == twin.train_on_batch(batch(x), batch(y))
            got, want = model.predict_one(x), twin.predict(batch(x))
            assert_same_bits(got, want[0])
    before, after = state_of(twin), state_of(model)
    for name in ("parameters", "gradients", "state", "step"):
        assert after[name] == before[name], name
    assert model.network.runtime.step == 3 * ROWS


@pytest.mark.parametrize("case", CASES)
def test_which_samples_take_the_short_way(case):
    make, samples, targets = CASES[case]
    model = make()
    x, y = samples[0], targets[0]
    model.learn_one(x, y)
    model.predict_one(x)
    assert model.network.runtime.fast_path.predictor.predict_one(x) is not None
    is_short = short_way(model, x, y) is not None
    assert is_short == (case not in ("label arrays", "probabilities", "booleans"))


# Declined inputs: the results are right, though slower.
SPREAD = np.repeat(numbers(5), 2, axis=1)[0, ::2]
OTHERS = {
    "gaps": SPREAD,
    "backwards": SPREAD[::-1].copy()[::-1],
    "integers": np.arange(5),
    "small integers": np.arange(5, dtype=np.uint8),
    "booleans": np.arange(5) > 2,
    "float16": SPREAD.astype(np.float16),
    "other byte order": SPREAD.astype(SPREAD.dtype.newbyteorder()),
    "misaligned": np.frombuffer(b"." + SPREAD.tobytes(), np.uint8)[1:].view(np.float64),
    "list": SPREAD.tolist(),
    "subclass": SPREAD.view(np.recarray),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_any_array_is_taken(kind):
    model, twin, x, y = plain(), plain(), OTHERS[kind], numbers(2)[0]
    for _ in range(3):
        assert model.learn_one(x, y) == twin.train_on_batch(batch(x), batch(y))
        assert_same_bits(model.predict_one(x), twin.predict(batch(x))[0])
    assert model.network.runtime.fast_path.predictor.predict_one(x) is None
    assert short_way(model, x, y) is None


def test_each_prediction_is_an_array_of_its_own():
    model, (a, b) = plain(), numbers(5)[:2]
    first = model.predict_one(a)
    first = model.predict_one(a)
    kept = first.copy()
    second = model.predict_one(b)
    assert_same_bits(first, kept)
    assert not np.shares_memory(first, second)
    assert first.flags.writeable
    assert first.flags.owndata


def test_output_of_several_dimensions():
    model = fnn.Sequential([fnn.Activation("tanh")], input_shape=(2, 3))
    x = numbers(2, 3)[0]
    for _ in range(3):
        assert_same_bits(model.predict_one(x), model.predict(x[None])[0])


def test_model_without_input_shape_takes_it_from_the_first_sample():
    model = fnn.Sequential([fnn.Dense(2)], seed=0)
    with pytest.raises(ValueError, match=r"x must have shape \(inputs,\), got \(\)"):
        model.predict_one(3.0)
    assert model.predict_one(np.zeros(3)).shape == (2,)
    model = fnn.Sequential([fnn.Dense(2)], seed=0)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="y must have shape"):
        model.learn_one(np.zeros(3), np.zeros(3))
    assert not model.built
    assert model.learn_one(np.zeros(3), np.ones(2)) == 1.0


# --- settings changed in between ------------------------------------------------------------------

CHANGES = {
    "learning_rate": lambda model: setattr(model.optimizer, "learning_rate", 0.5),
    "beta_1": lambda model: setattr(model.optimizer, "beta_1", 0.1),
    "clipvalue": lambda model: setattr(model.optimizer, "clipvalue", 1e-3),
    "behind its back": lambda model: vars(model.optimizer).update(beta_2=0.5),
    "compile": lambda model: model.compile(fnn.SGD(0.3), "mae"),
    "weights": lambda model: model.set_weights([2 * w for w in model.get_weights()]),
    "parameters": lambda model: model.parameters["dense/kernel"].fill(0.25),
    "step": lambda model: setattr(model.network.runtime, "step", 99),
    "fit": lambda model: model.fit(numbers(5), numbers(2), batch_size=4, verbose=0),
    "large batch": lambda model: model.train_on_batch(numbers(5), numbers(2)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_set_in_between_counts_from_the_next_step(change):
    model, twin, x, y = plain(), plain(), numbers(5)[0], numbers(2)[0]
    for number in range(6):
        if number == 3:
            CHANGES[change](model)
            CHANGES[change](twin)
        assert model.learn_one(x, y) == twin.train_on_batch(x[None], y[None]), number
        assert_same_bits(model.predict_one(x), twin.predict(x[None])[0], number)
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert short_way(model, x, y) is not None, "the fast path is lost"


def test_other_state_than_compiled_is_refused():
    model, x, y = plain(optimizer=fnn.SGD(0.1)), numbers(5)[0], numbers(2)[0]
    model.learn_one(x, y)
    model.optimizer.momentum = 0.9
    with unchanged(model), pytest.raises(RuntimeError, match="keeps other state than"):
        model.learn_one(x, y)


# --- errors ---------------------------------------------------------------------------------------

GOOD = numbers(5)[0]
BAD_X = {
    "none": (None, TypeError, "x must be an array of numbers, got None"),
    "text": ("abc", TypeError, "x must hold real numbers, got str"),
    "complex": (GOOD + 0j, TypeError, "x must hold real numbers, got dtype complex128"),
    "narrow": (GOOD[:4], ValueError, r"x must have shape \(5,\), got \(4,\)"),
    "number": (1.0, ValueError, r"x must have shape \(5,\), got \(\)"),
    "batch": (GOOD[None], ValueError, r"x must have shape .* got \(1, 5\); it is one sample, with"),
    "nan": (np.where(np.arange(5) == 3, np.nan, GOOD), ValueError, r"x must hold .*nan at \[3\]"),
    "inf": (np.full(5, -np.inf, "f"), ValueError, "x must hold finite numbers, got -inf .*4 more"),
    "large": (np.full(5, 1e39), ValueError, "x must hold numbers that float32 can hold, got 1e+"),
}
BAD_Y = {
    "none": (None, "mse", TypeError, "y must be an array of numbers, got None"),
    "wide": (np.zeros(4), "mse", ValueError, r"y must have shape \(3,\), got \(4,\)"),
    "number": (1.0, "mse", ValueError, r"y must have shape \(3,\), got \(\)"),
    "nan": (np.array([0, np.nan, 0]), "mse", ValueError, r"y must hold finite .*nan at \[1\]"),
    "interval": (np.timedelta64(1, "s"), "crossentropy", TypeError, "y must hold real numbers"),
    "class": (3, "crossentropy", ValueError, "y must hold class labels from 0 to 2 .*got 3"),
    "negative": (-1, "crossentropy", ValueError, "y must hold class labels .*got -1"),
    "huge": (2**70, "crossentropy", TypeError, "y must hold real numbers"),
    "real": (1.0, "crossentropy", TypeError, "y must hold integer class labels"),
    "labels": (np.zeros(2, int), "crossentropy", ValueError,
               r"y must have shape \(3,\) or be a class label, got \(2,\)"),
    "sum": (np.ones(3), "crossentropy", ValueError, "y must hold probabilities that sum to 1"),
    "share": (np.full(3, 1.5), "binary_crossentropy", ValueError, r"y must lie in \[0, 1\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.parametrize("is_prepared", [False, True])
def test_bad_sample(case, is_prepared):
    x, error, message = BAD_X[case]
    model, y = plain(), numbers(2)[0]
    for _ in range(2 * is_prepared):
        model.learn_one(GOOD, y)
        model.predict_one(GOOD)
    for call in (model.predict_one, lambda x: model.learn_one(x, y)):
        with unchanged(model), pytest.raises(error, match=f"^{message}"):
            call(x)


@pytest.mark.parametrize("case", BAD_Y)
@pytest.mark.parametrize("is_prepared", [False, True])
def test_bad_target(case, is_prepared):
    y, loss, error, message = BAD_Y[case]
    model = plain(loss, units=3)
    good = 1 if loss == "crossentropy" else np.ones(3)
    for _ in range(2 * is_prepared):
        model.learn_one(GOOD, good)
    with unchanged(model), pytest.raises(error, match=f"^{message}"):
        model.learn_one(GOOD, y)


@pytest.mark.parametrize("x", [GOOD, (GOOD[:4],), (GOOD[:4], np.zeros((2, 3)), GOOD), None])
def test_bad_number_of_inputs(x):
    model = two_inputs()
    model.learn_one((GOOD[:4], np.zeros((2, 3))), 1)
    for call in (model.predict_one, lambda x: model.learn_one(x, 1)):
        with unchanged(model), pytest.raises(ValueError, match=r"^x must be a list of 2 arrays"):
            call(x)
    with pytest.raises(ValueError, match=r"^x\[1\] must have shape \(2, 3\), got \(3, 2\)"):
        model.predict_one([GOOD[:4], np.zeros((3, 2))])


def test_learning_needs_compile():
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(5,))
    with pytest.raises(RuntimeError, match=r"call compile\(optimizer, loss\) first"):
        model.learn_one(GOOD, np.zeros(2))


# --- losses and parameters that are not finite ----------------------------------------------------


def message_of(call):
    with pytest.raises(fnn.NonFiniteLossError) as caught:
        call()
    return str(caught.value)


def test_loss_that_is_not_finite_is_refused_before_the_step():
    model, twin, y = plain(), plain(), numbers(2)[0]
    for each in (model, twin):
        each.learn_one(GOOD, y)
        each.parameters["dense_1/kernel"][0, 0] = np.inf
        each.parameters["dense/bias"][...] = 1
    got = message_of(lambda: model.learn_one(GOOD, y))
    assert got == message_of(lambda: twin.train_on_batch(GOOD[None], y[None]))
    assert "step 2: layer 'dense_1'" in got
    seen = []
    short_way(model, GOOD, y, lambda *told: seen.append(told))
    ((network, x, is_done, loss),) = seen
    assert network is model
    assert x is GOOD
    assert is_done is False
    assert not np.isfinite(loss)
    assert model.network.runtime.step == twin.network.runtime.step
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_finite_model_stays_where_it_was_when_the_loss_overflows():
    model = plain()
    model.learn_one(GOOD, numbers(2)[0])
    before = weights_as_bytes(model)
    with pytest.raises(fnn.NonFiniteLossError, match="the parameters are those before this step"):
        model.learn_one(GOOD, np.full(2, 1e30))
    assert weights_as_bytes(model) == before
    assert model.network.runtime.step == 1


def test_update_that_loses_the_parameters_is_undone():
    model, twin = (plain(optimizer=fnn.SGD(0.0)) for _ in range(2))
    y = numbers(2)[0]
    for each in (model, twin):
        each.learn_one(GOOD, y)
        each.optimizer.learning_rate = 1e38
        each.parameters["dense_1/bias"][...] = 1e6
    before = weights_as_bytes(model)
    got = message_of(lambda: model.learn_one(GOOD, y))
    assert "the optimizer starts afresh" in got
    assert got == message_of(lambda: twin.train_on_batch(GOOD[None], y[None]))
    assert weights_as_bytes(model) == before
    assert is_finite(model)
    assert model.network.runtime.step == 0


def test_large_parameters_are_not_taken_for_infinite_ones():
    model, twin = (plain(dtype="float64", optimizer="sgd") for _ in range(2))
    y = numbers(2)[0]
    for each in (model, twin):
        each.learn_one(np.zeros(5), y)
        each.parameters["dense/kernel"][...] = 1e200  # it only meets zeros
    assert model.learn_one(np.zeros(5), y) == twin.train_on_batch(np.zeros((1, 5)), y[None])


# --- threads --------------------------------------------------------------------------------------


def test_threads_may_share_a_model():
    """One thread predicts batches, without the GIL; others single samples, in its workspace."""
    model = fnn.Sequential([fnn.Dense(64, "tanh"), fnn.Dense(3)], input_shape=(5,), seed=0)
    samples = numbers(5)
    model.predict_one(samples[0])
    want, wide = model.predict(samples), np.tile(samples, (1000, 1))
    wrong, stop = [], threading.Event()

    def batches():
        for _ in range(30):
            if (model.predict(wide) != np.tile(want, (1000, 1))).any():
                wrong.append("batch")
        stop.set()

    def singles():
        while not stop.is_set():
            for x, y in zip(samples, want, strict=True):
                if model.predict_one(x).tobytes() != y.tobytes():
                    wrong.append("sample")

    threads = [threading.Thread(target=target) for target in (batches, singles, singles)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_program_that_is_planned_anew_is_prepared_anew():
    """Otherwise the two would not share the lock."""
    model, x, y = plain(), numbers(5), numbers(2)
    model.learn_one(x[0], y[0])
    model.predict_one(x[0])
    old = model.network.runtime.fast_path.learner.bound
    model.train_on_batch(x, y)
    learner = model.network.runtime.fast_path.learner
    assert learner.bound is not old
    assert learner.bound in model.network.runtime.programs.values()
    assert model.network.runtime.fast_path.predictor is not None
    model.predict(np.zeros((1000, 5)), batch_size=1000)
    assert model.network.runtime.fast_path.predictor is None


def test_wide_network_lets_others_run_and_has_the_same_bits(rng):
    model = fnn.Sequential([fnn.Dense(300, "relu"), fnn.Dense(400)], input_shape=(200,), seed=0)
    twin = fnn.Sequential([fnn.Dense(300, "relu"), fnn.Dense(400)], input_shape=(200,), seed=0)
    for each in (model, twin):
        each.compile("adam", "mse")
    for _ in range(3):
        x, y = rng.normal(size=200), rng.normal(size=400)
        assert model.learn_one(x, y) == twin.train_on_batch(x[None], y[None])
        assert_same_bits(model.predict_one(x), twin.predict(x[None])[0])
    assert model.network.runtime.fast_path.learner is not None
    assert model.network.runtime.fast_path.predictor is not None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_go_a_short_way(rng, dtype):
    """It returns the bits of the general path, and its errors; declined inputs take that path."""
    model = fnn.Sequential(
        [fnn.Flatten(), fnn.Dense(5, activation="tanh"), fnn.Dense(2)],
        input_shape=(3, 2), dtype=dtype, seed=0,
    )  # fmt: skip
    x = rng.standard_normal((20, 3, 2)).astype(dtype)
    wanted = model.predict(x)
    prepared = model.network.runtime.fast_path.few_rows.prepared
    for rows in (slice(None), slice(0, 1), slice(0, 7), slice(13, None)):
        assert_same_bits(prepared.predict_few(x[rows]), wanted[rows])
        assert_same_bits(model.predict(x[rows]), wanted[rows])
    assert prepared.predict_few(x) is not prepared.predict_few(x), "a new array each time"
    other = "float64" if dtype == "float32" else "float32"
    converted = x.astype(other)
    assert_same_bits(prepared.predict_few(converted), model.predict(converted.tolist()))
    assert prepared.predict_few(np.where(x == x[3, 1, 0], np.nan, converted)) is None
    declined = [
        x.astype("i4"), x[::2], x[:0], x.astype(x.dtype.newbyteorder()), x.tolist(), x[:, :2],
        x.reshape(20, 6), x.reshape(20, 2, 3), np.asfortranarray(x), np.concatenate([x] * 100),
        np.where(x == x[3, 1, 0], np.nan, x), np.where(x == x[3, 1, 0], -np.inf, x), None, "x",
        np.ma.array(x), x.view(np.recarray),
    ]  # fmt: skip
    for what in declined:
        assert prepared.predict_few(what) is None
    too_large = np.full(x.shape, 1e200)  # for float32
    assert prepared.predict_few(too_large) is None
    assert_same_bits(model.predict(x[::2]), wanted[::2])
    assert model.predict(x[:0]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"x must hold finite numbers, got nan at \[3, 1, 0\]"):
        model.predict(declined[10])
    with pytest.raises(ValueError, match=r"x must have shape \(rows, 3, 2\)"):
        model.predict(x[:, :2])
    large = np.full_like(x, np.finfo(dtype).max)  # the squares of these overflow
    assert_same_bits(model.predict(large), model.predict(large.tolist()))


def test_few_rows_see_what_parameters_are_set(rng):
    model = plain()
    x = rng.standard_normal((4, 5)).astype("f")
    model.predict(x)
    before = model.predict(x)
    model.fit(x, x[:, :2], epochs=1, verbose=0)
    assert not np.array_equal(model.predict(x), before)
    assert_same_bits(model.predict(x), model.predict(x.tolist()))
    model.predict(np.zeros((2000, 5)), batch_size=2000)  # planned anew, and therefore prepared anew
    assert_same_bits(model.predict(x), model.predict(x.tolist()))


def test_rows_that_are_worth_a_team_go_the_short_way_by_a_team(rng, threads):
    threads(3)
    model = fnn.Sequential([fnn.Dense(512), fnn.Dense(256)], input_shape=(512,), seed=0)
    x = rng.standard_normal((64, 512)).astype("f")
    wanted = model.predict(x)
    few = model.network.runtime.fast_path.few_rows
    prepared = few.prepared
    assert (few.most, few.alone, prepared.workers) == (512, 4, 3)
    for workers in (1, 2, 3):
        for rows in (1, 5, 64):
            assert_same_bits(prepared.predict_few(x[:rows], workers), wanted[:rows])
    assert prepared.predict_few(x, 4) is None
    assert prepared.predict_few(x, 0) is None
    pace = model.network.runtime.bound(Purpose.PREDICT, 1).team(64)
    while pace._trials:  # sizes of the team are tried, and one is kept
        assert_same_bits(model.predict(x), wanted)
    assert set(pace._seconds) == {1, 2, 3}
    threads(4)
    assert_same_bits(model.predict(x), wanted)
    while pace._trials:
        assert_same_bits(model.predict(x), wanted)
    assert model.network.runtime.fast_path.few_rows.prepared.workers == 4, "prepared again for more"


def test_one_row_of_a_model_that_no_cache_holds_is_tried_by_a_team(rng, threads):
    threads(2)
    model = fnn.Sequential([fnn.Dense(1024), fnn.Dense(3)], input_shape=(1024,), seed=0)
    x = rng.standard_normal((1, 1024)).astype("f")
    model.predict(x)
    assert model.network.runtime.fast_path.few_rows.alone == 0
    pace = model.network.runtime.bound(Purpose.PREDICT, 1).team(1)
    while pace._trials:
        model.predict(x)
    assert set(pace._seconds) == {1, 2}


@pytest.mark.parametrize("kind", ["embedding", "two inputs", "python", "nothing", "sparse"])
def test_few_rows_of_unusual_models(kind, rng):
    if kind == "embedding":
        model = fnn.Sequential([fnn.Embedding(5, 2), fnn.Flatten()], input_shape=(3,), seed=0)
        x = rng.integers(0, 5, (4, 3)).astype("f")
    elif kind == "two inputs":
        model, x = two_inputs(), [np.ones((2, 4), "f"), np.ones((2, 2, 3), "f")]
    elif kind == "python":
        square = fnn.activations.Custom(np.square, lambda x: 2 * x)
        model = fnn.Sequential([fnn.Dense(2, activation=square)], input_shape=(3,), seed=0)
        x = rng.standard_normal((4, 3)).astype("f")
    elif kind == "nothing":
        model = fnn.Sequential([fnn.Flatten()], input_shape=(3, 2))
        x = rng.standard_normal((4, 3, 2)).astype("f")
    else:
        scipy_sparse = pytest.importorskip("scipy.sparse")
        model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
        x = scipy_sparse.csr_array(np.eye(3, dtype="f"))
    first = model.predict(x)
    for _ in range(2):
        assert_same_bits(model.predict(x), first)
    if kind in ("two inputs", "python"):
        assert model.network.runtime.fast_path.few_rows is None
        assert not model.network.runtime.fast_path.wants_few_rows, "it is not examined again"
    if kind == "embedding":
        with pytest.raises(ValueError, match="whole numbers from 0 to 4"):
            model.predict(x + 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_threads_of_a_forked_process_take_turns():
    """A prepared program and a general one share a workspace, and so must share a lock."""
    layers = [fnn.Dense(700, activation="relu") for _ in range(3)]
    model = fnn.Sequential(layers, input_shape=(700,), seed=0)
    row = np.ones((1, 700), "f")
    wanted = model.predict(row)
    model.predict(row)

    def child():
        wrong = []
        halt = threading.Event()

        def prepared():
            while not halt.is_set():
                if not np.array_equal(model.predict(row), wanted):
                    wrong.append(1)

        thread = threading.Thread(target=prepared)
        thread.start()
        for _ in range(3):  # a list takes the general path
            if not np.array_equal(model.predict(row.tolist()), wanted):
                wrong.append(2)
        halt.set()
        thread.join()
        return len(wrong)

    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                code = min(child(), 98)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_batch_of_one_goes_the_same_way(rng):
    """It returns the bits of the general path, and its errors; declined inputs take that path."""
    model = fnn.Sequential(
        [fnn.Dense(5, activation="tanh"), fnn.Dense(2)], input_shape=(3,), seed=0
    )
    x = rng.standard_normal((4, 3)).astype("f")
    wanted = model.predict(x)
    for _ in range(2):  # nothing is prepared at first
        for i in range(4):
            got = model.predict(x[i : i + 1])
            assert got.shape == (1, 2)
            assert np.array_equal(got[0], wanted[i])
            assert np.array_equal(model.predict(x[i : i + 1].astype("f8")), got)
            assert np.array_equal(model.predict(x[i : i + 1].tolist()), got)
    with pytest.raises(ValueError, match="x"):
        model.predict(np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="x"):
        model.predict(np.zeros((1, 4)))
