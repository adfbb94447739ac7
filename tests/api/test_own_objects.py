"""What a user has written survives files, copies and pickles, or its loss is announced."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastnn as fnn
from fastnn import initializers, losses, metrics, regularizers, schedules

X = np.random.default_rng(0).normal(size=(64, 3))
Y = X.sum(axis=1)


def worst(y_true, y_pred):
    return float(np.abs(y_true - y_pred).max())


def spread(y_true, y_pred, sample_weight):
    return float(np.average((y_true - y_pred)[:, 0] ** 2, weights=sample_weight))


class OwnAdam(fnn.Adam):
    nu: float = 0.3


class OwnHuber(fnn.Huber):
    power: float = 2.0


class OwnSchedule(schedules.ExponentialDecay):
    floor: float = 0.5


class OwnUniform(initializers.Uniform):
    shift: float = 0.25


class OwnL2(regularizers.L2):
    share: float = 0.75


class OwnMetric(metrics.R2):
    scale: float = 2.0

    @property
    def label(self):
        return "own_r2"

    def compute(self, collected):
        return self.scale * super().compute(collected)


class OwnLayer(fnn.Layer):
    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor
        self.count = 0

    def forward(self, x, *, training):
        return self.factor * x

    def backward(self, grad_output):
        return self.factor * grad_output


class OwnModel(fnn.Sequential):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.note = "mine"
        self.ends = [self.layers[0], self.layers[-1]]

    def double(self, x):
        return 2 * self.predict(x)


OWN = [OwnAdam, OwnHuber, OwnSchedule, OwnUniform, OwnL2, OwnMetric, OwnLayer, worst, spread]


def trained():
    first = fnn.Dense(
        4,
        kernel_initializer=OwnUniform(-1, 1, shift=0.5),
        kernel_regularizer=OwnL2(0.01, share=0.5),
    )
    model = OwnModel([first, OwnLayer(3.0), fnn.Dense(1)], input_shape=(3,), seed=0)
    rate = OwnSchedule(0.01, 10, 0.9, floor=0.125)
    model.compile(
        OwnAdam(rate, nu=0.7),
        OwnHuber(power=4.0),
        [worst, "mae", OwnMetric(scale=3.0)],
        weighted_metrics=[spread],
    )
    model.fit(X, Y, epochs=2, verbose=0)
    model.layers[1].count = 7
    return model


def assert_is_like(again, model, *, is_copy):
    assert type(again.optimizer) is OwnAdam
    assert again.optimizer == model.optimizer
    assert again.optimizer is not model.optimizer
    assert again.optimizer.learning_rate.floor == 0.125
    assert again.network.objective.loss == model.network.objective.loss
    dense, own = again.layers[:2]
    assert type(dense.kernel_initializer) is OwnUniform
    assert dense.kernel_initializer.shift == 0.5
    assert type(dense.kernel_regularizer) is OwnL2
    assert dense.kernel_regularizer.share == 0.5
    assert type(own) is OwnLayer
    assert own.factor == 3.0
    if is_copy:
        assert type(again) is OwnModel
        assert again.note == "mine"
        assert again.ends == [again.layers[0], again.layers[-1]]
        assert again.layers[0] is not model.layers[0]
        assert again.layers[1].count == 7
        assert again.history.history == model.history.history
        assert again.history is not model.history
        np.testing.assert_array_equal(again.double(X), 2 * model.predict(X))
    assert again.evaluate(X, Y) == model.evaluate(X, Y)
    assert list(again.evaluate(X, Y)) == ["loss", "worst", "mae", "own_r2", "spread"]
    one, other = copy.deepcopy(model), copy.deepcopy(again)
    assert one.fit(X, Y, verbose=0).history == other.fit(X, Y, verbose=0).history
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_keep_everything(duplicate):
    model = trained()
    assert_is_like(duplicate(model), model, is_copy=True)


def test_a_copy_trains_alone():
    model = trained()
    before = model.predict(X)
    again = copy.deepcopy(model)
    again.fit(X, Y, verbose=0)
    again.optimizer.learning_rate = 1.0
    np.testing.assert_array_equal(model.predict(X), before)
    assert type(model.optimizer.learning_rate) is OwnSchedule


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(fnn.layers.registry._classes, OwnLayer.kind, OwnLayer)


@pytest.mark.usefixtures("registered")
def test_files_keep_everything_that_load_is_given(tmp_path):
    model = trained()
    model.save(tmp_path / "m")
    given = {one.__name__: one for one in OWN}
    assert_is_like(fnn.load(tmp_path / "m", custom_objects=given), model, is_copy=False)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("missing", ["worst", "spread"])
def test_a_metric_function_is_not_dropped_without_a_word(missing, tmp_path):
    model = trained()
    model.save(tmp_path / "m")
    given = {one.__name__: one for one in OWN if one.__name__ != missing}
    with pytest.warns(UserWarning, match=f"the metric function '{missing}', which is not known"):
        again = fnn.load(tmp_path / "m", custom_objects=given)
    assert set(model.evaluate(X, Y)) - set(again.evaluate(X, Y)) == {missing}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("cls", [OwnAdam, OwnHuber, OwnSchedule, OwnUniform, OwnL2, OwnMetric])
def test_a_class_is_not_replaced_without_a_word(cls, tmp_path):
    model = trained()
    model.save(tmp_path / "m")
    given = {one.__name__: one for one in OWN if one is not cls}
    with pytest.warns(UserWarning, match=f"{cls.__name__} is not known here, and .* its place"):
        again = fnn.load(tmp_path / "m", custom_objects=given)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_class_with_a_name_of_its_own_must_be_given(tmp_path):
    class Renamed(fnn.SGD):
        name = "renamed"
        kernel = "sgd"

    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,))
    model.compile(Renamed(0.1), "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m")
    with pytest.raises(
        ValueError, match=r"of the class Renamed, which is not known here: give cus"
    ):
        fnn.load(tmp_path / "m")
    for key in ("Renamed", "renamed", "any"):
        again = fnn.load(tmp_path / "m", custom_objects={key: Renamed})
        assert type(again.optimizer) is Renamed


def test_what_is_no_object_of_ones_own():
    for one in (3, "worst", np.ndarray, OwnLayer(), None):
        with pytest.raises(TypeError, match=r"custom_objects\['one'\] must be a class of layers"):
            fnn.load("nowhere", custom_objects={"one": one})


def test_a_class_that_is_called_like_one_of_fastnns(tmp_path):
    class SGD(fnn.SGD):
        nu: float = 0.5

    model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,))
    model.compile(SGD(0.1, nu=0.25), "mse")
    model.save(tmp_path / "m")
    with pytest.warns(UserWarning, match="SGD is not known here, and SGD takes its place"):
        assert type(fnn.load(tmp_path / "m").optimizer) is fnn.SGD
    again = fnn.load(tmp_path / "m", custom_objects={"SGD": SGD})
    assert again.optimizer.nu == 0.25


class Wide(fnn.Dense):
    """A class of a layer with arguments of its own besides those of the base."""

    def __init__(self, units, times=1, **options):
        super().__init__(units * times, **options)
        self.units_of_one, self.times = units, times

    def config(self):
        return {**super().config(), "units": self.units_of_one}


class Forgetful(OwnLayer):
    def __init__(self, power, **options):
        super().__init__(**options)


def test_layers_with_a_constructor_of_their_own(tmp_path, monkeypatch):
    for cls in (Wide, Forgetful):
        monkeypatch.setitem(fnn.layers.registry._classes, cls.kind, cls)
    model = fnn.Sequential([Wide(2, 3, activation="tanh")], input_shape=(3,), seed=0)
    model.save(tmp_path / "m")
    for again in (fnn.load(tmp_path / "m"), copy.deepcopy(model)):
        assert again.layers[0].times == 3
        assert again.layers[0].units == 6
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
    forgetful = fnn.Sequential([Forgetful(3)], input_shape=(3,))
    with pytest.raises(ValueError, match=r"Forgetful\.__init__ takes power, which must be kept"):
        forgetful.save(tmp_path / "n")
    assert not (tmp_path / "n").exists()


def test_a_functional_model_with_attributes():
    class Encoder(fnn.Model):
        pass

    x = fnn.Input((3,))
    model = Encoder(x, fnn.Dense(2, name="code")(x), seed=0)
    model.settings = {"first": model.layers[0], "rate": 0.5}
    again = copy.deepcopy(model)
    assert type(again) is Encoder
    assert again.settings == {"first": again.layers[0], "rate": 0.5}
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_callback_of_ones_own_is_pickled():
    stop = fnn.EarlyStopping("loss", patience=3)
    assert pickle.loads(pickle.dumps(stop)) == stop
    assert copy.deepcopy(stop) == stop


# --- what the user's code is given ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("y", [Y > 0, (Y > 0).astype(np.uint8), (Y > 0).astype(np.float16)])
def test_a_metric_function_gets_numbers_of_the_models_dtype(dtype, y):
    def error(y_true, y_pred):
        assert y_true.dtype == y_pred.dtype == dtype
        return np.mean(np.abs(y_true - (y_pred > 0.5)))

    model = fnn.Sequential([fnn.Dense(1, "sigmoid")], input_shape=(3,), dtype=dtype, seed=0)
    model.compile("adam", "binary_crossentropy", [error, "accuracy"])
    found = model.evaluate(X, y)
    assert found["error"] == pytest.approx(1 - found["accuracy"])
    history = model.fit(X, y, verbose=0).history
    assert history["error"][0] == pytest.approx(1 - history["accuracy"][0])


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.int64, bool])
def test_labels_are_int64(kind):
    seen = []

    def off(y_true, y_pred):
        seen.append(y_true.dtype)
        return float((y_true - y_pred.argmax(axis=1)).mean())

    def cost(y_true, y_pred):
        seen.append(y_true.dtype)
        return (y_pred[np.arange(len(y_true)), y_true] - y_true + 1) ** 2

    def slope(y_true, y_pred):
        grad = np.zeros_like(y_pred)
        rows = np.arange(len(y_true))
        grad[rows, y_true] = 2 * (y_pred[rows, y_true] - y_true + 1)
        return grad

    labels = (Y > 0).astype(kind)
    for loss in ("crossentropy", losses.Custom(cost, slope, takes_labels=True)):
        model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
        model.compile("adam", loss, [off])
        said = model.predict(X).argmax(axis=1)
        assert model.evaluate(X, labels)["off"] == (labels.astype(int) - said).mean()
        model.fit(X, labels, verbose=0)
    assert set(seen) == {np.dtype(np.int64)}


def test_a_layers_check_of_its_input_gets_wide_integers():
    seen = []

    class Checks(OwnLayer):
        def check_input(self, label, rows, first_row=None):
            seen.append(rows.dtype)

    model = fnn.Sequential([Checks()], input_shape=(3,))
    for dtype in (np.uint8, bool, np.int16, np.float32):
        model.predict(np.ones((2, 3), dtype))
    assert seen == [np.int64, np.int64, np.int64, np.float32]
