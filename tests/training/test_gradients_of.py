"""Gradients with respect to inputs: `Model.gradients_of`, and gradcheck over the registries."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged

import fastnn as fnn
from fastnn.program import ops
from fastnn.program.fuse import fuse
from fastnn.program.plan import check, plan
from fastnn.program.purpose import Purpose, Wrt

sparse = pytest.importorskip("scipy.sparse")

BOTH = ("inputs", "parameters")
NORMAL = fnn.initializers.Normal(0.0, 0.5)


def model_of(*layers, inputs=5, loss="mse", dtype="float64", **options):
    made = fnn.Sequential(layers, input_shape=(inputs,), dtype=dtype, seed=3)
    made.compile("sgd", loss, **options)
    return made


def small(**options):
    return model_of(
        fnn.Dense(7, "tanh", bias_initializer=NORMAL), fnn.LayerNormalization(), fnn.Dense(3),
        **options,
    )  # fmt: skip


def differences(function, x, epsilon=1e-6):
    """The gradient of a function of x by central differences."""
    gradient = np.empty_like(x)
    for place in np.ndindex(x.shape):
        values = []
        for step in (epsilon, -epsilon):
            moved = x.copy()
            moved[place] += step
            values.append(function(moved))
        gradient[place] = (values[0] - values[1]) / (2 * epsilon)
    return gradient


# --- what is differentiated -----------------------------------------------------------------------


def test_the_gradient_of_the_loss(rng):
    model, x, y = small(), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    found = model.gradients_of(x, y)
    assert found.shape == x.shape
    assert found.dtype == np.float64
    assert_close(found, differences(lambda x: model.evaluate(x, y)["loss"], x), 1e-8)


def test_the_gradient_of_the_weighted_loss(rng):
    model, x, y = small(), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    weights = rng.uniform(0, 2, 6)
    found = model.gradients_of(x, y, sample_weight=weights)
    assert_close(found, differences(lambda x: model.evaluate(x, y, weights)["loss"], x), 1e-8)


def test_the_product_with_an_output_gradient(rng):
    model, x, v = small(), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    found = model.gradients_of(x, output_gradient=v)
    assert_close(found, differences(lambda x: (model.predict(x) * v).sum(), x), 1e-8)


def test_the_gradient_of_the_sum_of_the_outputs(rng):
    model, x = small(), rng.normal(size=(6, 5))
    found = model.gradients_of(x)
    assert np.array_equal(found, model.gradients_of(x, output_gradient=np.ones((6, 3))))
    assert_close(found, differences(lambda x: model.predict(x).sum(), x), 1e-8)


def test_a_model_need_not_be_compiled(rng):
    model = fnn.Sequential([fnn.Dense(2, "tanh")], seed=0)
    assert model.gradients_of(rng.normal(size=(4, 3))).shape == (4, 3)


@pytest.mark.parametrize("case", ["loss", "product"])
def test_parameters(case, rng):
    model = small()
    x, y, v = rng.normal(size=(6, 5)), rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    given = {"y": y} if case == "loss" else {"output_gradient": v}
    by_inputs, found = model.gradients_of(x, wrt=BOTH, **given)
    assert np.array_equal(by_inputs, model.gradients_of(x, **given))
    assert list(found) == list(model.parameters)

    def value():
        if case == "loss":
            return model.evaluate(x, y)["loss"]
        return (model.predict(x) * v).sum()

    for name, view in model.parameters.items():
        kept = view.copy()

        def at(moved, view=view):
            view[...] = moved
            return value()

        assert_close(found[name], differences(at, kept), 1e-8, name)
        view[...] = kept


def test_the_order_of_both_is_that_of_wrt(rng):
    model, x = small(), rng.normal(size=(4, 5))
    parameters, inputs = model.gradients_of(x, wrt=("parameters", "inputs"))
    assert isinstance(parameters, dict)
    assert inputs.shape == x.shape
    (alone,) = model.gradients_of(x, wrt=["inputs"])
    assert np.array_equal(alone, inputs)


def test_penalties_belong_to_the_loss_and_only_to_parameters(rng):
    def made(**options):
        return model_of(fnn.Dense(3, **options))

    plain, penalized = made(), made(kernel_regularizer=fnn.regularizers.L2(0.1))
    x, y, v = rng.normal(size=(6, 5)), rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    assert np.array_equal(plain.gradients_of(x, y), penalized.gradients_of(x, y))
    without = plain.gradients_of(x, y, wrt="parameters")["dense/kernel"]
    found = penalized.gradients_of(x, y, wrt="parameters")["dense/kernel"]
    assert_close(found, without + 0.2 * plain.parameters["dense/kernel"], 1e-12)
    product = [one.gradients_of(x, output_gradient=v, wrt="parameters")
               for one in (plain, penalized)]  # fmt: skip
    assert np.array_equal(product[0]["dense/kernel"], product[1]["dense/kernel"])


def test_what_does_not_learn_has_zeros(rng):
    model = model_of(fnn.Dense(4, name="frozen"), fnn.BatchNormalization(), fnn.Dense(3))
    model.layers[0].trainable = False
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    for training in (False, True):
        found = model.gradients_of(x, y, wrt="parameters", training=training)
        still = {name for name, gradient in found.items() if not gradient.any()}
        assert still == {
            "frozen/kernel", "frozen/bias", "batch_normalization/moving_mean",
            "batch_normalization/moving_variance",
        }  # fmt: skip
    assert model.gradients_of(x, y).any()


# --- several inputs and outputs -------------------------------------------------------------------


def two_headed():
    a, b, unread = fnn.Input((3,), "a"), fnn.Input((4,), "b"), fnn.Input((2,), "unread")
    h = fnn.Dense(6, "tanh")(fnn.Concatenate()([a, b]))
    first = fnn.Dense(2, name="first")(h)
    second = fnn.Dense(3, name="second")(fnn.Add()([h, fnn.Dense(6)(a)]))
    model = fnn.Model([a, b, unread], [first, second], dtype="float64", seed=1)
    model.compile("sgd", {"first": "mse", "second": "mae"}, loss_weights=[0.3, 2.0])
    return model


def test_several_inputs_and_outputs(rng):
    model = two_headed()
    x = [rng.normal(size=(5, width)) for width in (3, 4, 2)]
    y = [rng.normal(size=(5, width)) for width in (2, 3)]
    found = model.gradients_of(x, y)
    product = model.gradients_of(x, output_gradient=y)
    named = model.gradients_of(x, output_gradient={"second": y[1], "first": y[0]})
    for i, part in enumerate(x):

        def loss(moved, i=i):
            return model.evaluate([*x[:i], moved, *x[i + 1 :]], y)["loss"]

        def dot(moved, i=i):
            made = model.predict([*x[:i], moved, *x[i + 1 :]])
            return sum((one * v).sum() for one, v in zip(made, y, strict=True))

        assert_close(found[i], differences(loss, part), 1e-7)
        assert_close(product[i], differences(dot, part), 1e-7)
        assert np.array_equal(product[i], named[i])
    assert not found[2].any()


def test_an_output_that_is_read_by_another_and_given_twice(rng):
    x = fnn.Input((4,))
    h = fnn.Dense(3, "tanh")(x)
    model = fnn.Model(x, [h, h, fnn.Dense(2)(h), x], dtype="float64", seed=0)
    rows = rng.normal(size=(5, 4))
    v = [rng.normal(size=(5, width)) for width in (3, 3, 2, 4)]
    found = model.gradients_of(rows, output_gradient=v)

    def dot(moved):
        return sum((one * w).sum() for one, w in zip(model.predict(moved), v, strict=True))

    assert_close(found, differences(dot, rows), 1e-7)


def test_reshaped_shared_and_squared_inputs(rng):
    x = fnn.Input((2, 3))
    flat = fnn.Flatten()(x)
    shared = fnn.Dense(6, "tanh")
    y = fnn.Add()([fnn.Multiply()([flat, flat]), shared(shared(flat))])
    model = fnn.Model(x, fnn.Dense(2)(y), dtype="float64", seed=0)
    rows = rng.normal(size=(4, 2, 3))
    found = model.gradients_of(rows)
    assert found.shape == rows.shape
    assert_close(found, differences(lambda x: model.predict(x).sum(), rows), 1e-7)


# --- in training and outside ----------------------------------------------------------------------


def test_moving_statistics_are_constants_outside_training(rng):
    model = model_of(fnn.Dense(4), fnn.BatchNormalization(0.5), fnn.Dropout(0.5), fnn.Dense(3))
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 3))
    for _ in range(5):
        model.train_on_batch(x, y)
    found = model.gradients_of(x, y)
    assert_close(found, differences(lambda x: model.evaluate(x, y)["loss"], x), 1e-7)


def test_training_is_that_of_the_next_step(rng):
    model = model_of(fnn.Dense(4), fnn.BatchNormalization(0.5), fnn.Dropout(0.5), fnn.Dense(3))
    x, v = rng.normal(size=(600, 5)), rng.normal(size=(600, 3))
    with unchanged(model):
        found, by_parameters = model.gradients_of(x, output_gradient=v, wrt=BOTH, training=True)
        again = model.gradients_of(x, output_gradient=v, training=True)
    model.forward(x, training=True)
    wanted = {name: view.copy() for name, view in model.backward(v).items()}
    for name, gradient in wanted.items():
        assert np.array_equal(by_parameters[name], gradient), name
    assert np.array_equal(model.backward(v, wrt="inputs"), found)
    assert np.array_equal(again, found)
    assert not np.array_equal(found, model.gradients_of(x, output_gradient=v))


@pytest.mark.parametrize("training", [False, True])
def test_layers_losses_and_activations_of_ones_own(training, rng):
    class Sine(fnn.Layer):
        def build(self, input_shape):
            self.add_weight("factor", input_shape, NORMAL)

        def forward(self, x, *, training):
            self.x = x
            return np.sin(self.parameters["factor"] * x)

        def backward(self, grad_output):
            slope = grad_output * np.cos(self.parameters["factor"] * self.x)
            self.gradients["factor"][...] = (slope * self.x).sum(axis=0)
            return slope * self.parameters["factor"]

    cube = fnn.losses.Custom(lambda y, p: (p - y) ** 4, lambda y, p: 4 * (p - y) ** 3, "cube")
    own = fnn.activations.Custom(np.sin, np.cos)
    model = model_of(Sine(), fnn.Dense(4, own), Sine(), fnn.Dense(3), loss=cube)
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    found, by_parameters = model.gradients_of(x, y, wrt=BOTH, training=training)
    assert_close(found, differences(lambda x: model.evaluate(x, y)["loss"], x), 1e-7)
    assert np.array_equal(found, model.gradients_of(x, y, training=training))
    fnn.gradcheck(model, x, y, wrt=BOTH)
    factor = by_parameters["sine/factor"]
    kept = model.parameters["sine/factor"].copy()

    def at(moved):
        model.parameters["sine/factor"][...] = moved
        return model.evaluate(x, y)["loss"]

    assert_close(factor, differences(at, kept), 1e-7)


# --- many rows, few rows, dtypes, threads ---------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 31, 512, 513, 1300])
def test_rows_are_cut_where_it_does_not_matter(rows, rng):
    model, x, y = small(), rng.normal(size=(rows, 5)), rng.normal(size=(rows, 3))
    for given in ({"y": y}, {"output_gradient": y}, {}):
        found, parameters = model.gradients_of(x, wrt=BOTH, **given)
        whole, of_whole = model.gradients_of(x, wrt=BOTH, training=True, **given)
        assert_close(found, whole, 1e-12)
        for name, gradient in parameters.items():
            assert_close(gradient, of_whole[name], 1e-10, name)


def test_float32_and_other_kinds_of_data(rng):
    model, exact = small(dtype="float32"), small()
    exact.set_weights(model.get_weights())
    x, y = rng.integers(0, 5, (40, 5)), rng.normal(size=(40, 3))
    found = model.gradients_of(x, y)
    assert found.dtype == np.float32
    assert_close(found, exact.gradients_of(x.astype(float), y), 1e-5)


def test_results_are_arrays_of_their_own(rng):
    model, x = small(), rng.normal(size=(6, 5))
    inputs, parameters = model.gradients_of(x, wrt=BOTH)
    kept = inputs.copy(), {name: array.copy() for name, array in parameters.items()}
    model.gradients_of(2 * x, wrt=BOTH)
    assert np.array_equal(inputs, kept[0])
    for name, array in parameters.items():
        assert np.array_equal(array, kept[1][name])
        assert array.flags.writeable
        assert not np.shares_memory(array, model.gradients[name])


def test_nothing_changes(rng):
    model = model_of(fnn.Dense(4), fnn.BatchNormalization(), fnn.Dropout(0.3), fnn.Dense(3))
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    model.forward(x, training=True)
    gradients = {name: view.copy() for name, view in model.backward(y).items()}
    with unchanged(model):
        for training in (False, True):
            for given in ({"y": y}, {"output_gradient": y}, {}):
                model.gradients_of(x, wrt=BOTH, training=training, **given)
    assert all(np.array_equal(model.gradients[name], one) for name, one in gradients.items())
    model.backward(y)  # what forward has kept is still there


def test_threads_share_a_model(rng):
    model = small()
    xs = [rng.normal(size=(20 + i, 5)) for i in range(8)]
    wanted = [model.gradients_of(x, wrt=BOTH) for x in xs]
    found = [None] * len(xs)

    def work(i):
        for _ in range(20):
            found[i] = model.gradients_of(xs[i], wrt=BOTH)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(xs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for (inputs, parameters), (by_x, by_p) in zip(found, wanted, strict=True):
        assert np.array_equal(inputs, by_x)
        assert all(np.array_equal(parameters[name], by_p[name]) for name in by_p)


def test_a_layer_that_is_frozen_in_between(rng):
    model, x, y = small(), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    assert model.gradients_of(x, y, wrt="parameters")["dense/kernel"].any()
    model.layers[0].trainable = False
    assert not model.gradients_of(x, y, wrt="parameters")["dense/kernel"].any()


# --- programs -------------------------------------------------------------------------------------


def kinds_of(model, wrt, purpose=Purpose.VJP):
    program = model.network.runtime.bound(purpose, 16, wrt=wrt).plan.program
    return [op.name for op in program.ops]


def test_only_what_is_wanted_is_computed():
    model = model_of(fnn.Dense(16, "relu"), fnn.Dense(16, "relu"), fnn.Dense(3), inputs=40)
    inputs, parameters = kinds_of(model, Wrt.INPUTS), kinds_of(model, Wrt.PARAMETERS)
    assert not {"kernel_gradient", "bias_gradient"} & set(inputs)
    assert inputs.count("input_gradient") == 3
    assert (parameters.count("input_gradient"), parameters.count("kernel_gradient")) == (2, 3)
    assert "activation" not in inputs, "the product writes to the result"


def test_a_gradient_is_not_copied_to_the_result():
    model = model_of(fnn.Dense(16, "relu"), fnn.Dense(3))
    program = model.network.runtime.bound(Purpose.VJP, 16, wrt=Wrt.INPUTS).plan.program
    (last,) = [op for op in program.ops if any(v.storage == "output" for v in op.writes())]
    assert last.name == "input_gradient"


@pytest.mark.parametrize("inputs", [64, 784])
def test_inputs_alone_take_no_more_arithmetic_than_parameters(inputs):
    model = model_of(fnn.Dense(128, "relu"), fnn.Dense(10), inputs=inputs)
    runtime = model.network.runtime
    by_inputs = runtime.bound(Purpose.VJP, 128, wrt=Wrt.INPUTS).plan.work(128)
    own_loop = runtime.bound(Purpose.MANUAL, 128).plan.work(128)
    assert by_inputs < 1.01 * own_loop


@pytest.mark.parametrize("wrt", [*Wrt, Wrt.BOTH])
@pytest.mark.parametrize("purpose", [p for p in Purpose if p.returns_gradients] + [Purpose.MANUAL])
def test_plans_are_sound(purpose, wrt):
    x = fnn.Input((6,))
    h = fnn.Dense(5, "gelu")(fnn.Multiply()([x, x]))
    h = fnn.BatchNormalization()(fnn.Add()([h, fnn.Dense(5, "relu")(h)]))
    model = fnn.Model(x, [fnn.Dense(3)(h), h], seed=0)
    model.compile("adam", "mse")
    runtime = model.network.runtime
    program = fuse(runtime.program(purpose, ("real", "real"), wrt=wrt))
    for dtype in ("float32", "float64"):
        for capacity in (1, 7, 300):
            check(plan(program, dtype, capacity, runtime.offsets))


# --- gradcheck over the registries ----------------------------------------------------------------


def piecewise():
    layer = fnn.PiecewiseLinearEmbedding(units=2, bins=3)
    layer.adapt(np.random.default_rng(3).normal(size=(40, 5)))
    return [layer]


LAYERS = {
    "dense": lambda: [fnn.Dense(6, "tanh")],
    "activation": lambda: [fnn.Activation("silu")],
    "dropout": lambda: [fnn.Dropout(0.4)],
    "flatten": lambda: [fnn.Reshape((5, 1)), fnn.Flatten()],
    "reshape": lambda: [fnn.Reshape((1, 5)), fnn.Reshape((5,))],
    "prelu": lambda: [fnn.PReLU(NORMAL)],
    "layer_normalization": lambda: [fnn.LayerNormalization(gamma_initializer=NORMAL)],
    "batch_normalization": lambda: [fnn.BatchNormalization(gamma_initializer=NORMAL)],
    "residual": lambda: [fnn.Residual([fnn.Dense(4, "gelu"), fnn.Dense(5)])],
    "normalization": lambda: [fnn.Normalization(mean=0.5, variance=4.0)],
    "rescaling": lambda: [fnn.Rescaling(0.5, offset=-1.0)],
    "scale": lambda: [fnn.Scale(NORMAL)],
    "parametric_activation": lambda: [fnn.ParametricActivation("mish", NORMAL)],
    "columns": lambda: [fnn.Columns(1, 4)],
    "periodic_embedding": lambda: [fnn.PeriodicEmbedding(2, waves=3)],
    "piecewise_linear_embedding": piecewise,
    "add": lambda: fnn.Add,
    "average": lambda: fnn.Average,
    "multiply": lambda: fnn.Multiply,
    "concatenate": lambda: fnn.Concatenate,
}
# One of their inputs is categories; what reaches the other is in test_members.py.
WITHOUT_GRADIENT = {
    "embedding", "category_encoding", "string_lookup", "integer_lookup", "member_scale",
    "member_dense",
}  # fmt: skip


def model_with(kind, loss="mse"):
    x = fnn.Input((5,))
    layers = LAYERS[kind]()
    if isinstance(layers, list):
        h = x
        for layer in layers:
            h = layer(h)
    else:
        h = layers()([x, fnn.Dense(5, "tanh")(x), x])
    model = fnn.Model(x, fnn.Dense(3)(h), dtype="float64", seed=4)
    model.compile("sgd", loss)
    return model


def test_every_layer_has_a_case():
    kinds = fnn.layers.registry
    own = {kind for kind in kinds if kinds[kind].__module__.startswith("fastnn.")}
    assert own == {*LAYERS, *WITHOUT_GRADIENT}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("rows", [2, 7])
def test_layers(kind, rows, rng):
    model = model_with(kind)
    x, y = rng.normal(size=(rows, 5)), rng.normal(size=(rows, 3))
    assert fnn.gradcheck(model, x, y, wrt=BOTH, atol=1e-7)
    assert_close(
        model.gradients_of(x, y), differences(lambda x: model.evaluate(x, y)["loss"], x), 1e-6
    )


@pytest.mark.parametrize("name", fnn.activations.NAMES)
def test_activations(name, rng):
    model = model_of(fnn.Activation(name), fnn.Dense(7, name, bias_initializer=NORMAL),
                     fnn.Dense(3), inputs=9)  # fmt: skip
    x = rng.choice([-1, 1], (6, 9)) * rng.uniform(0.1, 2, (6, 9))  # away from kinks
    y = rng.normal(size=(6, 3))
    assert fnn.gradcheck(model, x, y, wrt="inputs")
    assert_close(
        model.gradients_of(x, y), differences(lambda x: model.evaluate(x, y)["loss"], x), 1e-6
    )


def target_of(loss, rng, rows, outputs):
    least, most = loss.target_range
    if loss.is_distribution:
        return rng.dirichlet(np.ones(outputs), rows)
    if (least, most) == (-1, 1):
        return rng.choice([-1.0, 1.0], (rows, outputs))
    return rng.uniform(0, min(most, 4), (rows, outputs)) if least == 0 else rng.normal(
        size=(rows, outputs)
    )  # fmt: skip


@pytest.mark.parametrize("name", list(fnn.losses.registry))
@pytest.mark.parametrize("end", ["linear", "link"])
def test_losses(name, end, rng):
    loss = fnn.losses.get(name)
    activation = loss.link if end == "link" and loss.link else "linear"
    model = model_of(fnn.Dense(7, "tanh"), fnn.Dense(4, activation), loss=name)
    x = rng.normal(size=(6, 5))
    for y in [target_of(loss, rng, 6, 4)] + [np.arange(6) % 4] * loss.takes_labels:
        assert fnn.gradcheck(model, x, y, wrt="inputs")
        assert_close(
            model.gradients_of(x, y),
            differences(lambda x, y=y: model.evaluate(x, y)["loss"], x),
            1e-6,
        )


def test_a_wrong_gradient_is_noticed(rng, monkeypatch):
    model = small()
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    gradient = ops.OPS["affine"].gradient

    def wrong(op, grad, emit):
        by_x, *rest = gradient(op, grad, emit)
        return [emit("add", (by_x, by_x), (by_x.shape,)), *rest]

    monkeypatch.setitem(ops.OPS, "affine", replace(ops.OPS["affine"], gradient=wrong))
    with pytest.raises(fnn.GradientError, match=r"gradient of 'input' at \[0, 0\] is"):
        fnn.gradcheck(model, x, y, wrt="inputs")
    assert not fnn.gradcheck(model, x, y, wrt=BOTH, raise_exception=False)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"wrt": "input"}, ValueError, "wrt must be 'inputs', 'parameters' or both"),
        ({"wrt": "input"}, ValueError, "did you mean 'inputs'"),
        ({"wrt": ()}, ValueError, "wrt must be"),
        ({"wrt": ("inputs", "inputs")}, ValueError, "wrt must be"),
        ({"wrt": None}, TypeError, "wrt must be"),
        ({"wrt": ("inputs", 3)}, TypeError, "wrt must be"),
        ({"y": np.zeros((6, 3)), "output_gradient": np.zeros((6, 3))}, ValueError, "got both"),
        ({"output_gradient": np.zeros((6, 4))}, ValueError,
         r"output_gradient must have shape \(rows, 3\), got \(6, 4\)"),
        ({"output_gradient": np.zeros((5, 3))}, ValueError, "must have 6 rows, got 5"),
        ({"output_gradient": np.full((6, 3), np.nan)}, ValueError, "output_gradient must hold"),
        ({"output_gradient": [np.zeros((6, 3))]}, ValueError, "output_gradient must have shape"),
        ({"y": np.zeros((6, 4))}, ValueError, "y must have shape"),
        ({"x": np.zeros((6, 4))}, ValueError, "x must have shape"),
        ({"x": np.full((6, 5), np.inf)}, ValueError, "x must hold finite numbers"),
        ({"x": np.zeros((0, 5))}, ValueError, "at least one row"),
        ({"sample_weight": np.ones(6)}, ValueError, "needs y"),
        ({"training": 1}, TypeError, "training must be"),
    ],
)  # fmt: skip
def test_bad_input(given, error, message):
    model = small()
    given = {"x": np.ones((6, 5)), **given}
    with unchanged(model), pytest.raises(error, match=message):
        model.gradients_of(**given)


def test_a_loss_must_have_been_compiled():
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(2,))
    with pytest.raises(RuntimeError, match="call compile"):
        model.gradients_of(np.ones((2, 2)), np.ones(2))
    model.compile("sgd")
    with pytest.raises(RuntimeError, match="compile was given no loss"):
        model.gradients_of(np.ones((2, 2)), np.ones(2))


def categorical():
    numbers, categories = fnn.Input((2,), "numbers"), fnn.Input((3,), "kinds")
    h = fnn.Flatten()(fnn.Embedding(4, 2)(fnn.Reshape((3,))(categories)))
    return fnn.Model([numbers, categories], fnn.Dense(1)(fnn.Concatenate()([numbers, h])), seed=0)


def test_categories_have_no_gradient(rng):
    model, x = categorical(), [rng.normal(size=(5, 2)), rng.integers(0, 4, (5, 3))]
    message = "the input 'kinds', which layer 'embedding' takes as categories"
    model.compile("sgd", "mse")
    for wrt in ("inputs", BOTH):
        with unchanged(model), pytest.raises(ValueError, match=message):
            model.gradients_of(x, wrt=wrt)
        with unchanged(model), pytest.raises(ValueError, match=message):
            model.gradients_of(x, np.zeros(5), wrt=wrt)
    with pytest.raises(ValueError, match=message):
        fnn.gradcheck(model, x, np.zeros(5), wrt="inputs")
    assert model.gradients_of(x, wrt="parameters")["embedding/embeddings"].any()


def test_text_has_no_gradient():
    words = fnn.Input((1,), name="words")
    lookup = fnn.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(words)
    model = fnn.Model(words, fnn.Dense(1)(lookup))
    with pytest.raises(ValueError, match="'words', which layer 'string_lookup' takes as"):
        model.gradients_of([["a"], ["b"]])
    plain = fnn.Model(words, fnn.Dense(1)(fnn.StringLookup(vocabulary=["a", "b"])(words)))
    with pytest.raises(ValueError, match="'words', which layer 'string_lookup' looks up"):
        plain.gradients_of([["a"], ["b"]])
    numbers = fnn.Input((1,), name="numbers")
    encoded = fnn.CategoryEncoding(3)(numbers)
    model = fnn.Model(numbers, fnn.Dense(1)(encoded))
    with pytest.raises(ValueError, match="'numbers', which layer 'category_encoding' takes as"):
        model.gradients_of([[1], [2]])


def test_sparse_rows_have_no_gradient(rng):
    model, dense = small(), rng.normal(size=(30, 5)) * (rng.random((30, 5)) < 0.3)
    x, y = sparse.csr_array(dense), rng.normal(size=(30, 3))
    with unchanged(model), pytest.raises(ValueError, match=r"'input', which is sparse: give"):
        model.gradients_of(x, y)
    found, wanted = (model.gradients_of(one, y, wrt="parameters") for one in (x, dense))
    for name, gradient in wanted.items():
        assert_close(found[name], gradient, 1e-12, name)
