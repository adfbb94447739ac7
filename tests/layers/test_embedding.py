"""Embedding: tables by column, the check of categories, and the effect of a bad one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits

import fastnn as fnn
from fastnn.data import pages
from fastnn.native import kernels


def model_of(layer, columns=3, *, before=(), dtype="float64"):
    layers = [*before, layer, fnn.Flatten(), fnn.Dense(2)]
    model = fnn.Sequential(layers, input_shape=(columns,), dtype=dtype, seed=1)
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "float64", bool])
def test_any_dtype_of_whole_numbers(dtype, rng):
    model = model_of(fnn.Embedding(2, 4))
    x = rng.integers(0, 2, (9, 3))
    assert_same_bits(model.predict(x.astype(dtype)), model.predict(x))
    model.fit(x.astype(dtype), rng.normal(size=(9, 2)), verbose=0)


@pytest.mark.parametrize("depth", [3, [1, 2, 4]])
def test_a_table_for_each_column(depth, rng):
    layer = fnn.Embedding([2, 5, 9], depth)
    model = model_of(layer)
    x = np.stack([rng.integers(0, size, 20) for size in (2, 5, 9)], axis=1)
    rows = np.concatenate([t[c] for t, c in zip(layer.tables, x.T, strict=True)], axis=1)
    dense = model.layers[-1]
    assert_close(model.predict(x), rows @ dense.kernel + dense.bias, 1e-13)
    assert layer.output_shape((3,)) == (rows.shape[1],)
    assert list(layer.parameters) == [f"embeddings_{i}" for i in range(3)]
    assert fnn.gradcheck(model, x, rng.normal(size=(20, 2)))
    many = fnn.Embedding([3] * 15, 2)  # more than one concatenation takes
    assert model_of(many, 15).predict(np.full((2, 15), 2)).shape == (2, 2)


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_workers(workers, dtype, team, rng):
    x, y = rng.integers(0, 50, (300, 3)), rng.normal(size=(300, 2))
    weights = []
    for size in (1, workers):
        team(size)
        model = model_of(fnn.Embedding([50, 50, 50], 7), dtype=dtype)
        model.fit(x, y, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        assert_same_bits(other, one)


BAD = [
    ([[0, 0, 0], [0, 4, 0]], r"from 0 to 3 in column 1, .* layer 'embedding', got 4 in row 1"),
    ([[0, 0, 0], [0, 0, -1]], r"in column 2, .*got -1 in row 1"),
    ([[0, 0.5, 0]], r"whole numbers from 0 to 3 in column 1.*got 0.5 in row 0"),
]


@pytest.mark.parametrize(("x", "match"), BAD)
@pytest.mark.parametrize("before", [(), (fnn.Reshape, fnn.Flatten)])
def test_bad_categories_are_refused_before_anything_has_changed(x, match, before):
    def new(layer):
        return layer((3, 1)) if layer is fnn.Reshape else layer()

    model = model_of(fnn.Embedding(4, 2), before=map(new, before))
    before = model.get_weights()
    x = np.array(x)
    y = np.zeros((len(x), 2))
    for call in (
        lambda: model.fit(x, y, verbose=0),
        lambda: model.predict(x),
        lambda: model.evaluate(x, y),
        lambda: model.train_on_batch(x, y),
        lambda: model.forward(x, training=True),
        lambda: model.fit(np.zeros((3, 3)), np.zeros((3, 2)), validation_data=(x, y), verbose=0),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert all(map(np.array_equal, before, model.get_weights()))


def test_the_input_of_several_is_named():
    a, b = fnn.Input((2,), name="a"), fnn.Input((1,), name="b")
    model = fnn.Model([a, b], fnn.Concatenate()([a, fnn.Flatten()(fnn.Embedding(3, 2)(b))]))
    with pytest.raises(ValueError, match=r"^x\[1\] must hold whole numbers from 0 to 2 in column"):
        model.predict([np.zeros((1, 2)), np.full((1, 1), 3)])


def test_one_at_a_time_names_the_column_too(rng):
    model = model_of(fnn.Embedding(4, 2))
    good, y = np.array([1.0, 2.0, 3.0]), np.zeros(2)
    for _ in range(3):
        model.learn_one(good, y)
        model.predict_one(good)
    before = model.get_weights()
    for value in (4.0, -1.0, 0.5):
        bad = np.array([0.0, 0.0, value])
        with pytest.raises(ValueError, match=f"in column 2, .*got {value} in row 0"):
            model.learn_one(bad, y)
        with pytest.raises(ValueError, match=f"in column 2, .*got {value} in row 0"):
            model.predict_one(bad)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert model.learn_one(good, y) >= 0


def test_categories_that_a_layer_computes_are_refused_while_it_runs(rng):
    """They cannot be checked in advance; the step is not made."""
    layers = [fnn.Activation("relu"), fnn.Embedding(3, 2)]
    x = np.abs(rng.integers(0, 3, (40, 2))).astype(float)
    model = fnn.Sequential([*layers, fnn.Flatten()], input_shape=(2,), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    y = np.zeros((40, 4))
    assert np.isfinite(model.train_on_batch(x, y))
    before = model.get_weights()
    x[30, 1] = 7
    with pytest.raises(ValueError, match="the input of an Embedding is no category"):
        model.fit(x, y, batch_size=40, verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.parametrize("value", [-1, 3, 0.5, np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernel_refuses_what_is_no_category(value, dtype):
    table, x = np.ones((3, 2), dtype), np.zeros((4, 2), dtype)
    x[2, 1] = value
    out = np.zeros((4, 4), dtype)
    with pytest.raises(ValueError, match="the input of an Embedding is no category"):
        kernels.embedding(x, table, out=out)
    want = np.ones((4, 4))
    want[2, 2:] = np.nan
    assert_close(out, want, 0)
    assert_close(kernels.embedding_gradient(x, np.ones_like(out), 3).sum(), 14, 0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: fnn.Embedding(0, 2), "input_dim must be a positive integer, got 0"),
        (lambda: fnn.Embedding(3, 2.0), "output_dim must be a positive integer, got 2.0"),
        (lambda: fnn.Embedding([3, -1], 2), r"input_dim\[1\] must be a positive integer, got -1"),
        (lambda: fnn.Embedding([], 2), "input_dim must hold a number for each column, got none"),
        (lambda: fnn.Embedding([3, 4], [2]), r"output_dim must .*as many as input_dim .*\[2\]"),
        (lambda: fnn.Embedding(3, [2]), r"output_dim must be an integer, or as many .*\[2\]"),
        (lambda: fnn.Embedding(2**24 + 1, 2), "input_dim must be at most 16,777,216"),
        (lambda: fnn.Embedding([3, 4], 2)(fnn.Input((3,))), r"2 tables .* \(2,\), got \(3,\)"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_rows_of_a_file_are_checked_as_they_are_read(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(pages, "MAPPED_FROM", 1)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.int64, (500, 3))
    x[...] = rng.integers(0, 4, x.shape)
    model = model_of(fnn.Embedding(4, 2))
    y = rng.normal(size=(500, 2))
    model.fit(x, y, verbose=0)
    want = model.predict(np.array(x))
    assert_same_bits(model.predict(x), want)
    x[321, 1] = 4
    for call in (lambda: model.predict(x), lambda: model.fit(x, y, verbose=0)):
        with pytest.raises(ValueError, match=r"in column 1, .*'embedding', got 4, in row 321"):
            call()


def test_sparse_rows_are_checked_too(rng):
    sparse = pytest.importorskip("scipy.sparse")
    x = rng.integers(0, 4, (50, 3))
    model = model_of(fnn.Embedding(4, 2))
    assert_same_bits(model.predict(sparse.csr_array(x)), model.predict(x))
    x[7, 2] = -1
    with pytest.raises(ValueError, match=r"in column 2, .*got -1.0 in row 7"):
        model.predict(sparse.csr_array(x))


def test_a_layer_of_ones_own_checks_its_input():
    """The hook that Embedding uses exists for all layers, directly or after a reshape."""
    from fastnn.layers.inputs import input_checks

    class Positive(fnn.Layer):
        def check_input(self, label, rows, first_row=None):
            if (rows <= 0).any():
                raise ValueError(f"{label} must be positive for layer {self.name!r}")

        def forward(self, x, *, training):
            self.x = x
            return np.log(x)

        def backward(self, grad_output):
            return grad_output / self.x

    model = fnn.Sequential([fnn.Reshape((2, 2)), Positive(), fnn.Flatten()], input_shape=(4,))
    model.compile("sgd", "mse")
    assert input_checks(model.network.graph) == [[model.layers[1].check_input]]
    x = np.ones((5, 4))
    model.fit(x, x, verbose=0)
    x[3, 1] = -1
    with pytest.raises(ValueError, match="x must be positive for layer 'positive'"):
        model.fit(x, np.ones((5, 4)), verbose=0)
    behind = fnn.Sequential([fnn.Dense(4), Positive(name="behind")], input_shape=(4,))
    assert input_checks(behind.network.graph) == [[]]
