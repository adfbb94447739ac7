"""`Model.diagnose`: it names faults, leaves healthy runs alone, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from model_helpers import unchanged, weights_as_bytes

import fastnn as fnn
from fastnn.analysis.diagnosis import DiagnosisWarning
from fastnn.analysis.diagnosis.of_rates import constant_loss
from fastnn.analysis.diagnosis.patient import Patient
from fastnn.initializers import Normal

Dense = fnn.Dense


def digits(scale=16.0):
    x, y = fnn.datasets.load_digits()
    return x / scale, y


def regression(width=1, noise=0.0):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 8))
    y = np.tanh(x @ rng.normal(size=(8, width)))
    return x, y + noise * rng.normal(size=y.shape)


def binary():
    x = np.random.default_rng(0).normal(size=(600, 8))
    return x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(float)


def unrelated():
    x, y = digits()
    return x, np.random.default_rng(0).permutation(y)


def made(layers, optimizer, loss, data, *, spoil=None, **options):
    """A compiled model with its data."""
    x, y = data
    model = fnn.Sequential(layers, input_shape=x.shape[1:], seed=0, **options)
    model.compile(optimizer, loss)
    if spoil is not None:
        spoil(model.parameters)
    return model, x, y


# --- healthy --------------------------------------------------------------------------------------

HEALTHY = {
    "relu": lambda: made([Dense(64, "relu"), Dense(10)], "adam", "crossentropy", digits()),
    "softmax": lambda: made(
        [Dense(32, "tanh"), Dense(10, "softmax")], "rmsprop", "crossentropy", digits()
    ),
    "sigmoid": lambda: made(
        [Dense(32, "sigmoid"), Dense(10)], fnn.SGD(0.5), "crossentropy", digits()
    ),
    "small rate": lambda: made([Dense(32, "relu"), Dense(10)], "sgd", "crossentropy", digits()),
    "deep": lambda: made(
        [*(Dense(48, "relu") for _ in range(6)), Dense(10)],
        fnn.SGD(0.05, momentum=0.9), "crossentropy", digits(),
    ),
    "deep tanh": lambda: made(
        [*(Dense(48, "tanh") for _ in range(5)), Dense(10)], "adam", "crossentropy", digits()
    ),
    "wide": lambda: made(
        [Dense(256, "relu"), Dense(256, "relu"), Dense(1)], "adam", "mse", regression()
    ),
    "not scaled, but trainable": lambda: made(
        [Dense(64, "relu"), fnn.Dropout(0.3), Dense(10)], "adam", "crossentropy", digits(1.0)
    ),
    "regression": lambda: made(
        [Dense(32, "relu"), Dense(3)], fnn.Adam(0.01), "mae", regression(3), dtype="float64"
    ),
    "noisy": lambda: made(
        [Dense(32, "gelu"), Dense(1)], "adam", "huber", regression(noise=0.5)
    ),
    "bounded": lambda: made([Dense(32, "relu"), Dense(1, "tanh")], "adam", "mse", regression()),
    "binary": lambda: made(
        [Dense(32, "relu"), Dense(1, "sigmoid")], fnn.Adam(0.01), "binary_crossentropy", binary()
    ),
    "schedule": lambda: made(
        [Dense(64, "relu"), Dense(10)], fnn.Adam(fnn.schedules.CosineDecay(3e-3, 57 * 25)),
        "crossentropy", digits(),
    ),
    "begins with zeros": lambda: made(
        [Dense(32, "relu"), Dense(10, kernel_initializer="zeros")], "adam", "crossentropy",
        digits(),
    ),
    "unrelated labels": lambda: made(
        [Dense(16, "relu"), Dense(10)], "adam", "crossentropy", unrelated()
    ),
    "unrelated targets": lambda: made(
        [Dense(1)], "sgd", "mse", (regression()[0], np.random.default_rng(1).normal(size=600))
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HEALTHY)
def test_nothing_is_found_where_nothing_is_wrong(case):
    model, x, y = HEALTHY[case]()
    for epochs in (0, 4, 12):
        if epochs:
            model.fit(x, y, epochs=epochs, verbose=0)
        assert model.diagnose(x, y).findings == (), f"after {epochs} more epochs"


# --- faults ---------------------------------------------------------------------------------------


def deep(activation, count, **options):
    return [*(Dense(32, activation, **options) for _ in range(count)), Dense(10)]


def one_column():
    x, y = regression()
    x[:, 3] *= 1e4
    return x, y


def only_threes():
    x, y = digits()
    return x[y == 3], y[y == 3]


def scaled(factor, offset=0.0):
    x, y = regression()
    return x, y * factor + offset


ENDED = fnn.schedules.CosineDecay(0.01, 60)

# fault: (kind of finding, layer, epochs trained before, model with data)
FAULTS = {
    "biases far below 0": ("dead units", "dense_1", 0, lambda: made(
        [Dense(32, "relu"), Dense(16, "relu"), Dense(10)], "adam", "crossentropy", digits(),
        spoil=lambda p: p["dense_1/bias"].fill(-50),
    )),
    "not a number": ("lost weights", "dense_1", 0, lambda: made(
        [Dense(8), Dense(1)], "adam", "mse", regression(),
        spoil=lambda p: p["dense_1/kernel"].fill(np.nan),
    )),
    "killed by training": ("dead units", "dense", 3, lambda: made(
        [Dense(32, "relu"), Dense(10)], fnn.SGD(20.0), "crossentropy", digits()
    )),
    "sigmoids": ("vanishing gradient", "dense", 0, lambda: made(
        deep("sigmoid", 6), "adam", "crossentropy", digits()
    )),
    "small weights": ("vanishing gradient", None, 0, lambda: made(
        deep("tanh", 5, kernel_initializer=Normal(stddev=0.01)), "sgd", "crossentropy", digits()
    )),
    "large weights": ("exploding gradient", "dense", 0, lambda: made(
        deep("relu", 6, kernel_initializer=Normal(stddev=1.0)), "adam", "crossentropy", digits()
    )),
    "large tanh weights": ("saturated units", "dense", 0, lambda: made(
        [Dense(32, "tanh"), Dense(10)], "adam", "crossentropy", digits(),
        spoil=lambda p: np.multiply(p["dense/kernel"], 40, out=p["dense/kernel"]),
    )),
    "sigmoid of pixels": ("saturated units", "dense", 0, lambda: made(
        [Dense(32, "sigmoid"), Dense(10)], "adam", "crossentropy", digits(1 / 16)
    )),
    "one row": ("batches of one row", "batch_normalization", 0, lambda: made(
        [Dense(8), fnn.BatchNormalization(), Dense(1)], "adam", "mse",
        tuple(part[:1] for part in regression()),
    )),
    "high": ("learning rate too high", "", 0, lambda: made(
        [Dense(32, "relu"), Dense(10)], fnn.Adam(3.0), "crossentropy", digits()
    )),
    "diverging": ("learning rate too high", "", 0, lambda: made(
        [Dense(32, "relu"), Dense(1)], fnn.SGD(3.0), "mse", regression()
    )),
    "low": ("learning rate too low", "", 0, lambda: made(
        [Dense(32, "relu"), Dense(10)], fnn.Adam(1e-6), "crossentropy", digits()
    )),
    "low for long": ("learning rate too low", "", 5, lambda: made(
        [Dense(32, "relu"), Dense(1)], fnn.SGD(1e-5), "mse", regression()
    )),
    "schedule at its end": ("learning rate too low", "", 8, lambda: made(
        [Dense(32, "relu"), Dense(10)], fnn.SGD(ENDED), "crossentropy", digits()
    )),
    "standing still": ("plateau", "", 8, lambda: made(
        [Dense(32, "relu"), Dense(10)], fnn.SGD(ENDED), "crossentropy", digits()
    )),
    "a large column": ("unscaled inputs", "", 0, lambda: made(
        [Dense(32, "relu"), Dense(1)], "adam", "mse", one_column()
    )),
    "tiny inputs": ("unscaled inputs", "", 0, lambda: made(
        [Dense(32, "relu"), Dense(10)], "adam", "crossentropy", digits(1e5)
    )),
    "one class": ("constant targets", "", 0, lambda: made(
        [Dense(32, "relu"), Dense(10)], "adam", "crossentropy", only_threes()
    )),
    "beyond a sigmoid": ("targets out of reach", "dense_1", 0, lambda: made(
        [Dense(32, "relu"), Dense(1, "sigmoid")], "adam", "mse", scaled(20)
    )),
    "below a relu": ("targets out of reach", "dense_1", 0, lambda: made(
        [Dense(32, "relu"), Dense(1, "relu"), fnn.Flatten()], "adam", "mse", regression()
    )),
    "prices": ("unscaled targets", "", 0, lambda: made(
        [Dense(32, "relu"), Dense(1)], "adam", "mse", scaled(1e5, 3e5)
    )),
    "sigmoid for classes": ("squashed logits", "dense_1", 0, lambda: made(
        [Dense(32, "relu"), Dense(10, "sigmoid")], "adam", "crossentropy", digits()
    )),
    "constant weights": ("identical units", "dense", 2, lambda: made(
        [Dense(16, "tanh", kernel_initializer="zeros"),
         Dense(10, kernel_initializer="zeros")], "adam", "crossentropy", digits()
    )),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_named(case):
    kind, layer, epochs, make = FAULTS[case]
    model, x, y = make()
    if epochs:
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=[fnn.TerminateOnNaN()])
    found = model.diagnose(x, y)
    named = [finding for finding in found.findings if finding.problem == kind]
    assert named, found
    assert layer in (None, named[0].layer)
    for finding in found.findings:
        assert np.isfinite(finding.figure)
        assert finding.shown
        assert finding.advice
        assert str(finding) in repr(found)


def test_every_kind_of_finding_is_among_the_faults():
    from fastnn.analysis.diagnosis import Finding

    documented = " ".join(Finding.__doc__.split())
    kinds = {kind for kind, _, _, _ in FAULTS.values()}
    listed = documented.split("problem : str ")[1].split(" layer : str")[0]
    assert {part.split('"')[0] for part in listed.replace(" or ", ", ").split(', "')} | {
        listed.split('"')[1]
    } >= kinds
    assert listed.count('"') == 2 * len(kinds)


# --- what it does, and what it leaves alone -------------------------------------------------------


@pytest.mark.parametrize("case", ["high", "small weights", "a large column"])
def test_the_model_is_not_changed(case):
    model, x, y = FAULTS[case][3]()
    model.gradients["dense/bias"][...] = 3
    with unchanged(model):
        first = model.diagnose(x, y)
        assert repr(model.diagnose(x, y)) == repr(first)


def test_it_says_so_where_nothing_is_found():
    model, x, y = HEALTHY["binary"]()
    found = model.diagnose(x[:100], y[:100])
    assert repr(found) == "nothing found that would keep the model from learning (100 rows)"


def test_models_of_several_inputs_and_of_few_rows():
    a, b = fnn.Input((3,), name="left"), fnn.Input((2,), name="right")
    model = fnn.Model([a, b], fnn.Dense(2)(fnn.Concatenate()([a, fnn.Dense(4, "relu")(b)])))
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(50, 5))
    kinds = [f.shown for f in model.diagnose([x[:, :3], 1e3 * x[:, 3:]], x[:, :2]).findings]
    assert "of 'right'" in kinds[0]
    model.diagnose([x[:1, :3], x[:1, 3:]], x[:1, :2])
    bare = fnn.Sequential([fnn.Flatten()], input_shape=(5,))
    bare.compile("sgd", "mse")
    bare.diagnose(x, x)


@pytest.mark.parametrize(
    ("loss", "target", "kind"),
    [
        ("mse", np.array([[1.0, 0.0], [2.0, 0.0], [6.0, 3.0], [4.0, 1.0]]), "real"),
        ("mae", np.array([[1.0], [2.0], [9.0], [4.0]]), "real"),
        ("binary_crossentropy", np.array([[1.0], [0.0], [0.0], [0.25]]), "real"),
        ("crossentropy", np.array([0, 1, 2, 2]), "label"),
        ("crossentropy", np.array([[0.5, 0.5, 0.0], [0.1, 0.0, 0.9]]), "real"),
    ],
)
def test_loss_of_a_constant(loss, target, kind):
    """The expected value comes from training a bias for many epochs."""
    units = 3 if loss == "crossentropy" else target.shape[1]
    x = np.zeros((len(target), 1))
    model = fnn.Sequential([fnn.Dense(units)], input_shape=(1,), dtype="float64", seed=0)
    model.compile(fnn.Adam(fnn.schedules.CosineDecay(0.1, 1500)), loss)
    samples = model.network.checked_samples(x, target)
    sources, found = samples.sources, samples.target_types
    assert found == (kind,)
    model.fit(x, target, epochs=1500, verbose=0)
    wanted = model.evaluate(x, target)["loss"]
    assert constant_loss(Patient(model.network, sources, found, 32)) == pytest.approx(
        wanted, rel=1e-3
    )


@pytest.mark.parametrize(
    ("activation", "shown"),
    [
        ("hard_sigmoid", "hard_sigmoid outputs 0 to 1"),
        ("softsign", "softsign outputs -1 to 1"),
        ("exponential", "exponential outputs 0 or more"),
        ("softplus", "softplus outputs 0 or more"),
        ("elu", "elu outputs -1 or more"),
        ("log_softmax", "log_softmax outputs 0 or less"),
        ("leaky_relu", None),
        ("linear", None),
    ],
)
def test_targets_out_of_reach_of_any_activation(activation, shown):
    x = np.random.default_rng(0).normal(size=(80, 3))
    y = -5 + 0.1 * x if shown and shown.endswith("or more") else 5 + 0.1 * x
    layers = [fnn.Dense(3, activation), fnn.Reshape((1, 3)), fnn.Flatten()]
    model = fnn.Sequential(layers, input_shape=(3,), seed=0)
    model.compile("adam", "mse")
    found = [f for f in model.diagnose(x, y).findings if f.problem == "targets out of reach"]
    assert [f.layer for f in found] == (["dense"] if shown else [])
    assert all(f.shown.startswith(f"{shown}, but 100% of y lie outside") for f in found)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "hard_sigmoid", "softsign"])
def test_units_saturated_at_both_ends(activation):
    x = np.random.default_rng(0).normal(size=(80, 3))
    wide = fnn.initializers.Normal(0.0, 300.0)
    layers = [fnn.Dense(6, activation, kernel_initializer=wide), fnn.Dense(1)]
    model = fnn.Sequential(layers, input_shape=(3,), seed=0)
    model.compile("adam", "mse")
    found = [f for f in model.diagnose(x, x[:, 0]).findings if f.problem == "saturated units"]
    assert [f.layer for f in found] == ["dense"]


def test_logits_behind_log_softmax_are_logits():
    x = np.random.default_rng(0).normal(size=(80, 3))
    for end, is_found in (("log_softmax", False), ("relu", True)):
        model = fnn.Sequential([fnn.Dense(3, end)], input_shape=(3,), seed=0)
        model.compile("adam", "crossentropy")
        problems = [f.problem for f in model.diagnose(x, x.argmax(axis=1)).findings]
        assert ("squashed logits" in problems) == is_found


def test_bad_arguments():
    model, x, y = HEALTHY["binary"]()
    with unchanged(model), pytest.raises(ValueError, match="batch_size must be a positive integer"):
        model.diagnose(x, y, batch_size=0)
    with unchanged(model), pytest.raises(ValueError, match="y must have as many rows as x"):
        model.diagnose(x, y[:5])


def test_callback_warns_once_of_each_finding():
    model, x, y = FAULTS["low"][3]()
    look = fnn.Diagnose(every=2)
    with pytest.warns(DiagnosisWarning) as caught:
        model.fit(x, y, epochs=6, verbose=0, callbacks=[look])
    messages = [str(warning.message) for warning in caught]
    assert [message.split(":")[0] for message in messages] == ["epoch 2", "epoch 6"]
    assert messages[0].startswith("epoch 2: learning rate too low: 100 steps at 1e-06 take the")
    assert messages[1].startswith("epoch 6: plateau: the loss is ")
    assert [finding.problem for finding in look.findings] == ["learning rate too low", "plateau"]


def test_callback_changes_nothing_in_training():
    model, x, y = HEALTHY["not scaled, but trainable"]()
    twin = HEALTHY["not scaled, but trainable"]()[0]
    look = fnn.Diagnose(every=1)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[look])
    twin.fit(x, y, epochs=2, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert look.findings == []


def test_a_model_of_several_outputs_is_refused_by_name():
    entrance = fnn.Input((8,))
    heads = [Dense(3, name="kind")(entrance), Dense(1, name="size")(entrance)]
    model = fnn.Model(entrance, heads)
    model.compile("adam", ["crossentropy", "mse"])
    x, y = regression()
    with pytest.raises(ValueError, match="a model with one output, this one has kind, size: make"):
        model.diagnose(x, [np.zeros(600, int), y])


def test_frozen_kernels_have_no_gradient_that_could_vanish():
    x, y = regression()
    base = fnn.Sequential([Dense(8, "tanh")], input_shape=x.shape[1:], seed=0)
    model = fnn.Sequential([base, Dense(1)], input_shape=x.shape[1:], seed=0)
    model.compile(fnn.Adam(0.01), "mse", frozen=base)
    assert not [one for one in model.diagnose(x, y).findings if "gradient" in one.problem]
    model.compile(fnn.Adam(0.01), "mse")
    base.trainable = False
    assert not [one for one in model.diagnose(x, y).findings if "gradient" in one.problem]


def test_a_frozen_layer_normalizes_rows_by_themselves():
    x, y = regression()
    normalization = fnn.BatchNormalization()
    model = fnn.Sequential([Dense(8), normalization, Dense(1)], input_shape=x.shape[1:], seed=0)
    for frozen, expected in ((normalization, 0), ((), 1)):
        model.compile("adam", "mse", frozen=frozen)
        problems = [one.problem for one in model.diagnose(x[:1], y[:1]).findings]
        assert problems.count("batches of one row") == expected


@pytest.mark.parametrize(
    ("first", "is_fine"),
    [
        ([fnn.Embedding(1000, 2), fnn.Flatten()], True),
        ([fnn.CategoryEncoding(1000)], True),
        ([fnn.IntegerLookup(vocabulary=range(999)), fnn.Embedding(1000, 2), fnn.Flatten()], True),
        ([fnn.Rescaling(1e-3)], True),
        ([fnn.Reshape((1, 2)), fnn.Normalization(mean=500.0, variance=8e4), fnn.Flatten()], True),
        ([fnn.BatchNormalization()], True),
        ([Dense(3)], False),
        ([fnn.Activation("tanh"), fnn.BatchNormalization()], False),
    ],
)
def test_inputs_that_a_layer_scales_need_no_scale(first, is_fine):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1000, (100, 2))
    model = fnn.Sequential([*first, Dense(1)], input_shape=(2,), seed=0)
    model.compile("adam", "mse")
    problems = [one.problem for one in model.diagnose(x, rng.normal(size=100)).findings]
    assert ("unscaled inputs" in problems) == (not is_fine)
