"""Wrong arguments: the message names the argument, what came and what was expected; and nothing has
changed.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from model_helpers import unchanged

import fastnn as fnn
from fastnn.core import hints

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4))
Y = RNG.integers(0, 3, 20)
ONE_HOT = np.eye(3)[Y]


def trained(loss="crossentropy", **options):
    """A model that has been trained, so that there is something to change."""
    model = fnn.Sequential(
        [fnn.Dense(5, activation="tanh"), fnn.Dropout(0.1), fnn.Dense(3)],
        input_shape=(4,), seed=0, **options,
    )  # fmt: skip
    model.compile("adam", loss)
    model.fit(X, Y if loss == "crossentropy" else ONE_HOT, verbose=0)
    return model


def two_inputs():
    a, b = fnn.Input((4,)), fnn.Input((2,))
    model = fnn.Model([a, b], fnn.Dense(3)(fnn.Concatenate()([a, b])), seed=0)
    model.compile("adam", "crossentropy")
    model.fit([X, X[:, :2]], Y, verbose=0)
    return model


def with_one(array, value, where=(3, 1)):
    array = np.array(array, np.float64)
    array[where] = value
    return array


def refused(model, call, error, message):
    """Check that a call raises exactly this kind of error, whose message starts with `message`, and
    that it leaves the model unchanged.
    """
    with unchanged(model), pytest.raises(error, match=f"^{re.escape(message)}") as caught:
        call(model)
    assert caught.type is error


# --- the checker is given wrong results -----------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda m: m.parameters["dense/bias"].__setitem__(0, 1), "parameters"),
        (lambda m: m.gradients["dense/bias"].__setitem__(0, 1), "gradients"),
        (lambda m: m.network.runtime.arenas["state"].__setitem__((0, 0), 1), "state"),
        (lambda m: setattr(m.network.runtime, "step", 7), "step"),
        (lambda m: m.network.generator.random(), "generator"),
        (lambda m: setattr(m.network, "history", None), "history"),
        (lambda m: vars(m.layers[0]).update(name="other"), "layers"),
        (lambda m: m.compile("adam", "crossentropy"), "compiled"),
    ],
)
def test_a_change_is_noticed(change, name):
    model = trained()
    with pytest.raises(AssertionError, match=f"changed: .*{name}"), unchanged(model):
        change(model)
    model = trained()
    with unchanged(model):
        model.predict(X)
        model.evaluate(X, Y)


# --- data -----------------------------------------------------------------------------------------

BAD_X = {
    "none": (None, TypeError, "x must be an array of numbers, got None"),
    "number": (3, ValueError, "x must have shape (rows, 4), got ()"),
    "text": ("abc", TypeError, "x must hold real numbers, got str"),
    "texts": ([["a"] * 4], TypeError, "x must hold real numbers, got list"),
    "objects": (
        np.where(X.max() == X, None, X.astype(object)),
        TypeError,
        "x must hold real numbers, got nothing (None) at [",
    ),
    "complex": (X + 0j, TypeError, "x must hold real numbers, got dtype complex128"),
    "dates": (np.zeros((2, 4), "M8[s]"), TypeError, "x must hold real numbers, got dtype datetime"),
    "ragged": ([[1, 2, 3, 4], [1]], ValueError, "x must be an array, got rows of different length"),
    "one sample": (
        X[0],
        ValueError,
        "x must have shape (rows, 4), got (4,); one sample is x[np.newaxis]",
    ),
    "narrow": (X[:, :3], ValueError, "x must have shape (rows, 4), got (20, 3)"),
    "deep": (X[:, :, None], ValueError, "x must have shape (rows, 4), got (20, 4, 1)"),
    "nan": (with_one(X, np.nan), ValueError, "x must hold finite numbers, got nan at [3, 1]"),
    "inf": (with_one(X, -np.inf), ValueError, "x must hold finite numbers, got -inf at [3, 1]"),
    "all nan": (X * np.nan, ValueError, "x must hold finite numbers, got nan at [0, 0] and 79 mo"),
    "large": (
        with_one(X, 1e39),
        ValueError,
        "x must hold numbers that float32 can hold, got 1e+39 at [3, 1]",
    ),
}
CALLS_WITH_X = {
    "fit": lambda model, x: model.fit(x, Y, verbose=0),
    "evaluate": lambda model, x: model.evaluate(x, Y),
    "train_on_batch": lambda model, x: model.train_on_batch(x, Y),
    "predict": lambda model, x: model.predict(x),
    "call": lambda model, x: model(x),
    "forward": lambda model, x: model.forward(x, training=True),
}


@pytest.mark.parametrize("call", CALLS_WITH_X)
@pytest.mark.parametrize("case", BAD_X)
def test_bad_x(case, call):
    x, error, message = BAD_X[case]
    refused(trained(), lambda model: CALLS_WITH_X[call](model, x), error, message)


BAD_Y = {
    "none": (None, TypeError, "y must be an array of numbers, got None"),
    "number": (1, ValueError, "y must have one entry for each row of x, got a single number"),
    "text": (["a"] * 20, ValueError, "y holds "),
    "short": (Y[:19], ValueError, "y must have as many rows as x, 20, got 19"),
    "long": (np.r_[Y, Y], ValueError, "y must have as many rows as x, 20, got 40"),
    "too large": (
        with_one(Y, 3, 5).astype(int),
        ValueError,
        "y must hold class labels from 0 to 2 (the model has 3 outputs), got 0 to 3",
    ),
    "negative": (
        with_one(Y, -1, 5).astype(int),
        ValueError,
        "y must hold class labels from 0 to 2 (the model has 3 outputs), got -1 to 2",
    ),
    "float labels": (
        Y.astype(float),
        TypeError,
        "y must hold integer class labels, or probabilities of shape (rows, 3), got float64 of "
        "shape (20,); use y.astype(int)",
    ),
    "float16 labels": (
        Y.astype(np.float16),
        TypeError,
        "y must hold integer class labels, or probabilities of shape (rows, 3), got float16 of "
        "shape (20,); use y.astype(int)",
    ),
    "swapped float labels": (
        Y.astype(">f4"),
        TypeError,
        "y must hold integer class labels, or probabilities of shape (rows, 3), got >f4 of shape",
    ),
    "wide": (
        np.ones((20, 4)),
        ValueError,
        "y must have shape (rows, 3) or class labels of shape (rows,), got (20, 4)",
    ),
    "nan": (with_one(ONE_HOT, np.nan), ValueError, "y must hold finite numbers, got nan at [3, 1]"),
    "above 1": (ONE_HOT * 2, ValueError, "y must lie in [0, 1] for this loss, got 0.0 to 2.0"),
    "not a sum of 1": (
        with_one(ONE_HOT * 0.5, 0.25),
        ValueError,
        "y must hold probabilities that sum to 1 in each row, got 0.5 in row 0",
    ),
}
CALLS_WITH_Y = {
    "fit": lambda model, y: model.fit(X, y, verbose=0),
    "evaluate": lambda model, y: model.evaluate(X, y),
    "train_on_batch": lambda model, y: model.train_on_batch(X, y),
}


@pytest.mark.parametrize("call", CALLS_WITH_Y)
@pytest.mark.parametrize("case", BAD_Y)
def test_bad_y(case, call):
    y, error, message = BAD_Y[case]
    refused(trained(), lambda model: CALLS_WITH_Y[call](model, y), error, message)


MANY = 2**58  # their predictions fit in no memory
NAN_ROW = np.array([1, np.nan, 1, 1], np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, x, y: m.predict(np.broadcast_to(NAN_ROW, x.shape)),
            f"x must hold finite numbers, got nan at [0, 1] and {MANY - 1} more",
        ),
        (lambda m, x, y: m.evaluate(x, y[:7]), f"y must have as many rows as x, {MANY}"),
        (
            lambda m, x, y: m.evaluate(x, np.broadcast_to(np.int8(3), y.shape)),
            "y must hold class labels from 0 to 2 (the model has 3 outputs), got 3 to 3",
        ),
    ],
)
def test_rows_that_are_one_row_many_times_are_looked_at_once(call, message):
    """Scanning all their elements would take years."""
    x = np.broadcast_to(np.ones(4, np.float32), (MANY, 4))
    y = np.broadcast_to(np.int8(0), MANY)
    model = trained()
    refused(model, lambda model: call(model, x, y), ValueError, message)
    with unchanged(model), pytest.raises(MemoryError):
        model.predict(x)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("mse", Y, "y must have shape (rows, 3), got (20,)"),
        ("mse", with_one(ONE_HOT, np.inf), "y must hold finite numbers, got inf at [3, 1]"),
        ("mse", with_one(ONE_HOT, 1e39), "y must hold numbers that float32 can hold, got 1e+39"),
        ("binary_crossentropy", ONE_HOT - 1, "y must lie in [0, 1] for this loss, got -1.0 to 0.0"),
    ],
)
def test_bad_y_of_other_losses(loss, y, message):
    refused(trained(loss), lambda model: model.fit(X, y, verbose=0), ValueError, message)


@pytest.mark.parametrize(
    "call", [CALLS_WITH_Y["fit"], CALLS_WITH_Y["evaluate"], CALLS_WITH_Y["train_on_batch"]]
)
def test_bad_data_of_a_model_that_is_not_built_yet(call):
    model = fnn.Sequential([fnn.Dense(3)], seed=0)
    model.compile("adam", "crossentropy")
    with unchanged(model), pytest.raises(ValueError, match="y must hold class labels"):
        call(model, Y + 7)
    with unchanged(model), pytest.raises(ValueError, match="x must hold finite numbers"):
        model.fit(X * np.nan, Y, verbose=0)
    with unchanged(model), pytest.raises(ValueError, match=r"x must have shape \(rows, inputs\)"):
        model.predict(X[0])


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch"])
def test_nothing_to_work_on(call):
    refused(
        trained(),
        lambda model: getattr(model, call)(X[:0], Y[:0]),
        ValueError,
        "x must have at least one row, got none",
    )
    refused(
        trained(),
        lambda model: model.forward(X[:0], training=True),
        ValueError,
        "x must have at least one row, got none",
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X, "x must be a list of 2 arrays, got ndarray"),
        ([X], "x must be a list of 2 arrays, got 1"),
        ([X, X], "x[1] must have shape (rows, 2), got (20, 4)"),
        ([X, X[:7, :2]], "x[1] must have as many rows as x[0], 20, got 7"),
        ([X, with_one(X[:, :2], np.nan)], "x[1] must hold finite numbers, got nan at [3, 1]"),
    ],
)
def test_bad_x_of_several_inputs(x, message):
    model = two_inputs()
    refused(model, lambda model: model.fit(x, Y, verbose=0), ValueError, message)
    refused(model, lambda model: model.predict(x), ValueError, message)


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        (ONE_HOT[:5], "grad_output must have 20 rows, got 5"),
        (ONE_HOT[:, :2], "grad_output must have shape (rows, 3), got (20, 2)"),
        (with_one(ONE_HOT, np.nan), "grad_output must hold finite numbers, got nan at [3, 1]"),
    ],
)
def test_bad_grad_output(grad, message):
    model = trained()
    model.forward(X, training=True)
    refused(model, lambda model: model.backward(grad), ValueError, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[:2], "weights must be 4 arrays, got 2"),
        (
            lambda w: [w[0].T, *w[1:]],
            "weights of 'dense/kernel' must have shape (4, 5), got (5, 4)",
        ),
        (
            lambda w: [*w[:3], w[3] * np.nan],
            "weights of 'dense_1/bias' must hold finite numbers, got nan at [0]",
        ),
        (
            lambda w: [*w[:3], np.full(3, 1e39)],
            "weights of 'dense_1/bias' must hold numbers that float32 can hold, got 1e+39 at [0]",
        ),
    ],
)
def test_bad_weights(change, message):
    model = trained()
    weights = change(model.get_weights())
    refused(model, lambda model: model.set_weights(weights), ValueError, message)


# --- fit's arguments ------------------------------------------------------------------------------

BAD_FIT = {
    "batch_size 0": ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
    "batch_size float": ({"batch_size": 2.5}, "batch_size must be a positive integer, got 2"),
    "batch_size bool": (
        {"batch_size": True},
        "batch_size must be a positive integer, got True",
    ),
    "epochs 0": ({"epochs": 0}, "epochs must be a positive integer, got 0"),
    "epochs text": ({"epochs": "5"}, "epochs must be a positive integer, got '5'"),
    "verbose": ({"verbose": 3}, "verbose must be 0, 1 or 2, got 3"),
    "verbose text": ({"verbose": "a"}, "verbose must be 0, 1 or 2, got 'a' ('auto' stands for 1)"),
    "split 1": ({"validation_split": 1.0}, "validation_split must be a number in [0, 1), got 1.0"),
    "split -": ({"validation_split": -0.1}, "validation_split must be a number in [0, 1), got -0."),
    "split nan": (
        {"validation_split": float("nan")},
        "validation_split must be a number in [0, 1), got nan",
    ),
    "split little": (
        {"validation_split": 0.01},
        "validation_split=0.01 leaves 20 of 20 rows to train on and 0 to validate with",
    ),
    "split and data": (
        {"validation_split": 0.5, "validation_data": (X, Y)},
        "give validation_split or validation_data, not both",
    ),
    "validation x": (
        {"validation_data": (X[:, :3], Y)},
        "validation_data: x must have shape (rows, 4), got (20, 3)",
    ),
    "validation y": ({"validation_data": (X, Y + 1)}, "validation_data: y must hold class labels"),
    "validation empty": (
        {"validation_data": (X[:0], Y[:0])},
        "validation_data: x must have at least one row, got none",
    ),
}
BAD_FIT_TYPES = {
    "callback": ({"callbacks": [print]}, "callbacks must be Callback instances, got <built-in"),
    "callback class": (
        {"callbacks": [fnn.EarlyStopping]},
        "callbacks must be Callback instances, got the class EarlyStopping; did you mean "
        "EarlyStopping(...)?",
    ),
    "one callback": (
        {"callbacks": fnn.EarlyStopping("loss")},
        "callbacks must be a list of Callback",
    ),
    "validation short": ({"validation_data": (X,)}, "validation_data must be a tuple (x, y)"),
    "validation array": ({"validation_data": X}, "validation_data must be a tuple (x, y), got "),
    "shuffle": ({"shuffle": "batch"}, "shuffle must be True or False, got 'batch'"),
}


@pytest.mark.parametrize("case", [*BAD_FIT, *BAD_FIT_TYPES])
def test_bad_arguments_of_fit(case):
    error = ValueError if case in BAD_FIT else TypeError
    options, message = (BAD_FIT | BAD_FIT_TYPES)[case]
    refused(trained(), lambda m: m.fit(X, Y, **{"verbose": 0, **options}), error, message)


def test_early_stopping_on_what_is_not_measured_is_refused_at_once():
    message = "monitor 'val_loss' is not among the results loss; give fit validation_data"
    refused(
        trained(),
        lambda model: model.fit(X, Y, callbacks=[fnn.EarlyStopping()], verbose=0),
        ValueError,
        message,
    )


@pytest.mark.parametrize("rows", [19, 21])
def test_validation_split_of_data_that_do_not_match(rows):
    refused(
        trained(),
        lambda model: model.fit(X, np.resize(Y, rows), validation_split=0.25, verbose=0),
        ValueError,
        f"y must have as many rows as x, 20, got {rows}",
    )


@pytest.mark.parametrize("call", ["predict", "evaluate"])
@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "32"])
def test_bad_batch_size(call, batch_size):
    data = (X,) if call == "predict" else (X, Y)
    refused(
        trained(),
        lambda model: getattr(model, call)(*data, batch_size=batch_size),
        ValueError,
        f"batch_size must be a positive integer, got {batch_size!r}",
    )


def test_batch_size_far_beyond_the_rows():
    model = trained()
    assert model.predict(X, batch_size=10**12).shape == (20, 3)
    assert model.evaluate(X, Y, batch_size=10**12) == model.evaluate(X, Y)


def test_metric_that_needs_numbers_is_refused_for_labels():
    model = trained()
    model.compile("adam", "crossentropy", ["mae"])
    refused(
        model,
        lambda model: model.fit(X, Y, verbose=0),
        ValueError,
        "metric 'mae' compares numbers, but y holds class labels; give y as rows of prob",
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.fit(X, Y, verbose=0),
        lambda model: model.evaluate(X, Y),
        lambda model: model.train_on_batch(X, Y),
        lambda model: model.explain("train"),
        lambda model: fnn.gradcheck(model, X, Y),
    ],
    ids=["fit", "evaluate", "train_on_batch", "explain", "gradcheck"],
)
def test_compile_comes_first(call):
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,))
    refused(model, call, RuntimeError, "call compile(optimizer, loss) first")


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: fnn.Dense(3, activation="rellu"), "unknown activation 'rellu'; did you mean 'r"),
        (lambda m: fnn.Activation("Tanh"), "unknown activation 'Tanh'; did you mean 'tanh'?"),
        (
            lambda m: fnn.Dense(3, kernel_initializer="he_norml"),
            "unknown initializer 'he_norml'; did you mean 'he_normal'?",
        ),
        (lambda m: m.compile("adm", "mse"), "unknown optimizer 'adm'; did you mean 'adam'?"),
        (lambda m: m.compile("adam", "mze"), "unknown loss 'mze'; did you mean 'mse'?"),
        (
            lambda m: m.compile("adam", "mse", ["acuracy"]),
            "unknown metric 'acuracy'; did you mean 'accuracy'?",
        ),
        (lambda m: m.compile("zzz", "mse"), "unknown optimizer 'zzz' (there are adagrad, adam"),
        (lambda m: m.compile("Adam", "mse"), "unknown optimizer 'Adam'; did you mean 'adam'?"),
        (
            lambda m: m.compile("adam", "mse", ["acc"]),
            "unknown metric 'acc'; did you mean 'accuracy'? (there are accuracy, average_",
        ),
        (
            lambda m: fnn.Dense(3, kernel_initializer="xavier_uniform"),
            "unknown initializer 'xavier_uniform'; did you mean 'glorot_uniform'?",
        ),
        (
            lambda m: fnn.Dense(3, activation="LeakyReLU"),
            "unknown activation 'LeakyReLU'; did you mean 'leaky_relu'?",
        ),
        (lambda m: m.explain("training"), "program must be one of train, gradients, evaluate, "),
        (
            lambda m: m.compile("adam", metrics=["mae"]),
            "loss must be given along with metrics, one of mse, mae, huber",
        ),
    ],
)
def test_unknown_names(call, message):
    refused(trained(), call, ValueError, message)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("sparse_categorical_crossentropy", "crossentropy"),
        ("categorical_crossentropy", "crossentropy"),
        ("SparseCategoricalCrossentropy", "crossentropy"),
        ("CrossEntropyLoss", "crossentropy"),
        ("cross_entropy", "crossentropy"),
        ("mean_squared_error", "mse"),
        ("MSELoss", "mse"),
        ("MSE", "mse"),
        ("mean_absolute_error", "mae"),
        ("L1Loss", "mae"),
        ("SmoothL1Loss", "huber"),
        ("BCEWithLogitsLoss", "binary_crossentropy"),
        ("binary_cross_entropy", "binary_crossentropy"),
    ],
)
def test_names_that_other_libraries_use(theirs, ours):
    refused(
        trained(),
        lambda model: model.compile("adam", theirs),
        ValueError,
        f"unknown loss '{theirs}'; did you mean '{ours}'?",
    )


def test_every_name_of_another_library_leads_somewhere():
    known = {
        *fnn.losses.registry, *fnn.metrics.registry, *fnn.optimizers.registry,
        *fnn.initializers.registry, *fnn.activations.NAMES,
    }  # fmt: skip
    assert set(hints.ELSEWHERE.values()) <= known
    assert all(name == hints.plain(name) for name in hints.ELSEWHERE)


@pytest.mark.parametrize(
    ("monitor", "hint"),
    [
        ("acc", "; did you mean 'accuracy'?"),
        ("val_acc", "; did you mean 'val_accuracy'?"),
        ("valloss", "; did you mean 'val_loss'?"),
        ("zzz", ""),
    ],
)
def test_monitor_that_is_misspelt(monitor, hint):
    model = trained()
    model.compile("adam", "crossentropy", ["accuracy"])
    results = "loss, accuracy, val_loss, val_accuracy"
    refused(
        model,
        lambda model: model.fit(
            X, Y, validation_split=0.5, verbose=0, callbacks=[fnn.EarlyStopping(monitor)]
        ),
        ValueError,
        f"monitor '{monitor}' is not among the results {results}{hint}",
    )


@pytest.mark.parametrize("y", [Y % 2, Y * 0, np.ones((20, 1))])
def test_crossentropy_of_one_output_is_refused(y):
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(4,))
    model.compile("adam", "crossentropy")
    for call in CALLS_WITH_Y.values():
        refused(
            model,
            lambda model, call=call: call(model, y),
            ValueError,
            "loss 'crossentropy' needs two or more outputs, the model has one, of which softmax is "
            "always 1: use 'binary_crossentropy', or as many outputs as there are classes",
        )


def test_gradients_come_before_they_are_applied():
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,))
    model.compile("adam", "mse")
    message = "there are no gradients yet: call backward(grad_output) first"
    refused(model, lambda model: model.apply_gradients(), RuntimeError, message)
    model.forward(X, training=True)
    refused(model, lambda model: model.apply_gradients(), RuntimeError, message)
    model.backward(np.zeros((20, 3)))  # zeros are gradients too
    model.apply_gradients()
    assert model.network.runtime.step == 1
    by_hand = fnn.Sequential([fnn.Dense(3)], input_shape=(4,))
    by_hand.compile("adam", "mse")
    by_hand.gradients["dense/bias"][...] = 1
    by_hand.apply_gradients()
    by_hand.gradients["dense/bias"][...] = 0
    by_hand.apply_gradients()
    assert by_hand.network.runtime.step == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be a positive integer, got 0"),
        ({"samples": 1.5}, "samples must be a positive integer, got 1.5"),
        ({"epsilon": 0}, "epsilon must be a positive number, got 0"),
        ({"epsilon": -1e-6}, "epsilon must be a positive number, got -1e-06"),
        ({"epsilon": float("nan")}, "epsilon must be a positive number, got nan"),
        ({"atol": -1}, "atol must be a finite number of at least 0, got -1"),
        ({"rtol": float("nan")}, "rtol must be a finite number of at least 0, got nan"),
    ],
)
def test_bad_arguments_of_gradcheck(options, message):
    refused(trained(), lambda m: fnn.gradcheck(m, X, Y, **options), ValueError, message)


def test_gradcheck_without_rows():
    message = "x must have at least one row, got none"
    refused(trained(), lambda m: fnn.gradcheck(m, X[:0], Y[:0]), ValueError, message)


@pytest.mark.parametrize(
    ("units", "layer", "size"),
    [
        ((10**9, 10**9), "dense_1", "4,000,000,004,000,000,000"),
        ((2**32, 2**32), "dense_1", "73,786,976,312,018,075,648"),  # 64 bits would wrap around
        ((10**20, 3), "dense_1", "1,200,000,000,000,000,000,012"),
    ],
)
@pytest.mark.parametrize("is_built", [False, True])
def test_layer_too_large_for_the_memory_is_named(units, layer, size, is_built):
    message = f"layer '{layer}' takes {size} bytes for its parameters, and as many for their grad"
    layers = [fnn.Dense(count) for count in units]
    with pytest.raises(MemoryError, match=message):
        fnn.Sequential(layers, input_shape=(2,) if is_built else None).predict(X[:, :2])


def test_memory_that_ends_while_weights_are_made(monkeypatch):
    def no_memory(self, shape, generator):
        raise MemoryError("Unable to allocate")

    model = fnn.Sequential([fnn.Dense(2), fnn.Dense(5)])
    with monkeypatch.context() as patched:
        patched.setattr(fnn.initializers.Zeros, "sample", no_memory)
        with pytest.raises(MemoryError, match="layer 'dense_1' takes 60 bytes"):
            model.predict(X)
        assert not model.built
    assert model.predict(X).shape == (20, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.compile(3, "mse"), "optimizer must be a name or an Optimizer, got 3 (int)"),
        (lambda m: m.compile("adam", 3), "loss must be a name or a Loss, got 3 (int)"),
        (
            lambda m: m.compile(fnn.Adam, "mse"),
            "optimizer must be a name or an Optimizer, got the class Adam; did you mean Adam()?",
        ),
        (
            lambda m: m.compile("adam", fnn.Huber),
            "loss must be a name or a Loss, got the class Huber; did you mean Huber()?",
        ),
        (
            lambda m: m.compile("adam", fnn.Adam),
            "loss must be a name or a Loss, got the class Adam",
        ),
        (
            lambda m: fnn.Dense(3, kernel_initializer=fnn.initializers.Zeros),
            "initializer must be a name or an Initializer, got the class Zeros; did you mean Zeros",
        ),
        (
            lambda m: m.compile("adam", "mse", 3),
            "metrics must be a metric or a list of metrics, got 3",
        ),
        (lambda m: m.compile("adam", "mse", [3]), "metric must be a name or a Metric, got 3 (int)"),
        (lambda m: fnn.Dense(3, activation=3), "activation must be a name, got 3 (int)"),
        (lambda m: fnn.Dense(3, kernel_initializer=3), "initializer must be a name or an Initiali"),
        (
            lambda m: fnn.activations.get("relu", alpha=0.1),
            "activation 'relu' takes no parameter, got 'alpha'",
        ),
        (
            lambda m: fnn.activations.get("leaky_relu", alpha=0.1),
            "activation 'leaky_relu' takes 'negative_slope', got 'alpha'",
        ),
    ],
)
def test_wrong_kinds(call, message):
    refused(trained(), call, TypeError, message)


# --- constructors ---------------------------------------------------------------------------------

NOT_A_NUMBER = ["0.5", None, float("nan"), float("inf"), True, 1j]
OPTIMIZER_ARGUMENTS = [
    (fnn.optimizers.registry[name], argument)
    for name in fnn.optimizers.registry
    for argument in fnn.optimizers.get(name).config()
    if argument != "name"
]


@pytest.mark.parametrize(
    ("kind", "argument"), OPTIMIZER_ARGUMENTS, ids=lambda v: getattr(v, "name", v)
)
def test_every_hyper_parameter_of_every_optimizer_is_checked(kind, argument):
    switches = ("nesterov", "centered", "use_ema", "amsgrad")
    optional = (
        "clipvalue", "global_clipnorm", "clipnorm", "gradient_accumulation_steps",
        "max_evaluations",
    )  # fmt: skip
    fractions = ("momentum", "beta_1", "beta_2", "rho", "ema_momentum")
    bad = [value for value in NOT_A_NUMBER if not (value is None and argument in optional)]
    bad += [-0.1] + [0] * (argument in optional) + [1, 1.5] * (argument in fractions)
    if argument in switches:
        bad = ["yes", None, 1, 0.0]
    if argument == "weight_decay_exclusions":
        bad = ["bias", 1, True, ["bias", 1]]
    for value in bad:
        message = rf"^{argument} must be .*, got {re.escape(repr(value))}$"
        with pytest.raises((TypeError, ValueError), match=message):
            kind(**{argument: value})


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(0)])
def test_numbers_of_numpy_are_numbers(number):
    assert fnn.Adam(number).learning_rate == number
    assert fnn.Dropout(number).rate == number
    assert fnn.EarlyStopping(patience=np.int64(3), min_delta=number).min_delta == number
    assert fnn.activations.get("elu", alpha=number).parameter == number


BAD_CONSTRUCTORS = {
    "units 0": (lambda: fnn.Dense(0), "units must be a positive integer, got 0"),
    "units float": (lambda: fnn.Dense(2.0), "units must be a positive integer, got 2.0"),
    "units bool": (lambda: fnn.Dense(True), "units must be a positive integer, got True"),
    "units text": (lambda: fnn.Dense("2"), "units must be a positive integer, got '2'"),
    "rate 1": (lambda: fnn.Dropout(1.0), "rate must be a number in [0, 1), got 1.0"),
    "rate -": (lambda: fnn.Dropout(-0.1), "rate must be a number in [0, 1), got -0.1"),
    "rate nan": (lambda: fnn.Dropout(float("nan")), "rate must be a number in [0, 1), got nan"),
    "rate text": (lambda: fnn.Dropout("half"), "rate must be a number in [0, 1), got 'half'"),
    "layer name": (
        lambda: fnn.Dense(2, name="a/b"),
        "name must be a non-empty string without '/', got 'a/b'",
    ),
    "no name": (lambda: fnn.Dense(2, name=""), "name must be a non-empty string without '/', got"),
    "slope": (
        lambda: fnn.activations.get("leaky_relu", negative_slope=-1),
        "negative_slope must be a finite number of at least 0, got -1",
    ),
    "alpha": (
        lambda: fnn.activations.get("elu", alpha=float("inf")),
        "alpha must be a finite number of at least 0, got inf",
    ),
    "delta 0": (lambda: fnn.Huber(0), "delta must be a positive number, got 0"),
    "delta nan": (lambda: fnn.Huber(float("nan")), "delta must be a positive number, got nan"),
    "delta text": (lambda: fnn.Huber("1"), "delta must be a positive number, got '1'"),
    "stddev": (
        lambda: fnn.initializers.Normal(stddev=-1),
        "stddev must be a finite number of at least 0, got -1",
    ),
    "mean": (
        lambda: fnn.initializers.Normal(mean=float("nan")),
        "mean must be a finite number, got nan",
    ),
    "value": (lambda: fnn.initializers.Constant("a"), "value must be a finite number, got 'a'"),
    "minimum": (
        lambda: fnn.initializers.Uniform(1, -1),
        "minimum must be at most maximum, got 1 > -1",
    ),
    "monitor": (lambda: fnn.EarlyStopping(3), "monitor must be the name of a result, got 3"),
    "mode": (
        lambda: fnn.EarlyStopping(mode="most"),
        "mode must be 'auto', 'min' or 'max', got 'most'",
    ),
    "patience": (
        lambda: fnn.EarlyStopping(patience=-1),
        "patience must be an integer of at least 0, got -1",
    ),
    "min_delta": (
        lambda: fnn.EarlyStopping(min_delta=-1),
        "min_delta must be a finite number of at least 0, got -1",
    ),
    "min_delta text": (
        lambda: fnn.EarlyStopping(min_delta="a"),
        "min_delta must be a finite number of at least 0, got 'a'",
    ),
    "shape": (lambda: fnn.Input(("a",)), "shape must be a tuple of positive integers, got ('a',)"),
    "shape 0": (lambda: fnn.Input((4, 0)), "shape must be a tuple of positive integers, got (4, 0"),
    "input name": (lambda: fnn.Input((4,), name=7), "name must be a non-empty string"),
    "input_shape": (
        lambda: fnn.Sequential([fnn.Dense(2)], input_shape=(-1,)),
        "input_shape must be a tuple of positive integers, got (-1,)",
    ),
    "two shapes": (
        lambda: fnn.Sequential([fnn.Input((2,)), fnn.Dense(2)], input_shape=(2,)),
        "give input_shape or an Input first, not both",
    ),
    "no layers": (lambda: fnn.Sequential([]), "layers must hold at least one layer, got none"),
    "dtype": (
        lambda: fnn.Sequential([fnn.Dense(2)], dtype="float16"),
        "dtype must be 'float32', 'float64' or 'bfloat16', got 'float16'",
    ),
    "dtype of Keras": (
        lambda: fnn.Sequential([fnn.Dense(2)], dtype="mixed_bfloat16"),
        "dtype must be 'float32', 'float64' or 'bfloat16', got 'mixed_bfloat16'; did you mean "
        "'bfloat16'?",
    ),
    "dtype array": (
        lambda: fnn.Sequential([fnn.Dense(2)], dtype=np.array([32, 64])),
        "dtype must be 'float32', 'float64' or 'bfloat16', got array([32, 64])",
    ),
    "dtype text": (
        lambda: fnn.Sequential([fnn.Dense(2)], dtype="\ud800"),
        "dtype must be 'float32', 'float64' or 'bfloat16', got '\\ud800'",
    ),
    "dtype huge": (
        lambda: fnn.Sequential([fnn.Dense(2)], dtype="(1000000000,)f4"),
        "dtype must be 'float32', 'float64' or 'bfloat16', got '(1000000000,)f4'",
    ),
    "dtype typo": (
        lambda: fnn.Sequential([fnn.Dense(2)], dtype="flaot32"),
        "dtype must be 'float32', 'float64' or 'bfloat16', got 'flaot32'",
    ),
    "dtype none": (
        lambda: fnn.Sequential([fnn.Dense(2)], dtype=None),
        "dtype must be 'float32', 'float64' or 'bfloat16', got None",
    ),
    "seed": (
        lambda: fnn.Sequential([fnn.Dense(2)], seed=-1),
        "seed must be an integer of at least 0 or None, got -1",
    ),
    "seed float": (
        lambda: fnn.Sequential([fnn.Dense(2)], seed=1.5),
        "seed must be an integer of at least 0 or None, got 1.5",
    ),
    "same names": (
        lambda: fnn.Sequential([fnn.Dense(2, name="a"), fnn.Dense(2, name="a")], input_shape=(2,)),
        "layer names must be unique, got 'a' 2 times",
    ),
    "dense of pictures": (
        lambda: fnn.Dense(2)(fnn.Input((8, 8))),
        "layer 'dense': Dense takes samples of shape (inputs,), got (8, 8); add Flatten()",
    ),
    "softmax of pictures": (
        lambda: fnn.Activation("softmax")(fnn.Input((8, 8))),
        "layer 'activation': softmax takes samples of shape (classes,), got (8, 8)",
    ),
    "add of one": (
        lambda: fnn.Add()(fnn.Input((2,))),
        "layer 'add': Add takes two or more inputs, got 1",
    ),
    "add of two shapes": (
        lambda: fnn.Add()([fnn.Input((2,)), fnn.Input((3,))]),
        "layer 'add': Add takes inputs of one shape, got (2,), (3,)",
    ),
    "concatenate of one": (
        lambda: fnn.Concatenate()([fnn.Input((2,))]),
        "layer 'concatenate': Concatenate takes two or more inputs, got 1",
    ),
    "concatenate of pictures": (
        lambda: fnn.Concatenate()([fnn.Input((2,)), fnn.Input((2, 2))]),
        "layer 'concatenate': Concatenate takes inputs of shape (any,), got (2,), (2, 2)",
    ),
    "dense of two": (
        lambda: fnn.Dense(2)([fnn.Input((2,)), fnn.Input((2,))]),
        "layer 'dense': Dense takes one input, got 2",
    ),
    "shared of two sizes": (
        lambda: fnn.Sequential([shared := fnn.Dense(2), shared], input_shape=(3,)),
        "layer 'dense' is used for inputs of different sizes: kernel would be (3, 2) and (2, 2)",
    ),
    "unknown input": (
        lambda: fnn.Model(fnn.Input((2,)), fnn.Dense(2)(fnn.Input((3,), name="other"))),
        "outputs depend on Input 'other', which is not in inputs",
    ),
    "class of layers": (
        lambda: fnn.Sequential(fnn.Dense),
        "layers must be a list of Layer instances, got the class Dense; did you mean Dense(...)?",
    ),
    "one layer": (lambda: fnn.Sequential(fnn.Dense(2)), "layers must be a list of Layer"),
    "layer class": (
        lambda: fnn.Sequential([fnn.Dense]),
        "layers must be Layer instances, got the class Dense; did you mean Dense(...)?",
    ),
    "layer text": (lambda: fnn.Sequential(["dense"]), "layers must be Layer instances, got 'dense"),
    "layer of data": (
        lambda: fnn.Dense(2)(X),
        "layer 'dense' must be called on Input(...) or the output of another layer, got ndarray; "
        "to compute with arrays, call the model",
    ),
    "inputs": (
        lambda: fnn.Model(fnn.Dense(2)(fnn.Input((2,))), fnn.Input((2,))),
        "inputs must come from Input(...), got ",
    ),
    "outputs": (
        lambda: fnn.Model(fnn.Input((2,)), fnn.Dense(2)),
        "outputs must be what a layer returned, or a list, got Dense(2, name='dense')",
    ),
    "one of the outputs": (
        lambda: fnn.Model(one := fnn.Input((2,)), [fnn.Dense(2)(one), 3]),
        "outputs must be what a layer returned, got 3",
    ),
    "gradcheck": (lambda: fnn.gradcheck(3, X, X), "model must be a Model, got 3"),
    "path": (lambda: fnn.load(None), "path must be"),
}


@pytest.mark.parametrize("case", BAD_CONSTRUCTORS)
def test_bad_arguments_of_constructors(case):
    call, message = BAD_CONSTRUCTORS[case]
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        call()


@pytest.mark.parametrize("value", [-1.0, float("nan"), "a", None])
def test_learning_rate_set_later_is_checked(value):
    def call(model):
        model.optimizer.learning_rate = value
        model.fit(X, Y, verbose=0)

    model, message = trained(), r"^learning_rate must be a finite number of at least 0, got"
    with unchanged(model), pytest.raises((TypeError, ValueError), match=message):
        call(model)


def test_hyper_parameter_that_changes_the_state_is_refused_later():
    model = trained()
    model.compile(fnn.SGD(0.1), "crossentropy")
    model.fit(X, Y, verbose=0)
    model.optimizer.momentum = 0.9
    refused(
        model,
        lambda model: model.fit(X, Y, verbose=0),
        RuntimeError,
        "SGD(learning_rate=0.1, momentum=0.9) keeps other state than when compile was called",
    )


FIXED = {
    "delta": (lambda m: m.network.objective.loss, "delta", 0.5, "Huber.delta", "Huber(delta=0.5)"),
    "rate": (lambda m: m.layers[1], "rate", 0.9, "Dropout.rate", "Dropout(rate=0.9)"),
    "units": (lambda m: m.layers[0], "units", 7, "Dense.units", "Dense(units=7)"),
    "activation": (
        lambda m: m.layers[0],
        "activation",
        "relu",
        "Dense.activation",
        "Dense(activation='relu')",
    ),
    "function": (
        lambda m: m.layers[3],
        "activation",
        "relu",
        "Activation.activation",
        "Activation(activation='relu')",
    ),
    "initializer": (
        lambda m: m.layers[0].kernel_initializer,
        "value",
        3,
        "Constant.value",
        "Constant(value=3)",
    ),
}


@pytest.mark.parametrize("case", FIXED)
@pytest.mark.parametrize("is_built", [False, True])
def test_what_programs_are_compiled_from_cannot_be_changed(case, is_built):
    """Programs are cached: a change would apply to those not yet made, and to no other."""
    find, name, value, shown, other = FIXED[case]
    constant = fnn.initializers.Constant(0.1)
    layers = [
        fnn.Dense(5, kernel_initializer=constant),
        fnn.Dropout(0.1),
        fnn.Dense(3),
        fnn.Activation(fnn.activations.get("leaky_relu", negative_slope=0.1)),
    ]
    model = fnn.Sequential(layers, input_shape=(4,) if is_built else None, seed=0)
    model.compile("adam", fnn.Huber(2.0))
    before = getattr(find(model), name)
    refused(
        model,
        lambda model: setattr(find(model), name, value),
        AttributeError,
        f"{shown} cannot be changed, because programs are compiled with it: use another, {other}",
    )
    assert getattr(find(model), name) == before
    with pytest.raises(AttributeError, match=r"ActivationFunction.parameter cannot be changed"):
        model.layers[3].activation.parameter = 0.5


def test_a_number_between_two_bounds_says_both():
    with pytest.raises(ValueError, match=r"quantile must be a number above 0 and below 1, got 1.5"):
        fnn.Quantile(1.5)


def test_what_programs_are_compiled_with_cannot_be_set():
    model = fnn.Sequential([fnn.Dense(5), fnn.Dense(4)], input_shape=(3,), seed=0)
    for name, value in (("dtype", "float64"), ("layers", [])):
        with pytest.raises(AttributeError, match=name):
            setattr(model, name, value)
    with pytest.raises(AttributeError, match="append"):
        model.layers.append(fnn.Dense(1))
    with pytest.raises(AttributeError, match="layer 'dense' belongs to a model that knows it"):
        model.layers[0].name = "other"
    model.input_shapes.append(("more", (1,)))
    assert model.input_shapes == [("input", (3,))]


def test_callbacks_are_asked_before_any_of_them_begins(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("precious")
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    model.compile("sgd", "mse")
    x = np.ones((4, 3))
    recorder = fnn.Recorder()
    model.fit(x, x[:, 0], epochs=2, verbose=0, callbacks=[recorder])
    with pytest.raises(ValueError, match="monitor 'nope'"):
        model.fit(
            x, x[:, 0], verbose=0,
            callbacks=[fnn.CSVLogger(log), recorder, fnn.EarlyStopping("nope")],
        )  # fmt: skip
    assert log.read_text() == "precious"
    assert recorder.epochs == [0, 1, 2]


@pytest.mark.parametrize("case", ["validation", "monitor", "batch", "split"])
def test_model_that_was_waiting_for_its_data_waits_on_after_a_refusal(case):
    x, y = np.ones((8, 3)), np.ones(8)
    model = fnn.Sequential([fnn.Dense(1)], seed=0)
    model.compile("gradient_descent" if case == "batch" else "sgd", "mse")
    options = {
        "validation": {"validation_data": (x[:, :2], y)},
        "monitor": {"callbacks": [fnn.EarlyStopping("nope")]},
        "batch": {"batch_size": 4},
        "split": {"validation_split": 0.25},
    }[case]
    with pytest.raises(ValueError, match=r"validation_data|monitor|batch_size|y must hold"):
        model.fit(x, np.where(np.arange(8) == 7, np.nan, y), verbose=0, **options)
    assert not model.built
    model.fit(np.ones((4, 7)), np.ones(4), verbose=0)


@pytest.mark.parametrize("make", [fnn.Adam, fnn.Dropout, lambda n: fnn.SGD(momentum=n)])
def test_integers_that_no_float_can_hold(make):
    with pytest.raises(ValueError, match="must be"):
        make(10**400)


def test_class_weight_that_float32_cannot_hold():
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    model.compile("sgd", "crossentropy")
    with pytest.raises(ValueError, match="class_weight must hold numbers that float32 can hold"):
        model.fit(np.ones((4, 3)), [0, 1, 0, 1], class_weight={0: 1e300}, verbose=0)
