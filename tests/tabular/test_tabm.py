"""TabM: the network of a recipe, its loss, the mean of its members, and what it learns."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_wine

import fastnn as fnn
from fastnn import layers
from fastnn.tabular import recipes
from fastnn.tabular.ensemble import joined_model
from fastnn.tabular.learning import learn
from fastnn.tabular.recipes import TabM, Task, tabm

small = partial(TabM, (7, 5), members=3, bins=4, embedding_units=2, batch_size=16)
TASKS = {
    "classes": Task(3, 2, [4, 5], classes=3),
    "two classes": Task(3, 0, [], classes=2),
    "numbers": Task(3, 2, [4]),
    "quantiles": Task(2, 1, [], quantiles=(0.1, 0.5, 0.9)),
    "one quantile": Task(2, 1, [], quantiles=(0.9,)),
    "no numbers": Task(0, 2, [4]),
    "codes alone": Task(0, 0, [4, 2], classes=2),
    "one flag": Task(0, 1, []),
}
RECIPES = {"embedded": small(), "bare": small(bins=0), "one member": small(members=1)}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def data(task, rng, rows=40):
    codes = [rng.integers(0, count, rows) for count in task.cardinalities]
    x = np.column_stack(
        [rng.normal(size=(rows, task.numbers)), rng.integers(0, 2, (rows, task.flags)), *codes]
    )
    y = rng.integers(0, task.classes, rows) if task.classes else rng.normal(size=rows)
    return x.astype(np.float32), y if task.classes else y.astype(np.float32)


def network(recipe, task, x, rng):
    """A network after a few steps, so that no member or bias is as it began."""
    model = recipe.network(task, steps=9, seed=3)
    recipe.initialize(model, x, rng)
    for name, view in model.parameters.items():
        if not name.endswith("/edges"):
            view += rng.normal(0, 0.1, view.shape).astype(view.dtype)
    return model


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def embedded(model, task, x):
    """What a member scales, in float64: embedded numbers, flags, and vectors of codes."""
    ends = task.numbers, task.numbers + task.flags
    numbers, flags, codes = np.split(x.astype(np.float64), ends, axis=1)
    for layer in of_kind(model, fnn.PiecewiseLinearEmbedding):
        edges = layer.edges.astype(np.float64)
        share = (numbers[:, :, np.newaxis] - edges[:, :-1]) / np.diff(edges)
        low, high = np.zeros(share.shape[-1]), np.ones(share.shape[-1])
        low[0], high[-1] = -np.inf, np.inf
        parts = np.einsum("rcb,cbu->rcu", np.clip(share, low, high), layer.kernel) + layer.bias
        numbers = parts.reshape(len(x), -1)
    vectors = [
        table[codes[:, column].astype(int)]
        for layer in of_kind(model, fnn.Embedding)
        for column, table in enumerate(layer.tables)
    ]
    return np.column_stack([numbers, flags, *vectors])


def formula(model, task, x, member):
    """What one member answers: its factors, the shared layers, its own last layers."""
    (scale,) = of_kind(model, fnn.MemberScale)
    h = embedded(model, task, x) * scale.scale[member]
    for layer in of_kind(model, fnn.Dense):
        h = np.maximum(h @ layer.kernel + layer.bias, 0)
    found = []
    for head in of_kind(model, fnn.MemberDense):
        own = slice(member * head.units, (member + 1) * head.units)
        found.append(h @ head.kernel[:, own] + head.bias[own])
    z = np.column_stack(found)
    if not task.classes:
        return z
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def loss_of(task, y, answers):
    if task.classes:
        return -np.log(answers[np.arange(len(y)), y]).mean()
    error = y[:, np.newaxis] - answers
    if not task.quantiles:
        return (error**2).mean()
    q = np.array(task.quantiles)
    return np.maximum(q * error, (q - 1) * error).mean(axis=0).sum()


# --- the network --------------------------------------------------------------------------------


@every_recipe
@every_task
def test_network_computes_its_formula(recipe, task, rng):
    x, _ = data(task, rng)
    model = fnn.Model.of(network(recipe, task, x, rng).network.clone("float64"))
    rows = recipe.repeated(x.astype(np.float64))
    found = model.predict(rows)
    found = np.concatenate(found, axis=1) if isinstance(found, list) else found
    by_member = found.reshape(len(x), recipe.members, -1)
    for member in range(recipe.members):
        want = formula(model, task, x, member)
        np.testing.assert_allclose(by_member[:, member], want, rtol=1e-11, atol=1e-12)
    if recipe.members > 1:
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(by_member[:, 0], formula(model, task, x, 1), rtol=1e-4)


@every_task
def test_loss_is_the_mean_over_members_not_that_of_their_mean(task, rng):
    recipe = small(dropout=0.0)
    x, y = data(task, rng)
    model = network(recipe, task, x, rng)
    answers = [formula(model, task, x, member) for member in range(recipe.members)]
    targets = np.repeat(y, recipe.members)
    if len(task.quantiles) > 1:
        targets = [targets] * len(task.quantiles)
    found = model.train_on_batch(recipe.repeated(x), targets)
    assert found == pytest.approx(np.mean([loss_of(task, y, one) for one in answers]), rel=1e-5)
    assert found != pytest.approx(loss_of(task, y, np.mean(answers, axis=0)), rel=1e-4)


@every_recipe
@every_task
def test_answers_are_the_mean_of_the_members(recipe, task, rng):
    x, _ = data(task, rng)
    model = network(recipe, task, x, rng)
    answers = [formula(model, task, x, member) for member in range(recipe.members)]
    found = recipe.answers(model, x)
    np.testing.assert_allclose(found, np.mean(answers, axis=0), rtol=1e-4, atol=1e-6)
    if recipe.members > 1:
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(found, answers[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 10, 39, 40])
def test_answers_do_not_depend_on_how_many_rows_are_repeated_at_once(rows, rng, monkeypatch):
    recipe, task = small(), TASKS["quantiles"]
    x, _ = data(task, rng)
    model = network(recipe, task, x, rng)
    want = recipe.answers(model, x)[:rows]
    monkeypatch.setattr(tabm, "ROWS_AT_ONCE", 10)
    found = recipe.answers(model, x[:rows])
    assert found.shape == (rows, 3)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)


@every_recipe
@every_task
def test_joined_network_answers_as_the_members_do(recipe, task, rng, tmp_path):
    """Two networks, as two folds leave them; also once the network has gone through a file."""
    x, _ = data(task, rng)
    models = [network(recipe, task, x, rng) for _ in range(2)]
    before = [model.get_weights() for model in models]
    joined = joined_model(models, recipe, task, 1.0, seed=0)
    answers = [recipe.answers(model, x) for model in models]
    np.testing.assert_allclose(joined.predict(x), np.mean(answers, axis=0), rtol=0, atol=1e-6)
    joined.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(x), joined.predict(x))
    np.testing.assert_allclose(loaded.predict_one(x[3]), joined.predict(x)[3], rtol=0, atol=1e-6)
    assert np.abs(joined.predict(x) - answers[0]).max() > 1e-4
    for model, weights in zip(models, before, strict=True):
        assert all(map(np.array_equal, model.get_weights(), weights)), "the members are untouched"


@pytest.mark.parametrize(("bins", "numbers"), [(4, 2), (0, 2), (4, 0)])
def test_members_begin_with_random_factors(bins, numbers):
    """Normal ones behind embeddings of numbers, else signs."""
    recipe = TabM((5,), members=400, bins=bins, embedding_units=2)
    model = recipe.network(Task(numbers, 2, []), steps=1, seed=0)
    (scale,) = of_kind(model, fnn.MemberScale)
    assert abs(scale.scale.mean()) < 5 / scale.scale.size**0.5
    is_sign = bool((np.abs(scale.scale) == 1).all())
    assert is_sign == (not bins or not numbers)
    if not is_sign:
        assert abs(scale.scale.std() - 1) < 5 / scale.scale.size**0.5


def test_hidden_layers_by_default_and_how_they_begin():
    model = TabM(members=2).network(Task(3, 1, []), steps=1, seed=0)
    assert [layer.units for layer in of_kind(model, fnn.Dense)] == [512, 512]
    assert [layer.rate for layer in of_kind(model, fnn.Dropout)] == [0.1, 0.1]
    for layer in [*of_kind(model, fnn.Dense), *of_kind(model, fnn.MemberDense)]:
        bound = len(layer.kernel) ** -0.5
        assert 0.98 * bound < np.abs(layer.kernel).max() <= bound * (1 + 1e-6)
        assert 0 < np.abs(layer.bias).max() <= bound * (1 + 1e-6)
    bare = TabM(members=2, bins=0).network(Task(3, 1, []), steps=1, seed=0)
    assert [layer.units for layer in of_kind(bare, fnn.Dense)] == [512, 512, 512]
    assert not of_kind(bare, layers.PiecewiseLinearEmbedding)


def test_edges_of_the_bins_are_those_of_the_rows(rng):
    x, _ = data(TASKS["numbers"], rng, 300)
    model = network(small(), TASKS["numbers"], x, rng)
    (layer,) = of_kind(model, fnn.PiecewiseLinearEmbedding)
    want = np.quantile(x[:, :3], np.linspace(0, 1, 5), axis=0).T
    np.testing.assert_allclose(layer.edges, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "size"),
    [(20, 20), (2799, 32), (2800, 64), (4500, 128), (6400, 256), (32_000, 512), (108_000, 1024)],
)
def test_size_of_a_batch(rows, size):
    assert TabM().rows_of_a_step(rows) == size
    assert TabM(batch_size=50).rows_of_a_step(rows) == min(50, rows)


# --- learning -----------------------------------------------------------------------------------


def test_learned_network_is_the_mean_of_all_members_of_all_folds(rng):
    task = TASKS["classes"]
    x, _ = data(task, rng, 120)
    y = (x[:, 0] > 0).astype(np.int64) + (x[:, 3] * (x[:, 1] > 0)).astype(np.int64)
    recipe = small(epochs=4)
    learned = learn(x, y, task, recipe=recipe, seed=1)
    answers = [recipe.answers(member.model, x) for member in learned.members]
    assert len(answers) == 5
    np.testing.assert_allclose(learned.model.predict(x), np.mean(answers, 0), rtol=0, atol=1e-6)
    assert learned.temperature == 1, "the mean of probabilities has no logits"
    for member in learned.members:
        own = recipe.answers(member.model, x[member.held_out])
        np.testing.assert_allclose(learned.out_of_fold[member.held_out], own, rtol=0, atol=1e-6)
    again = learn(x, y, task, recipe=recipe, seed=1)
    np.testing.assert_array_equal(again.model.predict(x), learned.model.predict(x))


def test_weights_of_rows_are_those_of_all_their_copies(rng):
    """Rows of weight 0 have no effect, whatever their targets are."""
    task = TASKS["numbers"]
    x, y = data(task, rng, 60)
    weight = (np.arange(60) % 2).astype(np.float32)
    spoilt = np.where(weight > 0, y, 100).astype(np.float32)
    run = partial(learn, task=task, recipe=small(epochs=3), seed=0)
    clean, other = (run(x, target, weight=weight) for target in (y, spoilt))
    np.testing.assert_allclose(other.model.predict(x), clean.model.predict(x), rtol=0, atol=1e-6)
    assert np.abs(run(x, spoilt).model.predict(x) - clean.model.predict(x)).max() > 0.01


def test_training_ends_sixteen_epochs_after_the_best(rng):
    task = Task(2, 0, [], classes=2)
    x, y = data(task, rng, 60)  # nothing to be learned
    learned = learn(x, y, task, recipe=small(learning_rate=0.05), members=1, metric="log_loss")
    (member,) = learned.members
    assert member.epochs == 200
    assert len(member.curve) == member.best_epoch + 1 + 16 < 200
    assert member.best_epoch == len(member.curve) - 1 - np.argmin(member.curve[::-1])
    best = -np.log(learned.out_of_fold[member.held_out, y[member.held_out]]).mean()
    assert best == pytest.approx(min(member.curve), rel=1e-4)


def test_quantiles_are_in_order_and_hold_their_share(rng):
    task = Task(1, 0, [], quantiles=(0.1, 0.9))
    x = rng.uniform(-1, 1, (600, 1)).astype(np.float32)
    y = (x[:, 0] + rng.normal(0, 0.3, 600)).astype(np.float32)
    recipe = TabM((32,), members=4, bins=8, learning_rate=0.01, epochs=60)
    found = learn(x, y, task, recipe=recipe, seed=0).out_of_fold
    assert 0.7 < np.mean((found[:, 0] < y) & (y < found[:, 1])) < 0.9
    assert found[:, 0].mean() < found[:, 1].mean() - 0.4


# --- estimators ---------------------------------------------------------------------------------


def test_classifier_learns_wine(tmp_path):
    x, y = load_wine(return_X_y=True)
    train = np.arange(len(y)) % 4 > 0
    recipe = {"name": "tabm", "members": 4, "hidden": [64, 64], "epochs": 60}
    model = fnn.TabularClassifier(recipe=recipe, random_state=0).fit(x[train], y[train])
    assert model.score(x[~train], y[~train]) > 0.93
    assert model.score(x[~train], (y[~train] + 1) % 3) < 0.1, "the score can be a bad one"
    probabilities = model.predict_proba(x[~train])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    model.model_.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    table = dict(zip(loaded.encoding.columns, x[~train].T, strict=True))
    np.testing.assert_allclose(loaded.predict_proba(table), probabilities, rtol=0, atol=1e-6)


def test_recipe_by_its_name():
    """The whole network, within a time that leaves it a few epochs."""
    x, y = load_wine(return_X_y=True)
    model = fnn.TabularClassifier(recipe="tabm", n_members=1, time_budget=2, random_state=0)
    model.fit(x, y)
    (member,) = model.members_
    (scale,) = of_kind(member.model, fnn.MemberScale)
    assert scale.members == 32
    assert model.score(x, y) > 0.8


def test_recipe_and_its_config():
    recipe = small(dropout=0.2)
    assert recipes.get(recipe.config()) == recipe
    assert recipes.get("tabm") == TabM()
    assert recipes.get({"name": "tabm", "members": 4}) == TabM(members=4)
    with pytest.raises(ValueError, match="members must be a positive integer, got 0"):
        TabM(members=0)
    with pytest.raises(ValueError, match="hidden must hold at least one width"):
        TabM(())
