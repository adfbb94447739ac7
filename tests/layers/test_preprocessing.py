"""Layers that prepare data: values, what they measure, where data come in, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
import zlib

import numpy as np
import pandas as pd
import pytest
from helpers import assert_close, assert_same_bits
from model_helpers import weights_as_bytes
from scipy import sparse

import fastnn as fnn
from fastnn.data import lookups, pages
from fastnn.layers.preprocessing.moments import Moments


def alone(layer, shape, dtype="float64"):
    return fnn.Sequential([layer], input_shape=shape, dtype=dtype, seed=0)


def regression(*layers, shape=None, optimizer="adam", dtype="float64"):
    model = fnn.Sequential([*layers, fnn.Dense(1)], input_shape=shape, dtype=dtype, seed=0)
    model.compile(optimizer, "mse")
    return model


@pytest.fixture
def xy(rng):
    x = rng.normal(3, [0.1, 5, 40], (200, 3))
    return x, x[:, 0] - x[:, 1]


# --- Normalization: values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "given", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], {"axis": None}, [[1.0], [2.0], [3.0]],
         [[-1.4142135623730951], [-0.7071067811865476], [0.0]]),
        ([[0.0, 7, 4], [2, 9, 6], [0, 7, 4], [2, 9, 6]], {}, [[0.0, 7, 4]], [[-1.0, -1, -1]]),
        ([[0.0, 7, 4], [2, 9, 6], [0, 7, 4], [2, 9, 6]], {"invert": True}, [[-1.0, -1, 1]],
         [[0.0, 7, 6]]),
    ],
    ids=["axis=None", "columns", "inverted"],
)  # fmt: skip
def test_the_examples_of_keras(data, options, given, expected):
    layer = fnn.Normalization(**options)
    layer.adapt(np.array(data))
    model = alone(layer, np.shape(given)[1:])
    assert_close(model.predict(given), expected, 1e-14)
    with pytest.raises(AssertionError):
        assert_close(model.predict(given), np.add(expected, 1e-9), 1e-14)


def test_given_mean_and_variance():
    layer = fnn.Normalization(mean=3.0, variance=2.0)
    x = np.array([[1.0], [2.0], [3.0]])
    assert_close(alone(layer, (1,)).predict(x), (x - 3) / np.sqrt(2), 1e-15)
    columns = fnn.Normalization(mean=[1.0, -2.0], variance=np.array([4.0, 0.25]))
    x = np.array([[[3.0, 0.0], [1.0, -2.0]]])
    want = (x - np.array([1.0, -2.0])) / np.array([2.0, 0.5])
    assert_close(alone(columns, (2, 2)).predict(x), want, 1e-15)


def standard_scaler(x):
    """What scikit-learn's StandardScaler computes: constant columns have scale 1."""
    return (x - x.mean(axis=0)) / np.where(np.ptp(x, axis=0) == 0, 1, x.std(axis=0))


def test_is_a_standard_scaler(rng):
    x = np.column_stack([rng.normal(5, 2, 100), np.full(100, 7.3), rng.integers(0, 9, 100)])
    layer = fnn.Normalization()
    layer.adapt(x)
    found = alone(layer, (3,)).predict(x)
    assert_close(found, standard_scaler(x), 1e-12)
    assert not found[:, 1].any()
    assert_close(layer.variance, [x[:, 0].var(), 1, x[:, 2].var()], 1e-12)


def test_agrees_with_scikit_learn(rng):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = np.column_stack([rng.normal(1e6, 2, 100), np.full(100, 0.1), rng.normal(0, 1e-9, 100)])
    layer = fnn.Normalization()
    layer.adapt(x)
    want = preprocessing.StandardScaler().fit_transform(x)
    assert_close(alone(layer, (3,)).predict(x), want, 1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9, -1e12])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_large_offsets_keep_their_digits(offset, dtype, rng, monkeypatch):
    monkeypatch.setattr(lookups, "READ_AT_ONCE", 100)  # in parts
    small = np.rint(rng.normal(0, 1000, (1000, 2)))
    layer = fnn.Normalization()
    layer.adapt((small + offset).astype(dtype))
    assert_close(layer.mean - offset, small.mean(axis=0), 1e-12 * max(1, abs(offset)))
    assert_close(layer.variance, small.var(axis=0), 1e-9)


@pytest.mark.parametrize("value", [0.1, 1e8 + 0.3, -1e-30, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_columns_become_zero(value, dtype):
    x = np.full((7, 2), value)
    layer = fnn.Normalization()
    layer.adapt(x)
    assert_same_bits(alone(layer, (2,), dtype).predict(x), np.zeros((7, 2), dtype))
    assert layer.scale.tolist() == [1, 1]


@pytest.mark.parametrize("power", [-30, -18, 18, 30])
def test_any_scale_that_float32_holds(power, rng):
    x = rng.normal(size=(50, 2)) * 10.0**power
    layer = fnn.Normalization()
    layer.adapt(x)
    assert_close(alone(layer, (2,), "float32").predict(x), standard_scaler(x), 1e-5)


def test_a_spread_that_counts_as_zero_while_programs_run():
    layer = fnn.Normalization(mean=0.0, variance=1e-90)
    assert np.isfinite(alone(layer, (1,), "float32").predict([[1.0]])).all()


def test_moments_of_parts_are_those_of_all(rng):
    x = rng.normal(1e3, 3, (97, 4))
    whole, total = Moments.of(x), Moments.of(x[:13])
    for part in (x[13:14], x[14:60], x[60:]):
        total = total.joined(Moments.of(part))
    assert_close(total.means, whole.means, 1e-14)
    assert_close(total.scales, x.std(axis=0), 1e-12)
    zeros = np.where(rng.random(x.shape) < 0.5, 0, x)
    other = Moments.of_sparse(sparse.csr_array(zeros), 4)
    assert_close(other.scales, zeros.std(axis=0), 1e-12)
    assert_close(total.joined(other).scales, np.concatenate([x, zeros]).std(axis=0), 1e-12)
    assert_close(Moments.of_sparse(sparse.csr_array(zeros), 1).scales, [zeros.std()], 1e-12)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (4, 3)), (None, (4, 3)), (None, (3,))])
def test_samples_of_several_dimensions(axis, shape, rng):
    x = rng.normal(2, 3, (50, *shape))
    layer = fnn.Normalization(axis)
    layer.adapt(x)
    rows = x.reshape(-1, 3) if axis else x.reshape(-1, 1)
    want = ((rows - rows.mean(axis=0)) / rows.std(axis=0)).reshape(x.shape)
    assert_close(alone(layer, shape).predict(x), want, 1e-12)


@pytest.mark.parametrize("invert", [False, True])
def test_gradients_flow_through(invert, rng):
    layer = fnn.Normalization(mean=[0.3, -1, 2], variance=[0.5, 4, 1], invert=invert)
    chain = [fnn.Dense(3, "tanh"), layer, fnn.Rescaling(0.3, -2.0), fnn.Dense(2)]
    model = fnn.Sequential(chain, input_shape=(4,), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    assert fnn.gradcheck(model, rng.normal(size=(6, 4)), rng.normal(size=(6, 2)))


@pytest.mark.parametrize("workers", [2, 3])
def test_same_bits_for_any_number_of_workers(workers, team, rng):
    x, y = rng.normal(9, 4, (500, 20)), rng.normal(size=500)
    words = rng.choice(list("abcdef"), (500, 3))
    made = []
    for size in (1, workers):
        team(size)
        numbers, text = fnn.Input((20,)), fnn.Input((3,), dtype="string")
        encoded = fnn.StringLookup(vocabulary=list("abc"), output_mode="count")(text)
        h = fnn.Concatenate()([fnn.Normalization()(numbers), encoded])
        model = fnn.Model([numbers, text], fnn.Dense(1)(fnn.Dense(30, "relu")(h)), seed=0)
        model.compile("adam", "mse")
        model.fit([x, words], y, epochs=2, verbose=0)
        made.append(weights_as_bytes(model))
    assert made[0] == made[1]


# --- Normalization: measured when fit begins ------------------------------------------------------


def in_batches(x, y):
    return [(x[i : i + 30], y[i : i + 30]) for i in range(0, len(x), 30)]


class Repeatable:
    """An iterable that is not a list, and fills the same arrays again."""

    def __init__(self, x, y):
        self.batches = in_batches(x, y)

    def __iter__(self):
        room = np.empty_like(self.batches[0][0])
        for x, y in self.batches:
            room[: len(x)] = x
            yield room[: len(x)], y


SOURCES = {
    "array": lambda x, y: (x, y),
    "float32": lambda x, y: (x.astype(np.float32), y),
    "list": lambda x, y: (x.tolist(), y.tolist()),
    "frame": lambda x, y: (pd.DataFrame(x), y),
    "sparse": lambda x, y: (sparse.csr_array(x), y),
    "list of batches": lambda x, y: (in_batches(x, y), None),
    "iterable": lambda x, y: (Repeatable(x, y), None),
}


@pytest.mark.parametrize("shape", [None, (3,)], ids=["waits for its shape", "built"])
@pytest.mark.parametrize("source", SOURCES)
def test_fit_measures_the_training_rows(source, shape, xy):
    x, y = xy
    if source == "sparse":
        x = np.where(np.abs(x) < 3, 0, x)
    layer = fnn.Normalization()
    model = regression(layer, shape=shape)
    model.fit(*SOURCES[source](x, y), verbose=0, epochs=2)
    tolerance = 1e-6 if source == "float32" else 1e-12
    assert_close(layer.mean, x.mean(axis=0), tolerance)
    assert_close(layer.variance, x.var(axis=0), tolerance)
    adapted = fnn.Normalization()
    adapted.adapt(x)
    other = regression(adapted, shape=shape)
    other.fit(*SOURCES[source](x, y), verbose=0, epochs=2)
    assert_close(model.predict(x), other.predict(x), 1e-4 if source == "float32" else 1e-9)


def test_fit_measures_large_maps(tmp_path, xy, monkeypatch):
    monkeypatch.setattr(pages, "MAPPED_FROM", 1)
    monkeypatch.setattr(pages, "WINDOW_BYTES", 1000)
    monkeypatch.setattr(lookups, "READ_AT_ONCE", 64)
    x, y = xy
    np.save(tmp_path / "x.npy", x)
    layer = fnn.Normalization()
    regression(layer).fit(np.load(tmp_path / "x.npy", mmap_mode="r"), y, verbose=0)
    assert_close(layer.mean, x.mean(axis=0), 1e-12)
    assert_close(layer.variance, x.var(axis=0), 1e-12)


def test_rows_held_out_are_not_measured(xy):
    x, y = xy
    layer = fnn.Normalization()
    regression(layer).fit(x, y, validation_split=0.25, verbose=0)
    assert_close(layer.mean, x[:150].mean(axis=0), 1e-12)
    with pytest.raises(AssertionError):
        assert_close(layer.mean, x.mean(axis=0), 1e-12)


def test_only_the_first_fit_measures(xy):
    x, y = xy
    layer = fnn.Normalization()
    model = regression(layer)
    model.fit(x, y, verbose=0)
    before = layer.mean.copy()
    model.fit(x + 100, y, verbose=0)
    model.compile("sgd", "mse")
    model.fit(x + 100, y, verbose=0)
    assert np.array_equal(layer.mean, before)


def test_behind_layers_that_change_only_the_shape(rng):
    x, y = rng.normal(1, 2, (60, 2, 3)), rng.normal(size=60)
    layer = fnn.Normalization()
    regression(fnn.Flatten(), layer).fit(x, y, verbose=0)
    assert_close(layer.mean, x.reshape(60, 6).mean(axis=0), 1e-12)
    layer = fnn.Normalization()
    regression(fnn.Reshape((3, 2)), layer, fnn.Flatten(), shape=(2, 3)).fit(x, y, verbose=0)
    assert_close(layer.mean, x.reshape(-1, 2).mean(axis=0), 1e-12)


def test_a_layer_that_reads_two_inputs_measures_both(rng):
    a, b = fnn.Input((2,)), fnn.Input((2,))
    layer = fnn.Normalization()
    model = fnn.Model([a, b], fnn.Dense(1)(fnn.Add()([layer(a), layer(b)])), dtype="float64")
    model.compile("sgd", "mse")
    data = [rng.normal(size=(20, 2)), rng.normal(5, 1, (20, 2))]
    model.fit(data, np.zeros(20), verbose=0)
    assert_close(layer.mean, np.concatenate(data).mean(axis=0), 1e-12)


@pytest.mark.parametrize(
    "optimizer",
    [fnn.AdamW(0.1, weight_decay=0.5), fnn.Adam(0.1, use_ema=True, ema_momentum=0.5),
     fnn.SGD(0.1, global_clipnorm=0.1), fnn.LBFGS()],
    ids=["weight decay", "average", "clipping", "L-BFGS"],
)  # fmt: skip
def test_no_training_changes_what_was_measured(optimizer, xy):
    x, y = xy
    layer = fnn.Normalization()
    model = regression(layer, optimizer=optimizer)
    history = model.fit(x, y, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert_close(layer.mean, x.mean(axis=0), 1e-12)
    assert_close(layer.variance, x.var(axis=0), 1e-12)


def test_adapting_a_built_model_counts_at_once(xy):
    x, y = xy
    layer = fnn.Normalization()
    model = regression(layer)
    model.fit(x, y, verbose=0, validation_data=(x, y))
    model.predict(x[:3]), model.predict_one(x[0]), model.learn_one(x[0], y[0])
    layer.adapt(x * 2 + 50)
    dense = model.layers[1]
    want = (x - layer.mean) / layer.scale @ dense.kernel + dense.bias
    assert_close(layer.mean, (x * 2 + 50).mean(axis=0), 1e-12)
    assert_close(model.predict(x), want, 1e-12)
    assert_close(model.predict(x[:3]), want[:3], 1e-12)
    assert_close(model.predict_one(x[0]), want[0], 1e-12)
    assert_close(model.evaluate(x, y)["loss"], ((want[:, 0] - y) ** 2).mean(), 1e-12)
    assert_close(model.learn_one(x[1], y[1]), (want[1, 0] - y[1]) ** 2, 1e-12)


NOT_ADAPTED = "layer 'normalization' .Normalization. has not measured any data yet: call its adapt"


@pytest.mark.parametrize("shape", [None, (3,)])
def test_what_has_not_measured_anything_does_not_run(shape, xy):
    x, y = xy
    model = regression(fnn.Normalization(), shape=shape)
    for run in (
        lambda: model.predict(x), lambda: model.predict_one(x[0]), lambda: model.evaluate(x, y),
        lambda: model.train_on_batch(x, y), lambda: model.learn_one(x[0], y[0]),
        lambda: model.forward(x, training=True),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=NOT_ADAPTED):
            run()
        assert model.built == (shape is not None)
        assert model.layers[0].mean is None
        assert model.layers[0].variance is None


@pytest.mark.parametrize("shape", [None, (3,)])
def test_a_fit_that_does_not_begin_leaves_the_layer_as_it_was(shape, xy):
    x, y = xy
    layer = fnn.Normalization()
    model = regression(layer, shape=shape)
    bad = x.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="y must have as many rows as x"):
        model.fit(x, y[:9], verbose=0)
    with pytest.raises(ValueError, match=r"got nan at \[3, 1\]"):
        model.fit(bad, y, verbose=0)
    with pytest.raises(ValueError, match="validation_data"):
        model.fit(x, y, validation_data=(x[:, :2], y), verbose=0)
    assert not layer.is_adapted
    assert model.built == (shape is not None)
    model.fit(x, y, verbose=0)
    assert_close(layer.mean, x.mean(axis=0), 1e-12)


def test_what_fit_cannot_measure_is_refused(xy):
    x, y = xy
    generator = ((a, b) for a, b in in_batches(x, y))
    with pytest.raises(ValueError, match=r"an iterator .generator., can be read only once"):
        regression(fnn.Normalization()).fit(generator, verbose=0)
    assert len(list(generator)) == 7  # nothing has been read
    for shape in (None, (3,)):
        for before in (fnn.Dense(3), fnn.Rescaling(2.0)):
            model = regression(before, fnn.Normalization(), shape=shape)
            with pytest.raises(ValueError, match="what it reads is not an input of the model"):
                model.fit(x, y, verbose=0)
            assert model.built == (shape is not None)
    inside = fnn.Residual([fnn.Normalization()])
    with pytest.raises(ValueError, match="what it reads is not an input of the model"):
        regression(inside).fit(x, y, verbose=0)


def test_in_the_middle_of_a_network_after_adapt(xy):
    x, y = xy
    layer = fnn.Normalization()
    layer.adapt(x)
    model = regression(fnn.Dense(3), layer)
    model.fit(x, y, verbose=0)
    first, last = model.layers[0], model.layers[2]
    h = (x @ first.kernel + first.bias - layer.mean) / layer.scale
    assert_close(model.predict(x), h @ last.kernel + last.bias, 1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Normalization(mean=1.0), "give mean and variance, or neither"),
        (lambda: fnn.Normalization(mean=[1.0, 2], variance=[1.0]), "got 2 and 1"),
        (lambda: fnn.Normalization(mean=1.0, variance=-1.0), "at least 0, got -1.0"),
        (lambda: fnn.Normalization(mean=[0.0, np.nan], variance=1.0), r"mean\[1\] must be a fin"),
        (lambda: fnn.Normalization(mean=np.zeros((2, 2)), variance=1.0), r"got shape \(2, 2\)"),
        (lambda: fnn.Normalization(axis=1), "axis must be -1, .* or None"),
        (lambda: fnn.Normalization(mean=0.0, variance=1.0).adapt([[1.0]]), "nothing to measure"),
        (lambda: fnn.Normalization(mean=[1.0, 2], variance=1.0)(fnn.Input((3,))),
         r"2 columns were given mean and variance, but samples have shape \(3,\)"),
        (lambda: fnn.Rescaling("a"), "scale must be a finite number, got 'a'"),
        (lambda: fnn.Rescaling(1.0, np.inf), "offset must be a finite number"),
    ],
)  # fmt: skip
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([[1.0, 2.0]], ValueError, r"was built for 3 columns, got samples of shape \(2,\)"),
        (np.zeros((0, 3)), ValueError, r"must have rows and columns, got shape \(0, 3\)"),
        ([[1.0, 2.0, np.inf]], ValueError, r"got inf at \[0, 2\]"),
        (sparse.csr_array([[0, 0, 1], [0, np.nan, 0]]), ValueError, r"got nan at \[1, 1\]"),
        ([["a", "b", "c"]], TypeError, "must hold real numbers"),
        (None, TypeError, "got None"),
        (5.0, ValueError, r"must have shape \(rows, columns\), got \(\)"),
    ],
)
def test_data_that_cannot_be_measured(data, error, message, xy):
    layer = fnn.Normalization()
    regression(layer, shape=(3,))
    layer.adapt(xy[0])
    before = layer.mean.copy()
    with pytest.raises(error, match=message):
        layer.adapt(data)
    assert np.array_equal(layer.mean, before)


def test_adapted_to_another_width_than_the_model_has(xy):
    layer = fnn.Normalization()
    layer.adapt(xy[0])
    with pytest.raises(ValueError, match=r"3 columns were measured, but samples have shape \(2,\)"):
        regression(layer, shape=(2,))


# --- copies and files -----------------------------------------------------------------------------


def mixed(xy, rng):
    """A trained model of numbers, text and ids, and its data."""
    x, y = xy
    numbers, ids = fnn.Input((3,), name="numbers"), fnn.Input((2,), name="ids")
    text = fnn.Input((1,), name="text", dtype="string")
    words, codes = fnn.StringLookup(mask_token=""), fnn.IntegerLookup(max_tokens=4)
    data = [x, rng.choice(["a", "ü", "", "日本"], (200, 1)), rng.choice([5, 10**12, -7], (200, 2))]
    h = fnn.Concatenate()(
        [
            fnn.Rescaling(0.5)(fnn.Normalization()(numbers)),
            fnn.Flatten()(fnn.Embedding(5, 2)(words(text))),
            fnn.Flatten()(fnn.Embedding(4, 2)(codes(ids))),
        ]
    )
    model = fnn.Model([numbers, text, ids], fnn.Dense(1)(h), seed=0)
    model.compile("adam", "mse")
    model.fit(data, y, epochs=2, verbose=0)
    return model, data, y


def by_file(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    return fnn.load(tmp_path / "m.safetensors")


COPIES = {
    "file": by_file,
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_know_what_was_measured(how, xy, rng, tmp_path, capsys):
    model, data, y = mixed(xy, rng)
    again = COPIES[how](model, tmp_path)
    assert_same_bits(again.predict(data), model.predict(data))
    model.summary()
    shown = capsys.readouterr().out
    again.summary()
    assert capsys.readouterr().out == shown
    assert "Input (text)" in shown
    assert "StringLookup" in shown
    vocabularies = [
        [layer.get_vocabulary() for layer in one.layers if layer.is_lookup]
        for one in (model, again)
    ]
    assert vocabularies[0] == vocabularies[1]
    for one in (model, again):
        one.fit([data[0] + 100, *data[1:]], y, verbose=0, shuffle=False)
    assert_same_bits(again.predict(data), model.predict(data))


def test_a_copy_before_a_training_measures_for_itself(xy):
    x, y = xy
    model = regression(fnn.Normalization(), shape=(3,))
    again = copy.deepcopy(model)
    model.fit(x, y, verbose=0)
    assert not again.layers[0].is_adapted
    again.fit(x + 10, y, verbose=0)
    assert_close(again.layers[0].mean, x.mean(axis=0) + 10, 1e-12)
    other = regression(fnn.Normalization(), shape=(3,))
    other.set_weights(model.get_weights())
    assert_same_bits(other.predict(x), model.predict(x))


def test_a_description_is_json_with_the_vocabulary():
    layer = fnn.IntegerLookup(mask_token=0)
    layer.adapt(np.array([[3], [5], [5]], np.uint8))
    config = json.loads(json.dumps(layer.config()))
    assert config["vocabulary"] == [5, 3]
    assert fnn.IntegerLookup(**config).get_vocabulary() == [0, -1, 5, 3]


def test_a_long_vocabulary_is_shown_by_its_beginning():
    layer = fnn.StringLookup(vocabulary=[f"word {i}" for i in range(100_000)])
    assert len(repr(layer)) < 200
    assert "'word 0'" in repr(layer)
    assert "100,000 tokens" in repr(layer)


# --- lookups: values ------------------------------------------------------------------------------

WORDS = {"vocabulary": ["a", "b", "c", "d"]}
CODES = {"vocabulary": [12, 36, 1138, 42]}


@pytest.mark.parametrize(
    ("cls", "options", "given", "expected"),
    [
        (fnn.StringLookup, WORDS, [["a", "c", "d"], ["d", "z", "b"]], [[1, 3, 4], [4, 0, 2]]),
        (fnn.StringLookup, WORDS | {"mask_token": ""}, [["a", "", "d"], ["z", "b", ""]],
         [[2, 0, 5], [1, 3, 0]]),
        (fnn.StringLookup, WORDS | {"num_oov_indices": 0}, [["a", "d"]], [[0, 3]]),
        (fnn.StringLookup, WORDS | {"output_mode": "one_hot"}, [["a"], ["b"], ["c"], ["d"], ["z"]],
         np.eye(5)[[1, 2, 3, 4, 0]]),
        (fnn.StringLookup, WORDS | {"output_mode": "multi_hot"},
         [["a", "c", "d", "d"], ["d", "z", "b", "z"]], [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]),
        (fnn.StringLookup, WORDS | {"output_mode": "count"},
         [["a", "c", "d", "d"], ["d", "z", "b", "z"]], [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]]),
        (fnn.StringLookup, WORDS | {"output_mode": "count", "mask_token": "", "num_oov_indices": 0},
         [["a", "", "d", "d"], ["", "", "", ""]], [[1, 0, 0, 2], [0, 0, 0, 0]]),
        (fnn.IntegerLookup, CODES, [[12, 1138, 42], [42, 1000, 36]], [[1, 3, 4], [4, 0, 2]]),
        (fnn.IntegerLookup, CODES | {"num_oov_indices": 2}, [[12, 1138, 42], [37, 1000, 36]],
         [[2, 4, 5], [1, 0, 3]]),
        (fnn.IntegerLookup, CODES | {"mask_token": 0}, [[12, 0, 7]], [[2, 0, 1]]),
        (fnn.IntegerLookup, CODES | {"output_mode": "one_hot"}, [[12], [36], [1138], [42], [7]],
         np.eye(5)[[1, 2, 3, 4, 0]]),
        (fnn.IntegerLookup, CODES | {"output_mode": "count"}, [[12, 1138, 42, 42], [42, 7, 36, 7]],
         [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]]),
    ],
)  # fmt: skip
def test_lookups_number_tokens_as_keras_does(cls, options, given, expected):
    model = alone(cls(**options), np.shape(given)[1:])
    assert model.predict(np.array(given)).tolist() == np.array(expected).tolist()


@pytest.mark.parametrize(
    ("options", "given", "expected"),
    [
        ((4, "one_hot"), [[3], [2], [0], [1]], np.eye(4)[[3, 2, 0, 1]]),
        ((3, "one_hot"), [[2, 0]], [[[0, 0, 1], [1, 0, 0]]]),
        ((4,), [[0, 1], [0, 0], [1, 2], [3, 1]],
         [[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]),
        ((4, "count"), [[0, 1], [0, 0], [1, 2], [3, 1]],
         [[1, 1, 0, 0], [2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]),
    ],
)  # fmt: skip
def test_encodings_of_categories(options, given, expected):
    model = alone(fnn.CategoryEncoding(*options), np.shape(given)[1:])
    assert model.predict(given).tolist() == np.array(expected).tolist()
    as_matrix = sparse.csr_array(np.array(given))
    assert model.predict(as_matrix).tolist() == np.array(expected).tolist()


def test_the_encoding_is_a_one_hot_encoder(rng):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = rng.choice(["a", "b", "c"], (30, 1))
    layer = fnn.StringLookup(vocabulary=["a", "b", "c"], num_oov_indices=0, output_mode="one_hot")
    want = preprocessing.OneHotEncoder(sparse_output=False).fit_transform(x)
    assert alone(layer, (1,)).predict(x).tolist() == want.tolist()


@pytest.mark.parametrize(
    ("make", "data", "expected"),
    [
        (lambda: fnn.StringLookup(), [["a", "c", "d"], ["d", "z", "b"]],
         ["[UNK]", "d", "z", "c", "b", "a"]),
        (lambda: fnn.StringLookup(3), [["a", "c", "d"], ["d", "z", "b"]], ["[UNK]", "d", "z"]),
        (lambda: fnn.StringLookup(mask_token="z"), [["a", "[UNK]"], ["z", "z"]],
         ["z", "[UNK]", "a"]),
        (lambda: fnn.IntegerLookup(), [[12, 1138, 42], [42, 1000, 36]],
         [-1, 42, 1138, 1000, 36, 12]),
        (lambda: fnn.IntegerLookup(num_oov_indices=2, mask_token=0), [[0, 7], [0, -1]],
         [0, -1, -1, 7]),
    ],
)  # fmt: skip
def test_the_vocabulary_has_the_most_frequent_first(make, data, expected, monkeypatch):
    monkeypatch.setattr(lookups, "READ_AT_ONCE", 3)  # in parts
    layer = make()
    layer.adapt(np.array(data))
    assert layer.get_vocabulary() == expected
    assert layer.vocabulary_size() == len(expected)
    again = type(layer)(**layer.config())
    assert again.get_vocabulary() == expected
    assert type(layer)(vocabulary=expected, num_oov_indices=layer.num_oov_indices,
                       mask_token=layer.mask_token).get_vocabulary() == expected  # fmt: skip


def test_text_outside_the_vocabulary_is_spread_the_same_way_always():
    layer = fnn.StringLookup(vocabulary=["a"], num_oov_indices=3)
    words = [f"w{i}" for i in range(60)]
    found = alone(layer, (1,)).predict(np.array(words))[:, 0]
    assert np.bincount(found.astype(int)).tolist() == [16, 20, 24]
    assert found.tolist() == [zlib.crc32(word.encode()) % 3 for word in words]


def test_large_integers_keep_all_digits():
    layer = fnn.IntegerLookup(vocabulary=[2**60, 2**60 + 1, -(2**62)])
    x = np.array([[2**60 + 1], [2**60], [2**60 + 2], [-(2**62)]])
    assert alone(layer, (1,), "float32").predict(x)[:, 0].tolist() == [2, 1, 0, 3]


# --- lookups: what text may be --------------------------------------------------------------------

TEXTS = {
    "U": lambda words: np.array(words),
    "object": lambda words: np.array(words, object),
    "bytes": lambda words: np.array([word.encode() for word in words]),
    "list": list,
    "columns": lambda words: np.array(words)[:, np.newaxis],
    "rows of a list": lambda words: [[word] for word in words],
    "series": pd.Series,
    "frame": lambda words: pd.DataFrame({"word": words}),
    "string dtype": lambda words: pd.Series(words, dtype="string"),
    "category": lambda words: pd.Series(words, dtype="category"),
    "every other": lambda words: np.repeat(np.array(words), 2)[::2],
}


def texts_of_arrow():
    arrow = pytest.importorskip("pyarrow")
    return [
        arrow.array(["b", "ü", "?"]),
        arrow.chunked_array([["b"], ["ü", "?"]]),
        arrow.table({"word": ["b", "ü", "?"]}),
        arrow.array(["b", "ü", "?"]).dictionary_encode(),
    ]


def of_words(*, mask_token=None, size=3, dtype="float64"):
    lookup = fnn.StringLookup(vocabulary=["ü", "b"], mask_token=mask_token)
    model = regression(lookup, fnn.Embedding(size, 2), fnn.Flatten(), shape=(1,), dtype=dtype)
    model.layers[1].tables[0][...] = np.arange(2 * size).reshape(size, 2)
    return model


@pytest.mark.parametrize("kind", TEXTS)
def test_text_of_any_kind(kind, rng):
    model = of_words()
    want = model.predict(np.array([["b"], ["ü"], ["?"]]))
    assert len(np.unique(want)) == 3
    given = TEXTS[kind](["b", "ü", "?"])
    assert_same_bits(model.predict(given), want)
    fresh = regression(fnn.StringLookup(), fnn.Embedding(4, 2), fnn.Flatten())
    fresh.fit(given, np.zeros(3), verbose=0)
    assert fresh.layers[0].get_vocabulary() == ["[UNK]", "ü", "b", "?"]


def test_text_in_arrow():
    model = of_words()
    want = model.predict(np.array([["b"], ["ü"], ["?"]]))
    for given in texts_of_arrow():
        assert_same_bits(model.predict(given), want)


def test_text_in_polars():
    polars = pytest.importorskip("polars")
    model = of_words(mask_token="", size=4)
    want = model.predict(np.array([["b"], ["ü"], [""]]))
    for given in (polars.Series(["b", "ü", None]), polars.DataFrame({"word": ["b", "ü", None]})):
        assert_same_bits(model.predict(given), want)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT], ids=repr)
def test_missing_text_is_the_mask_token_or_refused(missing):
    model = of_words(mask_token="", size=4)
    given = np.array([["b"], [missing]], object)
    assert_same_bits(model.predict(given), model.predict([["b"], [""]]))
    with pytest.raises(ValueError, match=r"x has a missing value, .* in row 1: .* a mask_token"):
        of_words().predict(given)
    with pytest.raises(ValueError, match=r"data has a missing value, .* in row 1"):
        fnn.StringLookup().adapt(given)
    layer = fnn.StringLookup(mask_token="")
    layer.adapt(given)
    assert layer.get_vocabulary() == ["", "[UNK]", "b"]


def test_words_that_look_missing_are_words():
    layer = fnn.StringLookup()
    layer.adapt(["NA", "None", "", "nan"])
    assert sorted(layer.get_vocabulary()) == ["", "NA", "None", "[UNK]", "nan"]


def test_training_and_predicting_with_text(rng):
    words = rng.choice(["up", "down", "left"], (300, 2))
    y = (words == "up").sum(axis=1) - 0.5 * (words == "down").sum(axis=1)
    lookup = fnn.StringLookup()
    model = regression(
        lookup, fnn.Embedding(4, 3), fnn.Flatten(), optimizer=fnn.Adam(0.05), shape=(2,)
    )
    history = model.fit(words, y, epochs=30, verbose=0, validation_split=0.2)
    assert history.history["val_loss"][-1] < 1e-3
    together = model.predict(words[:5])
    assert_same_bits(model.predict_one(words[0]), together[0])
    assert_same_bits(model.predict_one(list(words[1])), together[1])
    before = model.learn_one(words[0], y[0] + 1)
    assert model.learn_one(words[0], y[0] + 1) < before
    assert set(model.evaluate(words, y)) == {"loss"}
    assert model.forward(words, training=True).shape == (300, 1)
    assert model.backward(np.ones((300, 1)))["embedding/embeddings"].any()
    assert fnn.gradcheck(model, words[:20], y[:20, np.newaxis])


def test_batches_of_text(rng):
    words, y = rng.choice(["a", "b", "c"], (90, 1)), rng.normal(size=90)
    made = []
    for data in (in_batches(words, y), Repeatable(words, y)):
        lookup = fnn.StringLookup()
        model = regression(lookup, fnn.Embedding(4, 2), fnn.Flatten())
        model.fit(data, epochs=2, verbose=0)
        assert set(lookup.get_vocabulary()) == {"[UNK]", "a", "b", "c"}
        made.append(model.predict(iter([words, words]))[:90])
    assert_same_bits(made[0], made[1])
    lookup = fnn.StringLookup()
    lookup.adapt(part for part, _ in in_batches(words, y))
    assert set(lookup.get_vocabulary()) == {"[UNK]", "a", "b", "c"}


def test_an_epoch_stays_native(rng):
    model = of_words()
    model.fit(rng.choice(["b", "ü"], (100, 1)), np.zeros(100), verbose=0)
    program = model.network.runtime.bound(fnn.runtime.Purpose.TRAIN, 32).plan
    assert not program.has_python
    assert "lookup" not in " ".join(op.layer for op in program.program.ops)


def test_numbers_are_not_taken_for_tokens():
    """Neither by the general path nor by those for one row and few rows."""
    model = of_words(dtype="float32")
    for _ in range(3):
        model.predict(np.array([["b"]]))
        model.predict_one(["b"])
        model.learn_one(["b"], 1.0)
        for number in (np.ones(1, np.float32), [2]):
            for run in (model.predict_one, lambda x: model.predict([x]),
                        lambda x: model.learn_one(x, 1.0)):  # fmt: skip
                with pytest.raises(TypeError, match="x must hold text"):
                    run(number)


def test_ids_are_looked_up_however_few_come():
    layer = fnn.IntegerLookup(vocabulary=[1])
    model = alone(layer, (1,), "float32")
    for _ in range(3):
        for dtype in (np.float32, np.int64):
            x = np.array([[1], [0]], dtype)
            assert model.predict(x).tolist() == [[1], [0]]
            assert model.predict_one(x[1]).tolist() == [0]
    assert alone(fnn.IntegerLookup(vocabulary=[7]), (1,)).predict_one([7]).tolist() == [1]


# --- lookups: what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.array([1.0, 2.0]), TypeError, "x must hold text, got dtype float64: .*IntegerLookup"),
        ([["b"], [3]], TypeError, r"layer 'string_lookup' looks up, got 3 \(int\) in row 1"),
        ([["b"], [["c"]]], TypeError, r"got \['c'\] \(list\) in row 1"),
        ([["b", "c"]], ValueError, r"x must have shape \(rows, 1\), got \(1, 2\)"),
        ([["b"], ["c", "d"]], TypeError, r"got \['b'\] \(list\) in row 0"),
        (None, TypeError, "x must be an array of text, got None"),
        (sparse.csr_array([[1.0]]), TypeError, "array of text, got a sparse matrix"),
        (np.ma.array(["a", "b"], mask=[0, 1]), ValueError, "masked elements"),
        (np.array([b"\xff"]), ValueError, "utf-8"),
        (pd.DataFrame({"a": [1, 2]}), TypeError, r"got 1 \(int\) in row 0"),
    ],
)
def test_data_that_is_not_text(given, error, message):
    model = of_words()
    before = weights_as_bytes(model)
    with pytest.raises(error, match=message):
        model.predict(given)
    with pytest.raises(error, match=message.replace("x must", "x.* must")):
        model.fit(given, np.zeros(2), verbose=0)
    assert weights_as_bytes(model) == before


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([["a"]], TypeError, "x must hold real numbers"),
        ([[1.5]], ValueError, "x must hold whole numbers, .*'integer_lookup'.* got 1.5 in row 0"),
        ([[1.0], [np.nan]], ValueError, r"x must hold finite numbers, got nan at \[1, 0\]"),
        (np.array([[2**63]], np.uint64), ValueError, "got 9223372036854775808 in row 0"),
        ([[5], [6]], ValueError, "which has num_oov_indices=0, got 6 in row 1"),
        (sparse.csr_array([[1.0]]), TypeError, "must be a dense array"),
        (pd.DataFrame({"id": pd.array([5, None], "Int64")}), ValueError, "1 missing value"),
    ],
)
def test_data_that_are_not_ids(given, error, message):
    model = alone(fnn.IntegerLookup(vocabulary=[5], num_oov_indices=0), (1,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=message):
            model.predict(given)


def test_unknown_text_without_a_number_for_it():
    layer = fnn.StringLookup(vocabulary=["a"], num_oov_indices=0)
    with pytest.raises(ValueError, match="which has num_oov_indices=0, got 'b' in row 2"):
        alone(layer, (1,)).predict(["a", "a", "b"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fnn.StringLookup(vocabulary=["a", "a"]), ValueError, "got 'a' 2 times"),
        (lambda: fnn.StringLookup(vocabulary="abc"), TypeError, "a list of tokens, got 'abc'"),
        (lambda: fnn.StringLookup(vocabulary=[]), ValueError, "at least one token"),
        (lambda: fnn.StringLookup(vocabulary=["a", 1]), TypeError, r"\[1\] must be a string"),
        (lambda: fnn.StringLookup(vocabulary=["a", "[UNK]"]), ValueError, "the oov_token, '.UNK.'"),
        (lambda: fnn.StringLookup(mask_token="[UNK]"), ValueError, "mask_token and oov_token"),
        (lambda: fnn.StringLookup(mask_token=0), TypeError, "mask_token must be a string"),
        (lambda: fnn.StringLookup(1), ValueError, "max_tokens must be at least 2"),
        (lambda: fnn.StringLookup(2, vocabulary=["a", "b"]), ValueError, "at most 1 tokens"),
        (lambda: fnn.StringLookup(output_mode="tf_idf"), ValueError, "output_mode must be 'int'"),
        (lambda: fnn.StringLookup(num_oov_indices=-1), ValueError, "num_oov_indices must be"),
        (lambda: fnn.IntegerLookup(vocabulary=[1.5]), ValueError, r"\[0\] must be an integer"),
        (lambda: fnn.StringLookup().get_vocabulary(), RuntimeError, "has not measured any data"),
        (lambda: fnn.StringLookup(output_mode="count")(fnn.Input((1,))), ValueError,
         "give vocabulary=, or call adapt before the model is made"),
        (lambda: fnn.StringLookup(vocabulary=["a"], output_mode="count")(fnn.Input((1, 2))),
         ValueError, r"takes samples of shape \(columns,\), got \(1, 2\); add Flatten"),
        (lambda: fnn.StringLookup().adapt([1.0]), TypeError, "data must hold text|got 1.0"),
        (lambda: fnn.StringLookup(mask_token="").adapt([""]), ValueError, "found no text"),
        (lambda: fnn.CategoryEncoding(2**24 + 1), ValueError, "num_tokens must be at most"),
        (lambda: fnn.CategoryEncoding(3, "int"), ValueError, "output_mode must be 'one_hot'"),
        (lambda: fnn.Input((1,), dtype="float16"), ValueError, "dtype must be 'string' or None"),
    ],
)  # fmt: skip
def test_bad_arguments_of_lookups(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_categories_outside_the_encoding_are_refused(rng):
    model = alone(fnn.CategoryEncoding(3), (2,))
    with pytest.raises(ValueError, match=r"from 0 to 2 in column 1, .*'category_encoding', got 3"):
        model.predict([[0, 3]])
    behind = fnn.Sequential([fnn.Rescaling(2.0), fnn.CategoryEncoding(3)], input_shape=(2,))
    assert behind.predict([[0, 1]]).tolist() == [[1, 0, 1]]
    with pytest.raises(ValueError, match="or that of a CategoryEncoding"):
        behind.predict([[0, 2]])


def test_where_a_lookup_may_stand():
    text = fnn.Input((1,), name="text")
    with pytest.raises(ValueError, match=r"'string_lookup' .* must read an input of the model"):
        fnn.Sequential([fnn.Dense(1), fnn.StringLookup()], input_shape=(1,))
    with pytest.raises(ValueError, match="input of the model, and cannot be inside 'residual'"):
        fnn.Sequential([fnn.Residual([fnn.StringLookup()])], input_shape=(1,))
    both = fnn.Concatenate()([fnn.StringLookup()(text), fnn.Dense(1)(text)])
    with pytest.raises(ValueError, match="input 'text' is read by 'string_lookup', a lookup, and"):
        fnn.Model(text, both)
    declared = fnn.Input((1,), dtype="string")
    for make in (
        lambda: fnn.Model(declared, fnn.Dense(1)(declared)),
        lambda: fnn.Model(declared, fnn.IntegerLookup()(declared)),
        lambda: fnn.Sequential([declared, fnn.Dense(1)]),
    ):
        with pytest.raises(ValueError, match="holds text, dtype='string', which only a StringLoo"):
            make()
    one = fnn.StringLookup(vocabulary=["a"])
    twice = fnn.Concatenate()([one(text), one(fnn.Reshape((1,))(text))])
    assert fnn.Model(text, twice).predict(["a", "b"]).tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize("reader", [lambda: fnn.Embedding(2, 3), lambda: fnn.CategoryEncoding(2)])
def test_a_vocabulary_that_is_larger_than_what_reads_it(reader):
    lookup = fnn.StringLookup()
    model = regression(lookup, reader(), fnn.Flatten(), shape=(1,))
    message = "takes 2 categories, but 'string_lookup', which it reads, makes 3"
    with pytest.raises(ValueError, match=message):
        model.fit(["a", "b"], [0.0, 1.0], verbose=0)
    assert not lookup.is_adapted
    model.fit(["a", "a"], [0.0, 1.0], verbose=0)
    lookup.adapt(["a", "b"])
    with pytest.raises(ValueError, match=message):
        model.predict(["a"])


def test_another_vocabulary_after_the_training():
    lookup = fnn.StringLookup(vocabulary=["a", "b"])
    model = regression(lookup, fnn.Embedding(3, 2), fnn.Flatten(), shape=(1,))
    before = model.predict(["a", "b", "c"])
    lookup.adapt(["c", "c", "a"])
    assert_same_bits(model.predict(["c", "a", "b"]), before)
    encoded = fnn.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    model = alone(encoded, (1,))
    with pytest.raises(ValueError, match=r"was built for 3 tokens, .* and found 2: make another"):
        encoded.adapt(["a"])
    assert encoded.get_vocabulary() == ["[UNK]", "a", "b"]
    encoded = fnn.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    waiting = regression(encoded)  # as long as it is not built, it may be of any size
    with pytest.raises(ValueError, match="as many rows as x"):
        waiting.fit(["a"], [1.0, 2.0], verbose=0)
    encoded.adapt(["a"])
    assert waiting.fit(["a"], [1.0], verbose=0)
    encoded = model.layers[0]
    encoded.adapt(["z", "z", "y"])
    assert model.predict(["z", "y"]).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_a_model_that_cannot_be_built_leaves_the_vocabulary_free():
    layer = fnn.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    with pytest.raises(ValueError, match="must read an input of the model"):
        fnn.Sequential([fnn.Dense(2), layer], input_shape=(1,))
    layer.adapt([["a"], ["b"], ["c"]])
    model = alone(layer, (1,))
    assert model.output_shape == (4,)
    with pytest.raises(ValueError, match=r"was built for 4 tokens, .* and found 3: make another"):
        layer.adapt([["a"], ["b"]])
