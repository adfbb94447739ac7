"""Layers, models and tensors that are used again share their parameters."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch_helpers

import fastnn as fnn
from fastnn.native.engine import Executor
from fastnn.program.purpose import Purpose

X = np.random.default_rng(0).normal(size=(96, 6))
Y = np.random.default_rng(1).normal(size=(96, 2))
LABELS = np.random.default_rng(2).integers(0, 3, 96)


def base_of(seed=0, **options):
    layers = [fnn.Dense(12, "relu"), fnn.Dense(9, "tanh"), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(6,), seed=seed, **options)
    model.compile("adam", "crossentropy")
    return model


def shares(one, other):
    return all(
        np.shares_memory(a, b)
        for a, b in zip(one.parameters.values(), other.parameters.values(), strict=True)
    )


def copies(model):
    return {name: view.copy() for name, view in model.parameters.items()}


def same(before, model):
    return all(np.array_equal(before[name], view) for name, view in model.parameters.items())


# --- what can be built ----------------------------------------------------------------------------


def test_a_model_over_some_layers_of_another():
    base = base_of()
    base.fit(X, LABELS, epochs=2, verbose=0)
    model = fnn.Sequential([*base.layers[:-1], fnn.Dense(5)], input_shape=(6,), seed=1)
    assert list(model.parameters) == [
        "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias", "dense_2/kernel",
        "dense_2/bias",
    ]  # fmt: skip
    assert np.shares_memory(model.parameters["dense_1/kernel"], base.parameters["dense_1/kernel"])
    assert not np.shares_memory(model.layers[-1].kernel, base.layers[-1].kernel)
    model.compile("adam", "crossentropy")
    before = copies(base)
    model.fit(X, LABELS, epochs=2, verbose=0)
    assert not np.array_equal(before["dense/kernel"], base.parameters["dense/kernel"])
    assert np.array_equal(before["dense_2/kernel"], base.parameters["dense_2/kernel"])


def test_an_update_for_each_stretch():
    base = base_of()
    model = fnn.Sequential([*base.layers[:-1], fnn.Dense(5)], input_shape=(6,))
    model.compile("adam", "crossentropy")
    program = model.network.runtime.bound(Purpose.TRAIN, 8, "label").plan.program
    updates = [op.attributes["covers"] for op in program.ops if op.name == "update"]
    assert updates == [
        ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"),
        ("dense_2/kernel", "dense_2/bias"),
    ]
    whole = base.network.runtime.bound(Purpose.TRAIN, 8, "label").plan.program
    assert len([op for op in whole.ops if op.name == "update"]) == 1


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "adam", fnn.Adam(use_ema=True, ema_momentum=0.5), fnn.Adam(clipnorm=0.1),
     fnn.Adam(global_clipnorm=0.1), fnn.RMSprop(weight_decay=0.1), fnn.GradientDescent(0.1)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_that_shares_trains_like_one_that_does_not(optimizer, dtype):
    base = base_of(dtype=dtype)
    shared = fnn.Sequential(
        [base.layers[1], fnn.Dense(4), *base.layers[2:]][:2], input_shape=(12,), dtype=dtype
    )
    plain = copy.deepcopy(shared)
    assert shared.network.runtime.is_shared
    assert not plain.network.runtime.is_shared
    x, y = np.tile(X, 2), np.tile(Y, 2)
    losses = []
    for model in (shared, plain):
        model.compile(copy.deepcopy(optimizer), "mse")
        model.network.generator = np.random.default_rng(3)
        losses.append(model.fit(x, y, epochs=3, verbose=0).history["loss"])
        model.train_on_batch(x[:8], y[:8]) if model.optimizer.name != "gradient_descent" else None
    assert losses[0] == losses[1]
    for name, view in plain.parameters.items():
        assert np.array_equal(view, shared.parameters[name]), name


def test_wide_layers_apply_their_gradients_at_once_in_either_arena(monkeypatch):
    wide = [fnn.Dense(700, "relu"), fnn.Dense(600, "relu")]
    base = fnn.Sequential(wide, input_shape=(6,), seed=0)
    shared = fnn.Sequential([*wide, fnn.Dense(2)], input_shape=(6,), seed=0)
    plain = copy.deepcopy(shared)
    for model in (shared, plain):
        model.compile("adam", "mse")
        model.fit(X, Y, epochs=1, shuffle=False, verbose=0)
    kinds = [
        op.name for op in shared.network.runtime.bound(Purpose.TRAIN, 32, "real").plan.program.ops
    ]
    assert kinds.count("kernel_gradient_update") == 3
    assert same(copies(plain), shared)
    assert same({n: shared.parameters[n] for n in base.parameters}, base)


def test_a_second_model_over_tensors_of_the_first():
    x = fnn.Input((6,))
    code = fnn.Dense(3, "tanh", name="code")(x)
    out = fnn.Dense(6, name="out")(code)
    autoencoder, encoder = fnn.Model(x, out, seed=0), fnn.Model(x, code)
    autoencoder.compile("adam", "mse")
    autoencoder.fit(X, X, epochs=2, verbose=0)
    kernel, bias = (autoencoder.parameters[f"code/{name}"] for name in ("kernel", "bias"))
    np.testing.assert_allclose(encoder.predict(X), np.tanh(X @ kernel + bias), rtol=1e-5)


def test_a_model_up_to_the_output_of_a_layer():
    base = base_of()
    features = fnn.Model(base.input, base.layers[-2].output)
    assert features.output_shape == (9,)
    assert features.inputs == base.inputs
    with pytest.raises(AttributeError, match="layer 'dense' has not been called on a tensor yet"):
        _ = fnn.Dense(3).output


def test_two_heads_that_are_read_separately():
    x = fnn.Input((6,))
    h = fnn.Dense(8, "relu")(x)
    value, advantage = fnn.Dense(1, name="value")(h), fnn.Dense(4, name="advantage")(h)
    both = fnn.Model(x, [value, advantage])
    one, other = fnn.Model(x, value), fnn.Model(x, advantage)
    for got, wanted in zip(both.predict(X), (one.predict(X), other.predict(X)), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_model_called_on_a_tensor_and_in_a_sequential():
    encoder = fnn.Sequential([fnn.Dense(3)], input_shape=(6,), name="encoder")
    decoder = fnn.Sequential([fnn.Dense(6)], name="decoder")  # built when it is called
    whole = fnn.Sequential([encoder, decoder], input_shape=(6,))
    x = fnn.Input((6,))
    functional = fnn.Model(x, decoder(encoder(x)))
    assert list(whole.parameters) == [
        "encoder/dense/kernel", "encoder/dense/bias", "decoder/dense/kernel", "decoder/dense/bias",
    ]  # fmt: skip
    assert shares(whole, functional)
    assert whole.layers == (encoder, decoder)
    assert whole.get_layer("decoder") is decoder
    assert whole.get_layer("encoder/dense") is encoder.layers[0]
    np.testing.assert_array_equal(whole.predict(X), decoder.predict(encoder.predict(X)))


def test_a_model_with_two_outputs_as_a_part():
    x = fnn.Input((6,))
    heads = fnn.Model(x, [fnn.Dense(2, name="a")(x), fnn.Dense(3, name="b")(x)], name="heads")
    z = fnn.Input((4,))
    a, b = heads(fnn.Dense(6)(z))
    joined = fnn.Model(z, fnn.Concatenate()([b, a]))
    assert joined.output_shape == (5,)
    again = fnn.load(saved(joined))
    rows = X[:, :4]
    np.testing.assert_array_equal(again.predict(rows), joined.predict(rows))


def test_an_output_of_a_part_has_its_name():
    x = fnn.Input((6,))
    actor = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dense(3)], input_shape=(6,), name="actor")
    critic = fnn.Model(x, fnn.Dense(2)(x), name="critic")
    model = fnn.Model(x, [actor(x), critic(x), fnn.Dense(1)(x)])
    losses = {"actor": "crossentropy", "critic": "mse", "dense": "mse"}
    model.compile("adam", losses, metrics={"actor": "accuracy"})
    y = {"actor": LABELS, "critic": Y, "dense": Y[:, 0]}
    results = list(model.fit(X, y, verbose=0).history)
    assert results == ["loss", "actor_loss", "critic_loss", "dense_loss", "actor_accuracy"]
    for other in (fnn.load(saved(model)), copy.deepcopy(model), fnn.clone_model(model)):
        assert other.output_names == ["actor", "critic", "dense"]
    heads = fnn.Model(x, [fnn.Dense(2, name="a")(x), fnn.Dense(3, name="b")(x)], name="heads")
    assert fnn.Model(x, [*heads(x), actor(x), actor(x)]).output_names == [
        "heads/a", "heads/b", "actor", "actor_1",
    ]  # fmt: skip


def saved(model):
    import tempfile
    from pathlib import Path

    path = Path(tempfile.mkdtemp()) / "model.safetensors"
    model.save(path)
    return path


def test_one_model_called_twice_shares_with_itself():
    tower = fnn.Sequential([fnn.Dense(4, "tanh")], input_shape=(6,), name="tower")
    a, b = fnn.Input((6,), name="a"), fnn.Input((6,), name="b")
    siamese = fnn.Model([a, b], fnn.Concatenate()([tower(a), tower(b)]))
    assert len(siamese.parameters) == 2
    left, right = np.split(siamese.predict([X, X]), 2, axis=1)
    np.testing.assert_array_equal(left, right)


def test_names_that_meet_are_numbered():
    one, other = (fnn.Sequential([fnn.Dense(6)], input_shape=(6,)) for _ in range(2))
    flat = fnn.Sequential([*one.layers, *other.layers], input_shape=(6,))
    assert list(flat.parameters)[::2] == ["dense/kernel", "dense_1/kernel"]
    nested = fnn.Sequential([one, other], input_shape=(6,))
    assert list(nested.parameters)[::2] == ["sequential/dense/kernel", "sequential_1/dense/kernel"]
    assert other.layers[0].name == "dense"


def test_layers_of_a_model_that_is_gone_move_into_the_new_one():
    layers = base_of().layers
    gc.collect()
    before = [view.copy() for view in layers[0].parameters.values()]
    model = fnn.Sequential([*layers[:2], fnn.Dense(2)], input_shape=(6,))
    assert not model.network.runtime.is_shared
    assert all(map(np.array_equal, before, layers[0].parameters.values()))


# --- training one is seen by the other ------------------------------------------------------------


def generator_and_discriminator(dtype="float64"):
    generator = fnn.Sequential(
        [fnn.Dense(8, "tanh"), fnn.Dense(2)], input_shape=(4,), dtype=dtype, seed=1,
        name="generator",
    )  # fmt: skip
    discriminator = fnn.Sequential(
        [fnn.Dense(8, "relu"), fnn.BatchNormalization(), fnn.Dense(1, "sigmoid")],
        input_shape=(2,), dtype=dtype, seed=2, name="discriminator",
    )  # fmt: skip
    discriminator.compile(fnn.Adam(0.01), "binary_crossentropy")
    z = fnn.Input((4,))
    gan = fnn.Model(z, discriminator(generator(z)), dtype=dtype)
    gan.compile(fnn.Adam(0.01), "binary_crossentropy", frozen=discriminator)
    return generator, discriminator, gan


def test_a_part_that_is_frozen_in_one_model_learns_in_another():
    generator, discriminator, gan = generator_and_discriminator()
    noise, ones = X[:, :4], np.ones(len(X))
    before = copies(discriminator), copies(generator)
    gan.fit(noise, ones, epochs=2, verbose=0)
    assert same(before[0], discriminator)  # its moving statistics, too
    assert not same(before[1], generator)
    before = copies(discriminator), copies(generator)
    discriminator.fit(Y, ones, epochs=1, verbose=0)
    assert not same(before[0], discriminator)
    assert same(before[1], generator)
    assert gan.get_layer("discriminator") is discriminator
    again = fnn.load(saved(gan))
    before = copies(again.get_layer("discriminator"))
    again.fit(noise, ones, epochs=1, verbose=0)
    assert same(before, again.get_layer("discriminator"))


def test_freezing_in_turn_finds_its_programs_again(monkeypatch):
    _, discriminator, gan = generator_and_discriminator()
    gan.compile(fnn.Adam(0.01), "binary_crossentropy")
    noise, ones = X[:16, :4], np.ones(16)
    made = []

    class Counted(Executor):
        def __new__(cls, *args, **kwargs):
            made.append(1)
            return super().__new__(cls, *args, **kwargs)

    monkeypatch.setattr("fastnn.runtime.runtime.Executor", Counted)
    for turn in range(4):
        discriminator.trainable = turn % 2 == 1
        before = copies(discriminator)
        gan.train_on_batch(noise, ones)
        assert same(before, discriminator) == (turn % 2 == 0)
    assert len(made) == 2


def test_gradients_of_what_is_frozen_do_not_count_for_the_norm():
    base = base_of()
    optimizer = fnn.SGD(1.0, global_clipnorm=0.01)
    for train in (
        lambda model: model.fit(X, LABELS, batch_size=96, verbose=0),
        lambda model: (model.backward(model.forward(X, training=True)), model.apply_gradients()),
    ):
        base.compile(optimizer, "crossentropy")
        train(base)
        base.compile(optimizer, "crossentropy", frozen=base.layers[:2])
        before = copies(base)
        train(base)
        moved = [view - before[name] for name, view in base.parameters.items()]
        assert sum(np.sum(one**2) for one in moved) ** 0.5 == pytest.approx(0.01, rel=1e-4)


def test_a_model_of_which_nothing_learns_says_so():
    _, discriminator, _ = generator_and_discriminator()
    discriminator.trainable = False
    with pytest.warns(UserWarning, match="no parameter of this model learns: .* give frozen="):
        discriminator.train_on_batch(Y[:4], np.ones(4))
    assert not discriminator.trainable
    discriminator.trainable = True
    assert all(layer.trainable for layer in discriminator.layers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        discriminator.train_on_batch(Y[:4], np.ones(4))


def test_each_has_its_own_optimizer_state():
    base = base_of()
    model = fnn.Sequential([*base.layers[:-1], fnn.Dense(5)], input_shape=(6,))
    model.compile("adam", "crossentropy")
    base.fit(X, LABELS, epochs=2, verbose=0)
    assert (base.network.runtime.step, model.network.runtime.step) == (6, 0)
    assert not model.network.runtime.arenas["state"].any()


def test_a_moving_average_begins_again_where_another_model_sets_the_parameters(tmp_path):
    base = base_of()
    other = fnn.Sequential(base.layers[:-1], input_shape=(6,))
    twin = fnn.clone_model(other)
    base.compile(fnn.SGD(0.0, use_ema=True), "crossentropy")
    twin.save_weights(tmp_path / "m")
    for change in (
        lambda: other.set_weights(twin.get_weights()),
        lambda: other.load_weights(tmp_path / "m"),
        lambda: fnn.soft_update(other, twin, 1),
    ):
        base.set_weights([np.zeros_like(weight) for weight in base.get_weights()])
        base.fit(X, LABELS, verbose=0)
        change()
        base.fit(X, LABELS, verbose=0)  # ends with the average
        assert same(copies(twin), other)
        clone = base.network.clone()
        clone.set_weights([weight + 1 for weight in base.get_weights()])
        base.fit(X, LABELS, verbose=0)
        assert same(copies(twin), other)


def test_backward_notices_that_another_model_has_changed_the_parameters():
    base = base_of()
    model = fnn.Sequential([*base.layers[:-1], fnn.Dense(5)], input_shape=(6,))
    out = model.forward(X, training=True)
    base.train_on_batch(X, LABELS)
    with pytest.raises(RuntimeError, match="lasts until the parameters are changed"):
        model.backward(out)


def test_one_sample_at_a_time():
    base = base_of()
    model = fnn.Sequential([*base.layers[:-1], fnn.Dense(3)], input_shape=(6,), seed=3)
    plain = copy.deepcopy(model)
    for one in (model, plain):
        one.compile("adam", "crossentropy")
    for row, label in zip(X[:5], LABELS[:5], strict=True):
        assert model.learn_one(row, label) == plain.learn_one(row, label)
        np.testing.assert_array_equal(model.predict_one(row), plain.predict_one(row))


def test_a_step_that_is_not_finite_gives_the_parameters_back():
    base = base_of()
    model = fnn.Sequential([*base.layers[:-1], fnn.Dense(2)], input_shape=(6,))
    model.compile(fnn.SGD(1e30), "mse")
    with pytest.raises(fnn.NonFiniteLossError):
        model.fit(X, 1e6 * Y, epochs=5, verbose=0)
    for one in (base, model):
        assert all(np.isfinite(view).all() for view in one.parameters.values())


# --- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model)),
     lambda model: fnn.load(saved(model))],
    ids=["deepcopy", "copy", "pickle", "file"],
)  # fmt: skip
def test_copies_are_independent_and_keep_the_sharing_within(copied):
    x = fnn.Input((6,))
    tower = fnn.Sequential([fnn.Dense(6, "tanh"), fnn.Dense(6)], input_shape=(6,), name="tower")
    model = fnn.Model(x, fnn.Add()([tower(tower(x)), tower.layers[0](x)]))
    again = copied(model)
    assert list(again.parameters) == list(model.parameters)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    pairs = zip(again.parameters.values(), model.parameters.values(), strict=True)
    assert not any(np.shares_memory(*pair) for pair in pairs)
    inner = again.get_layer("tower")
    assert shares(inner, again)
    assert isinstance(inner, fnn.Sequential)


def test_copied_layers_start_from_the_same_parameters():
    base = base_of()
    base.fit(X, LABELS, epochs=1, verbose=0)
    layers = copy.deepcopy(base.layers[:2])
    assert np.array_equal(layers[0].kernel, base.layers[0].kernel)
    model = fnn.Sequential([*layers, fnn.Dense(2)], input_shape=(6,))
    assert not model.network.runtime.is_shared
    assert np.array_equal(model.layers[1].kernel, base.layers[1].kernel)
    assert not np.shares_memory(model.layers[1].kernel, base.layers[1].kernel)
    single = pickle.loads(pickle.dumps(base.layers[0]))
    assert np.array_equal(single.kernel, base.layers[0].kernel)


def test_clone_model_has_new_parameters_and_shares_nothing():
    generator, _, gan = generator_and_discriminator()
    before = fnn.clone_model(gan)
    gan.fit(X[:, :4], np.ones(len(X)), epochs=1, verbose=0)
    clone = fnn.clone_model(gan)
    assert list(clone.parameters) == list(gan.parameters)
    assert clone.optimizer is None
    assert [layer.name for layer in clone.layers] == ["generator", "discriminator"]
    clone.set_weights(gan.get_weights())
    np.testing.assert_array_equal(clone.predict(X[:, :4]), gan.predict(X[:, :4]))
    assert not np.shares_memory(clone.layers[0].layers[0].kernel, generator.layers[0].kernel)
    assert before.count_parameters() == gan.count_parameters()
    same_seed = fnn.clone_model(base_of(seed=5))
    assert same({n: v for n, v in base_of(seed=5).parameters.items()}, same_seed)


def test_a_part_that_changes_later_stays_what_it_was_in_the_whole():
    base = fnn.Sequential([fnn.Dense(4), fnn.Dense(5)], input_shape=(6,), seed=0, name="base")
    x = fnn.Input((6,))
    whole = fnn.Model(x, fnn.Dense(1)(base(x)), seed=0)
    chain = fnn.Sequential([base, fnn.Dense(1)], input_shape=(6,), seed=0)
    last, stale = base.layers[1], base(x)
    base.pop()
    for model in (whole, chain):
        assert model.get_layer("base/dense_1") is last
        for other in (fnn.clone_model(model), copy.deepcopy(model), fnn.load(saved(model))):
            assert list(other.parameters) == list(model.parameters)
            assert other.get_layer("base/dense_1").units == 5
        assert list(fnn.clone_model(base).parameters) == ["dense/kernel", "dense/bias"]
    with pytest.raises(ValueError, match="model 'base' has changed since it was called"):
        fnn.Model(x, fnn.Dense(1)(stale))


class Scale(fnn.Layer):
    """A layer that is not registered."""

    def build(self, input_shape):
        self.add_weight("factor", input_shape, "ones")

    def forward(self, x, *, training):
        self.x = x
        return self.parameters["factor"] * x

    def backward(self, grad_output):
        self.gradients["factor"][...] = (grad_output * self.x).sum(axis=0)
        return grad_output * self.parameters["factor"]


def test_layers_of_ones_own_are_shared_and_cloned():
    scale = Scale()
    one = fnn.Sequential([scale], input_shape=(6,))
    other = fnn.Sequential([fnn.Dense(6), scale, fnn.Dense(1)], input_shape=(6,))
    other.compile("adam", "mse")
    other.fit(X, Y[:, 0], epochs=1, verbose=0)
    np.testing.assert_allclose(one.predict(X), X * scale.parameters["factor"], rtol=1e-6)
    assert not (scale.parameters["factor"] == 1).all()
    clone = fnn.clone_model(other)
    assert (clone.parameters["scale/factor"] == 1).all()


# --- Sequential.add and pop, get_layer, weights of a layer ----------------------------------------


def test_add_and_pop_give_what_the_constructor_gives():
    whole = fnn.Sequential([fnn.Dense(4, "relu"), fnn.Dense(2)], input_shape=(6,), seed=0)
    grown = fnn.Sequential(seed=0)
    for layer in (fnn.Input((6,)), fnn.Dense(4, "relu"), fnn.Dense(2)):
        grown.add(layer)
    assert same(copies(whole), grown)
    assert not grown.network.runtime.is_shared
    grown.compile("adam", "mse")
    grown.fit(X, Y, epochs=1, verbose=0)
    before = grown.layers[0].kernel.copy()
    last = grown.pop()
    assert (last.units, grown.output_shape) == (2, (4,))
    grown.add(fnn.Dense(3))
    assert np.array_equal(before, grown.layers[0].kernel)
    waiting = fnn.Sequential()
    waiting.add(fnn.Dense(2))
    waiting.compile("adam", "mse")
    assert waiting.fit(X, Y, verbose=0).history["loss"]


def test_layers_that_were_removed_are_not_kept():
    model = fnn.Sequential([fnn.Dense(4)], input_shape=(6,))
    model.add(fnn.Dense(5))
    arena = weakref.ref(model.network.runtime.arena)
    layer = weakref.ref(model.pop())
    model.add(fnn.Dense(5))
    gc.collect()
    assert layer() is None
    assert arena() is None


def test_a_layer_of_another_dtype_is_not_added():
    other = fnn.Sequential([fnn.Dense(4)], input_shape=(6,), dtype="float64")
    model = fnn.Sequential([fnn.Dense(6)], input_shape=(6,))
    before = copies(model)
    for layer in (other, other.layers[0]):
        with pytest.raises(ValueError, match="models that share layers must have one dtype"):
            model.add(layer)
    assert len(model.layers) == 1
    assert same(before, model)


def test_weights_of_a_layer_and_a_layer_by_name_and_index():
    model = base_of()
    layer = model.get_layer("dense_1")
    assert model.get_layer(index=-1) is model.layers[-1]
    weights = layer.get_weights()
    layer.set_weights([2 * weights[0], weights[1]])
    assert np.array_equal(model.parameters["dense_1/kernel"], 2 * weights[0])


def test_weights_by_name(tmp_path):
    base = base_of()
    base.save_weights(tmp_path / "w.safetensors")
    other = fnn.Sequential(
        [fnn.Dense(12), fnn.Dense(9), fnn.Dense(4), fnn.Dense(1, name="top")], input_shape=(6,)
    )
    found = other.load_weights(tmp_path / "w.safetensors", strict=False)
    assert found.loaded == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    assert found.mismatched == ["dense_2/kernel", "dense_2/bias"]
    assert found.missing == ["top/kernel", "top/bias"]
    assert found.unexpected == []
    assert np.array_equal(other.layers[1].kernel, base.layers[1].kernel)
    again = base_of(seed=9)
    assert again.load_weights(tmp_path / "w.safetensors").missing == []
    assert same(copies(base), again)
    base.save(tmp_path / "m.safetensors")
    assert base_of(seed=8).load_weights(tmp_path / "m.safetensors").unexpected == []


# --- bad input ------------------------------------------------------------------------------------


def add_itself():
    model = fnn.Sequential([fnn.Dense(6)], input_shape=(6,))
    outer = fnn.Sequential([model], input_shape=(6,))
    model.add(outer)


BAD = {
    "itself": (lambda base: add_itself(), ValueError, "a model cannot be a part of itself"),
    "another width": (
        lambda base: fnn.Model(x := fnn.Input((7,)), base.layers[0](x)), ValueError,
        r"layer 'dense' is used for inputs of different sizes: kernel would be \(6, 12\) and "
        r"\(7, 12\)",
    ),
    "another width of a model": (
        lambda base: base(fnn.Input((7,))), ValueError,
        r"model 'sequential': input 'input' must have shape \(6,\), got \(7,\)",
    ),
    "another dtype": (
        lambda base: fnn.Sequential([base.layers[0]], input_shape=(6,), dtype="float64"),
        ValueError, "layer 'dense' is part of a model of dtype float32, this one has float64",
    ),
    "frozen elsewhere": (
        lambda base: base.compile("adam", "mse", frozen=[fnn.Dense(1)]), ValueError,
        "frozen: layer 'dense' is not part of this model",
    ),
    "frozen what": (
        lambda base: base.compile("adam", "mse", frozen=["dense"]), TypeError,
        "frozen must be layers or models, got 'dense'",
    ),
    "two inputs": (
        lambda base: base([fnn.Input((6,)), fnn.Input((6,))]), ValueError,
        "model 'sequential' has 1 input, got 2 tensors",
    ),
    "no such layer": (
        lambda base: base.get_layer("dense_7"), ValueError, "the model has no layer 'dense_7'",
    ),
    "no such index": (
        lambda base: base.get_layer(index=3), IndexError, r"index must be in \[0, 3\), got 3",
    ),
    "neither": (lambda base: base.get_layer(), TypeError, "takes name or index, one of them"),
    "too few weights": (
        lambda base: base.layers[0].set_weights([1]), ValueError, "weights must be 2 arrays, got 1",
    ),
    "does not fit": (
        lambda base: base.add(fnn.Reshape((5, 5))), ValueError, "layer 'reshape'",
    ),
    "not a layer": (lambda base: base.add("relu"), TypeError, "layers must be Layer instances"),
    "a name": (
        lambda base: fnn.Sequential([fnn.Dense(1)], name="a/b"), ValueError,
        "name must be a non-empty string without '/', got 'a/b'",
    ),
    "nothing to pop": (lambda base: fnn.Sequential().pop(), ValueError, "the model has no layers"),
    "nothing to fit": (
        lambda base: fnn.Sequential().predict(X), ValueError, "the model has no layers",
    ),
    "clone of what": (
        lambda base: fnn.clone_model([1]), TypeError, "model must be a Model, got",
    ),
    "unknown weights": (
        lambda base: base.load_weights(__file__), ValueError, "is not a safetensors file",
    ),
    "other weights": (
        lambda base: other_weights(base), ValueError,
        r"does not hold the parameters of this model: it lacks 'dense_1/kernel', .* and 1 more, "
        r"'dense/kernel' has shape \(6, 2\), expected \(6, 12\), .*; strict=False",
    ),
}  # fmt: skip


def other_weights(base):
    path = saved(base).with_name("w")
    fnn.Sequential([fnn.Dense(2)], input_shape=(6,)).save_weights(path)
    base.load_weights(path)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_changes_nothing(case):
    act, error, match = BAD[case]
    base = base_of()
    before = copies(base), base.predict(X), [layer.name for layer in base.layers]
    with pytest.raises(error, match=match):
        act(base)
    assert same(before[0], base)
    np.testing.assert_array_equal(base.predict(X), before[1])
    assert [layer.name for layer in base.layers] == before[2]
    base.train_on_batch(X, LABELS)


# --- PyTorch --------------------------------------------------------------------------------------

STEPS = 50


def linears(torch, *layers):
    """The same layers in PyTorch, starting from the same parameters."""
    made = []
    for layer in layers:
        linear = torch.nn.Linear(*layer.kernel.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(layer.kernel.T.copy()))
            linear.bias.copy_(torch.tensor(layer.bias.copy()))
        made.append(linear)
    return made


def agree(layers, modules, optimizer, model):
    """Parameters and Adam's moments of both sides agree."""
    state = model.network.runtime.state_views()
    owners = {owner: name for name, owner in model.network.graph.owners.items()}
    for layer, module in zip(layers, modules, strict=True):
        for own, tensor in (("kernel", module.weight), ("bias", module.bias)):
            wanted = tensor.detach().numpy().T
            assert torch_helpers.relative_error(layer.parameters[own], wanted) < 1e-9
            moments = optimizer.state[tensor]
            for slot, theirs in (("mean", "exp_avg"), ("variance", "exp_avg_sq")):
                got = state[f"{slot}/{owners[layer, own]}"]
                assert torch_helpers.relative_error(got, moments[theirs].numpy().T) < 1e-9


def adam_of(torch, modules):
    parameters = [p for module in modules for p in module.parameters()]
    return torch.optim.Adam(parameters, lr=0.01, eps=1e-7)


def test_pytorch_agrees_on_transfer():
    torch = torch_helpers.import_torch()
    base = base_of(dtype="float64")
    base.fit(X, LABELS, epochs=2, verbose=0)
    model = fnn.Sequential([*base.layers[:-1], fnn.Dense(2)], input_shape=(6,), dtype="float64")
    model.compile(fnn.Adam(0.01), "mse")
    a, b, c = linears(torch, *model.layers)
    optimizer = adam_of(torch, (a, b, c))
    x, y = torch.tensor(X), torch.tensor(Y)
    for _ in range(STEPS):
        model.train_on_batch(X, Y)
        optimizer.zero_grad()
        loss = ((c(torch.tanh(b(torch.relu(a(x))))) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    agree(model.layers, (a, b, c), optimizer, model)
    with torch.no_grad():
        hidden = torch.tanh(b(torch.relu(a(x)))).numpy()
    features = fnn.Model(base.input, base.layers[-2].output, dtype="float64")
    assert torch_helpers.relative_error(features.predict(X), hidden) < 1e-9


def test_pytorch_agrees_on_a_nested_model_and_its_encoder():
    torch = torch_helpers.import_torch()
    encoder = fnn.Sequential(
        [fnn.Dense(5, "tanh"), fnn.Dense(3)], input_shape=(6,), dtype="float64", name="encoder"
    )
    decoder = fnn.Sequential([fnn.Dense(6)], dtype="float64", name="decoder")
    whole = fnn.Sequential([encoder, decoder], input_shape=(6,), dtype="float64")
    whole.compile(fnn.Adam(0.01), "mse")
    layers = [*encoder.layers, *decoder.layers]
    a, b, c = linears(torch, *layers)
    optimizer = adam_of(torch, (a, b, c))
    x = torch.tensor(X)
    for _ in range(STEPS):
        whole.train_on_batch(X, X)
        optimizer.zero_grad()
        ((c(b(torch.tanh(a(x)))) - x) ** 2).mean().backward()
        optimizer.step()
    agree(layers, (a, b, c), optimizer, whole)
    code = b(torch.tanh(a(x)))
    assert torch_helpers.relative_error(encoder.predict(X), code) < 1e-9


def test_pytorch_agrees_on_a_gan(rng):
    torch = torch_helpers.import_torch()
    functional = torch.nn.functional
    generator = fnn.Sequential(
        [fnn.Dense(8, "tanh"), fnn.Dense(2)], input_shape=(4,), dtype="float64", seed=1
    )
    discriminator = fnn.Sequential(
        [fnn.Dense(8, "tanh"), fnn.Dense(1)], input_shape=(2,), dtype="float64", seed=2
    )
    discriminator.compile(fnn.Adam(0.01), "binary_crossentropy")
    z = fnn.Input((4,))
    gan = fnn.Model(z, discriminator(generator(z)), dtype="float64")
    gan.compile(fnn.Adam(0.01), "binary_crossentropy", frozen=discriminator)
    a, b = linears(torch, *generator.layers)
    c, d = linears(torch, *discriminator.layers)
    by_generator, by_discriminator = adam_of(torch, (a, b)), adam_of(torch, (c, d))

    def loss_of(rows, labels):
        logits = d(torch.tanh(c(rows)))[:, 0]
        return functional.binary_cross_entropy_with_logits(logits, torch.tensor(labels))

    for _ in range(STEPS):
        noise, real = rng.normal(size=(16, 4)), rng.normal(size=(16, 2)) + 2
        rows = np.concatenate([real, generator.predict(noise)])
        labels = np.repeat([1.0, 0.0], 16)
        discriminator.train_on_batch(rows, labels)
        gan.train_on_batch(noise, np.ones(16))

        made = b(torch.tanh(a(torch.tensor(noise))))
        by_discriminator.zero_grad()
        loss_of(torch.cat([torch.tensor(real), made.detach()]), labels).backward()
        by_discriminator.step()
        by_generator.zero_grad()
        loss_of(b(torch.tanh(a(torch.tensor(noise)))), np.ones(16)).backward()
        by_generator.step()
    agree(generator.layers, (a, b), by_generator, gan)
    agree(discriminator.layers, (c, d), by_discriminator, discriminator)


def test_a_sequential_that_begins_with_a_model_knows_its_shape():
    base = base_of()
    model = fnn.Sequential([base, fnn.Dense(2)], seed=1)
    assert model.built
    assert model.output_shape == (2,)
    assert shares(base, model.layers[0])
    same_again = fnn.Sequential([base, fnn.Dense(2)], input_shape=(6,), seed=1)
    assert all(map(np.array_equal, model.get_weights(), same_again.get_weights()))
    with pytest.raises(
        ValueError, match=r"model 'sequential': input 'input' must have shape \(6,\)"
    ):
        fnn.Sequential([base, fnn.Dense(2)], input_shape=(7,))
    model.pop()
    model.add(fnn.Dense(4))
    assert model.output_shape == (4,)
    waiting = fnn.Sequential([fnn.Sequential([fnn.Dense(3)]), fnn.Dense(2)])
    assert not waiting.built


def test_training_is_not_decided_where_a_part_is_called():
    x = fnn.Input((6,))
    base = base_of()
    base(x, training=False)  # nothing in it acts otherwise
    base.layers[0](x, training=False)
    noisy = fnn.Sequential(
        [fnn.Dense(3), fnn.BatchNormalization(), fnn.Residual([fnn.Dropout(0.5), fnn.Dense(3)])],
        input_shape=(6,),
    )
    with pytest.raises(ValueError, match="training=False: layer 'batch_normalization' acts as the"):
        noisy(x, training=False)
    noisy.trainable = False
    with pytest.raises(ValueError, match="training=False: layer 'dropout' acts as the whole"):
        noisy(x, training=False)
    with pytest.raises(ValueError, match="training=True: layer 'dense' acts as"):
        base(x, training=True)
    with pytest.raises(ValueError, match="training=False: layer 'dropout' acts"):
        fnn.Dropout(0.5)(x, training=False)


def test_a_frozen_part_keeps_its_statistics_in_the_training_of_the_whole():
    base = fnn.Sequential([fnn.Dense(4), fnn.BatchNormalization()], input_shape=(6,), seed=0)
    base.trainable = False
    x = fnn.Input((6,))
    model = fnn.Model(x, fnn.Dense(2)(base(x, training=False)), seed=0)
    model.compile("adam", "mse")
    before = copies(base)
    model.fit(X, Y, verbose=0)
    assert same(before, base)
    np.testing.assert_array_equal(model(X, training=True), model.predict(X))


def test_the_input_of_a_layer():
    base = base_of()
    assert base.layers[0].input is base.input
    assert base.layers[1].input is base.layers[0].output
    x = fnn.Input((3,))
    add = fnn.Add()
    add([x, x])
    assert add.input == [x, x]
    with pytest.raises(AttributeError, match="layer 'dense' has not been called on a tensor yet"):
        fnn.Dense(3).input  # noqa: B018


# --- what a reader of messages sees ---------------------------------------------------------------


def test_a_warning_points_to_the_line_of_the_user():
    _, discriminator, _ = generator_and_discriminator()
    discriminator.trainable = False
    with pytest.warns(UserWarning, match="no parameter of this model learns") as found:
        discriminator.train_on_batch(Y[:4], np.ones(4))
    assert found[0].filename == __file__


def test_a_summary_says_what_is_frozen(capsys):
    _, _, gan = generator_and_discriminator()
    gan.summary()
    lines = capsys.readouterr().out.splitlines()
    assert "Dense (frozen)" in next(line for line in lines if "discriminator/dense " in line)
    assert "frozen" not in next(line for line in lines if "generator/dense " in line)
    assert lines[-1].endswith("; 65 of them are not trained")


def test_a_loaded_chain_can_be_changed():
    model = fnn.load(saved(base_of()))
    model.pop()
    assert model.output_shape == (9,)
    model.add(fnn.Dense(2))
    assert model.predict(X).shape == (96, 2)
    assert copy.deepcopy(model).pop().units == 2


def test_a_model_may_begin_at_what_a_layer_returned():
    base = base_of()
    middle = base.layers[1].input
    head = fnn.Model(middle, base.output)
    assert head.input_shapes == [("input", (12,))]
    code = fnn.Model(base.input, middle).predict(X)
    np.testing.assert_array_equal(head.predict(code), base.predict(X))
    assert np.shares_memory(head.layers[0].kernel, base.layers[1].kernel)
    head.compile("adam", "crossentropy")
    head.fit(code, LABELS, verbose=0)
    np.testing.assert_array_equal(head.predict(code), base.predict(X))
    loaded = pickle.loads(pickle.dumps(head))
    np.testing.assert_array_equal(loaded.predict(code), head.predict(code))
    assert base.layers[1].input is middle


def test_a_model_that_begins_inside_takes_parts_and_several_inputs_along():
    x, other = fnn.Input((4,), name="x"), fnn.Input((3,), name="other")
    hidden = fnn.Dense(3, "tanh")(x)
    two = fnn.Model(
        inner := fnn.Input((3,)), [fnn.Dense(2, name="a")(inner), fnn.Dense(2, name="b")(inner)]
    )
    a, b = two(hidden)
    whole = fnn.Model([x, other], fnn.Concatenate()([fnn.Add()([a, b]), hidden, other]), seed=0)
    part = fnn.Model([hidden, other], whole.output)
    assert [name for name, _ in part.input_shapes] == ["input", "other"]
    rows = [X[:, :4], X[:, 1:4]]
    begun = fnn.Model(x, hidden).predict(rows[0])
    np.testing.assert_array_equal(part.predict([begun, rows[1]]), whole.predict(rows))
    assert part.count_parameters() == two.count_parameters()
    with pytest.raises(TypeError, match="outputs depend on Input 'other', which is not in inputs"):
        fnn.Model(hidden, whole.output)
    with pytest.raises(TypeError, match="outputs depend on Input 'x', which is not in inputs"):
        fnn.Model([a, other], whole.output)
    with pytest.raises(ValueError, match="inputs must be distinct"):
        fnn.Model([x, x], hidden)
    with pytest.raises(TypeError, match=r"inputs must come from Input\(...\), or be what a layer"):
        fnn.Model([X], hidden)
