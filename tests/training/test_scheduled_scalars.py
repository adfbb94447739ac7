"""Scalars of ops that follow schedules: weight decay and the rate of dropout, in every training."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import reference_training, unchanged, weights_as_bytes

import fastnn as fnn
from fastnn.descent import functions, minimize
from fastnn.program import fuse
from fastnn.program.purpose import Purpose
from fastnn.schedules import CosineDecay, FlatCosineDecay, PiecewiseConstantDecay, Schedule

DECAY = CosineDecay(0.5, decay_steps=9)
RATE = FlatCosineDecay(0.6, decay_steps=9, flat=0.25)
OPTIMIZERS = {
    "coupled": lambda decay, **o: fnn.SGD(0.1, momentum=0.9, weight_decay=decay, **o),
    "decoupled": lambda decay, **o: fnn.AdamW(0.05, weight_decay=decay, **o),
    "clipped": lambda decay, **o: fnn.Adam(0.05, weight_decay=decay, global_clipnorm=0.05, **o),
    "lion": lambda decay, **o: fnn.Lion(0.01, weight_decay=decay, **o),
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


class Formula(Schedule):
    """A schedule of the user's, by a function of the steps."""

    def __init__(self, formula):
        self.formula = formula

    def rates(self, steps):
        return self.formula(steps)


def model_of(optimizer, rate=None, *, width=6, dtype="float64"):
    layers = [fnn.Dense(width, "tanh")]
    layers += [] if rate is None else [fnn.Dropout(rate)]
    model = fnn.Sequential([*layers, fnn.Dense(3)], input_shape=(5,), seed=3, dtype=dtype)
    model.compile(optimizer, "mse")
    return model


@pytest.fixture
def data(rng):
    return rng.normal(size=(40, 5)), rng.normal(size=(40, 3))


def by_fit(model, x, y, callbacks=()):
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))


def by_batches(model, x, y):
    for first in [*range(0, 40, 8)] * 2:
        model.train_on_batch(x[first : first + 8], y[first : first + 8])


def by_hooks(model, x, y):
    """One step at a time, because a callback looks at each."""
    by_fit(model, x, y, [fnn.LambdaCallback(on_train_batch_end=lambda batch, logs: None)])


def by_iterable(model, x, y):
    batches = [(x[first : first + 8], y[first : first + 8]) for first in range(0, 40, 8)]
    model.fit(batches, epochs=2, verbose=0)


def by_hand(model, x, y):
    for first in [*range(0, 40, 8)] * 2:
        output = model.forward(x[first : first + 8], training=True)
        model.backward((output - y[first : first + 8]) * 2 / output.size)
        model.apply_gradients()


WAYS = {"fit": by_fit, "train_on_batch": by_batches, "hooks": by_hooks, "iterable": by_iterable,
        "apply_gradients": by_hand}  # fmt: skip


# --- the value of each step -----------------------------------------------------------------------


@every_optimizer
def test_ten_steps_agree_with_the_reference(name, data):
    """The rate of dropout and the weight decay follow schedules of their own."""
    x, y = data
    model = model_of(OPTIMIZERS[name](DECAY), RATE)
    batches = [(x[first : first + 8], y[first : first + 8]) for first in [*range(0, 40, 8)] * 2]
    want, _ = reference_training(model, batches)
    other, _ = reference_training(model_of(OPTIMIZERS[name](0.5), RATE), batches)
    by_fit(model, x, y)
    for got, wanted, wrong in zip(model.get_weights(), want, other, strict=True):
        assert_close(got, wanted, 1e-11)
        assert np.abs(wrong - wanted).max() > 1e-3, "a constant decay would not be noticed"


@every_optimizer
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_train_takes_the_decay_of_the_step(name, way, data):
    """The equivalent: a number, set before each step."""
    x, y = data
    model, twin = model_of(OPTIMIZERS[name](DECAY)), model_of(OPTIMIZERS[name](0.0))
    WAYS[way](model, x, y)
    for t in range(10):
        twin.optimizer.weight_decay = DECAY(t)
        rows = slice(8 * (t % 5), 8 * (t % 5) + 8)
        if way == "apply_gradients":
            output = twin.forward(x[rows], training=True)
            twin.backward((output - y[rows]) * 2 / output.size)
            twin.apply_gradients()
        else:
            twin.train_on_batch(x[rows], y[rows])
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    wrong = model_of(OPTIMIZERS[name](DECAY(0)))
    WAYS[way](wrong, x, y)
    assert weights_as_bytes(wrong) != weights_as_bytes(model)


@pytest.mark.parametrize("way", ["train_on_batch", "hooks", "iterable"])
def test_every_way_to_train_drops_the_same(way, data):
    model, other = (model_of(fnn.Adam(0.05), RATE) for _ in range(2))
    by_fit(model, *data)
    WAYS[way](other, *data)
    assert weights_as_bytes(model) == weights_as_bytes(other)


def test_dropout_drops_the_share_of_its_step():
    """In `forward`, that of the update to come; outside training, nothing."""
    rate = PiecewiseConstantDecay([1, 2], [0.8, 0.5, 0.0])
    model = fnn.Sequential([fnn.Scale(), fnn.Dropout(rate)], input_shape=(1000,), seed=0)
    model.compile(fnn.SGD(0.0), "mse")
    x = np.ones((50, 1000), np.float32)
    for step, share in enumerate((0.8, 0.8, 0.5, 0.0)):
        assert model.iterations == step
        y = model.forward(x, training=True)
        assert abs((y == 0).mean() - share) < 0.01
        assert set(np.unique(y)) <= {np.float32(0), np.float32(1 / (1 - share))}
        gradients = model.backward(np.ones_like(y))
        np.testing.assert_allclose(gradients["scale/scale"], y.sum(axis=0), rtol=1e-6)
        model.apply_gradients()
    np.testing.assert_array_equal(model.predict(x), x)


@pytest.mark.parametrize("name", ["coupled", "decoupled"])
@pytest.mark.parametrize("least", [0, 10**9], ids=["in the gradient", "apart"])
def test_any_team_makes_the_same_bits(name, least, data, monkeypatch, team):
    monkeypatch.setattr(fuse, "UPDATE_IN_GRADIENT_FROM", least)
    made = []
    for workers in (1, 2, 4):
        team(workers)
        model = model_of(OPTIMIZERS[name](DECAY), RATE, width=150, dtype="float32")
        by_fit(model, *data)
        ops = model.network.runtime.bound(Purpose.TRAIN, 8).plan.program.ops
        assert ("kernel_gradient_update" in {op.name for op in ops}) == (least == 0)
        made.append(weights_as_bytes(model))
    assert made[0] == made[1] == made[2]


def test_updates_in_the_gradient_give_the_bits_of_those_apart(data, monkeypatch):
    made = []
    for least in (0, 10**9):
        monkeypatch.setattr(fuse, "UPDATE_IN_GRADIENT_FROM", least)
        model = model_of(fnn.AdamW(0.05, weight_decay=DECAY), RATE, width=150)
        by_fit(model, *data)
        made.append(weights_as_bytes(model))
    assert made[0] == made[1]


def test_exclusions_and_factors_stand_beside_a_schedule(data):
    optimizer = fnn.AdamW(0.05, weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(["bias"])
    model, decaying = model_of(optimizer), model_of(fnn.AdamW(0.05, weight_decay=DECAY))
    plain = model_of(fnn.AdamW(0.05, weight_decay=0.0))
    for one in (model, decaying, plain):
        one.layers[0].learning_rate_factor = {"bias": 0.5}
        one.train_on_batch(*data)
    for name, view in model.parameters.items():
        wanted = plain if name.endswith("bias") else decaying
        assert_close(view, wanted.parameters[name], 1e-13, name)
    assert np.abs(model.parameters["dense/kernel"] - plain.parameters["dense/kernel"]).max() > 1e-4


# --- a training that is continued, or changed in the middle ---------------------------------------


def test_a_restored_model_goes_on_where_it_was(data, tmp_path):
    x, y = data
    model = model_of(fnn.AdamW(0.05, weight_decay=DECAY), RATE)
    model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    assert loaded.optimizer == model.optimizer
    assert loaded.optimizer.weight_decay == DECAY
    assert loaded.layers[1].rate == RATE
    whole = model_of(fnn.AdamW(0.05, weight_decay=DECAY), RATE)
    by_fit(whole, x, y)
    for first in range(0, 40, 8):  # the other epoch, one batch at a time
        for each in (model, loaded):
            each.train_on_batch(x[first : first + 8], y[first : first + 8])
    assert weights_as_bytes(whole) == weights_as_bytes(model) == weights_as_bytes(loaded)


def test_a_callback_replaces_the_decay_in_the_middle(data):
    x, y = data

    class Replace(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            if self.model.iterations == 4:
                self.model.optimizer.weight_decay = 0.25
            if self.model.iterations == 7:
                self.model.optimizer.weight_decay = DECAY.config()

    model, twin = model_of(fnn.AdamW(0.05, weight_decay=DECAY)), model_of(fnn.AdamW(0.05))
    by_fit(model, x, y, [Replace()])
    for t in range(10):
        twin.optimizer.weight_decay = 0.25 if 4 <= t < 7 else DECAY(t)
        twin.train_on_batch(x[8 * (t % 5) :][:8], y[8 * (t % 5) :][:8])
    assert weights_as_bytes(model) == weights_as_bytes(twin)


@every_optimizer
def test_accumulated_gradients_take_the_decay_of_their_update(name, data):
    got = model_of(OPTIMIZERS[name](DECAY, gradient_accumulation_steps=4))
    want = model_of(OPTIMIZERS[name](DECAY))
    got.fit(*data, batch_size=2, epochs=2, shuffle=False, verbose=0)
    want.fit(*data, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert got.iterations == want.iterations == 10
    for one, other in zip(got.get_weights(), want.get_weights(), strict=True):
        assert_close(one, other, 1e-10)


def test_batches_of_one_update_drop_at_the_rate_of_the_update():
    """Each batch draws anew, at a rate that counts updates."""
    rate = PiecewiseConstantDecay([0, 1], [0.8, 0.5, 0.0])
    x = fnn.Input((500,))
    kept = fnn.Model(x, fnn.Dropout(rate)(fnn.Scale()(x)), seed=0)
    kept.compile(fnn.SGD(0.0, gradient_accumulation_steps=3), "mae")
    rows = np.ones((20, 500))
    shares = [kept.train_on_batch(rows, np.zeros_like(rows)) for _ in range(9)]
    # |y| is 1 / (1 - rate) where it is kept: its mean is 1, its deviation tells the rate.
    for number, value in enumerate(shares):
        share = (0.8, 0.5, 0.0)[number // 3]
        assert abs(value - 1) <= 5 * np.sqrt(share / (1 - share) / rows.size)
        whole = value * rows.size * (1 - share)
        assert abs(whole - round(whole)) < 0.05, "each is kept or dropped"
    assert len(set(shares[:6])) == 6, "a mask is drawn anew"
    assert shares[6:] == [1.0] * 3


# --- errors ---------------------------------------------------------------------------------------

BAD = {
    "negative": (lambda steps: 0.1 - 0.05 * steps, r"gives -0.05\d* in step 4; expected a finite"),
    "nan": (lambda steps: np.where(steps < 5, 0.1, np.nan), r"gives nan in step 6; expected a "),
    "infinite": (lambda steps: np.where(steps < 5, 0.1, np.inf), "gives inf in step 6; expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_decay_that_is_none_is_refused_before_its_step(case, data):
    formula, message = BAD[case]
    model = model_of(fnn.AdamW(0.05, weight_decay=Formula(formula)))
    x, y = data
    for _ in range({"negative": 3}.get(case, 5)):
        model.train_on_batch(x, y)
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.train_on_batch(x, y)


@pytest.mark.parametrize("rate", [1.0, 1.5, -0.1, np.nan])
def test_a_rate_of_dropout_that_is_none_is_refused(rate, data):
    schedule = Formula(lambda steps: np.where(steps < 2, 0.5, rate))
    model = model_of(fnn.SGD(0.1), schedule)
    x, y = data
    for _ in range(2):
        model.train_on_batch(x, y)
    with unchanged(model), pytest.raises(ValueError, match=r"in step 3; expected a number in \[0,"):
        model.train_on_batch(x, y)
    # A weight decay may follow the same schedule, but is not bounded by 1.
    model = model_of(fnn.SGD(0.1, weight_decay=Formula(lambda steps: 1.5 + 0 * steps)))
    model.train_on_batch(x, y)


def test_a_descent_takes_no_schedule_of_its_decay():
    with pytest.raises(ValueError, match="weight_decay must be a number in a descent, got Cosine"):
        minimize(functions.square, 3.0, optimizer=fnn.SGD(0.1, weight_decay=DECAY))
    with pytest.raises(ValueError, match="weight_decay must be a finite number of at least 0, got"):
        fnn.LBFGS(weight_decay=DECAY)
    optimizer = fnn.LBFGS()
    with pytest.raises(ValueError, match="weight_decay must be a finite number"):
        optimizer.weight_decay = DECAY


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fnn.Dropout(CosineDecay),
            "learning_rate schedule must be a name or a Schedule, got the",
        ),
        (lambda: fnn.Dropout("a"), r"rate must be a number in \[0, 1\), got 'a'"),
        (lambda: fnn.Dropout({"name": "cosine_decy"}), "unknown .*schedule 'cosine_decy'; did you"),
        (lambda: fnn.AdamW(weight_decay=-1), "weight_decay must be a finite number of at least 0"),
        (lambda: fnn.AdamW(weight_decay={"name": "no"}), "unknown .*schedule 'no'"),
        (
            lambda: fnn.SGD(weight_decay=CosineDecay),
            "learning_rate schedule must be a name or a Sc",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_they_are_shown_compared_and_copied():
    optimizer, layer = fnn.AdamW(weight_decay=DECAY), fnn.Dropout(RATE)
    assert "weight_decay=CosineDecay(0.5, decay_steps=9)" in repr(optimizer)
    assert repr(layer).startswith("Dropout(FlatCosineDecay(0.6, decay_steps=9, flat=0.25)")
    assert optimizer == fnn.AdamW(weight_decay=DECAY.config()) != fnn.AdamW(weight_decay=0.5)
    assert fnn.optimizers.get(optimizer.config()) == optimizer
    assert fnn.Dropout.from_config("d", layer.config(), {}).rate == RATE


# --- what else runs a model -----------------------------------------------------------------------


@every_optimizer
def test_one_sample_at_a_time(name, data):
    x, y = data
    model, twin = (model_of(OPTIMIZERS[name](decay), RATE) for decay in (DECAY, DECAY))
    for row, target in zip(x[:12], y[:12], strict=True):
        model.learn_one(row, target)
        twin.train_on_batch(row[np.newaxis], target[np.newaxis])
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert model.iterations == 12
    np.testing.assert_array_equal(model.predict_one(x[0]), twin.predict(x[:1])[0])


def test_what_looks_at_a_model_takes_them(data, capsys):
    x, y = data
    model = model_of(fnn.AdamW(0.05, weight_decay=DECAY), RATE)
    before = weights_as_bytes(model)
    assert fnn.gradcheck(model, x, y)
    assert fnn.gradcheck(model, x, y, wrt="inputs")
    model.diagnose(x, y)
    model.profile(x, y)
    model.find_learning_rate(x, y)
    model.explain()
    model.summary()
    capsys.readouterr()
    assert weights_as_bytes(model) == before
    assert model.iterations == 0
    other = fnn.clone_model(model)
    assert other.layers[1].rate == RATE


def test_gradients_of_many_rows_drop_at_one_rate(rng):
    """They are computed from a part of the rows at a time, all of them for the same update."""
    rate = PiecewiseConstantDecay([0], [0.5, 0.0])
    x = rng.uniform(1, 2, (3000, 4))
    model = fnn.Sequential([fnn.Dropout(rate)], input_shape=(4,), dtype="float64", seed=0)
    found = model.gradients_of(x, output_gradient=np.ones_like(x), training=True)
    assert set(np.unique(found)) == {0.0, 2.0}
    assert (np.abs((found.reshape(30, -1) == 0).mean(axis=1) - 0.5) < 0.15).all()
