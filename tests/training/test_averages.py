"""The moving average of the parameters (`use_ema`) in validation, and in what callbacks keep."""

from __future__ import annotations

import numpy as np
import pytest
from model_helpers import weights_as_bytes

import fastnn as fnn

EPOCHS = 6


def data(rows=48):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return x, np.tanh(x @ rng.normal(size=(4, 2))) + 0.3 * rng.normal(size=(rows, 2))


def small(use_ema=True, optimizer=fnn.Adam):
    model = fnn.Sequential(
        [fnn.Dense(6, "tanh"), fnn.BatchNormalization(), fnn.Dense(2)],
        input_shape=(4,), dtype="float64", seed=0,
    )  # fmt: skip
    model.layers[0].trainable = False
    model.compile(optimizer(0.05, use_ema=use_ema, ema_momentum=0.8), "mse")
    return model


def train(model, *callbacks, epochs=EPOCHS):
    x, y = data()
    return model.fit(
        x[:32], y[:32], batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks,
        validation_data=(x[32:], y[32:]),
    )  # fmt: skip


def loss_of(model):
    x, y = data()
    return model.evaluate(x[32:], y[32:])["loss"]


def averages():
    """The validation loss of the average after each epoch: that of trainings which end there."""
    found = []
    for epochs in range(1, EPOCHS + 1):
        model = small()
        train(model, epochs=epochs)
        found.append(loss_of(model))
    return found


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_validation_sees_the_average(swap_on_epoch):
    model, plain = small(), small()
    history = train(model, fnn.SwapEMAWeights(swap_on_epoch=swap_on_epoch)).history
    other = train(plain).history
    assert history["val_loss"] == averages()
    assert other["val_loss"] != history["val_loss"]
    assert other["loss"] == history["loss"]  # it changes nothing in training
    assert weights_as_bytes(model) == weights_as_bytes(plain)
    assert loss_of(model) == history["val_loss"][-1]


def test_early_stopping_restores_the_average_that_validation_saw():
    model = small()
    stop = fnn.EarlyStopping(patience=99)
    history = train(model, stop).history
    assert history["val_loss"] == averages()
    assert loss_of(model) == min(history["val_loss"])
    assert history["val_loss"].index(min(history["val_loss"])) == stop.best_epoch
    without = small(use_ema=False)
    train(without, fnn.EarlyStopping(patience=99))
    assert weights_as_bytes(model) != weights_as_bytes(without)


def test_early_stopping_that_restores_nothing_leaves_validation_as_it_is():
    one, other = small(), small()
    stop = fnn.EarlyStopping(patience=99, restore_best_weights=False)
    assert train(one, stop).history == train(other).history


def test_early_stopping_and_the_swap_agree():
    for order in (1, -1):
        model = small()
        callbacks = [fnn.EarlyStopping(patience=99), fnn.SwapEMAWeights()][::order]
        history = train(model, *callbacks).history
        assert history["val_loss"] == averages()
        assert loss_of(model) == min(history["val_loss"])


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_checkpoints_hold_the_average_if_asked_to(swap_on_epoch, tmp_path):
    model = small()
    save = fnn.ModelCheckpoint(tmp_path / "m", save_best_only=True)
    history = train(model, fnn.SwapEMAWeights(swap_on_epoch), save).history
    loaded = fnn.load(tmp_path / "m")
    assert save.best == min(history["val_loss"])
    assert (loss_of(loaded) == save.best) == swap_on_epoch
    loaded.fit(*data(), verbose=0)  # the training goes on from either


def test_weights_that_a_callback_sets_meanwhile_stay():
    class Set(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                self.model.set_weights([np.full_like(w, 0.5) for w in self.model.get_weights()])

        def on_epoch_begin(self, epoch):
            if epoch == 2:
                self.seen = self.model.get_weights()

    callback = Set()
    train(small(), fnn.SwapEMAWeights(swap_on_epoch=True), callback)
    assert all((weight == 0.5).all() for weight in callback.seen)


def test_what_a_callback_writes_into_a_view_meanwhile_stays():
    class Write(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.parameters["dense_1/bias"][...] = 0.5

    model, plain = small(), small()
    with pytest.raises(ZeroDivisionError):
        train(model, fnn.SwapEMAWeights(swap_on_epoch=True), Write(), Fail())
    with pytest.raises(ZeroDivisionError):
        train(plain, Fail())
    assert (model.parameters["dense_1/bias"] == 0.5).all()
    for name, view in plain.parameters.items():
        assert name == "dense_1/bias" or (model.parameters[name] == view).all()


class Fail(fnn.Callback):
    """Ends the training before the average is taken over for good."""

    def on_epoch_end(self, epoch, logs):
        raise ZeroDivisionError


def test_parameters_are_back_after_an_error():
    class Broken(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.seen = self.model.get_weights()
            raise KeyboardInterrupt

    model, twin, callback = small(), small(use_ema=False), Broken()
    with pytest.raises(KeyboardInterrupt):
        train(model, fnn.SwapEMAWeights(swap_on_epoch=True), callback)
    train(twin, epochs=1)
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert any((a != b).any() for a, b in zip(model.get_weights(), callback.seen, strict=True))


def test_what_forward_keeps_is_stale_after_a_swap():
    class Forward(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.forward(data()[0], training=True)

    model = small()
    train(model, fnn.SwapEMAWeights(swap_on_epoch=True), Forward(), epochs=1)
    with pytest.raises(RuntimeError, match="call forward"):
        model.backward(data()[1])


@pytest.mark.parametrize("optimizer", [lambda: fnn.Adam(), pytest.param(lambda: fnn.LBFGS())])
def test_an_optimizer_without_an_average_is_refused(optimizer):
    if isinstance(optimizer(), fnn.LBFGS):
        pytest.importorskip("scipy")
    x, y = data()
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(4,), seed=0)
    model.compile(optimizer(), "mse")
    before = weights_as_bytes(model)
    with pytest.raises(ValueError, match=r"SwapEMAWeights needs an optimizer with use_ema=True, g"):
        model.fit(x, y, verbose=0, callbacks=[fnn.SwapEMAWeights()])
    assert weights_as_bytes(model) == before
    with pytest.raises(TypeError, match="swap_on_epoch must be True or False, got 1"):
        fnn.SwapEMAWeights(1)


def test_one_parameter_that_a_callback_sets_leaves_the_others_as_they_were_trained():
    """So does a model that shares one layer and is trained meanwhile."""

    class Change(fnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.change(self.model.layers[-1])

        def change(self, layer):
            layer.set_weights([np.full_like(weight, 0.5) for weight in layer.get_weights()])

    class Train(Change):
        def change(self, layer):
            other = fnn.Sequential([layer], input_shape=(6,), dtype="float64")
            other.compile("sgd", "mse")
            other.train_on_batch(np.ones((4, 6)), np.ones((4, 2)))

    plain = small()
    with pytest.raises(ZeroDivisionError):
        train(plain, Fail())
    for callback in (Change(), Train()):
        model = small()
        with pytest.raises(ZeroDivisionError):
            train(model, fnn.SwapEMAWeights(swap_on_epoch=True), callback, Fail())
        for name, view in plain.parameters.items():
            is_same = np.array_equal(model.parameters[name], view)
            assert is_same == (not name.startswith("dense_1")), name
