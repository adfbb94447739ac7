"""The program layer: every op, whole train programs, derivatives, fusion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, numeric_gradient, run_native
from program_cases import OP_CASES, op_case, random_model, train_by_reference, train_natively

import fastnn as fnn
from fastnn.program import fuse, reference
from fastnn.program.autodiff import differentiate
from fastnn.program.lower import Program
from fastnn.program.ops import OPS, Op, Value
from fastnn.program.purpose import Purpose
from fastnn.runtime import Steps

SEEDS = range(24)


# --- the op table -----------------------------------------------------------------------------


def test_every_op_has_a_formula_and_a_case():
    assert set(OP_CASES) == set(OPS)
    assert set(reference.FORMULAS) | {"gather"} == set(OPS)
    for kind, row in OPS.items():
        assert OP_CASES[kind]() or not row.kernel, f"no case runs {kind}"
        assert all(op.name == kind for op in OP_CASES[kind]())


@pytest.mark.parametrize("kind", OPS)
@pytest.mark.parametrize("workers", [1, 3])
def test_op_agrees_with_reference(kind, workers, rng):
    for op in OP_CASES[kind]():
        case = op_case(rng, op)
        context = reference.Context(
            "float64", key=5, step=4, learning_rate=0.1, state=case.arenas["state"].copy(),
            offsets=case.offsets,
        )  # fmt: skip
        made = reference.run(case.program, case.batch, case.parameters, context)
        got = run_native(
            case.program, case.batch, case.arenas, case.offsets, workers=workers,
            learning_rate=0.1, step=4, key=5,
        )  # fmt: skip
        where = f"{op.name} {op.attributes}"
        wanted = [made[value] for value in op.writes() if value in made]
        if kind == "update":
            got = [case.arenas["parameters"], case.arenas["state"]]
            wanted.append(context.state)
        if kind == "moving_average":
            got, wanted = [case.arenas["state"][-1]], [context.state[-1]]
        if kind.endswith("gradient_update"):
            written = [value for value in op.writes() if value.storage == "parameter"]
            got = [
                case.arenas["parameters"][case.offsets[value.name] :][: value.width]
                for value in written
            ]
            got.append(case.arenas["state"])
            wanted = [made[value].ravel() for value in written]
            wanted.append(context.state)
        if kind in ("kernel_gradient_halves", "add_gradient_half", "penalty"):
            arena, work = case.arenas["gradients"], iter(got)
            got = [
                next(work) if value.storage == "work"
                else arena[case.offsets[value.name] :][: value.width].reshape(value.shape)
                for value in op.writes()
            ]  # fmt: skip
        if kind == "softmax_crossentropy" and op.outputs[2] is not None:
            got = got[:1]  # the kernel's own scratch follows
        for one, want in zip(got, wanted, strict=True):
            assert_close(one, want, 1e-12, where)


def test_the_comparison_of_an_op_can_fail(monkeypatch, rng):
    monkeypatch.setitem(reference.FORMULAS, "add", lambda op, context, a, b: a + b + 1e-9)
    with pytest.raises(AssertionError):
        test_op_agrees_with_reference("add", 1, rng)


@pytest.mark.parametrize("kind", OPS)
def test_work_of_an_op_is_not_negative(kind):
    assert all(op.row.work(op) >= 0 for op in OP_CASES[kind]())


# --- whole programs ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_training_step_agrees_with_reference(seed):
    """Loss, metrics, every gradient, new parameters and optimizer state, in float64."""
    model, x, y = random_model(seed)
    for _ in range(2):
        want = train_by_reference(model, x, y)
        got = train_natively(model, x, y)
        model.network.runtime.step += 1
        assert got.keys() == want.keys()
        for name, array in got.items():
            assert_close(array, want[name], 1e-10, f"{name} of model {seed}")


@pytest.mark.parametrize("seed", SEEDS)
def test_training_step_has_the_same_bits_for_any_number_of_workers(seed, team):
    made = []
    for workers in (1, 2, 4):
        team(workers)
        model, x, y = random_model(seed, "float32")
        made.append(train_natively(model, x, y))
    for other in made[1:]:
        for name, array in made[0].items():
            assert_same_bits(other[name], array, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_predict_and_evaluate_agree_with_reference(seed):
    model, x, y = random_model(seed)
    rows, parameters = len(y), model.parameters
    program = model.network.runtime.bound(Purpose.PREDICT, rows).plan.program
    batch = [source.array for source in model.network.checked_inputs(x).sources]
    made = reference.run(program, batch, parameters, reference.Context("float64"))
    assert_close(model.predict(x), made[program.outputs[0]], 1e-10)
    samples = model.network.checked_samples(x, y)
    sources, kind = samples.sources, samples.target_types
    program = model.network.runtime.bound(Purpose.EVALUATE, rows, kind).plan.program
    arrays = [source.array for source in sources]
    made = reference.run(program, arrays, parameters, reference.Context("float64"))
    want = {value.name: array for value, array in made.items() if value.storage == "result"}
    got = model.evaluate(x, y)
    for name in program.results:
        assert_close(got[name], want[name], 1e-10, name)


@pytest.mark.filterwarnings("ignore:.* one row, of which BatchNormalization")
@pytest.mark.parametrize("seed", SEEDS)
def test_backward_from_the_users_gradient_is_that_of_the_loss(seed):
    """The manual program compared with the train program, with half the sum of squares as loss."""
    model, x, y = random_model(seed)
    y_hat = model.forward(x, training=True)
    assert y_hat.shape == (len(y), *model.output_shape)
    model.compile(fnn.SGD(0.1), "mse")
    target = np.zeros_like(y_hat)
    want = train_by_reference(model, x, target)
    got = model.backward(2 * y_hat / y_hat.size)
    for name, gradient in got.items():
        assert_close(gradient, want[f"gradient of {name}"], 1e-10, name)


def test_random_models_hold_every_kind_of_layer():
    models = [random_model(seed)[0] for seed in SEEDS]
    seen = {type(layer).__name__ for model in models for layer in model.layers}
    assert seen == {cls.__name__ for cls in map(fnn.layers.registry.__getitem__,
                                                fnn.layers.registry)}  # fmt: skip
    assert any(len(model.network.runtime.graph.steps) > len(model.layers) for model in models), (
        "no sharing"
    )
    plans = [model.network.runtime.bound(Purpose.MANUAL, 3).plan for model in models]
    kinds = {op.name for plan in plans for op in plan.program.ops}
    assert {"add", "concatenate", "slice_columns", "reshape", "dropout", "softmax"} <= kinds
    forward = {"prelu", "layer_normalization", "batch_normalization", "embedding"}
    assert forward | {f"{kind}_gradient" for kind in forward} <= kinds
    assert {"fixed_normalization", "moving_average", "multiply"} <= kinds
    of_columns = {"scale", "parametric_activation", "periodic_embedding", "piecewise_embedding"}
    assert {f"{kind}_gradient" for kind in of_columns} | {"pad_columns"} <= kinds


# --- derivatives ------------------------------------------------------------------------------


def gradients_and_differences(model, x, y):
    """Gradients of the train program, and central differences of its loss."""
    samples = model.network.checked_samples(x, y)
    sources, kind = samples.sources, samples.target_types
    runtime, rows = model.network.runtime, len(y)
    bound = runtime.bound(Purpose.GRADIENTS, rows, kind)
    results = np.empty((1, len(bound.plan.program.results)))

    def loss(_=None):
        steps = Steps(sources, rows, rows)
        bound.prepare(steps, results=results).make()
        return results[0, 0]

    loss()
    found = {name: view.copy() for name, view in model.gradients.items()}
    wanted = {name: numeric_gradient(loss, view) for name, view in model.parameters.items()}
    return found, wanted


def test_value_with_several_readers_gets_the_sum_of_their_gradients(rng):
    x = fnn.Input((5,))
    h = fnn.Dense(4, activation="tanh")(x)
    shared = fnn.Dense(4, activation="sigmoid")
    once, twice = shared(h), shared(shared(h))
    total = fnn.Add()([h, h, once, twice, fnn.Activation("gelu")(h)])
    model = fnn.Model(x, fnn.Dense(3)(fnn.Concatenate()([h, total, h])), dtype="float64", seed=0)
    model.compile("sgd", "crossentropy")
    found, wanted = gradients_and_differences(
        model, rng.standard_normal((6, 5)), np.array([0, 1, 2, 0, 1, 2])
    )
    for name, gradient in found.items():
        assert_close(gradient, wanted[name], 1e-8, name)
        assert np.abs(gradient).max() > 1e-4, f"{name} is never reached"
    with pytest.raises(AssertionError):
        assert_close(found["dense/kernel"] * 1.001, wanted["dense/kernel"], 1e-8)


@pytest.mark.parametrize("activation", fnn.activations.NAMES)
def test_gradient_through_every_activation_with_dropout_in_between(activation, rng):
    layers = [fnn.Dense(7, activation=activation), fnn.Dropout(0.3), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(5,), dtype="float64", seed=3)
    model.compile("sgd", "mse")
    found, wanted = gradients_and_differences(
        model, rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
    )
    for name, gradient in found.items():
        assert_close(gradient, wanted[name], 1e-8, name)


def test_gradients_that_lead_to_no_parameter_are_left_out():
    x = fnn.Input((5,))
    y = fnn.Dense(3)(fnn.Dropout(0.5)(fnn.Activation("tanh")(x)))
    model = fnn.Model(x, y, seed=0)
    model.compile("sgd", "mse")
    kinds = [op.name for op in model.network.runtime.bound(Purpose.TRAIN, 4).plan.program.ops]
    assert not {"input_gradient", "activation_gradient"} & set(kinds)
    assert kinds.count("dropout") == 1
    assert (kinds.count("kernel_gradient"), kinds.count("bias_gradient")) == (1, 0)


def test_differentiate_adds_once_for_each_further_reader():
    x, w = Value("x", (3,), storage="input"), Value("w", (3, 3), batched=False, storage="parameter")
    h, ops = Value("h", (3,)), []
    ops.append(Op("affine", (x, w, None), (h,), {"activation": "linear"}))
    ends = [Value(f"end {i}", (3,)) for i in range(4)]
    ops += [Op("activation", (h,), (end,), {"activation": "tanh", "parameter": 0}) for end in ends]
    seeds = {end: Value(f"seed {i}", (3,)) for i, end in enumerate(ends)}
    target = replace(w, storage="gradient")
    backward = differentiate(ops, seeds, {w: target})
    kinds = [op.name for op in backward]
    assert kinds == ["activation_gradient"] * 4 + ["add"] * 3 + ["kernel_gradient"]
    assert backward[-1].outputs == (target,)


# --- fusion -----------------------------------------------------------------------------------


def three_layers(loss="mse"):
    layers = [
        fnn.Dense(6, activation="relu", name="first"),
        fnn.Dense(5, activation="gelu", name="second"),
        fnn.Dense(4, name="third"),
    ]
    model = fnn.Sequential(layers, input_shape=(3,), dtype="float64", seed=0)
    model.compile("sgd", loss)
    return model


def test_fused_pairs_are_merged_and_named(capsys):
    model = three_layers()
    program = model.network.runtime.bound(Purpose.TRAIN, 8).plan.program
    assert program.merges == [
        "first: affine + relu",
        "second: affine + gelu, keeps its input",
        "third: input gradient + derivative of gelu",
        "second: input gradient + derivative of relu",
        "third: gradients of kernel and bias",
        "second: gradients of kernel and bias",
        "first: gradients of kernel and bias",
    ]
    kinds = [op.name for op in program.ops]
    assert "activation" not in kinds
    assert "activation_gradient" not in kinds
    model.explain()
    shown = capsys.readouterr().out
    for merge in program.merges:
        assert f"fused  {merge}" in shown


def test_patterns_that_do_not_apply_are_left_alone():
    """A pre-activation that another op reads is kept; a gradient that is added is not gated."""
    x = fnn.Input((4,))
    z = fnn.Dense(4)(x)
    h = fnn.Activation("relu")(z)
    model = fnn.Model(x, fnn.Dense(2)(fnn.Add()([z, fnn.Dense(4)(h), h])), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    program = model.network.runtime.bound(Purpose.TRAIN, 8).plan.program
    affine = next(op for op in program.ops if op.name == "affine")
    assert affine.attributes["activation"] == "relu"
    assert affine.outputs[1] is not None
    assert "activation_gradient" in [op.name for op in program.ops]


def test_softmax_before_crossentropy_is_not_computed():
    model = fnn.Sequential([fnn.Dense(3, activation="softmax")], input_shape=(4,), seed=0)
    model.compile("sgd", "crossentropy", ["accuracy"])
    kinds = [
        op.name for op in model.network.runtime.bound(Purpose.TRAIN, 8, "label").plan.program.ops
    ]
    assert "softmax" not in kinds
    assert "softmax_gradient" not in kinds


@pytest.mark.parametrize("seed", SEEDS)
def test_fused_program_gives_the_bits_of_the_unfused_one(seed, monkeypatch):
    model, x, y = random_model(seed)
    fused = train_natively(model, x, y)
    prediction = model.predict(x)
    monkeypatch.setattr(fuse, "PATTERNS", [])
    model, x, y = random_model(seed)
    plain = train_natively(model, x, y)
    assert not model.network.runtime.bound(
        Purpose.TRAIN, 1, "label" if y.ndim == 1 else "real"
    ).plan.program.merges
    for name, array in fused.items():
        assert_same_bits(plain[name], array, name)
    assert_same_bits(model.predict(x), prediction)


def test_unused_ops_are_dropped_but_roots_are_kept():
    x, y, z = (Value(name, (3,)) for name in "xyz")
    ops = [
        Op("gather", (), (x,)),
        Op("activation", (x,), (y,), {"activation": "relu"}),
        Op("activation", (x,), (z,), {"activation": "tanh"}),
    ]
    kept, _ = fuse.drop_unused(ops, {z})
    assert kept == [ops[0], ops[2]]
    assert isinstance(Program(Purpose.PREDICT, kept, [x]).ops, list)


def test_first_non_finite_names_the_layer(rng):
    model = three_layers()
    batch = [rng.standard_normal((8, 3)), rng.standard_normal((8, 4))]

    def found():
        return model.network.runtime.first_non_finite(batch)

    assert found() == "loss"
    model.parameters["second/bias"][2] = np.nan
    assert found() == "second"


# --- the plain executor -----------------------------------------------------------------------


def test_reference_crossentropy_of_masked_classes_is_finite():
    op = OP_CASES["softmax_crossentropy"]()[0]
    logits, label = np.array([[0.0, -np.inf, 0.0]]), np.array([2])
    formula = reference.FORMULAS["softmax_crossentropy"]
    with np.errstate(invalid="ignore"):
        losses = formula(op, reference.Context("float64"), logits, label)[0]
    assert_close(losses, [np.log(2)], 1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_update_in_the_gradient_leaves_the_same_bits(optimizer, workers, monkeypatch, rng):
    """Fused or after all gradients: parameters and state have the same bits."""
    x, y = rng.standard_normal((70, 33)), rng.integers(0, 10, 70)

    def trained(least):
        monkeypatch.setattr(fuse, "UPDATE_IN_GRADIENT_FROM", least)
        layers = [fnn.Dense(150, activation="relu"), fnn.Dense(64, use_bias=False), fnn.Dense(10)]
        model = fnn.Sequential(layers, input_shape=(33,), seed=4)
        model.compile(optimizer, "crossentropy")
        fnn.set_num_threads(workers)
        model.fit(x, y, batch_size=32, epochs=3, verbose=0)
        fnn.set_num_threads(None)
        kinds = [
            op.name
            for op in model.network.runtime.bound(Purpose.TRAIN, 32, "label").plan.program.ops
        ]
        assert ("update" in kinds) != ("kernel_gradient_update" in kinds)
        return kinds, {
            name: model.network.runtime.arenas[name].copy() for name in ("parameters", "state")
        }

    kinds, fused = trained(0)
    assert kinds.count("kernel_gradient_update") == 3
    _, apart = trained(10**9)
    for name, array in apart.items():
        assert_same_bits(fused[name], array, name)


@pytest.mark.parametrize("workers", [1, 3])
def test_update_in_the_gradient_of_layers_that_are_not_treated_alike(workers, monkeypatch, rng):
    """A frozen layer, one with its own learning rate, penalties, and moving statistics."""
    x, y = rng.standard_normal((70, 33)), rng.integers(0, 10, 70)

    def trained(least):
        monkeypatch.setattr(fuse, "UPDATE_IN_GRADIENT_FROM", least)
        layers = [
            fnn.Dense(40, "relu"), fnn.BatchNormalization(), fnn.Dense(50, "tanh"),
            fnn.Dense(30, "relu", trainable=False), fnn.Dense(20, kernel_regularizer="l2"),
            fnn.Dense(10),
        ]  # fmt: skip
        model = fnn.Sequential(layers, input_shape=(33,), seed=4)
        layers[2].learning_rate_factor = 0.5
        model.compile(fnn.Adam(0.01, weight_decay=0.1, clipvalue=0.1), "crossentropy")
        fnn.set_num_threads(workers)
        model.fit(x, y, batch_size=32, epochs=3, verbose=0)
        fnn.set_num_threads(None)
        kinds = [
            op.name
            for op in model.network.runtime.bound(Purpose.TRAIN, 32, "label").plan.program.ops
        ]
        return kinds, {
            name: model.network.runtime.arenas[name].copy() for name in ("parameters", "state")
        }

    kinds, fused = trained(0)
    assert (kinds.count("kernel_gradient_update"), kinds.count("update")) == (3, 4)
    kinds, apart = trained(10**9)
    assert (kinds.count("kernel_gradient_update"), kinds.count("update")) == (0, 10)
    for name, array in apart.items():
        assert_same_bits(fused[name], array, name)


def test_update_stays_apart_where_all_gradients_are_needed_first(monkeypatch):
    monkeypatch.setattr(fuse, "UPDATE_IN_GRADIENT_FROM", 0)
    x = fnn.Input((4,))
    shared = fnn.Dense(4)
    models = {
        "a norm of all": (fnn.Sequential([fnn.Dense(3)], input_shape=(4,), seed=0),
                          fnn.Adam(global_clipnorm=1.0)),
        "a shared kernel": (fnn.Model(x, shared(shared(x)), seed=0), fnn.Adam()),
    }  # fmt: skip
    for why, (model, optimizer) in models.items():
        model.compile(optimizer, "mse")
        kinds = [op.name for op in model.network.runtime.bound(Purpose.TRAIN, 4).plan.program.ops]
        assert "update" in kinds, why
        assert "kernel_gradient_update" not in kinds, why


def halved(monkeypatch, least, activation="relu"):
    """A model whose second layer is wide enough for halves, if `least` permits it."""
    monkeypatch.setattr(fuse, "HALVES_FROM", least)
    layers = [fnn.Dense(70, activation="tanh"), fnn.Dense(64, activation=activation), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(5,), seed=4)
    model.compile("adam", "crossentropy")
    return model


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_affine_in_halves_gives_what_the_whole_gives(activation, dtype, monkeypatch, rng):
    """Equal to rounding, and the same bits for any number of workers."""
    x, y = rng.standard_normal((50, 5)), rng.integers(0, 3, 50)

    def trained(least, workers):
        model = halved(monkeypatch, least, activation)
        fnn.set_num_threads(workers)
        model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        fnn.set_num_threads(None)
        kinds = [
            op.name
            for op in model.network.runtime.bound(Purpose.TRAIN, 16, "label").plan.program.ops
        ]
        return kinds, model.network.runtime.arenas["parameters"].copy()

    kinds, whole = trained(10**9, 1)
    assert "affine_halves" not in kinds
    kinds, halves = trained(70 * 64, 1)
    assert (kinds.count("affine"), kinds.count("affine_halves"), kinds.count("add_halves")) == (
        2,
        1,
        1,
    )
    assert_close(halves, whole, 1e-4)
    for workers in (2, 3, 4):
        assert_same_bits(trained(70 * 64, workers)[1], halves, f"{workers} workers")


def test_only_programs_that_change_the_kernel_split_it(monkeypatch):
    line = "dense_1: affine in two halves of its inputs"

    def merges(model, name):
        return model.network.runtime.bound(name, 4, "label").plan.program.merges

    model = halved(monkeypatch, 70 * 64)
    assert line in merges(model, Purpose.TRAIN)
    assert line not in merges(model, Purpose.PREDICT) + merges(model, Purpose.EVALUATE)
    monkeypatch.setattr(fuse, "HALVES_TO", 70 * 64 - 1)
    assert line not in merges(halved(monkeypatch, 70 * 64), Purpose.TRAIN)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_in_halves_of_the_batch(dtype, bias, monkeypatch, rng):
    """The same as the undivided op, to rounding; the same bits for any number of workers."""
    x, y = rng.standard_normal((300, 40)), rng.integers(0, 3, 300)

    def trained(least, workers, batch):
        monkeypatch.setattr(fuse, "GRADIENT_HALVES_FROM", least)
        layers = [fnn.Dense(60, activation="tanh", use_bias=bias), fnn.Dense(3)]
        model = fnn.Sequential(layers, input_shape=(40,), seed=4, dtype=dtype)
        model.compile("adam", "crossentropy")
        fnn.set_num_threads(workers)
        model.fit(x, y, batch_size=batch, epochs=3, verbose=0)  # the last batch is small
        fnn.set_num_threads(None)
        program = model.network.runtime.bound(Purpose.TRAIN, batch, "label").plan.program
        kinds = [op.name for op in program.ops]
        return kinds, model.network.runtime.arenas["parameters"].copy()

    for batch in (200, 40):
        kinds, whole = trained(10**9, 1, batch)
        assert "kernel_gradient_halves" not in kinds
        kinds, halves = trained(2048, 1, batch)
        assert kinds.count("kernel_gradient_halves") == kinds.count("add_gradient_half") == 1
        assert_close(halves, whole, 1e-9 if dtype == "float64" else 1e-4)
        for workers in (2, 3, 4):
            assert_same_bits(trained(2048, workers, batch)[1], halves, f"{workers} workers")


def test_bias_gradients_of_several_layers_with_one_gradient_are_all_there(rng):
    """Layers whose outputs are added receive the same gradient; each bias keeps its own."""
    x = fnn.Input((5,))
    shared = fnn.Dense(3, activation="tanh")
    parts = [fnn.Dense(3)(x), fnn.Dense(3)(x), shared(x), shared(fnn.Dense(5)(x))]
    model = fnn.Model(x, fnn.Add()(parts), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    found, wanted = gradients_and_differences(
        model, rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    )
    for name, gradient in found.items():
        assert_close(gradient, wanted[name], 1e-8, name)
        assert np.abs(gradient).max() > 1e-4, f"{name} is never reached"
