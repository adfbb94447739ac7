"""What a Recorder keeps of a training, what it computes later, and what it leaves unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import numeric_gradient_norms, unchanged

import fastnn as fnn
from fastnn.callbacks.recorder import BINS, Histogram, put_parameters


def arena(model):
    return model.network.runtime.arenas["parameters"]


def network(*layers, optimizer="adam", **options):
    layers = layers or (fnn.Dense(8, "relu"), fnn.Dense(3))
    model = fnn.Sequential(list(layers), input_shape=(5,), seed=0, **options)
    model.compile(optimizer, "crossentropy")
    return model


@pytest.fixture
def given(rng):
    return rng.normal(size=(90, 5)), rng.integers(0, 3, 90)


def recorded(model, given, epochs=4, *, recorder=None, callbacks=(), **options):
    recorder = recorder or fnn.Recorder()
    x, y = given
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[*callbacks, recorder], **options)
    return recorder


class Watch(fnn.Callback):
    """All parameters after each epoch."""

    def on_train_begin(self):
        self.seen = [arena(self.model).copy()]

    def on_epoch_end(self, epoch, logs):
        self.seen.append(arena(self.model).copy())


# --- which epochs -------------------------------------------------------------------------------


def test_looks_before_the_first_epoch_and_after_each(given):
    watch = Watch()
    found = recorded(network(), given, callbacks=[watch])
    assert found.epochs == [0, 1, 2, 3, 4]
    for got, want in zip(found.parameters, watch.seen, strict=True):
        assert (got == want).all()
    assert not (found.parameters[0] == found.parameters[1]).all(), "they are copies"


@pytest.mark.parametrize("looks", [4, 5, 6, 7, 10])
def test_thins_out_evenly(given, looks):
    for epochs in range(1, 45, 3):
        watch = Watch()
        found = recorded(
            network(), given, epochs, recorder=fnn.Recorder(looks=looks), callbacks=[watch],
            batch_size=90,
        )  # fmt: skip
        assert min(looks, epochs + 1) // 2 < len(found.epochs) <= looks
        assert (found.epochs[0], found.epochs[-1]) == (0, epochs)
        assert len(set(np.diff(found.epochs[:-1]))) <= 1
        for done, parameters in zip(found.epochs, found.parameters, strict=True):
            assert (parameters == watch.seen[done]).all()


def test_few_enough_looks_are_all_kept(given):
    assert recorded(network(), given, 9, recorder=fnn.Recorder(looks=10)).epochs == list(range(10))


def test_a_second_fit_starts_afresh(given):
    model = network()
    found = recorded(model, given, 6)
    first = found.activations
    recorded(model, given, 2, recorder=found)
    assert found.epochs == [0, 1, 2]
    assert len(found.activations) == 3
    assert (found.activations[0]["dense"].counts == first[-1]["dense"].counts).all()
    other = network(fnn.Dense(3))
    recorded(other, given, 1, recorder=found)
    assert list(found.activations[0]) == ["dense"]
    assert found.parameters[0].shape == arena(other).shape


def test_before_any_training():
    found = fnn.Recorder()
    assert (found.epochs, found.parameters) == ([], [])
    assert (found.activations, found.gradients) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rows": 0}, "rows must be"), ({"rows": 1.5}, "rows must be"), ({"looks": 3}, "looks must"),
     ({"looks": True}, "looks must"), ({"every": 0}, "every must")],
)  # fmt: skip
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fnn.Recorder(**arguments)


# --- how a training ends ------------------------------------------------------------------------


def test_early_stopping_that_gives_weights_back(given):
    model = network()
    stopping = fnn.EarlyStopping("loss", patience=2, min_delta=100.0, restore_best_weights=True)
    found = recorded(model, given, 10, callbacks=[stopping])
    assert found.epochs == [0, 1, 2, 3]
    assert (found.parameters[-1] == arena(model)).all()
    assert (found.parameters[-1] == found.parameters[1]).all()


def test_histograms_of_what_was_given_back(given):
    """A query while the training is still running must not fix what is known of its end."""

    class Curious(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            assert len(found.activations) == len(found.gradients) == len(found.epochs)

    model, found = network(), fnn.Recorder()
    stopping = fnn.EarlyStopping("loss", patience=2, min_delta=100.0, restore_best_weights=True)
    x, y = given
    model.fit(x, y, epochs=9, verbose=0, callbacks=[stopping, found, Curious()])
    for looks in (found.activations, found.gradients):
        for name, last in looks[-1].items():
            assert (last.counts == looks[1][name].counts).all()
            assert last.low == looks[1][name].low


def test_an_average_is_what_is_seen_last(given):
    model = network(optimizer=fnn.Adam(0.01, use_ema=True))
    watch = Watch()
    found = recorded(model, given, 3, callbacks=[watch])
    assert found.epochs == [0, 1, 2, 3]
    assert (found.parameters[-1] == arena(model)).all()
    assert not (found.parameters[-1] == watch.seen[-1]).all()
    assert (found.parameters[1] == watch.seen[1]).all()


@pytest.mark.parametrize(("at", "epochs"), [(0, [0, 1]), (3, [0, 1, 2, 3, 4])])
def test_an_interrupted_fit(given, at, epochs):
    class Interrupt(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == at:
                raise KeyboardInterrupt

    model, found = network(), fnn.Recorder()
    x, y = given
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=9, verbose=0, callbacks=[found, Interrupt()])
    assert found.epochs == epochs
    assert (found.parameters[-1] == arena(model)).all()
    assert len(found.gradients) == len(epochs)
    assert model.history.learning_rates == pytest.approx([0.001] * (at + 1))


def test_a_fit_interrupted_before_its_first_epoch_ends(given):
    class Interrupt(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            raise KeyboardInterrupt

    model, found = network(), fnn.Recorder()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*given, verbose=0, callbacks=[found, Interrupt()])
    assert found.epochs == [0]
    assert len(found.activations) == 1


def test_a_fit_whose_loss_is_not_finite(given):
    model, found = network(optimizer=fnn.SGD(1e30)), fnn.Recorder()
    with pytest.raises(fnn.NonFiniteLossError):
        model.fit(*given, epochs=5, verbose=0, callbacks=[found])
    assert found.epochs[0] == 0
    assert np.isfinite(found.parameters).all()
    assert len(found.activations) == len(found.epochs)


# --- histograms ---------------------------------------------------------------------------------


def test_activations_are_those_of_the_layers(given):
    model = network(dtype="float64")
    found = recorded(model, given, 2, recorder=fnn.Recorder(rows=90))
    x, _ = given
    weights = model.get_weights()
    hidden = np.maximum(x @ weights[0] + weights[1], 0)
    given_by = {"dense": hidden, "dense_1": hidden @ weights[2] + weights[3]}
    last = found.activations[-1]
    assert list(last) == list(given_by)
    for name, array in given_by.items():
        counts, edges = np.histogram(array, BINS)
        assert np.abs(last[name].counts - counts).sum() <= 4, "some lie on the edge of a bin"
        assert_close([last[name].low, last[name].high], edges[[0, -1]], 1e-12)
        assert last[name].zeros == np.mean(array == 0)
        assert last[name].finite == 1


def test_gradients_are_those_of_the_mean_loss(given):
    model = network(dtype="float64")
    found = recorded(model, given, 2, recorder=fnn.Recorder(rows=90))
    x, y = given
    scores = model.forward(x, training=True)
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    chances[np.arange(90), y] -= 1
    model.backward(chances / 90)
    last = found.gradients[-1]
    assert list(last) == list(model.gradients)
    for name, gradient in model.gradients.items():
        want = Histogram.of(gradient, is_logarithmic=True)
        assert_close([last[name].low, last[name].high], [want.low, want.high], 1e-6)
        assert last[name].counts.sum() == want.counts.sum() == np.count_nonzero(gradient)


def test_rows_are_evenly_spread(given):
    found = recorded(network(), given, 1, recorder=fnn.Recorder(rows=10))
    assert found.activations[0]["dense"].counts.sum() == 10 * 8
    assert recorded(network(), given, 1).activations[0]["dense_1"].counts.sum() == 90 * 3
    (sample, *_) = found._sample
    assert_close(sample.array, given[0][np.linspace(0, 89, 10).astype(int)], 0)


def test_looking_leaves_the_model_alone(given):
    model = network(fnn.Dense(8, "relu"), fnn.Dropout(0.3), fnn.BatchNormalization(), fnn.Dense(3))
    found = recorded(model, given)
    gradients = model.network.runtime.arenas["gradients"].copy()
    with unchanged(model):
        assert len(found.activations) == len(found.gradients) == 5
    assert (model.network.runtime.arenas["gradients"] == gradients).all()
    again = network(fnn.Dense(8, "relu"), fnn.Dropout(0.3), fnn.BatchNormalization(), fnn.Dense(3))
    x, y = given
    again.fit(x, y, epochs=4, verbose=0)
    for one in (model, again):
        one.fit(x, y, epochs=2, verbose=0)
    assert (arena(model) == arena(again)).all(), "recorded and inspected, it trains the same"


def test_histograms_are_computed_once(given):
    found = recorded(network(), given, 2)
    assert found.activations[1]["dense"] is found.activations[1]["dense"]
    assert found.gradients[1]["dense/bias"] is found.gradients[1]["dense/bias"]


def test_moving_averages_are_those_of_the_epoch(given):
    """At the start, BatchNormalization normalizes with mean 0 and variance 1."""
    model = network(fnn.BatchNormalization(), fnn.Dense(3), dtype="float64")
    found = recorded(model, given, 20, recorder=fnn.Recorder(rows=90))
    x, _ = given
    first, last = (found.activations[i]["batch_normalization"] for i in (0, -1))
    assert first.low == pytest.approx(x.min() / np.sqrt(1 + 1e-3), rel=1e-2)
    layer = model.layers[0]
    out = (x - layer.moving_mean) / np.sqrt(layer.moving_variance + layer.epsilon)
    assert last.high == pytest.approx((out * layer.gamma + layer.beta).max(), rel=1e-6)


def test_dropout_is_left_out(given):
    found = recorded(network(fnn.Dense(8), fnn.Dropout(0.5), fnn.Dense(3)), given, 1)
    one, other = (found.activations[0][name] for name in ("dense", "dropout"))
    assert (one.counts == other.counts).all()
    assert other.zeros == 0


def test_sparse_inputs(given):
    sparse = pytest.importorskip("scipy.sparse")
    x = given[0] * (given[0] > 0)
    dense = recorded(network(), (x, given[1]), 2)
    thin = recorded(network(), (sparse.csr_array(x), given[1]), 2)
    for one, other in zip(dense.activations, thin.activations, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].high == pytest.approx(other[name].high, rel=1e-5)
            assert one[name].counts.sum() == other[name].counts.sum()
    assert dense.gradients[0].keys() == thin.gradients[0].keys()


def test_batches(given):
    x, y = given
    model, found = network(), fnn.Recorder(rows=20)
    model.fit([(x[:45], y[:45]), (x[45:], y[45:])], epochs=2, verbose=0, callbacks=[found])
    assert found.epochs == [0, 1, 2]
    assert found.activations[0]["dense"].counts.sum() == 20 * 8


def test_several_inputs_and_outputs_and_a_layer_used_twice(rng):
    a, b = fnn.Input((4,)), fnn.Input((4,))
    shared = fnn.Dense(6, "tanh", name="shared")
    h = fnn.Add(name="sum")([shared(a), shared(b)])
    model = fnn.Model([a, b], [fnn.Dense(2, name="kind")(h), fnn.Dense(1, name="size")(h)], seed=0)
    model.compile("adam", {"kind": "crossentropy", "size": "mse"})
    x, y = [rng.normal(size=(30, 4)) for _ in "ab"], [rng.integers(0, 2, 30), rng.normal(size=30)]
    found = fnn.Recorder()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[found])
    assert set(found.activations[0]) == {"shared", "shared:2", "sum", "kind", "size"}
    assert set(found.gradients[0]) == set(model.parameters)


def test_lbfgs(given):
    pytest.importorskip("scipy")
    model = network(fnn.Dense(4, "tanh"), fnn.Dense(3), optimizer="lbfgs")
    watch = Watch()
    found = recorded(model, given, 5, callbacks=[watch])
    assert found.epochs == list(range(len(watch.seen)))
    assert (found.parameters[-1] == arena(model)).all()
    assert len(found.gradients) == len(found.epochs)
    assert model.history.learning_rates == []


def test_sample_weights_count_for_the_gradients(given):
    x, y = given
    model, found = network(), fnn.Recorder()
    model.fit(x, y, sample_weight=np.zeros(90), epochs=1, verbose=0, callbacks=[found])
    assert all(gradient.zeros == 1 for gradient in found.gradients[0].values())


# --- numbers by layer ---------------------------------------------------------------------------


def small(optimizer="adam", *, layers=()):
    model = fnn.Sequential(
        [fnn.Dense(6, "tanh", name="first"), *layers, fnn.Dense(2, name="last")],
        input_shape=(4,), dtype="float64", seed=0,
    )  # fmt: skip
    model.compile(optimizer, "mse")
    return model


def of_numbers(rows):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return x, np.tanh(x @ rng.normal(size=(4, 2)))


def test_numbers_of_layers_beside_numpy():
    x, y = of_numbers(1000)
    layers = [fnn.Dropout(0.5), fnn.Dense(5, "relu", name="middle"), fnn.Flatten()]
    model, found = small(layers=layers), fnn.Recorder(rows=100)
    seen = []

    class Keep(fnn.Callback):
        def on_train_begin(self):
            self.on_epoch_end(0, {})

        def on_epoch_end(self, epoch, logs):
            seen.append({name: view.copy() for name, view in model.parameters.items()})

    model.fit(x, y, epochs=2, verbose=0, callbacks=[Keep(), found])
    assert found.epochs == [0, 1, 2]
    assert found.layers == ["first", "dropout", "middle", "flatten", "last"]
    rows = x[np.linspace(0, 999, 100).astype(int)]
    for look, p in enumerate(seen):
        first = np.tanh(rows @ p["first/kernel"] + p["first/bias"])
        middle = np.maximum(first @ p["middle/kernel"] + p["middle/bias"], 0)
        last = middle @ p["last/kernel"] + p["last/bias"]
        for place, a in enumerate([first, first, middle, middle, last]):
            numbers = (found.means[look, place], found.deviations[look, place])
            assert numbers == pytest.approx((a.mean(), a.std()), rel=1e-9)
            assert found.zeros[look, place] == (a == 0).mean()
    assert 0 < found.zeros[0, 2] < 1
    assert found.gradient_norms.shape == (3, len(found.parameter_names))
    assert found.parameter_names == list(model.parameters)
    assert (found.gradient_norms > 0).all()


def test_norms_of_gradients_are_those_of_the_epoch():
    (x, y), model, every_second = of_numbers(64), small(fnn.SGD(0.1)), fnn.Recorder(every=2)
    model.fit(x, y, epochs=5, verbose=0, callbacks=[every_second])
    assert every_second.epochs == [0, 2, 4, 5]
    model, twin = small(fnn.SGD(0.1)), fnn.Recorder()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[twin])
    np.testing.assert_array_equal(twin.gradient_norms[2], every_second.gradient_norms[1])
    assert twin.gradient_norms[2] == pytest.approx(numeric_gradient_norms(model, x, y), rel=1e-6)


def test_numbers_before_any_training():
    found = fnn.Recorder()
    for table in (found.means, found.deviations, found.zeros, found.gradient_norms):
        assert table.shape == (0, 0)


def test_every_and_looks_thin_out_together(given):
    found = recorded(network(), given, 23, recorder=fnn.Recorder(looks=4, every=3), batch_size=90)
    assert found.epochs == [0, 12, 23]


# --- a histogram --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_counts_are_numpys(rng, dtype):
    array = (100 * rng.random((40, 5)) - 50).astype(dtype)
    array[0] = 0
    got = Histogram.of(array)
    counts, edges = np.histogram(array.astype(np.float64), BINS)
    assert (got.counts == counts).all()
    assert (got.low, got.high) == (edges[0], edges[-1])
    assert got.zeros == np.mean(array == 0)
    numbers = array.astype(np.float64)
    assert_close([got.mean, got.deviation], [numbers.mean(), numbers.std()], 1e-12)
    assert got.norm == pytest.approx(np.sqrt((numbers**2).sum()))


def test_logarithms(rng):
    array = np.array([1.0, -10, 0, 100, -0.001, np.inf, np.nan, 0])
    got = Histogram.of(array, is_logarithmic=True)
    assert (got.low, got.high) == (pytest.approx(-3), pytest.approx(2))
    assert got.counts.sum() == 4
    assert (got.zeros, got.finite) == (0.25, 0.75)
    assert np.isnan(got.mean)
    finite = Histogram.of(np.array([3.0, -4.0]), is_logarithmic=True)
    assert (finite.mean, finite.deviation, finite.norm) == (-0.5, 3.5, 5.0)


@pytest.mark.parametrize("is_logarithmic", [False, True])
@pytest.mark.parametrize(
    "array",
    [
        [], [np.nan], [np.inf, -np.inf], [0.0], [0, 0], [1e20] * 3, [-1.7e308, 1.7e308],
        [1.7e308], [1.0, np.nextafter(1, 2)], [1.0, 1 + 1e-14], [1e20, np.nextafter(1e20, np.inf)],
        [5e-324, 1e-323], [5e-324], [3e38, -3e38], [True, False], [[1, 2], [3, 4]],
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_histograms_find_hard(array, is_logarithmic):
    array = np.array(array)
    got = Histogram.of(array, is_logarithmic=is_logarithmic)
    is_counted = np.isfinite(array) & ((array != 0) | (not is_logarithmic))
    assert got.counts.sum() == np.sum(is_counted)
    assert got.low < got.high
    assert np.isfinite(got.high - got.low)
    assert np.isfinite([got.zeros, got.finite]).all()
    if np.any(is_counted):
        assert got.on(np.linspace(got.low, got.high, 9)).sum() == pytest.approx(1)


def test_on_other_edges(rng):
    array = rng.normal(size=10_000)
    got = Histogram.of(array)
    edges = np.linspace(-3, 3, 25)
    want = np.histogram(array, edges)[0] / array.size
    assert got.on(edges) == pytest.approx(want, abs=0.01)
    assert got.on(np.linspace(-10, 10, 8)).sum() == pytest.approx(1)
    assert got.on(np.array([50.0, 60.0])) == pytest.approx([0])
    own = np.linspace(got.low, got.high, BINS + 1)
    assert got.on(own) == pytest.approx(got.counts / array.size)


def test_other_parameters_of_a_copy(given):
    model = network()
    before = arena(model).copy()
    other = fnn.Model.of(model.network.clone())
    other.predict(given[0])
    other.predict_one(given[0][0])
    put_parameters(other.network, np.zeros_like(before))
    assert not other.predict(given[0]).any()
    assert not other.predict_one(given[0][0]).any()
    assert (arena(model) == before).all()
    with pytest.raises(ValueError, match="another model"):
        put_parameters(other.network, before[1:])
    assert not other.predict(given[0]).any()


def test_statistics_of_a_training_that_diverged(given):
    model, recorder = network(), fnn.Recorder()
    model.fit(*given, epochs=1, verbose=0, callbacks=[recorder])
    arena(model)[...] = np.inf
    assert np.isfinite(recorder.means).all()


# --- History ------------------------------------------------------------------------------------


def test_learning_rates_of_a_training(given):
    x, y = given
    schedule = fnn.schedules.ExponentialDecay(0.1, 3, 0.5)
    model = network(optimizer=fnn.SGD(schedule))
    history = model.fit(x, y, epochs=4, batch_size=30, verbose=0)  # 3 steps each
    assert history.learning_rates == pytest.approx(schedule.rates_from(0, 12)[2::3])
    constant = network(optimizer=fnn.SGD(0.1)).fit(x, y, epochs=2, verbose=0)
    assert constant.learning_rates == [0.1, 0.1]
    assert fnn.History().learning_rates == []


def test_learning_rates_that_callbacks_set(given):
    plateau = fnn.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
    model = network(optimizer=fnn.SGD(0.1))
    history = model.fit(*given, epochs=5, verbose=0, callbacks=[plateau])
    assert len(history.learning_rates) == len(history.epoch) == 5
    assert history.learning_rates[0] == 0.1
    assert history.learning_rates[-1] < 0.1
    assert sorted(history.learning_rates, reverse=True) == history.learning_rates


def test_learning_rates_when_training_stops_early(given):
    stopping = fnn.EarlyStopping("loss", patience=2, min_delta=100.0)
    history = network().fit(*given, epochs=9, verbose=0, callbacks=[stopping])
    assert len(history.learning_rates) == len(history.epoch) == 3


def test_median_of_a_histogram():
    assert np.isnan(Histogram.of(np.full(5, np.nan)).median)
    assert Histogram.of(np.zeros(7)).is_empty is False
    numbers = np.random.default_rng(0).normal(size=1001)
    histogram = Histogram.of(numbers)
    width = (histogram.high - histogram.low) / len(histogram.counts)
    assert histogram.median == pytest.approx(np.median(numbers), abs=width)
    assert 0 <= Histogram.of([0.0] * 99 + [64.0]).median <= 1


def test_looking_leaves_what_forward_has_kept():
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    model.compile("sgd", "mse")
    recorder = fnn.Recorder()
    x = np.ones((4, 3), "f")
    model.fit(x, x[:, :2], verbose=0, callbacks=[recorder])
    model.forward(x, training=True)
    assert recorder.activations
    assert recorder.gradients
    gradients = model.backward(np.ones((4, 2), "f"))
    assert gradients["dense/bias"].tolist() == [4, 4]


def test_looking_leaves_what_forward_has_kept_of_the_inputs(rng):
    """Backward after a query reads the activations of forward, and the parameters as they were."""
    model = small(layers=[fnn.Dense(5, "relu"), fnn.BatchNormalization()])
    twin = small(layers=[fnn.Dense(5, "relu"), fnn.BatchNormalization()])
    (x, y), recorder = of_numbers(20), fnn.Recorder()
    for one in (model, twin):
        one.fit(x, y, epochs=3, verbose=0, callbacks=[recorder] if one is model else [])
        one.forward(x, training=True)
    assert recorder.activations
    assert recorder.gradients
    grad = rng.normal(size=(20, 2))
    one, other = model.backward(grad), twin.backward(grad)
    for name in one:
        assert (one[name] == other[name]).all(), name


def test_learning_rates_are_those_of_the_last_steps():
    class Halves(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.optimizer.learning_rate /= 2

    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    model.compile(fnn.SGD(1.0), "mse")
    x = np.zeros((4, 3))
    history = model.fit(x, x[:, 0], batch_size=2, epochs=2, verbose=0, callbacks=[Halves()])
    assert history.learning_rates == [0.5, 0.125]
