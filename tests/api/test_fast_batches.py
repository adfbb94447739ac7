"""`train_on_batch` of plain arrays: the same bits as on the general path, and the same errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from model_helpers import never_judges, state_of, two_inputs, unchanged, weights_as_bytes

import fastnn as fnn
from fastnn.training.steps import train_on_samples

ROWS = 24
RNG = np.random.default_rng(3)
X, ONE, TWO = RNG.normal(size=(ROWS, 5)), RNG.normal(size=ROWS), RNG.normal(size=(ROWS, 2))
LABELS, BITS = RNG.integers(0, 3, ROWS), RNG.integers(0, 2, ROWS)
WEIGHTS = RNG.normal(size=ROWS)


def model_of(units, loss="mse", *, dtype="float32", optimizer="adam", end=None, **options):
    model = fnn.Sequential(
        [fnn.Dense(7, "relu"), fnn.BatchNormalization(), fnn.Dropout(0.3), fnn.Dense(units, end)],
        input_shape=(5,), dtype=dtype, seed=0,
    )  # fmt: skip
    model.compile(optimizer, loss, **options)
    return model


def shared():
    """Parameters in the arenas of two networks."""
    base = fnn.Sequential([fnn.Dense(6, "tanh"), fnn.Dense(4)], input_shape=(5,), seed=0)
    model = fnn.Sequential([base.layers[0], fnn.Dense(2)], input_shape=(5,), seed=1)
    model.compile(fnn.AdamW(0.01, weight_decay=0.1), "mse")
    return model


def wide():
    """Worth a team."""
    model = fnn.Sequential([fnn.Dense(512, "relu"), fnn.Dense(2)], input_shape=(5,), seed=0)
    model.compile("sgd", "mse")
    return model


SCHEDULE = fnn.schedules.ExponentialDecay(0.1, 2, 0.5)
PAIR = [RNG.normal(size=(ROWS, 4)), RNG.normal(size=(ROWS, 2, 3))]
# name: model, x, y, sample_weight
CASES = {
    "real": (lambda: model_of(2), X, TWO, None),
    "float32 data": (lambda: model_of(2), X.astype("f"), TWO.astype("f"), None),
    "float64": (lambda: model_of(2, dtype="float64"), X, TWO, None),
    "weights": (lambda: model_of(2), X, TWO, WEIGHTS),
    "float32 weights": (lambda: model_of(2), X, TWO, WEIGHTS.astype("f")),
    "whole weights": (lambda: model_of(2), X, TWO, LABELS),
    "column of weights": (lambda: model_of(2), X, TWO, WEIGHTS[:, None]),
    "one number": (lambda: model_of(1), X, ONE, None),
    "column": (lambda: model_of(1), X, ONE[:, None], WEIGHTS),
    "whole numbers": (lambda: model_of(1), X, LABELS, None),
    "labels": (lambda: model_of(3, "crossentropy"), X, LABELS, None),
    "weighted labels": (lambda: model_of(3, "crossentropy"), X, LABELS, WEIGHTS),
    "int32 labels": (lambda: model_of(3, "crossentropy"), X, LABELS.astype(np.int32), None),
    "uint8 labels": (lambda: model_of(3, "crossentropy"), X, LABELS.astype(np.uint8), None),
    "column of labels": (lambda: model_of(3, "crossentropy"), X, LABELS[:, None], None),
    "binary": (
        lambda: model_of(1, "binary_crossentropy", end="sigmoid", metrics=["accuracy"]),
        X, BITS, None,
    ),
    "booleans": (lambda: model_of(1, "binary_crossentropy"), X, BITS == 1, None),
    "poisson": (lambda: model_of(1, "poisson", end="softplus"), X, LABELS, None),
    "schedule": (lambda: model_of(2, optimizer=fnn.SGD(SCHEDULE, momentum=0.9)), X, TWO, None),
    "two inputs": (two_inputs, PAIR, LABELS, None),
    "shared": (shared, X, TWO, WEIGHTS),
    "team": (wide, np.tile(X, (80, 1)), np.tile(TWO, (80, 1)), None),
}  # fmt: skip


def general(model, x, y, weights=None):
    """Take the same step on the general path."""
    return train_on_samples(
        model.network, model.network.checked_samples(x, y, weights, learns=True)
    )


def learnt(model):
    """Return what a step changes."""
    state = state_of(model)
    return {name: state[name] for name in ("parameters", "gradients", "state", "step")}


def is_fast(model, x, y, weights=None):
    """Whether the prepared program takes the batch; the model makes the step."""
    fast_path, objective = model.network.runtime.fast_path, model.network.objective
    return fast_path.try_learn_batch(x, y, weights, objective, never_judges, model) is not None


@pytest.mark.parametrize("case", CASES)
def test_same_bits_as_the_general_path(case):
    make, x, y, weights = CASES[case]
    model, twin = make(), make()
    for step in range(4):
        end = None if step % 2 else -3  # a smaller batch, too
        xs = [part[:end] for part in x] if isinstance(x, list) else x[:end]
        given = xs, y[:end], None if weights is None else weights[:end]
        loss = model.train_on_batch(*given)
        assert type(loss) is float
        assert loss == general(twin, *given)
    assert learnt(model) == learnt(twin)
    assert is_fast(model, x, y, weights)


def test_single_samples_and_batches_share_a_program():
    model, twin = (fnn.Sequential([fnn.Dense(1)], input_shape=(5,), seed=0) for _ in range(2))
    for each in (model, twin):
        each.compile("adam", "mse")
    for row in range(4):
        assert model.train_on_batch(X, ONE) == general(twin, X, ONE)
        assert model.learn_one(X[row], ONE[row]) == general(twin, X[row][None], ONE[row][None])
    learner = model.network.runtime.fast_path.learner.prepared
    assert learner.learn(X[0], ONE[0], vars(model.optimizer), never_judges, model) is not None
    assert is_fast(model, X, ONE)


SPREAD = np.repeat(X, 2, axis=1)[:, ::2]
DECLINED = {
    "gaps": (SPREAD, TWO, None),
    "list": (X.tolist(), TWO, None),
    "list of targets": (X, TWO.tolist(), None),
    "list of weights": (X, TWO, WEIGHTS.tolist()),
    "float16": (X.astype(np.float16), TWO, None),
    "whole numbers": ((X * 9).astype(int), TWO, None),
    "one row": (X[:1], TWO[:1], None),
    "more rows than before": (np.tile(X, (3, 1)), np.tile(TWO, (3, 1)), None),
}


@pytest.mark.parametrize("case", DECLINED)
def test_unusual_batches_take_the_general_path(case):
    x, y, weights = DECLINED[case]
    model, twin = (fnn.Sequential([fnn.Dense(2)], input_shape=(5,), seed=0) for _ in range(2))
    for each in (model, twin):
        each.compile("adam", "mse")
        each.train_on_batch(X, TWO)
        each.train_on_batch(X, TWO, WEIGHTS)
    assert not is_fast(model, x, y, weights)
    assert model.train_on_batch(x, y, weights) == general(twin, x, y, weights)
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def changed(array, value, where=3):
    array = array.copy()
    array.reshape(-1)[where] = value
    return array


# name: model, wrong x, wrong y, wrong weights, message
WRONG = {
    "NaN in x": ("mse", changed(X, np.nan), TWO, None, "x must hold finite"),
    "too large for float32": ("mse", changed(X, 1e60), TWO, None, "x"),
    "NaN in y": ("mse", X, changed(TWO, np.nan), None, "y must hold finite"),
    "infinite weight": ("mse", X, TWO, changed(WEIGHTS, np.inf), "sample_weight must hold finite"),
    "fewer targets": ("mse", X, TWO[:-1], None, "as many rows as x"),
    "fewer weights": ("mse", X, TWO, WEIGHTS[:-1], "one for each row"),
    "wide": ("mse", np.ones((ROWS, 6)), TWO, None, "x must have shape"),
    "wide y": ("mse", X, np.ones((ROWS, 3)), None, "y must have shape"),
    "label too large": ("crossentropy", X, changed(BITS, 2), None, "labels from 0 to 1"),
    "negative label": ("crossentropy", X, changed(BITS, -1), None, "labels from 0 to 1"),
    "labels as floats": ("crossentropy", X, BITS * 1.0, None, "integer class labels"),
    "above 1": ("binary_crossentropy", X, changed(TWO * 0, 2.0), None, "in .0, 1."),
    "no distribution": ("kl_divergence", X, np.full((ROWS, 2), 0.3), None, "sum to 1"),
    "no class": ("hinge", X, np.zeros((ROWS, 2)), None, "0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_batches_are_refused_as_before(case):
    loss, x, y, weights, message = WRONG[case]
    model = model_of(2, loss)
    good = BITS if loss == "crossentropy" else np.eye(2)[BITS]
    good = 2 * good - 1 if loss == "hinge" else good
    for given in (None, WEIGHTS):
        model.train_on_batch(X, good, given)
        model.train_on_batch(X, good, given)
    with unchanged(model), pytest.raises((ValueError, TypeError), match=message):
        model.train_on_batch(x, y, weights)


@pytest.mark.parametrize(("loss", "y"), [("kl_divergence", [0.3, 0.3]), ("hinge", [0.0, 1.0])])
def test_targets_that_a_range_does_not_tell_are_checked_for_single_samples(loss, y):
    model = model_of(2, loss)
    model.train_on_batch(X, np.eye(2)[BITS] if loss != "hinge" else np.ones((ROWS, 2)))
    with pytest.warns(UserWarning, match="BatchNormalization"):
        model.learn_one(X[0], np.array([1.0, 0.0]) if loss != "hinge" else np.ones(2))
    with unchanged(model), pytest.raises(ValueError, match="y"):
        model.learn_one(X[0], np.array(y))


def test_two_inputs_must_have_as_many_rows():
    model = two_inputs()
    for _ in range(2):
        model.train_on_batch(PAIR, LABELS)
    with unchanged(model), pytest.raises(ValueError, match="as many rows"):
        model.train_on_batch([PAIR[0], PAIR[1][:-1]], LABELS)
    with unchanged(model), pytest.raises(ValueError, match="as many rows"):
        model.train_on_batch([PAIR[0][:-1], PAIR[1]], LABELS)


def test_rows_of_weight_zero_may_have_any_target():
    model, twin = model_of(2), model_of(2)
    weights, y = changed(WEIGHTS, 0.0, 5), TWO.copy()
    y[5] = np.nan
    for each in (model, twin):
        each.train_on_batch(X, TWO, WEIGHTS)
    assert model.train_on_batch(X, y, weights) == general(twin, X, y, weights)


def test_weighted_metrics_and_several_outputs_keep_the_general_path():
    metric = model_of(2, weighted_metrics=["mae"])
    x = fnn.Input((5,))
    several = fnn.Model(x, [fnn.Dense(2)(x), fnn.Dense(2)(x)], seed=0)
    several.compile("sgd", "mse")
    metric.train_on_batch(X, TWO)
    several.train_on_batch(X, [TWO, TWO])
    for model in (metric, several):
        assert model.network.runtime.fast_path.learner is None
    assert np.isfinite(metric.train_on_batch(X, TWO, WEIGHTS))


def test_only_what_came_is_prepared():
    """A metric may refuse labels, where probabilities have been given."""
    model = model_of(3, "crossentropy", metrics=["mae"])
    for _ in range(2):
        assert np.isfinite(model.train_on_batch(X, np.eye(3)[LABELS]))
        with pytest.warns(UserWarning, match="BatchNormalization"):
            assert np.isfinite(model.learn_one(X[0], np.eye(3)[0]))
    with unchanged(model), pytest.raises(ValueError, match="'mae' compares numbers"):
        model.train_on_batch(X, LABELS)


def test_what_is_set_on_the_optimizer_counts():
    model, twin = model_of(2), model_of(2)
    for each in (model, twin):
        each.train_on_batch(X, TWO)
    for name, value in [("learning_rate", 0.1), ("beta_1", 0.5), ("weight_decay", 0.1)]:
        for each in (model, twin):
            setattr(each.optimizer, name, value)
        for _ in range(2):
            assert model.train_on_batch(X, TWO) == general(twin, X, TWO)
    model.get_layer("dense").trainable = twin.get_layer("dense").trainable = False
    for _ in range(2):
        assert model.train_on_batch(X, TWO) == general(twin, X, TWO)
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_loss_that_is_not_finite_leaves_the_model_as_it_was():
    model = model_of(2, optimizer=fnn.SGD(0.0))
    for weights in (None, WEIGHTS):
        model.train_on_batch(X, TWO, weights)
        with unchanged(model), pytest.raises(fnn.NonFiniteLossError, match="before this step"):
            model.train_on_batch(X, np.full((ROWS, 2), 1e30), weights)


@pytest.mark.parametrize("make", [lambda: model_of(2, optimizer=fnn.SGD(0.0)), shared])
def test_update_that_loses_the_parameters_is_undone(make):
    model = make()
    model.compile(fnn.SGD(0.0), "mse")
    model.train_on_batch(X, TWO)
    model.optimizer.learning_rate = 3e38
    before = weights_as_bytes(model)
    with pytest.raises(fnn.NonFiniteLossError, match="the optimizer starts afresh"):
        model.train_on_batch(X, 1e6 + TWO)
    assert weights_as_bytes(model) == before


def test_threads_may_train_one_model():
    """A batch whose program another thread is running takes the general path, after it."""
    model = wide()
    x, y = np.tile(X, (40, 1)), np.tile(TWO, (40, 1))
    model.train_on_batch(x, y)
    threads = [
        threading.Thread(target=lambda: [model.train_on_batch(x, y) for _ in range(50)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.network.runtime.step == 151
    assert np.isfinite(model.evaluate(x, y)["loss"])


class Fresh(list):
    """A list that gives a new array each time."""

    def __getitem__(self, index):
        return super().__getitem__(index).copy()


def test_arrays_live_as_long_as_the_step():
    a, b = fnn.Input((500,)), fnn.Input((500,))
    model = fnn.Model([a, b], fnn.Dense(2)(fnn.Concatenate()([a, b])), seed=0)
    twin = fnn.clone_model(model)
    twin.set_weights(model.get_weights())
    x = [RNG.normal(size=(ROWS, 500)).astype("f") for _ in range(2)]
    one = [part[0] for part in x]
    for each in (model, twin):
        each.compile(fnn.SGD(1e-4), "mse")
    for _ in range(4):
        assert model.train_on_batch(Fresh(x), TWO) == general(twin, x, TWO)
        assert (model.predict_one(Fresh(one)) == twin.predict_one(one)).all()


class Table(fnn.schedules.Schedule):
    """A user's schedule, which knows only the steps that there are, and may change."""

    factor = 1.0

    def rates(self, steps):
        return self.factor * np.linspace(0.1, 0.01, 6)[steps.astype(int)]


def test_schedule_of_the_user_is_asked_for_each_step(monkeypatch):
    model, twin = (model_of(2, optimizer=fnn.SGD(Table())) for _ in range(2))
    for step in range(6):
        if step == 4:
            monkeypatch.setattr(Table, "factor", 0.0)
            before = model.get_weights()[0]
        assert model.train_on_batch(X, TWO) == general(twin, X, TWO)
    assert (model.get_weights()[0] == before).all()
    assert learnt(model) == learnt(twin)


# --- a search -------------------------------------------------------------------------------------


LOSSES = [
    "mse",
    "huber",
    "crossentropy",
    "binary_crossentropy",
    "hinge",
    "poisson",
    "kl_divergence",
]
OPTIMIZERS = [
    "sgd",
    "adamw",
    fnn.SGD(0.1, gradient_accumulation_steps=2),
    fnn.Adam(0.01, use_ema=True),
    fnn.RMSprop(0.01, global_clipnorm=0.5),
]
ODD = [
    lambda a: a[::-1],
    lambda a: np.asfortranarray(a),
    lambda a: np.repeat(a, 2, 0)[::2],
    lambda a: a.astype(a.dtype.newbyteorder()),
    lambda a: np.broadcast_to(a[:1], a.shape),
    lambda a: a.tolist(),
    lambda a: a[:0],
    lambda a: a[0],
    lambda a: changed(a.astype(float), np.nan, 0),
    lambda a: changed(a.astype(float), -1e300, 0),
    lambda a: changed(a.astype(np.int64), 99, 0),
    lambda a: a.astype(np.float32),
    lambda a: a.astype(np.uint8),
    lambda a: a.astype(np.int32),
    lambda a: a > 0,
]


def outcome(call):
    try:
        return call()
    except (ValueError, TypeError, FloatingPointError) as error:
        return str(error)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(200))
def test_any_batch_has_the_outcome_of_the_general_path(seed):
    rng = np.random.default_rng(seed)
    units, loss = int(rng.integers(1, 4)), str(rng.choice(LOSSES))
    if loss in ("crossentropy", "kl_divergence"):
        units += 1
    optimizer, metrics = rng.choice(OPTIMIZERS), [[], ["mae"], ["accuracy"]][rng.integers(3)]
    dtype = str(rng.choice(["float32", "float64"]))
    model, twin = (
        model_of(units, loss, dtype=dtype, optimizer=optimizer, metrics=metrics) for _ in range(2)
    )
    for _ in range(8):
        rows = int(rng.integers(1, 12))
        targets = [
            rng.integers(0, max(units, 2), rows),
            rng.normal(size=(rows, units)),
            2 * rng.integers(0, 2, rows) - 1,
            np.eye(units)[rng.integers(0, units, rows)],
        ]
        x, y = rng.normal(size=(rows, 5)), targets[rng.integers(len(targets))]
        weights = [None, None, rng.normal(size=rows), rng.integers(0, 3, rows)][rng.integers(4)]
        x, y, weights = (
            ODD[rng.integers(len(ODD))](part) if part is not None and rng.integers(4) == 0 else part
            for part in (x, y, weights)
        )
        got = outcome(lambda: model.train_on_batch(x, y, weights))  # noqa: B023
        want = outcome(lambda: general(twin, x, y, weights))  # noqa: B023
        assert got == want
        assert learnt(model) == learnt(twin)
