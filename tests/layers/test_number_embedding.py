"""Embeddings of numbers: the accuracy of their cosines, edges and what measures them, files."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from helpers import DTYPES, assert_close, assert_same_bits
from scipy import sparse

import fastnn as fnn
from fastnn.layers.base import make as make_layer
from fastnn.layers.number_embedding import FAR
from fastnn.native import engine, kernels

EPS = {dtype: np.finfo(dtype).eps for dtype in DTYPES}


def regression(*layers, shape=None, optimizer="sgd", dtype="float64"):
    model = fnn.Sequential([*layers, fnn.Dense(1)], input_shape=shape, seed=0, dtype=dtype)
    model.compile(optimizer, "mse")
    return model


@pytest.fixture
def xy(rng):
    x = rng.normal(3, 2, (200, 3))
    return x, np.sin(x).sum(axis=1)


# --- cosines and sines of turns -------------------------------------------------------------------


def cosine(x, frequency=1.0, phase=0.0):
    """cos(2 pi (frequency x + phase)): one wave, kernel 1, bias 0."""
    one, zero = np.ones((1, 1), x.dtype), np.zeros((1, 1), x.dtype)
    return kernels.periodic_embedding(
        x[:, np.newaxis], frequency * one, phase + zero, one, zero, workers=1
    )[:, 0]


def slope(x):
    """-2 pi sin(2 pi x), the derivative by the phase, for each x."""
    one = np.ones((1, 1), x.dtype)
    zero = np.zeros((1, 1), x.dtype)
    parts = [
        kernels.periodic_embedding_gradient(row[None], one, zero, one, one, workers=1)[1][0, 0]
        for row in x[:, np.newaxis]
    ]
    return np.array(parts)


def exact(function, x):
    """The function of 2 pi x, where the whole turns of x have been taken off without rounding."""
    wide = x.astype(np.longdouble)
    two_pi = 2 * np.longdouble("3.14159265358979323846264338327950288")
    return function(two_pi * (wide - np.rint(wide)))


def turns(rng, dtype):
    """Numbers of every size: also those of which a float has no fraction, and next to powers."""
    sizes = 10.0 ** rng.uniform(-12, 12, 20_000)
    with np.errstate(over="ignore"):
        ends = 2.0 ** np.arange(-30, np.finfo(dtype).maxexp - 1)
    quarters = np.arange(-40, 41) / 8
    x = np.concatenate([sizes, -sizes, rng.uniform(-3, 3, 20_000), ends, quarters]).astype(dtype)
    return np.concatenate(
        [x, np.nextafter(x, dtype_inf(dtype)), np.nextafter(x, -dtype_inf(dtype))]
    )


def dtype_inf(dtype):
    return np.dtype(dtype).type(np.inf)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cosine_of_turns_is_accurate_at_every_size(dtype, rng):
    x = turns(rng, dtype)
    error = np.abs(cosine(x) - exact(np.cos, x))
    assert error.max() <= 4 * EPS[dtype], x[error.argmax()]
    off = np.abs(cosine(x) * (1 + 8 * EPS[dtype]) - exact(np.cos, x))
    assert off.max() > 4 * EPS[dtype], "the comparison can fail"


@pytest.mark.parametrize("dtype", DTYPES)
def test_sine_of_turns_is_accurate_at_every_size(dtype, rng):
    x = rng.choice(turns(rng, dtype), 4000)
    error = np.abs(slope(x) + 2 * np.pi * exact(np.sin, x))
    assert error.max() <= 4 * EPS[dtype] * 2 * np.pi, x[error.argmax()]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_angle_is_as_exact_as_its_product(dtype, rng):
    """The argument frequency x + phase is rounded once, by a fused multiply-add or after it."""
    x, frequency, phase = rng.normal(0, 50, 5000).astype(dtype), dtype_of(dtype, 0.37), -1.3
    phase = dtype_of(dtype, phase)
    wide = np.longdouble(frequency) * x.astype(np.longdouble) + np.longdouble(phase)
    rounding = np.abs(np.longdouble(frequency) * x) * EPS[dtype] + np.abs(wide) * EPS[dtype]
    error = np.abs(cosine(x, frequency, phase) - exact(np.cos, wide))
    assert (error <= 4 * EPS[dtype] + 2 * np.pi * rounding).all()


def dtype_of(dtype, number):
    return np.dtype(dtype).type(number)


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_turns_as_in_numpy(dtype):
    x = np.array([0.0, -0.0, 0.25, 0.5, -0.5, 1.0, np.inf, -np.inf, np.nan], dtype)
    with np.errstate(invalid="ignore"):
        want = np.cos(2 * np.pi * x.astype(np.float64)).round(15)
    for position in range(len(x)):  # in each lane
        got, wanted = cosine(np.roll(x, position)), np.roll(want, position)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=4 * EPS[dtype])


# --- the periodic layer ---------------------------------------------------------------------------


def test_periodic_parameters_and_how_they_begin():
    layer = fnn.PeriodicEmbedding(units=4, waves=200, frequency_scale=0.5)
    model = regression(layer, shape=(30,))
    assert {name: view.shape for name, view in layer.parameters.items()} == {
        "frequency": (30, 200), "phase": (30, 200), "kernel": (30, 200, 4), "bias": (30, 4)
    }  # fmt: skip
    assert abs(layer.frequency.std() - 0.5) < 0.02
    assert np.abs(layer.phase).max() <= np.pi
    assert abs(layer.phase.std() - np.pi / 3**0.5) < 0.05
    for view in (layer.kernel, layer.bias):
        assert np.abs(view).max() <= 200**-0.5
        assert np.abs(view).max() > 0.9 * 200**-0.5
    assert model.layers[0].output_shape((30,)) == (120,)


def test_periodic_layer_learns_a_wave(rng):
    x = rng.uniform(-3, 3, (400, 2))
    y = np.sin(5 * x[:, 0]) + np.cos(3 * x[:, 1])
    losses = []
    for layers in ([fnn.PeriodicEmbedding(4, frequency_scale=0.5)], []):
        model = regression(*layers, fnn.Dense(16, "relu"), shape=(2,), optimizer=fnn.Adam(0.01))
        losses.append(model.fit(x, y, epochs=60, verbose=0).history["loss"][-1])
    assert losses[0] < 0.3 * losses[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.PeriodicEmbedding(0), "units must be a positive integer, got 0"),
        (lambda: fnn.PeriodicEmbedding(3, 0), "waves must be a positive integer, got 0"),
        (lambda: fnn.PeriodicEmbedding(64, 1000), r"waves \* \(units \+ 2\) must be at most"),
        (lambda: fnn.PeriodicEmbedding(frequency_scale=-1), "frequency_scale must be a finite num"),
        (lambda: fnn.PeriodicEmbedding()(fnn.Input((2, 3))), r"\(2, 3\); add Flatten\(\)"),
        (lambda: fnn.PiecewiseLinearEmbedding(0), "units must be a positive integer, got 0"),
        (lambda: fnn.PiecewiseLinearEmbedding(3, 0), "bins must be a positive integer, got 0"),
        (lambda: fnn.PiecewiseLinearEmbedding()(fnn.Input((2, 3))), r"\(2, 3\); add Flatten\(\)"),
        (lambda: fnn.PeriodicEmbedding().frequency, "has no frequency .yet.: build the model"),
        (lambda: fnn.PiecewiseLinearEmbedding().kernel, "has no kernel .yet.: build the model"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises((AttributeError, ValueError), match=message):
        call()


def test_as_many_waves_as_a_worker_has_room_for(rng):
    units = 2
    waves = (engine.SCRATCH_VECTORS - units) // (units + 2)
    layer = fnn.PeriodicEmbedding(units, waves)
    model = regression(layer, shape=(2,))
    x, y = rng.normal(size=(9, 2)), rng.normal(size=9)
    turned = 2 * np.pi * (layer.frequency * x[:, :, np.newaxis] + layer.phase)
    want = np.einsum("rcw,cwu->rcu", np.cos(turned), layer.kernel) + layer.bias
    dense = model.layers[1]
    assert_close(model.predict(x), want.reshape(9, -1) @ dense.kernel + dense.bias, 1e-11)
    model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="must be at most"):
        fnn.PeriodicEmbedding(units, waves + 1)


# --- edges ----------------------------------------------------------------------------------------


def test_edges_are_quantiles(rng):
    x = rng.exponential(size=(1000, 2))
    layer = fnn.PiecewiseLinearEmbedding(bins=10)
    assert layer.edges is None
    layer.adapt(x)
    assert_close(layer.edges, np.quantile(x, np.linspace(0, 1, 11), axis=0).T, 1e-14)
    layer.adapt(x + 5)
    assert_close(layer.edges[:, 0], x.min(axis=0) + 5, 1e-12)
    layer.forget()
    assert layer.edges is None
    assert not layer.is_adapted


def test_columns_of_few_numbers_and_constant_ones():
    """Each different number is an edge once; behind them lie bins that nothing passes."""
    x = np.array([[0.0, 5.0, 1.0], [1.0, 5.0, 2.0], [1.0, 5.0, 3.0], [0.0, 5.0, 4.0]])
    layer = fnn.PiecewiseLinearEmbedding(units=2, bins=6)
    layer.adapt(x)
    measured = layer
    assert layer.edges[0, 0] == 0
    assert layer.edges[0].max() == FAR
    assert_close(layer.edges[1], [5, 6, *[FAR] * 5], 1e-15)
    assert_close(layer.edges[2], 1 + np.arange(7) / 2, 1e-15)
    assert (np.diff(layer.edges) >= 0).all()
    for dtype in DTYPES:
        layer = copy.deepcopy(measured)
        model = regression(layer, shape=(3,), dtype=dtype)
        x_new = np.array([[0.0, 5.0, 1.0], [1.0, 5.5, 4.0], [7.0, -9.0, 100.0]])
        found = fnn.Model(model.inputs, layer.output, dtype=dtype).predict(x_new)
        assert np.isfinite(found).all()
        first, constant, last = layer.kernel
        assert_close(found[0], layer.bias.ravel(), 1e-6)  # each column at its first edge
        whole = first.sum(axis=0) - missing(layer, 0), last.sum(axis=0)
        inside = np.array([whole[0], 0.5 * constant[0], whole[1]]) + layer.bias
        assert_close(found[1], inside.ravel(), 1e-6)
        beyond = layer.bias + np.array([whole[0], -14 * constant[0], whole[1] + 192 * last[-1]])
        assert_close(found[2], beyond.ravel(), 1e-4)


def missing(layer, column):
    """What the bins behind the largest number of a column would add."""
    edges = layer.edges[column]
    return layer.kernel[column][edges[1:] == FAR].sum(axis=0)


def test_numbers_that_float32_cannot_tell_apart(rng):
    x = 1e8 + np.arange(20.0)[:, np.newaxis] / 4
    layer = fnn.PiecewiseLinearEmbedding(units=2, bins=16)
    model = regression(layer, dtype="float32")
    model.fit(x, np.arange(20.0), epochs=3, verbose=0, batch_size=20)
    assert (np.diff(layer.edges) >= 0).all()
    assert (np.diff(layer.edges) == 0).any()
    assert np.isfinite(model.predict(x)).all()


def test_extreme_numbers_stay_finite():
    x = np.array([[-1e300], [0.0], [1e300]])
    layer = fnn.PiecewiseLinearEmbedding(units=1, bins=2)
    model = regression(layer, shape=(1,))
    layer.adapt(x)
    assert np.isfinite(model.predict(x)).all()


# --- measured when fit begins ---------------------------------------------------------------------


def in_batches(x, y):
    return [(x[i : i + 30], y[i : i + 30]) for i in range(0, len(x), 30)]


SOURCES = {
    "array": lambda x, y: (x, y),
    "list of batches": lambda x, y: (in_batches(x, y), None),
}


@pytest.mark.parametrize("shape", [None, (3,)], ids=["waits for its shape", "built"])
@pytest.mark.parametrize("source", SOURCES)
def test_fit_measures_the_training_rows(source, shape, xy):
    x, y = xy
    layer = fnn.PiecewiseLinearEmbedding(units=2, bins=8)
    model = regression(layer, shape=shape)
    model.fit(*SOURCES[source](x, y), verbose=0, epochs=2)
    assert_close(layer.edges, np.quantile(x, np.linspace(0, 1, 9), axis=0).T, 1e-14)
    adapted = fnn.PiecewiseLinearEmbedding(units=2, bins=8)
    adapted.adapt(x)
    other = regression(adapted, shape=shape)
    other.fit(*SOURCES[source](x, y), verbose=0, epochs=2)
    assert_same_bits(model.predict(x), other.predict(x))
    before = layer.edges.copy()
    model.fit(x + 0.1, y, verbose=0)
    assert_same_bits(layer.edges, before)


def test_rows_held_out_are_not_measured(xy):
    x, y = xy
    x[150:] += 1
    layer = fnn.PiecewiseLinearEmbedding(units=2, bins=4)
    regression(layer).fit(x, y, validation_split=0.25, verbose=0)
    assert_close(layer.edges[:, [0, -1]].T, [x[:150].min(axis=0), x[:150].max(axis=0)], 1e-14)
    assert np.abs(layer.edges[:, -1] - x.max(axis=0)).max() > 1e-3


@pytest.mark.parametrize(
    "optimizer",
    [fnn.AdamW(0.1, weight_decay=0.5), fnn.Adam(0.1, use_ema=True, ema_momentum=0.5),
     fnn.SGD(0.01, global_clipnorm=0.1, weight_decay=0.1), fnn.LBFGS()],
    ids=["weight decay", "average", "clipping", "L-BFGS"],
)  # fmt: skip
def test_no_training_changes_the_edges(optimizer, xy):
    x, y = xy
    layer = fnn.PiecewiseLinearEmbedding(units=4, bins=5)
    model = regression(layer, optimizer=optimizer)
    history = model.fit(x, y, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert_close(layer.edges, np.quantile(x, np.linspace(0, 1, 6), axis=0).T, 1e-14)
    layer.learning_rate_factor = {"edges": 3.0, "bias": 0.5}
    assert [layer.rate_factor(name) for name in ("edges", "kernel", "bias")] == [0, 1, 0.5]


def test_adapting_a_built_model_counts_at_once(xy):
    x, y = xy
    layer = fnn.PiecewiseLinearEmbedding(units=2, bins=3)
    model = regression(layer)
    model.fit(x, y, verbose=0)
    before = model.predict(x), model.predict_one(x[0])
    layer.adapt(x * 2 + 50)
    assert_close(layer.edges[:, 0], x.min(axis=0) * 2 + 50, 1e-12)
    now = model.predict(x * 2 + 50), model.predict_one(x[0] * 2 + 50)
    for one, other in zip(before, now, strict=True):
        assert_close(one, other, 1e-10)
    assert np.abs(model.predict(x) - before[0]).max() > 0.1


@pytest.mark.parametrize("shape", [None, (3,)])
def test_what_has_not_measured_anything_does_not_run(shape, xy):
    x, y = xy
    model = regression(fnn.PiecewiseLinearEmbedding(), shape=shape)
    for run in (
        lambda: model.predict(x), lambda: model.predict_one(x[0]), lambda: model.evaluate(x, y),
        lambda: model.train_on_batch(x, y), lambda: model.learn_one(x[0], y[0]),
        lambda: model.forward(x, training=True),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="has not measured any data yet: call its adapt"):
            run()
    model.fit(x, y, verbose=0)
    model.layers[0].forget()
    with pytest.raises(RuntimeError, match="has not measured any data yet"):
        model.predict(x)


@pytest.mark.parametrize("shape", [None, (3,)])
def test_a_fit_that_does_not_begin_leaves_the_layer_as_it_was(shape, xy):
    x, y = xy
    layer = fnn.PiecewiseLinearEmbedding()
    model = regression(layer, shape=shape)
    with pytest.raises(ValueError, match="y must have as many rows as x"):
        model.fit(x, y[:9], verbose=0)
    assert not layer.is_adapted
    assert model.built == (shape is not None)
    model.fit(x, y, verbose=0)
    assert layer.is_adapted


def test_what_fit_cannot_measure_is_refused(xy):
    x, y = xy
    for shape in (None, (3,)):
        model = regression(fnn.Dense(3), fnn.PiecewiseLinearEmbedding(), shape=shape)
        with pytest.raises(ValueError, match="what it reads is not an input of the model"):
            model.fit(x, y, verbose=0)
        assert model.built == (shape is not None)
    generator = (batch for batch in in_batches(x, y))
    with pytest.raises(ValueError, match=r"an iterator .generator., can be read only once"):
        regression(fnn.PiecewiseLinearEmbedding()).fit(generator, verbose=0)
    with pytest.raises(ValueError, match=r"takes samples of shape \(columns,\), got \(2, 3\)"):
        regression(fnn.PiecewiseLinearEmbedding()).fit(np.ones((9, 2, 3)), np.ones(9), verbose=0)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([[1.0, 2.0]], ValueError, r"was built for 3 columns, got samples of shape \(2,\)"),
        (np.zeros((0, 3)), ValueError, r"must have rows and columns, got shape \(0, 3\)"),
        ([[1.0, 2.0, np.inf]], ValueError, r"got inf at \[0, 2\]"),
        ([[1.0, np.nan, 2.0]], ValueError, r"got nan at \[0, 1\]"),
        ([["a", "b", "c"]], TypeError, "must hold real numbers"),
        (np.ones((4, 3, 2)), ValueError, r"takes samples of shape \(columns,\), got \(3, 2\)"),
        (sparse.csr_array([[0, 0, 1.0]]), (TypeError, ValueError), "sparse"),
    ],
)
def test_data_that_cannot_be_measured(data, error, message, xy):
    layer = fnn.PiecewiseLinearEmbedding(bins=4)
    regression(layer, shape=(3,))
    layer.adapt(xy[0])
    before = layer.edges.copy()
    with pytest.raises(error, match=message):
        layer.adapt(data)
    assert_same_bits(layer.edges, before)


def test_measured_before_it_has_another_width(xy):
    layer = fnn.PiecewiseLinearEmbedding()
    layer.adapt(xy[0])
    with pytest.raises(ValueError, match=r"3 columns were measured, but samples have shape \(2,\)"):
        regression(layer, shape=(2,))


# --- copies and files -----------------------------------------------------------------------------


def by_file(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    return fnn.load(tmp_path / "m.safetensors")


COPIES = {
    "file": by_file,
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_know_edges_and_go_on(how, xy, tmp_path):
    x, y = xy
    numbers = fnn.Input((3,))
    parts = [numbers, fnn.PeriodicEmbedding()(numbers), fnn.PiecewiseLinearEmbedding(2, 7)(numbers)]
    h = fnn.ParametricActivation("mish")(fnn.Dense(8)(fnn.Scale()(fnn.Concatenate()(parts))))
    model = fnn.Model(numbers, fnn.Dense(1)(fnn.Columns(1, 7)(h)), seed=0)
    model.compile("adam", "mse")
    model.fit(x, y, epochs=2, verbose=0)
    again = COPIES[how](model, tmp_path)
    assert_same_bits(again.predict(x), model.predict(x))
    for one in (model, again):
        one.fit(x + 1, y, verbose=0, shuffle=False)
    assert_same_bits(again.predict(x), model.predict(x))


def test_a_copy_before_a_training_measures_for_itself(xy):
    x, y = xy
    model = regression(fnn.PiecewiseLinearEmbedding(bins=4), shape=(3,))
    again = copy.deepcopy(model)
    model.fit(x, y, verbose=0)
    assert not again.layers[0].is_adapted
    again.fit(x + 10, y, verbose=0)
    assert_close(again.layers[0].edges, model.layers[0].edges + 10, 1e-12)
    other = regression(fnn.PiecewiseLinearEmbedding(bins=4), shape=(3,))
    other.set_weights(model.get_weights())
    assert other.layers[0].is_adapted
    assert_same_bits(other.predict(x), model.predict(x))


def test_a_description_is_without_the_edges(xy):
    layer = fnn.PiecewiseLinearEmbedding(3, 5)
    layer.adapt(xy[0])
    described = json.loads(json.dumps(layer.describe()))
    assert described["config"] == {"units": 3, "bins": 5}
    assert not make_layer(described, {}).is_adapted
