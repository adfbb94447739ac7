"""Classes of the user's own that derive from fastnn's: what they keep, and how they are used."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastnn as fnn

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ [1.0, 2.0, 3.0]
LABELS = (Y > 0).astype(int)


def model(optimizer="sgd", loss="mse", metrics=(), units=1):
    made = fnn.Sequential([fnn.Dense(units)], input_shape=(3,), seed=0)
    made.compile(optimizer, loss, list(metrics))
    return made


class WithField(fnn.SGD):
    nu: float = 0.3


class WithInit(fnn.Adam):
    def __init__(self, scale=2.0, **settings):
        super().__init__(**settings)
        self.scale = scale
        self.log = []


class OwnHuber(fnn.Huber):
    weight: float = 2.0


@pytest.mark.parametrize(
    ("optimizer", "loss"),
    [(WithField(), "mse"), (WithInit(), "mse"), ("sgd", OwnHuber())],
    ids=["field", "constructor", "loss"],
)
def test_a_model_is_saved_and_copied_with_its_classes(optimizer, loss, tmp_path):
    made = model(optimizer, loss)
    made.fit(X, Y, epochs=2, verbose=0)
    made.save(tmp_path / "m")
    with pytest.warns(UserWarning, match="is not known here, and .* takes its place"):
        base = fnn.load(tmp_path / "m")
    assert isinstance(made.optimizer, type(base.optimizer))
    classes = {one.__name__: one for one in (WithField, WithInit, OwnHuber)}
    loaded = fnn.load(tmp_path / "m", custom_objects=classes)
    for again in (loaded, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(again.optimizer) is type(made.optimizer)
        assert again.optimizer.config() == made.optimizer.config()
        assert type(again.network.objective.loss) is type(made.network.objective.loss)
    for again in (base, loaded, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(again.predict(X), made.predict(X))
        again.fit(X, Y, verbose=0)


def test_attributes_of_an_optimizer_of_ones_own_make_no_new_programs():
    optimizer = WithInit(learning_rate=0.01)
    made = model(optimizer)
    made.train_on_batch(X, Y)
    programs = len(made.network.runtime.programs)
    for step in range(3):
        optimizer.log.append(step)
        made.train_on_batch(X, Y)
    assert len(made.network.runtime.programs) == programs
    optimizer.beta_1 = 0.8
    made.train_on_batch(X, Y)
    assert list(made.network.runtime.programs)[-1][4] == optimizer.settings()


class Driver(fnn.Callback):
    """Calls another callback as `fit` would, with nothing but a model."""

    def __init__(self, inner):
        self.inner = inner

    def on_epoch_end(self, epoch, logs):
        self.inner.model = self.model
        self.inner.on_epoch_end(epoch, logs)

    def on_train_end(self, logs):
        self.inner.on_train_end(logs)


def test_callbacks_may_be_driven_by_others(tmp_path):
    """Whether more is better is then told by the metric, too."""
    made = model("adam", "crossentropy", ["accuracy"], units=2)
    stop = fnn.TerminateOnValue("accuracy", 0.01)
    history = made.fit(X, LABELS, epochs=9, verbose=0, callbacks=[Driver(stop)])
    assert (len(history.epoch), stop.direction) == (1, "max")
    early = fnn.EarlyStopping("accuracy", patience=3)
    made.fit(X, LABELS, epochs=30, verbose=0, callbacks=[Driver(early)])
    assert early.direction == "max"
    rate = fnn.ReduceLROnPlateau("loss", patience=1, min_delta=100.0)
    before = made.optimizer.learning_rate
    made.fit(X, LABELS, epochs=4, verbose=0, callbacks=[Driver(rate)])
    assert made.optimizer.learning_rate < before


def test_a_subclass_may_have_another_check():
    class Lenient(fnn.EarlyStopping):
        def check(self):
            pass

    made = model("adam", "crossentropy", ["accuracy"], units=2)
    lenient = Lenient("accuracy", patience=3)
    made.fit(X, LABELS, epochs=3, verbose=0, callbacks=[lenient])
    assert lenient.direction == "max"


@pytest.mark.parametrize(
    "callback", [fnn.EarlyStopping("loss"), fnn.ReduceLROnPlateau("loss"), fnn.Recorder()],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_a_callback_that_has_been_used_can_be_copied(callback):
    model().fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
    for again in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert type(again) is type(callback)
        assert again.model is not callback.model


def test_a_callback_may_have_a_network_and_fields_of_its_own():
    class Distill(fnn.Callback):
        def __init__(self, teacher):
            self.network, self.fields, self.arguments = teacher, ["loss"], (1,)

        def set_up(self):
            raise AssertionError("nobody calls this")

    teacher = object()
    callback = Distill(teacher)
    model().fit(X, Y, verbose=0, callbacks=[callback])
    assert callback.network is teacher
    assert "teacher" in repr(callback) or "Distill" in repr(callback)


def test_a_model_that_waits_is_copied_whole():
    waiting = fnn.Sequential([fnn.Dense(1)], seed=4)
    waiting.compile("sgd", "mse")
    again = copy.copy(waiting)
    again.fit(X, Y, verbose=0)
    assert again.built
    assert not waiting.built
    weights = again.get_weights()
    waiting.fit(X, Y, epochs=2, verbose=0)
    assert all(map(np.array_equal, weights, again.get_weights()))


def test_a_numpy_layer_keeps_what_its_methods_set():
    class Noise(fnn.Layer):
        def __init__(self, sigma=1.0, **options):
            super().__init__(**options)
            self.sigma, self.calls = sigma, 0

        def forward(self, x, *, training):
            self.calls += 1
            return x * self.sigma

        def backward(self, grad_output):
            return grad_output * self.sigma

    noise = Noise(0.5)
    made = fnn.Sequential([noise, fnn.Dense(1)], input_shape=(3,), seed=0)
    made.compile("sgd", "mse")
    made.fit(X, Y, verbose=0)
    noise.sigma *= 0.5
    made.fit(X, Y, verbose=0)
    assert (noise.sigma, noise.calls >= 2) == (0.25, True)


def test_a_class_that_derives_from_a_layer_keeps_what_it_likes():
    class Seen(fnn.Dense):
        def output_shape(self, *shapes):
            self.seen = shapes
            return super().output_shape(*shapes)

    layer = Seen(2)
    fnn.Sequential([layer], input_shape=(3,))
    assert layer.seen == ((3,),)
    with pytest.raises(AttributeError, match="units cannot be changed"):
        layer.units = 4
    with pytest.raises(AttributeError, match="'trainble'; did you mean 'trainable'"):
        layer.trainble = False


def test_a_model_of_ones_own_keeps_its_loss_but_not_another_network():
    class Mine(fnn.Sequential):
        def __init__(self):
            super().__init__([fnn.Dense(1)], input_shape=(3,), seed=0)
            self.loss = "mine"

    mine = Mine()
    mine.stop_training = 1
    assert (mine.loss, mine.stop_training) == ("mine", True)
    with pytest.raises(AttributeError, match="choose another name"):
        mine.network = "mine"


def test_a_refused_sample_leaves_what_forward_has_kept():
    made = model()
    y_hat = made.forward(X, training=True)
    with pytest.raises(ValueError, match="finite"):
        made.learn_one(np.full(3, np.nan), 1.0)
    made.backward(y_hat)
    made.learn_one(X[0], 1.0)
    with pytest.raises(RuntimeError, match="call forward"):
        made.backward(y_hat)


class Autoencoder(fnn.Model):
    """Its encoder is a model over its own tensors, its decoder one that is larger by a layer."""

    def __init__(self):
        x = fnn.Input((3,))
        code = fnn.Dense(2, "tanh")(x)
        y = fnn.Dense(3)(code)
        super().__init__(x, y, seed=0)
        self.encoder = fnn.Model(x, code)
        self.readers = {"mean": [fnn.Model(x, fnn.Dense(1)(y), seed=1)]}
        self.encoder.compile(fnn.Adam(0.01), "mse")
        self.compile("sgd", "mse")


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "copy", "pickle"],
)
def test_models_over_the_layers_of_one_that_is_copied_share_with_the_copy(copied):
    model = Autoencoder()
    model.encoder.fit(X, X[:, :2], verbose=0)
    again = copied(model)
    before = again.encoder.predict(X)
    assert np.array_equal(before, model.encoder.predict(X))
    assert again.encoder.layers[0] is again.layers[0]
    (reader,) = again.readers["mean"]
    assert reader.layers[:2] == again.layers
    assert np.array_equal(reader.predict(X), model.readers["mean"][0].predict(X))
    assert again.encoder.iterations == model.encoder.iterations == 2
    model.fit(X, X, verbose=0)
    assert np.array_equal(before, again.encoder.predict(X))
    again.fit(X, X, verbose=0)
    assert not np.array_equal(before, again.encoder.predict(X))
    assert np.array_equal(again.encoder.predict(X), model.encoder.predict(X))
