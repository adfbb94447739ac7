"""RealMLP as its authors describe it: arithmetic in NumPy, initial weights, schedules, factors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastnn as fnn
from fastnn.model import Model
from fastnn.tabular import recipes
from fastnn.tabular.recipes import RealMLP, Task

TASKS = {
    "classes": Task(3, 4, [5, 12], classes=3),
    "numbers": Task(2, 1, [4]),
    "quantiles": Task(2, 2, [], quantiles=(0.1, 0.9)),
    "no codes": Task(3, 2, [], classes=2),
    "no numbers": Task(0, 4, [6], classes=2),
    "no flags": Task(2, 0, [3]),
    "codes alone": Task(0, 0, [3, 4], classes=2),
    "one number": Task(1, 0, [], classes=2),
    "one flag": Task(0, 1, []),
    "one code": Task(0, 0, [3]),
}


def inputs(task, rows, rng):
    codes = [rng.integers(0, size, rows) for size in task.cardinalities]
    columns = [
        rng.normal(size=(rows, task.numbers)),
        rng.choice([-0.5, 1.0], (rows, task.flags)),
        *(code[:, np.newaxis] for code in codes),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def made(task, rng, **options):
    recipe = RealMLP(hidden=(20, 15), **options)
    model = recipe.network(task, steps=80, seed=3)
    x = inputs(task, 300, rng)
    recipe.initialize(model, x, np.random.default_rng(0))
    return model, x


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))


def mish(x):
    return x * np.tanh(np.logaddexp(0, x))


def forward(model, task, x):
    """Return the network's outputs in float64, from its weights and the formulas alone."""
    x = x.astype(np.float64)
    numbers, end = x[:, : task.numbers], task.numbers + task.flags
    parts = []
    if task.numbers:
        (embedding,) = of_kind(model, fnn.layers.PeriodicEmbedding)
        one = {name: np.asarray(array, float) for name, array in embedding.parameters.items()}
        waves = np.cos(2 * np.pi * (numbers[..., np.newaxis] * one["frequency"] + one["phase"]))
        embedded = np.einsum("rcw,cwk->rck", waves, one["kernel"]) + one["bias"]
        parts += [numbers, embedded.reshape(len(x), -1)]
        assert embedding.parameters["kernel"].shape[1:] == (16, 3)
    if task.flags:
        parts.append(x[:, task.numbers : end])
    if task.cardinalities:
        (table,) = of_kind(model, fnn.layers.Embedding)
        codes = x[:, end:].astype(int).T
        parts += [
            rows.astype(float)[code]
            for rows, code in zip(table.parameters.values(), codes, strict=True)
        ]
    h = np.concatenate(parts, axis=1)
    (scale,) = of_kind(model, fnn.layers.Scale)
    h = h * np.asarray(next(iter(scale.parameters.values())), float)
    dense = of_kind(model, fnn.layers.Dense)
    units = of_kind(model, fnn.layers.ParametricActivation)
    f = selu if task.classes else mish
    for layer, unit in zip(dense, units, strict=False):
        h = h @ layer.kernel.astype(float) / np.sqrt(h.shape[1]) + layer.bias
        alpha = np.asarray(next(iter(unit.parameters.values())), float)
        h = h + alpha * (f(h) - h)
    outputs = [h @ one.kernel.astype(float) / np.sqrt(h.shape[1]) + one.bias
               for one in dense[len(units) :]]  # fmt: skip
    found = np.concatenate(outputs, axis=1)
    if task.classes:
        found = np.exp(found - found.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("name", TASKS)
def test_arithmetic_against_numpy(rng, name):
    task = TASKS[name]
    model, x = made(task, rng)
    for layer in model.layers:  # so that nothing is 0 or 1 that a formula may have left out
        for array in layer.parameters.values():
            array += rng.normal(0, 0.2, array.shape)
    found = model.predict(x)
    found = np.concatenate(found, axis=1) if isinstance(found, list) else found
    assert found.shape == (300, task.outputs)
    assert_allclose(found, forward(model, task, x), rtol=2e-4, atol=2e-5)
    assert found.std(axis=0).min() > 1e-3


@pytest.mark.parametrize("name", TASKS)
def test_initial_weights_fit_the_data(rng, name):
    task = TASKS[name]
    model, x = made(task, rng)
    dense = of_kind(model, fnn.layers.Dense)
    assert len(dense) == 2 + max(len(task.quantiles), 1)
    for layer in dense[:2]:
        outputs = np.asarray(Model(model.layers[0].input, layer.output).predict(x), float)
        deviation = outputs.std(axis=0)
        assert_allclose(deviation[deviation > 1e-3], 1, rtol=1e-3)
        # A bias is minus the output at a point among the rows, so that 0 lies among outputs.
        assert (outputs.min(axis=0) <= 1e-5).all()
        assert (outputs.max(axis=0) >= -1e-5).all()
        assert len(set(layer.bias.tolist())) > layer.units / 2
    for layer in dense[2:]:
        assert not layer.kernel.any()
        assert not layer.bias.any()
    first = np.asarray(model.predict(x[:5])[0] if task.quantiles else model.predict(x[:5]))
    assert_allclose(first, 1 / task.classes if task.classes else 0, rtol=1e-6)
    (scale,) = of_kind(model, fnn.layers.Scale)
    assert all((array == 1).all() for array in scale.parameters.values())
    for unit in of_kind(model, fnn.layers.ParametricActivation):
        assert all((array == 1).all() for array in unit.parameters.values())


def test_initial_weights_of_constant_inputs_are_finite(rng):
    task = TASKS["numbers"]
    recipe = RealMLP(hidden=(8,))
    model = recipe.network(task, steps=10, seed=0)
    recipe.initialize(model, np.ones((30, task.inputs), np.float32), rng)
    assert all(np.isfinite(array).all() for array in model.get_weights())


def test_initial_weights_are_the_same_for_any_number_of_threads(rng, threads):
    task = Task(6, 3, [4], classes=2)
    x = inputs(task, 2500, rng)
    found = []
    for count in (1, 2):
        threads(count)
        recipe = RealMLP()
        model = recipe.network(task, steps=80, seed=3)
        recipe.initialize(model, x, np.random.default_rng(0))
        found.append(b"".join(array.tobytes() for array in model.get_weights()))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", TASKS)
def test_learning_rates_of_parameters(rng, name):
    model, _ = made(TASKS[name], rng)
    want = {
        fnn.layers.Scale: 6.0,
        fnn.layers.PeriodicEmbedding: 0.1,
        fnn.layers.ParametricActivation: 0.1,
        fnn.layers.Dense: {"bias": 0.1},
    }
    for kind, factor in want.items():
        for layer in of_kind(model, kind):
            assert layer.learning_rate_factor == factor


def test_optimizer_and_schedules(rng):
    model, _ = made(TASKS["classes"], rng)
    optimizer = model.optimizer
    assert isinstance(optimizer, fnn.optimizers.AdamW)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.95)
    assert list(optimizer.weight_decay_exclusions) == ["bias"]
    part = np.linspace(0, 1, 81)
    want = 0.04 * (0.5 - 0.5 * np.cos(2 * np.pi * np.log2(1 + 15 * part)))
    assert_allclose(optimizer.learning_rate(np.arange(81)), want, atol=1e-9)
    flat = np.where(part < 0.5, 1, 0.5 + 0.5 * np.cos(2 * np.pi * (part - 0.5)))
    assert_allclose(optimizer.weight_decay(np.arange(81)), 0.02 * flat, atol=1e-9)
    dropouts = of_kind(model, fnn.layers.Dropout)
    assert len(dropouts) == 2
    for layer in dropouts:
        assert_allclose(layer.rate(np.arange(81)), 0.15 * flat, atol=1e-9)
    numbers, _ = made(TASKS["numbers"], rng)
    assert numbers.optimizer.learning_rate(np.arange(81)).max() == pytest.approx(0.2, rel=0.01)


def test_options(rng):
    model, _ = made(TASKS["classes"], rng, dropout=0.0, periodic=False, activation="relu")
    assert not of_kind(model, fnn.layers.Dropout)
    assert not of_kind(model, fnn.layers.PeriodicEmbedding)
    smooth, x = made(TASKS["classes"], rng, label_smoothing=0.1, dropout=0.0)
    labels = np.zeros(len(x), np.int64)
    of_kind(smooth, fnn.layers.Dense)[-1].bias[...] = [50, 0, 0]
    # 0.1 / 3 of each label stands on each of the others.
    assert smooth.evaluate(x, labels, verbose=0)["loss"] == pytest.approx(50 * 0.2 / 3, rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "batch", "of_classes", "of_numbers"),
    [(100, 64, 128, 128), (200, 64, 64, 64), (1024, 64, 64, 64), (1025, 128, 64, 64),
     (8193, 256, 64, 64), (15_000, 256, 42, 64), (39_000, 512, 16, 51), (10**6, 512, 16, 16),
     (30, 30, 256, 256)],
)  # fmt: skip
def test_batches_and_epochs_by_rows(rows, batch, of_classes, of_numbers):
    recipe = RealMLP()
    assert recipe.rows_of_a_step(rows) == batch
    assert recipe.epochs_for(rows, TASKS["classes"]) == of_classes
    assert recipe.epochs_for(rows, TASKS["numbers"]) == of_numbers
    assert RealMLP(epochs=3, batch_size=7).epochs_for(rows, TASKS["classes"]) == 3
    assert RealMLP(epochs=3, batch_size=7).rows_of_a_step(rows) == 7


def test_names_and_descriptions():
    recipe = RealMLP(hidden=(8,), epochs=4)
    assert recipes.get(recipe.config()) == recipe
    with pytest.raises(ValueError, match=r"recipe 'realmpl'.*did you mean 'realmlp'"):
        recipes.get("realmpl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 5}, "hidden must be a sequence of integers, got 5"),
        ({"hidden": ()}, "hidden must hold at least one width"),
        ({"hidden": (8, 0)}, "hidden must be a positive integer, got 0"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer"),
        ({"dropout": 1.0}, "dropout must"),
        ({"learning_rate": -1}, "learning_rate must"),
        ({"weight_decay": -1}, "weight_decay must"),
        ({"periodic": 1}, "periodic must be True or False"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        RealMLP(**options)
