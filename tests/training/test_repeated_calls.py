"""`fit` and `evaluate` with the arrays of the call before: prepared once, with the same results."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn as fnn
from fastnn.data import adapter as adapters
from fastnn.training import evaluation, kept, loop

ROWS, BATCH = 50, 16  # the last batch is smaller


@pytest.fixture
def prepared(monkeypatch):
    """Which calls have prepared their data."""
    calls = []
    for module, name in ((loop, "fit"), (evaluation, "evaluate")):
        monkeypatch.setattr(
            module,
            "adapter_of",
            lambda *arguments, name=name: calls.append(name) or adapters.adapter_of(*arguments),
        )
    return calls


def made(optimizer="adam", loss="mse", units=2, metrics=(), dtype="float32", **settings):
    model = fnn.Sequential(
        [fnn.Dense(8, "tanh"), fnn.Dropout(0.2 if optimizer != "lbfgs" else 0), fnn.Dense(units)],
        input_shape=(4,), dtype=dtype, seed=1,
    )  # fmt: skip
    model.compile(optimizer, loss, metrics=list(metrics), **settings)
    return model


def arrays(kind="real", dtype=np.float32, rows=ROWS):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype(dtype)
    y = {
        "real": rng.normal(size=(rows, 2)).astype(dtype),
        "label": rng.integers(0, 2, rows),
        "binary": rng.integers(0, 2, (rows, 2)).astype(np.float32),
    }[kind]
    return x, y


def same(one, other):
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
    for first, second in zip(one, other, strict=True) if isinstance(one, tuple) else ():
        same(first, second)


def trained(model, x, y, *, anew, times=4, **arguments):
    """Fit several times, with the same arrays or with copies of them; return the histories."""
    histories = []
    for _ in range(times):
        given = (x.copy(), y.copy()) if anew else (x, y)
        histories.append(model.fit(*given, verbose=0, **arguments))
    return histories


CASES = {
    "real": {},
    "labels": {"loss": "crossentropy", "kind": "label", "metrics": ["accuracy"]},
    "a range": {"loss": "binary_crossentropy", "kind": "binary"},
    "sgd": {"optimizer": "sgd"},
    "a schedule": {"optimizer": lambda: fnn.SGD(fnn.schedules.CosineDecay(0.1, 20))},
    "float64": {"dtype": "float64"},
    "an average": {"optimizer": lambda: fnn.Adam(use_ema=True)},
    "accumulated": {"optimizer": lambda: fnn.Adam(gradient_accumulation_steps=2)},
    "all rows": {"optimizer": "lbfgs"},
    "a metric of all rows": {"loss": "crossentropy", "kind": "label", "metrics": ["f1", "roc_auc"]},
    "a weighted metric": {
        "loss": "crossentropy", "kind": "label", "weighted_metrics": ["accuracy"],
    },
}  # fmt: skip


@pytest.mark.parametrize("arguments", [{}, {"epochs": 3}, {"shuffle": False}], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_and_history_as_with_new_arrays(case, arguments):
    case = dict(CASES[case])
    x, y = arrays(case.pop("kind", "real"))
    optimizer = case.pop("optimizer", "adam")
    batch = {} if optimizer == "lbfgs" else {"batch_size": BATCH}
    again, anew = (
        made(optimizer() if callable(optimizer) else optimizer, **case) for _ in range(2)
    )
    found, expected = (
        trained(model, x, y, anew=model is anew, **arguments, **batch) for model in (again, anew)
    )
    same(again, anew)
    for _ in range(3):
        assert again.evaluate(x, y) == anew.evaluate(x.copy(), y.copy())
    for one, other in zip(found, expected, strict=True):
        for name in ("history", "epoch", "stop_reason", "learning_rates", "loss_names"):
            assert getattr(one, name) == getattr(other, name)
        assert one.samples_per_second > 0
    assert again.history is found[-1]


def test_the_third_call_prepares_nothing(prepared):
    model, (x, y) = made(), arrays()
    trained(model, x, y, anew=False, times=5, batch_size=BATCH)
    assert prepared == ["fit", "fit"]
    for _ in range(5):
        model.evaluate(x, y)
    assert prepared == ["fit", "fit", "evaluate", "evaluate"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"batch_size": np.ones(ROWS)}, "batch_size must be a positive integer, got an array"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"shuffle": np.array([True, False])}, "shuffle must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"validation_freq": 2}, "validation_freq needs data"),
        ({"validation_split": np.zeros(2)}, "validation_split must be"),
    ],
)
def test_bad_arguments_are_told_when_the_arrays_are_the_same(wrong, told):
    model, (x, y) = made(), arrays()
    trained(model, x, y, anew=False)
    twin = copy.deepcopy(model)
    with pytest.raises((TypeError, ValueError), match=told):
        model.fit(x, y, **{"verbose": 0, **wrong})
    same(model, twin)
    trained(model, x, y, anew=False)


def test_views_of_the_same_rows_are_the_same_arrays(prepared):
    model, (x, y) = made(), arrays()
    for _ in range(4):
        model.fit(x[:20], y[:20], batch_size=BATCH, verbose=0)
    model.fit(x[:21], y[:21], batch_size=BATCH, verbose=0)
    assert prepared == ["fit"] * 3


@pytest.mark.parametrize(
    ("kind", "loss", "place", "wrong", "told"),
    [
        ("real", "mse", "x", np.nan, "x must hold finite numbers, got nan at [3, 1]"),
        ("real", "mse", "y", np.inf, "y must hold finite numbers, got inf at [3, 1]"),
        ("label", "crossentropy", "y", 2, "y must hold class labels from 0 to 1"),
        ("label", "crossentropy", "y", -1, "y must hold class labels from 0 to 1"),
        ("binary", "binary_crossentropy", "y", 1.5, "y must lie in"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_numbers_that_no_longer_fit_are_found(method, kind, loss, place, wrong, told):
    model, given = made(loss=loss), dict(zip("xy", arrays(kind), strict=True))
    call = {
        "fit": lambda: model.fit(**given, batch_size=BATCH, verbose=0),
        "evaluate": lambda: model.evaluate(**given),
    }[method]
    for _ in range(3):
        call()
    twin, before = copy.deepcopy(model), model.network.runtime.step
    at = (3, 1) if given[place].ndim == 2 else 3
    right, given[place][at] = given[place][at], wrong
    with pytest.raises(ValueError, match=re.escape(told)):
        call()
    assert model.network.runtime.step == before
    same(model, twin)
    given[place][at] = right
    for _ in range(3):
        call()


def test_numbers_that_have_changed_are_trained_on():
    again, anew, (x, y) = made(), made(), arrays()
    for _ in range(4):
        again.fit(x, y, batch_size=BATCH, verbose=0)
        anew.fit(x.copy(), y.copy(), batch_size=BATCH, verbose=0)
        assert again.evaluate(x, y) == anew.evaluate(x.copy(), y.copy())
        x *= 0.5
        y += 1
    same(again, anew)


def refused(model):
    with pytest.raises(ValueError, match="epochs"):
        model.fit(*arrays(), epochs=0)


CHANGES = {
    "compile": lambda model: model.compile("sgd", "mse", metrics=["mae"]),
    "rate": lambda model: setattr(model.optimizer, "learning_rate", 0.1),
    "schedule": lambda model: setattr(
        model.optimizer, "learning_rate", fnn.schedules.CosineDecay(0.1, 20)
    ),
    "beta": lambda model: setattr(model.optimizer, "beta_1", 0.5),
    "frozen": lambda model: setattr(model.layers[0], "trainable", False),
    "weights": lambda model: model.set_weights([2 * one for one in model.get_weights()]),
    "train_on_batch": lambda model: model.train_on_batch(*arrays()),
    "predict": lambda model: model.predict(arrays()[0]),
    "other arrays": lambda model: model.fit(*arrays(rows=7), batch_size=4, verbose=0),
    "callbacks": lambda model: model.fit(
        *arrays(), batch_size=BATCH, verbose=0, callbacks=[fnn.EarlyStopping("loss")]
    ),
    "weighted": lambda model: model.fit(
        *arrays(), batch_size=BATCH, verbose=0, sample_weight=np.arange(ROWS)
    ),
    "validation": lambda model: model.fit(
        *arrays(), batch_size=BATCH, verbose=0, validation_split=0.2
    ),
    "another batch": lambda model: model.fit(*arrays(), batch_size=9, verbose=0),
    "as batches": lambda model: model.fit([arrays()], verbose=0),
    "a refused call": refused,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_in_between_counts(change):
    again, anew, (x, y) = made(), made(), arrays()
    for _ in range(2):
        for model in (again, anew):
            trained(model, x, y, anew=model is anew, times=3, batch_size=BATCH)
            found = model.evaluate(*((x.copy(), y.copy()) if model is anew else (x, y)))
        assert found == again.evaluate(x, y)
        for model in (again, anew):
            CHANGES[change](model)
    for model in (again, anew):
        trained(model, x, y, anew=model is anew, times=3, batch_size=BATCH)
    same(again, anew)
    assert again.history.history == anew.history.history


@pytest.mark.parametrize("rate", [1e30, 1e39])  # the loss overflows, or the parameters do
def test_a_loss_that_is_not_finite_is_told_as_ever(rate):
    told = []
    for anew in (False, True):
        model, (x, y) = made("sgd"), arrays()
        trained(model, x, y, anew=anew, times=3, batch_size=BATCH)
        model.optimizer.learning_rate = rate
        with pytest.raises(fnn.NonFiniteLossError) as caught:
            trained(model, x, y, anew=anew, times=1, batch_size=BATCH, epochs=2)
        told.append((str(caught.value), model.history.stop_reason, model.history.epoch))
        model.set_weights([one / 1e20 for one in model.get_weights()])
        model.optimizer.learning_rate = 0.01
        trained(model, x, y, anew=anew, times=3, batch_size=BATCH)
        told.append([one.tolist() for one in model.get_weights()])
    assert told[:2] == told[2:]


def test_classes_that_are_set_in_between_count():
    model, (x, y) = made(loss="crossentropy"), arrays("label")
    for _ in range(3):
        model.fit(x, y, batch_size=BATCH, verbose=0)
        model.evaluate(x, y)
    model.classes = [5, 6]
    with pytest.raises(ValueError, match="the model knows the classes 5, 6"):
        model.fit(x, y, batch_size=BATCH, verbose=0)
    with pytest.raises(ValueError, match="the model knows the classes 5, 6"):
        model.evaluate(x, y)


def test_ctrl_c_leaves_what_can_be_used(monkeypatch):
    model, (x, y) = made(), arrays()
    trained(model, x, y, anew=False, times=3, batch_size=BATCH)
    add = fnn.History.add

    def interrupted(history, epoch, logs):
        add(history, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(fnn.History, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=BATCH, epochs=5, verbose=0)
    assert (model.history.stop_reason, model.history.epoch) == ("interrupted", [0, 1])
    monkeypatch.undo()
    assert not model.network.is_fitting
    twin = copy.deepcopy(model)
    trained(model, x, y, anew=False, batch_size=BATCH)
    trained(twin, x, y, anew=True, batch_size=BATCH)
    same(model, twin)


def test_arrays_that_came_once_are_not_kept_alive():
    model = made()
    for times, is_alive in ((1, False), (2, True)):
        x, y = arrays()
        for _ in range(times):
            model.fit(x, y, batch_size=BATCH, verbose=0)
            model.evaluate(x, y)
        seen = weakref.ref(x)
        del x, y
        gc.collect()
        assert (seen() is not None) == is_alive


@pytest.mark.parametrize("rows", [slice(None), slice(ROWS)], ids=["all", "a small part"])
def test_large_arrays_are_not_kept_alive(rows):
    model, (x, y) = made(), arrays(rows=kept.MOST_BYTES // 16)
    for _ in range(3):
        model.fit(x[rows], y[rows], batch_size=4096, verbose=0)
        model.evaluate(x[rows], y[rows])
    seen = weakref.ref(x)
    del x, y
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.compile("sgd", "mse"),
        lambda model: model.fit(*arrays(), verbose=0, callbacks=[fnn.EarlyStopping("loss")]),
    ],
    ids=["compile", "another fit"],
)
def test_arrays_that_cannot_come_again_are_not_kept_alive(change):
    model, (x, y) = made(), arrays()
    trained(model, x, y, anew=False)
    seen = weakref.ref(x)
    del x, y
    change(model)
    gc.collect()
    assert seen() is None


def test_a_batch_of_one_row_is_warned_of_each_time():
    model, (x, y) = (
        fnn.Sequential(
            [fnn.Dense(4), fnn.BatchNormalization(), fnn.Dense(2)], input_shape=(4,), seed=0
        ),
        arrays(rows=33),
    )
    model.compile("sgd", "mse")
    for _ in range(5):
        with pytest.warns(UserWarning, match="one row"):
            model.fit(x, y, batch_size=32, verbose=0)


DURING = {
    "trainable": lambda model: setattr(model.layers[1], "trainable", False),
    "beta": lambda model: setattr(model.optimizer, "beta_1", 0.2),
    "rate": lambda model: setattr(model.optimizer, "learning_rate", 0.1),
}


@pytest.mark.parametrize("what", DURING)
def test_what_code_of_the_users_changes_within_a_fit_counts(what):
    class Change(fnn.Layer):
        calls = 0

        def forward(self, x, *, training):
            type(self).calls += 1
            if type(self).calls == at:
                DURING[what](model)
            return x

        def backward(self, grad_output):
            return grad_output

    models = []
    for anew in (False, True):
        model = fnn.Sequential([Change(), fnn.Dense(4), fnn.Dense(2)], input_shape=(4,), seed=0)
        model.compile("adam", "mse")
        x, y = arrays()
        at, Change.calls = 0, 0
        trained(model, x, y, anew=anew, times=3, batch_size=25)
        at = Change.calls + 3
        trained(model, x, y, anew=anew, times=1, batch_size=25, epochs=4)
        models.append(model)
    same(*models)
    assert models[0].history.history == models[1].history.history


def test_a_model_that_keeps_arrays_is_freed_at_once():
    model, (x, y) = made(), arrays()
    trained(model, x, y, anew=False, batch_size=BATCH)
    network = weakref.ref(model.network)
    gc.disable()
    try:
        del model
        assert network() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, ::-1], lambda x: np.asfortranarray(x), lambda x: x.astype(np.float16),
        lambda x: x.astype(">f4"), lambda x: x.astype(object),
    ],
    ids=["reversed", "columns", "half", "foreign", "objects"],
)  # fmt: skip
def test_arrays_that_must_be_copied_are_read_again(change):
    again, anew, (x, y) = made(), made(), arrays()
    x = change(x)
    for _ in range(4):
        again.fit(x, y, batch_size=BATCH, verbose=0)
        anew.fit(x.copy(), y.copy(), batch_size=BATCH, verbose=0)
        assert again.evaluate(x, y) == anew.evaluate(x.copy(), y.copy())
        x *= 2
    same(again, anew)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_copies_train_for_themselves(copied):
    model, (x, y) = made(), arrays()
    trained(model, x, y, anew=False, batch_size=BATCH)
    model.evaluate(x, y), model.evaluate(x, y)
    twin, before = copied(model), model.get_weights()
    trained(twin, x, y, anew=False, batch_size=BATCH)
    assert all(map(np.array_equal, before, model.get_weights()))
    trained(model, x, y, anew=True, batch_size=BATCH)
    same(model, twin)
    assert twin.evaluate(x, y) == model.evaluate(x, y)


def test_evaluations_in_several_threads():
    model, (x, y) = made(), arrays()
    expected = model.evaluate(x, y)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.evaluate(x, y), range(400)):
            assert found == expected
