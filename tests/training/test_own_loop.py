"""A training loop of one's own: backward to inputs, accumulation, no loss, target networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import assert_close
from model_helpers import unchanged

import fastnn as fnn
from fastnn.program.purpose import Purpose, Wrt

sparse = pytest.importorskip("scipy.sparse")

BOTH = ("inputs", "parameters")


def model_of(*layers, inputs=5, dtype="float64"):
    return fnn.Sequential(layers, input_shape=(inputs,), dtype=dtype, seed=3)


def noisy():
    """Dropout and statistics of the batch."""
    return model_of(
        fnn.Dense(8, "tanh"), fnn.BatchNormalization(0.5), fnn.Dropout(0.4), fnn.Dense(3)
    )


def copies(gradients):
    return {name: view.copy() for name, view in gradients.items()}


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name in want:
        assert np.array_equal(got[name], want[name]), name


# --- backward with respect to inputs --------------------------------------------------------------


def test_a_first_request_for_inputs_runs_forward_of_the_same_step_again(rng):
    x, v = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    model, other = noisy(), noisy()
    outputs = model.forward(x, training=True)
    wanted = copies(model.backward(v))
    statistics = copies(model.parameters)
    rows = x.copy()
    x[...] = 7  # what forward was given may be used again
    found = model.backward(v, wrt="inputs")
    assert_same(copies(model.parameters), statistics)
    assert_same(copies(model.gradients), wanted)
    assert np.array_equal(found, other.gradients_of(rows, output_gradient=v, training=True))
    again, parameters = model.backward(v, wrt=BOTH)
    assert np.array_equal(again, found)
    assert_same(copies(parameters), wanted)
    assert np.array_equal(outputs, other.forward(rows, training=True))


def test_after_that_forward_keeps_what_it_needs(rng, monkeypatch):
    x, v = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    model, other = noisy(), noisy()
    model.forward(x, training=True)
    model.backward(v, wrt="inputs")
    runs = []
    make = type(model._manual)._run_forward_of
    monkeypatch.setattr(
        type(model._manual), "_run_forward_of", lambda *given: (runs.append(1), make(*given))
    )
    other.forward(x, training=True)
    for step in range(3):
        outputs = model.forward(x + step, training=True)
        assert np.array_equal(outputs, other.forward(x + step, training=True))
        found = model.backward(v, wrt="inputs")
        assert_same(copies(model.backward(v)), copies(other.backward(v)))
        assert np.array_equal(found, model.backward(v, wrt=BOTH)[0])
    assert not runs
    assert_same(copies(model.parameters), copies(other.parameters))


def test_forward_does_not_pay_for_what_nobody_has_asked_for(rng):
    model = noisy()
    model.forward(rng.normal(size=(9, 5)), training=True)
    program = model.network.runtime.bound(Purpose.MANUAL, 9).plan.program
    assert list(program.sections) == ["forward", "statistics", Wrt.PARAMETERS.section]
    assert len(program.inputs) == 2


def test_inputs_alone_leave_the_gradients_as_they_are(rng):
    model = noisy()
    x, v = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    for view in model.gradients.values():
        view[...] = 3
    model.forward(x, training=True)
    model.backward(v, wrt="inputs")
    assert all((view == 3).all() for view in model.gradients.values())
    program = model.network.runtime.bound(Purpose.MANUAL, 9, wrt=Wrt.BOTH).plan.program
    first, end = program.sections[Wrt.INPUTS.section]
    assert not {"kernel_gradient", "bias_gradient"} & {op.name for op in program.ops[first:end]}


def test_several_inputs_one_of_which_is_not_read(rng):
    a, b, c = fnn.Input((3,), "a"), fnn.Input((4,), "b"), fnn.Input((2,), "c")
    h = fnn.Dense(6, "tanh")(fnn.Concatenate()([a, b]))
    model = fnn.Model([a, b, c], [fnn.Dense(2)(h), h], dtype="float64", seed=1)
    x = [rng.normal(size=(5, width)) for width in (3, 4, 2)]
    v = [rng.normal(size=(5, width)) for width in (2, 6)]
    outputs = model.forward(x, training=True)
    found = model.backward(v, wrt="inputs")
    for got, want in zip(found, model.gradients_of(x, output_gradient=v), strict=True):
        assert np.array_equal(got, want)
    assert not found[2].any()
    named = dict(zip(model.output_names, v, strict=True))
    assert np.array_equal(model.backward(named, wrt="inputs")[0], found[0])
    assert len(outputs) == 2


def test_layers_of_ones_own(rng):
    class Square(fnn.Layer):
        def forward(self, x, *, training):
            self.x = x
            return x * x

        def backward(self, grad_output):
            return 2 * self.x * grad_output

    model = model_of(Square(), fnn.Dense(3))
    x, v = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    model.forward(x, training=True)
    found = model.backward(v, wrt="inputs")
    assert_close(found, 2 * x * (v @ model.parameters["dense/kernel"].T), 1e-12)
    assert np.array_equal(model.backward(v, wrt=BOTH)[0], found)


def test_sparse_rows_and_categories_have_no_gradient(rng):
    model, v = model_of(fnn.Dense(3)), rng.normal(size=(9, 3))
    dense = rng.normal(size=(9, 5))
    model.forward(dense, training=True)
    model.backward(v, wrt="inputs")
    model.forward(sparse.csr_array(dense), training=True)
    with unchanged(model), pytest.raises(ValueError, match="'input', which is sparse"):
        model.backward(v, wrt="inputs")
    model.backward(v)
    table = fnn.Sequential([fnn.Embedding(4, 2), fnn.Flatten()], input_shape=(2,))
    table.forward([[0, 1]], training=True)
    with unchanged(table), pytest.raises(ValueError, match="takes as categories"):
        table.backward(np.ones((1, 4)), wrt="inputs")
    table.backward(np.ones((1, 4)))


@pytest.mark.parametrize("wrt", ["inputs", "parameters", BOTH])
def test_gradients_of_other_parameters_are_refused(wrt, rng):
    model, v = noisy(), rng.normal(size=(9, 3))
    model.forward(rng.normal(size=(9, 5)), training=True)
    model.set_weights(model.get_weights())
    with unchanged(model), pytest.raises(RuntimeError, match="call forward"):
        model.backward(v, wrt=wrt)


@pytest.mark.parametrize(
    ("grad", "given", "error", "message"),
    [
        (np.ones((9, 3)), {"wrt": "input"}, ValueError, "did you mean 'inputs'"),
        (np.ones((9, 3)), {"wrt": 1}, TypeError, "wrt must be"),
        (np.ones((9, 2)), {"wrt": "inputs"}, ValueError, "grad_output must have shape"),
        (np.ones((8, 3)), {"wrt": "inputs"}, ValueError, "must have 9 rows, got 8"),
        (np.full((9, 3), np.nan), {"accumulate": True}, ValueError, "grad_output must hold"),
        (np.ones((9, 3)), {"accumulate": 1}, TypeError, "accumulate must be"),
        (np.ones((9, 3)), {"accumulate": True, "wrt": "inputs"}, ValueError, "accumulate adds"),
    ],
)
def test_bad_input(grad, given, error, message, rng):
    model = noisy()
    model.forward(rng.normal(size=(9, 5)), training=True)
    with unchanged(model), pytest.raises(error, match=message):
        model.backward(grad, **given)
    model.backward(np.ones((9, 3)))


# --- accumulation ---------------------------------------------------------------------------------


def test_gradients_add_up(rng):
    model = model_of(fnn.Dense(8, "tanh"), fnn.Dense(3))
    parts = [(rng.normal(size=(rows, 5)), rng.normal(size=(rows, 3))) for rows in (4, 9, 1)]
    wanted = []
    for x, v in parts:
        model.forward(x, training=True)
        wanted.append(copies(model.backward(v)))
    for x, v in parts:
        model.forward(x, training=True)
        found = model.backward(v, accumulate=True)
    total = {name: sum(one[name] for one in [wanted[-1], *wanted]) for name in found}
    for name in total:
        assert_close(found[name], total[name], 1e-12, name)


def test_the_first_call_after_a_change_begins_afresh(rng):
    model = model_of(fnn.Dense(8, "tanh"), fnn.Dense(3))
    model.compile(fnn.SGD(0.1), "mse")
    x, v = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    changes = [
        model.apply_gradients,
        lambda: model.fit(x, v, verbose=0),
        lambda: model.train_on_batch(x, v),
        lambda: model.learn_one(x[0], v[0]),
        lambda: model.set_weights(model.get_weights()),
    ]
    for change in changes:
        for _ in range(2):
            model.forward(x, training=True)
            model.backward(v, accumulate=True)
        change()
        model.forward(x, training=True)
        found = copies(model.backward(v, accumulate=True))
        assert_same(found, copies(model.backward(v)))


def test_a_loop_in_parts_is_one_step_over_all_rows(rng):
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 3))
    parts, whole = (model_of(fnn.Dense(8, "tanh"), fnn.Dense(3)) for _ in range(2))
    for model in (parts, whole):
        model.compile(fnn.Adam(0.01))
    for _ in range(5):
        for first in range(0, 30, 10):
            rows = slice(first, first + 10)
            y_hat = parts.forward(x[rows], training=True)
            parts.backward(2 * (y_hat - y[rows]) / y.size, accumulate=True)
        parts.apply_gradients()
        y_hat = whole.forward(x, training=True)
        whole.backward(2 * (y_hat - y) / y.size)
        whole.apply_gradients()
    for got, want in zip(parts.get_weights(), whole.get_weights(), strict=True):
        assert_close(got, want, 1e-10)


def test_a_frozen_layer_has_no_gradient_to_add_to(rng):
    model = model_of(fnn.Dense(8, "tanh"), fnn.Dense(3))
    x, v = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    model.forward(x, training=True)
    model.backward(v)
    model.layers[0].trainable = False
    model.backward(v, accumulate=True)
    assert not model.gradients["dense/kernel"].any()


def test_a_layer_that_raises_leaves_the_gradients_as_they_are(rng):
    class Moody(fnn.Layer):
        fails = False

        def forward(self, x, *, training):
            return x

        def backward(self, grad_output):
            if type(self).fails:
                raise OSError("no")
            return grad_output

    model = model_of(fnn.Dense(4), Moody(), fnn.Dense(3))
    x, v = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    model.forward(x, training=True)
    wanted = copies(model.backward(v))
    Moody.fails = True
    with pytest.raises(OSError, match="no"):
        model.backward(2 * v, accumulate=True)
    assert_same(copies(model.gradients), wanted)


# --- without a loss -------------------------------------------------------------------------------


def test_what_needs_a_loss_says_so(rng):
    model = model_of(fnn.Dense(3))
    model.compile("adam")
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    calls = [
        lambda: model.fit(x, y),
        lambda: model.evaluate(x, y),
        lambda: model.train_on_batch(x, y),
        lambda: model.learn_one(x[0], y[0]),
        lambda: model.find_learning_rate(x, y),
        lambda: model.diagnose(x, y),
        lambda: model.profile(x, y),
        lambda: model.explain("train"),
        lambda: fnn.gradcheck(model, x, y),
    ]
    for call in calls:
        with unchanged(model), pytest.raises(RuntimeError, match="compile was given no loss"):
            call()
    model.explain()
    model.explain("update")


def test_a_loop_without_a_loss_is_that_of_fit(rng, tmp_path):
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    own, other = (model_of(fnn.Dense(8, "tanh"), fnn.Dense(3)) for _ in range(2))
    own.compile(fnn.Adam(0.01))
    other.compile(fnn.Adam(0.01), "mse")
    for step in range(6):
        y_hat = own.forward(x, training=True)
        own.backward(2 * (y_hat - y) / y.size)
        own.apply_gradients()
        other.train_on_batch(x, y)
        if step == 2:
            own.save(tmp_path / "m.safetensors")
            own = fnn.load(tmp_path / "m.safetensors")
            assert not own.network.objective.has_loss
        elif step == 3:
            own = copy.deepcopy(own)
    assert own.optimizer == fnn.Adam(0.01)
    for got, want in zip(own.get_weights(), other.get_weights(), strict=True):
        assert_close(got, want, 1e-12)


def test_metrics_need_a_loss():
    model = model_of(fnn.Dense(3))
    for name, given in {
        "metrics": ["mae"],
        "weighted_metrics": ["mae"],
        "loss_weights": [1.0],
    }.items():
        with unchanged(model), pytest.raises(ValueError, match="loss must be given along with"):
            model.compile("adam", **{name: given})


# --- target networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tau", [0, 0.005, 0.5, 1])
def test_a_target_follows(tau, dtype, rng):
    made = [
        fnn.Sequential([fnn.Dense(7), fnn.BatchNormalization(), fnn.Dense(3)], input_shape=(5,),
                       dtype=dtype, seed=seed) for seed in range(2)
    ]  # fmt: skip
    target, source = made
    source.forward(rng.normal(size=(9, 5)), training=True)
    before, other = copies(target.parameters), copies(source.parameters)
    target.forward(np.ones((2, 5)), training=True)
    before = copies(target.parameters)
    fnn.soft_update(target, source, tau)
    for name, view in target.parameters.items():
        wanted = (1 - tau) * before[name] + tau * other[name]
        assert_close(view, wanted, 1e-6 if dtype == "float32" else 1e-14, name)
    assert_same(copies(source.parameters), other)
    if tau == 1:
        assert_same(copies(target.parameters), other)
    with pytest.raises(RuntimeError, match="call forward"):
        target.backward(np.ones((2, 3)))


def test_a_target_whose_layers_were_added_in_another_order():
    def made(is_turned, seed):
        x = fnn.Input((3,))
        heads = [fnn.Dense(2, name="a"), fnn.Dense(4, name="b")]
        ends = [head(x) for head in (reversed(heads) if is_turned else heads)]
        return fnn.Model(x, ends, seed=seed)

    target, source = made(False, 0), made(True, 1)
    assert list(target.parameters) != list(source.parameters)
    before = copies(target.parameters)
    fnn.soft_update(target, source, 0.25)
    for name, view in target.parameters.items():
        assert_close(view, 0.75 * before[name] + 0.25 * source.parameters[name], 1e-6, name)


def test_a_target_that_has_measured_nothing_takes_what_the_source_has_measured(rng):
    x = rng.normal(50, 20, (64, 5))
    model = model_of(fnn.Normalization(), fnn.Dense(2))
    target, waiting = fnn.clone_model(model), fnn.clone_model(model)
    model.layers[0].adapt(x)
    fnn.soft_update(target, model, 0)
    assert target.layers[0].mean is None
    fnn.soft_update(target, model, 0.01)
    assert_close(target.layers[0].mean, model.layers[0].mean, 1e-12)
    assert_close(target.layers[0].scale, model.layers[0].scale, 1e-12)
    with pytest.raises(ValueError, match="source must have measured data, 'normalization/mean'"):
        fnn.soft_update(target, waiting, 0.01)
    fnn.soft_update(waiting, fnn.clone_model(waiting), 0.01)


def test_a_target_may_share_layers_with_the_source():
    shared = fnn.Dense(4)
    source, target = model_of(shared, fnn.Dense(2)), model_of(shared, fnn.Dense(2))
    target.layers[1].set_weights([np.zeros((4, 2)), np.ones(2)])
    before = source.get_weights()
    fnn.soft_update(target, source, 0.25)
    assert_same(source.parameters, dict(zip(source.parameters, before, strict=True)))
    assert_close(target.layers[1].kernel, 0.25 * before[2], 1e-12)
    assert_close(target.layers[1].bias, [0.75, 0.75], 1e-12)


def test_a_moving_average_of_the_target_begins_again():
    target, source = model_of(fnn.Dense(3)), model_of(fnn.Dense(3))
    target.compile(fnn.SGD(use_ema=True), "mse")
    target.train_on_batch(np.ones((4, 5)), np.ones((4, 3)))
    fnn.soft_update(target, source, 0.5)
    runtime = target.network.runtime
    assert_same(copies(runtime.slot_views("average")), copies(target.parameters))


@pytest.mark.parametrize(
    ("source", "tau", "error", "message"),
    [
        (lambda: model_of(fnn.Dense(3)), 1.5, ValueError, r"tau must be a number in \[0, 1\]"),
        (lambda: model_of(fnn.Dense(3)), -0.1, ValueError, r"tau must be a number in \[0, 1\]"),
        (lambda: model_of(fnn.Dense(3)), "a", ValueError, "tau must be"),
        (lambda: model_of(fnn.Dense(3)), np.nan, ValueError, "tau must be"),
        (lambda: model_of(fnn.Dense(4)), 0.5, ValueError, r"one shape, got \(5, 3\) in the target"),
        (lambda: model_of(fnn.Dense(3, name="q")), 0.5, ValueError, "'dense/kernel' is missing in"),
        (lambda: model_of(fnn.Dense(3), fnn.Dense(3)), 0.5, ValueError, "'dense_1/kernel' is miss"),
        (lambda: model_of(fnn.Dense(3), dtype="float32"), 0.5, ValueError, "one dtype"),
        (lambda: fnn.Sequential([fnn.Dense(3)]), 0.5, RuntimeError, "no parameters yet"),
        (lambda: "model", 0.5, TypeError, "source must be a Model"),
    ],
)
def test_models_that_do_not_fit(source, tau, error, message):
    target = model_of(fnn.Dense(3))
    with unchanged(target), pytest.raises(error, match=message):
        fnn.soft_update(target, source(), tau)


def test_a_source_that_is_not_finite_or_the_target_itself():
    target, source = model_of(fnn.Dense(3)), model_of(fnn.Dense(3))
    with pytest.raises(ValueError, match="two models"):
        fnn.soft_update(target, target, 0.5)
    source.parameters["dense/bias"][1] = np.nan
    with unchanged(target), pytest.raises(ValueError, match="'dense/bias' does not"):
        fnn.soft_update(target, source, 0.5)


def test_a_copy_replaces_what_is_not_finite():
    target, source = model_of(fnn.Dense(3)), model_of(fnn.Dense(3))
    target.parameters["dense/bias"][...] = np.nan
    fnn.soft_update(target, source, 1)
    assert_same(copies(target.parameters), copies(source.parameters))


def test_without_a_loss_each_model_has_an_optimizer_of_its_own():
    given = fnn.SGD(0.1)
    one, other = model_of(fnn.Dense(2)), model_of(fnn.Dense(2))
    one.compile(given)
    other.compile(given)
    one.optimizer.learning_rate = 0.5
    assert (given.learning_rate, other.optimizer.learning_rate) == (0.1, 0.1)
    given.learning_rate = 0.2  # reaches both, as with a loss
    assert (one.optimizer.learning_rate, other.optimizer.learning_rate) == (0.2, 0.2)


@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics", "loss_weights"])
def test_what_needs_a_loss_is_refused_without_one(argument):
    with pytest.raises(ValueError, match=f"loss must be given along with {argument}"):
        model_of(fnn.Dense(2)).compile("sgd", **{argument: ["mse"]})
