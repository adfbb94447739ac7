"""Model files: what is restored, continued training, and invalid files."""

from __future__ import annotations

import copy
import json
import os
import pickle

import numpy as np
import pytest
from model_helpers import unchanged, weights_as_bytes
from safetensors import safe_open
from safetensors.numpy import save_file

import fastnn as fnn
from fastnn.core import files
from fastnn.exchange import model_file

OPTIMIZERS = {
    # Optimizers that take all rows are tested in test_full_batch.py.
    **{
        name: fnn.optimizers.get(name)
        for name in fnn.optimizers.registry
        if not fnn.optimizers.registry[name].full_batch
    },
    "momentum": fnn.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "rmsprop full": fnn.RMSprop(centered=True, momentum=0.5, clipvalue=0.1),
    "clipped": fnn.AdamW(0.01, global_clipnorm=0.1),
}


def small(optimizer="adam", loss="mse", *, seed=0, dtype="float32"):
    model = fnn.Sequential(
        [fnn.Dense(6, activation="relu"), fnn.Dropout(0.3), fnn.Dense(3)],
        input_shape=(4,), seed=seed, dtype=dtype,
    )  # fmt: skip
    model.compile(optimizer, loss, ["accuracy"])
    return model


def every_layer(dtype="float64"):
    """A functional model with a layer of every kind, one of them shared."""
    vector, picture = fnn.Input((4,), name="vector"), fnn.Input((2, 3), name="picture")
    categories = fnn.Input((2, 1), name="categories")
    shared = fnn.Dense(4, activation={"name": "leaky_relu", "negative_slope": 0.3}, name="shared")
    h = fnn.Add(name="sum")([shared(vector), shared(shared(vector))])
    block = [fnn.LayerNormalization(), fnn.Dense(4), fnn.Residual([fnn.Dense(4, "tanh")])]
    h = fnn.Residual(block)(fnn.Multiply()([h, fnn.BatchNormalization(0.5)(vector)]))
    table = fnn.Embedding([3, 4], 2, name="table")(fnn.Reshape((-1,))(categories))
    picture_like = fnn.PReLU("normal")(fnn.Activation("tanh")(picture))
    flat = fnn.Concatenate(name="flat")([fnn.Flatten()(picture_like), table])
    words, codes = fnn.Input((2,), name="words", dtype="string"), fnn.Input((1,), name="codes")
    looked_up = [
        fnn.StringLookup(vocabulary=["b", "ü"], mask_token="", output_mode="count")(words),
        fnn.Flatten()(fnn.Embedding(3, 2)(fnn.IntegerLookup(vocabulary=[10**12, -5])(codes))),
        fnn.CategoryEncoding(4)(fnn.Reshape((-1,))(categories)),
        fnn.Rescaling(0.5, -1.0)(fnn.Normalization()(vector)),
        fnn.PeriodicEmbedding(2, waves=3)(fnn.Columns(1, 3)(vector)),
        fnn.PiecewiseLinearEmbedding(2, bins=4)(vector),
        fnn.ParametricActivation("mish")(fnn.Scale("normal")(vector)),
        fnn.Average()([vector, shared(vector)]),
    ]
    member = fnn.Columns(0, 1)(fnn.Reshape((-1,))(categories))
    looked_up.append(fnn.MemberDense(2, 3)([fnn.MemberScale(3)([vector, member]), member]))
    flat = fnn.Concatenate()([flat, *looked_up])
    h = fnn.Dropout(0.25)(fnn.LayerNormalization()(fnn.Concatenate()([h, flat])))
    output = fnn.Dense(3, "softmax", use_bias=False, kernel_initializer="lecun_normal")(h)
    inputs = [vector, picture, categories, words, codes]
    model = fnn.Model(inputs, output, dtype=dtype, seed=4)
    model.layers[-1].trainable = False
    block[2].block[0].learning_rate_factor = 0.5
    assert {layer.kind for layer in model.layers} == set(fnn.layers.registry)
    return model


def rewrite(path, *, change_about=None, change_tensors=None, metadata=None):
    """Save a model, then change the file's metadata or tensors."""
    small().save(path)
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["fastnn"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change_about is not None:
        change_about(about)
    if change_tensors is not None:
        change_tensors(tensors)
    save_file(tensors, path, {"fastnn": json.dumps(about)} if metadata is None else metadata)


# --- what is restored -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_every_layer_comes_back(dtype, tmp_path, rng, capsys):
    model = every_layer(dtype)
    model.compile(fnn.SGD(0.1, momentum=0.5), "crossentropy", ["accuracy"])
    data = [
        rng.normal(size=(20, 4)),
        rng.normal(size=(20, 2, 3)),
        rng.integers(0, 3, (20, 2, 1)),
        rng.choice(["", "a", "b", "ü"], (20, 2)),
        rng.choice([7, -5, 10**12], (20, 1)),
    ]
    labels = rng.integers(0, 3, 20)
    model.fit(data, labels, epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    assert type(loaded) is fnn.Model
    configs = [[layer.describe() for layer in m.layers] for m in (model, loaded)]
    assert configs[0] == configs[1]
    model.summary()
    summary = capsys.readouterr().out
    loaded.summary()
    assert capsys.readouterr().out == summary
    assert list(loaded.parameters) == list(model.parameters)
    assert (loaded.dtype, loaded.seed) == (dtype, 4)
    assert weights_as_bytes(loaded) == weights_as_bytes(model)
    assert np.array_equal(loaded.predict(data), model.predict(data))
    assert loaded.evaluate(data, labels) == model.evaluate(data, labels)


def test_a_sequential_comes_back_with_a_shared_layer(tmp_path, rng):
    shared = fnn.Dense(4, activation="silu")
    model = fnn.Sequential([shared, fnn.Dropout(0.5), shared], input_shape=(4,))
    model.save(tmp_path / "m")
    loaded = fnn.load(str(tmp_path / "m"))
    x = rng.normal(size=(3, 4))
    assert type(loaded) is fnn.Sequential
    assert loaded.count_parameters() == 20
    assert loaded.optimizer is None
    assert np.array_equal(loaded.predict(x), model.predict(x))


@pytest.mark.parametrize("name", fnn.activations.NAMES)
def test_every_activation_comes_back(name, tmp_path, rng):
    model = fnn.Sequential([fnn.Dense(3, name)], input_shape=(4,), seed=0)
    model.save(tmp_path / "m")
    x = rng.normal(size=(3, 4))
    assert np.array_equal(fnn.load(tmp_path / "m").predict(x), model.predict(x))


@pytest.mark.parametrize("name", list(fnn.initializers.registry))
def test_every_initializer_comes_back(name, tmp_path):
    layer = fnn.Dense(3, kernel_initializer=name, bias_initializer="ones")
    fnn.Sequential([layer], input_shape=(4,)).save(tmp_path / "m")
    loaded = fnn.load(tmp_path / "m").layers[0]
    assert loaded.kernel_initializer == layer.kernel_initializer
    assert loaded.bias_initializer == layer.bias_initializer


@pytest.mark.parametrize("loss", [*fnn.losses.registry, fnn.Huber(0.3)], ids=str)
def test_every_loss_comes_back(loss, tmp_path):
    model = small(loss=loss)
    model.save(tmp_path / "m")
    assert fnn.load(tmp_path / "m").network.objective == model.network.objective


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_with_the_same_bits(name, dtype, tmp_path, rng):
    x, y = rng.normal(size=(40, 4)), rng.normal(size=(40, 3))
    options = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    model = small(OPTIMIZERS[name], dtype=dtype)
    model.fit(x, y, **options)
    model.save(tmp_path / "m")
    loaded = fnn.load(tmp_path / "m")
    assert loaded.optimizer == model.optimizer
    assert loaded.network.runtime.step == model.network.runtime.step == 9
    history, again = model.fit(x, y, **options), loaded.fit(x, y, **options)
    assert history.history == again.history
    assert weights_as_bytes(loaded) == weights_as_bytes(model)


def test_training_without_a_seed_goes_on_with_the_same_dropout(tmp_path, rng):
    x, y = rng.normal(size=(40, 4)), rng.normal(size=(40, 3))
    model = small(seed=None)
    model.save(tmp_path / "m")
    loaded = fnn.load(tmp_path / "m")
    for one in (model, loaded):
        one.fit(x, y, shuffle=False, verbose=0)
    assert weights_as_bytes(loaded) == weights_as_bytes(model)


@pytest.mark.parametrize(
    "make",
    [
        lambda: small(seed=np.int64(3)),
        lambda: small(loss=fnn.Huber(np.float32(0.5))),
        lambda: small(fnn.Adam(np.float64(0.5))),
        lambda: fnn.Sequential(
            [fnn.Dense(np.int32(2), bias_initializer=fnn.initializers.Constant(np.float32(0.5)))],
            input_shape=(np.int64(4),),
        ),
    ],
    ids=["seed", "loss", "optimizer", "initializer"],
)
def test_numbers_of_numpy_are_saved_too(make, tmp_path):
    model = make()
    model.save(tmp_path / "m")
    assert weights_as_bytes(fnn.load(tmp_path / "m")) == weights_as_bytes(model)


def test_attachments_and_their_tensors(tmp_path):
    mean = np.arange(4.0)
    model_file.save(small().network, tmp_path / "m", attachments={"a": [1]}, tensors={"mean": mean})
    about, tensors = model_file.read(tmp_path / "m")
    assert about["attachments"] == {"a": [1]}
    assert np.array_equal(tensors["preprocessing/mean"], mean)
    assert fnn.load(tmp_path / "m").output_shape == (3,)


def test_the_file_is_safetensors_and_nothing_is_pickled(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, refuse)
    model = small()
    model.save(tmp_path / "m")
    fnn.load(tmp_path / "m")
    with safe_open(tmp_path / "m", "numpy") as file:
        names = set(file.keys())
        assert set(file.metadata()) == {"fastnn", "checksum"}
    assert {f"parameters/{name}" for name in model.parameters} < names
    assert "optimizer/variance/dense_1/kernel" in names


# --- saving safely --------------------------------------------------------------------------------


def test_saving_again_replaces_the_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "m"
    for seed in (0, 1):
        small(seed=seed).save(path)
    assert weights_as_bytes(fnn.load(path)) == weights_as_bytes(small(seed=1))
    assert os.listdir(tmp_path) == ["m"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_the_old_file_survives_a_save_that_fails(call, tmp_path, monkeypatch):
    path, model = tmp_path / "m", small()
    model.save(path)
    old = path.read_bytes()

    def fail(*arguments, **options):
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="the disk is full"):
            small(seed=1).save(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["m"]


def test_file_and_folder_are_synced_around_the_replacement(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _r=real, _n=name: (calls.append(_n), _r(*a))[1])
    small().save(tmp_path / "m")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_file_keeps_its_permission_bits_and_a_symbolic_link_stays(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    files.write_atomically(link, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_what_is_not_a_file_is_not_written_to(tmp_path):
    with pytest.raises(ValueError, match=r"path: '.*' exists and is not a file"):
        files.write_atomically(tmp_path, b"new")
    assert os.listdir(tmp_path) == []


# --- invalid files --------------------------------------------------------------------------------


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: there is no model file '.*/none'"):
        fnn.load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"path: '.*' is a folder, expected a model file"):
        fnn.load(tmp_path)
    model = small()
    with (
        unchanged(model),
        pytest.raises(FileNotFoundError, match=r"path: there is no folder '.*/none'"),
    ):
        model.save(tmp_path / "none" / "m")


@pytest.mark.parametrize(
    ("path", "error"), [("", ValueError), (None, TypeError), (3, TypeError), (b"m", TypeError)]
)
def test_path_that_is_none(path, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, message = small(), f"^path must be the name of a file, got {path!r}$"
    with unchanged(model), pytest.raises(error, match=message):
        model.save(path)
    with pytest.raises(error, match=message):
        fnn.load(path)
    assert os.listdir() == []


@pytest.mark.parametrize("content", [b"", b"hello, this is text\n" * 9, bytes(100), b"\x80\x04}"])
def test_file_of_something_else(content, tmp_path):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ValueError, match=r"path: '.*/m' is not a safetensors file \("):
        fnn.load(tmp_path / "m")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.999])
def test_truncated_file(share, tmp_path):
    path = tmp_path / "m"
    small().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"path: '.*/m' is not a safetensors file \("):
        fnn.load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_something_else(metadata, tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "m", metadata)
    with pytest.raises(ValueError, match=r"'.*/m' is a safetensors file, but not a model saved by"):
        fnn.load(tmp_path / "m")


def test_newer_format(tmp_path):
    rewrite(tmp_path / "m", change_about=lambda about: about.update(format=99))
    with pytest.raises(ValueError, match=r"has format 99, this fastnn reads up to 3; upgrade"):
        fnn.load(tmp_path / "m")


def test_a_file_of_format_1_is_read(tmp_path, rng):
    """It knew models of one output, with one loss and one list of metrics."""
    entrance = fnn.Input((4,))
    model = fnn.Model(entrance, fnn.Dense(3, "softmax")(fnn.Dense(5, "tanh")(entrance)), seed=0)
    model.compile("adam", "crossentropy")
    model.save(tmp_path / "m")
    with safe_open(tmp_path / "m", "numpy") as file:
        about = json.loads(file.metadata()["fastnn"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    architecture, arguments = about["architecture"], about["compile"]
    (architecture["output"],) = architecture.pop("outputs")
    (arguments["loss"],) = arguments["loss"]
    for name in ("metrics", "loss_weights"):
        arguments.pop(name, None)
    about["format"] = 1
    save_file(tensors, tmp_path / "m", {"fastnn": json.dumps(about)})
    loaded = fnn.load(tmp_path / "m")
    x, y = rng.normal(size=(9, 4)), rng.integers(0, 3, 9)
    assert loaded.predict(x).tobytes() == model.predict(x).tobytes()
    assert loaded.evaluate(x, y) == model.evaluate(x, y)


def test_a_system_that_cannot_sync_folders_saves_all_the_same(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY")
    model = small()
    model.save(tmp_path / "m")
    assert weights_as_bytes(fnn.load(tmp_path / "m")) == weights_as_bytes(model)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"format": "x"}', '{"format": null}',
             '{"format": 1}', '{"format": 0}'],
)  # fmt: skip
def test_damaged_description(text, tmp_path):
    rewrite(tmp_path / "m", metadata={"fastnn": text})
    with pytest.raises(ValueError, match=r"path: the description in '.*/m' is damaged"):
        fnn.load(tmp_path / "m")


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("architecture"),
        lambda about: about.pop("compile"),
        lambda about: about.pop("step"),
        lambda about: about.update(step="many"),
        lambda about: about.update(dtype="float16"),
        lambda about: about.update(seed=-1),
        lambda about: about.update(kind=3),
        lambda about: about["architecture"].update(layers=[]),
        lambda about: about["architecture"].update(inputs=[]),
        lambda about: about["architecture"]["layers"][0].update(kind="convolution"),
        lambda about: about["architecture"]["layers"][0]["config"].update(units=0),
        lambda about: about["architecture"]["layers"][0]["config"].update(colour="red"),
        lambda about: about["architecture"]["layers"][0].update(config=None),
        lambda about: about["architecture"]["steps"][0].update(layer="none"),
        lambda about: about["architecture"]["inputs"][0].update(shape=[-4]),
        lambda about: about["architecture"]["inputs"][0].update(shape="four"),
        lambda about: about["compile"].update(loss={"name": "none"}),
        lambda about: about["compile"]["optimizer"].update(learning_rate="fast"),
        lambda about: about.update(compile="adam"),
    ],
)
def test_tampered_description(change, tmp_path):
    rewrite(tmp_path / "m", change_about=change)
    with pytest.raises(ValueError, match=r"path: .*'.*/m'"):
        fnn.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "array", "found"),
    [
        ("parameters/dense/kernel", np.zeros((6, 4), np.float32), r"of shape \(6, 4\)"),
        ("parameters/dense/bias", None, "missing"),
        ("optimizer/mean/dense/kernel", np.zeros(24, np.float32), r"of shape \(24,\)"),
        ("optimizer/variance/dense_1/bias", None, "missing"),
    ],
)
def test_tampered_tensors(name, array, found, tmp_path):
    def change(tensors):
        tensors.pop(name)
        if array is not None:
            tensors[name] = array

    rewrite(tmp_path / "m", change_tensors=change)
    with pytest.raises(ValueError, match=rf"path: tensor '{name}' of '.*/m' must be .*{found}"):
        fnn.load(tmp_path / "m")


def test_tensor_of_another_dtype(tmp_path):
    def change(tensors):
        tensors["parameters/dense/kernel"] = np.zeros((4, 6), np.int64)

    rewrite(tmp_path / "m", change_tensors=change)
    with pytest.raises(ValueError, match=r"tensor 'parameters/dense/kernel' of .* int64"):
        fnn.load(tmp_path / "m")


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_whole_models(duplicate, rng, tmp_path):
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    model = fnn.Sequential([fnn.Dense(5, "tanh"), fnn.Dropout(0.2), fnn.Dense(2)], seed=0)
    model.compile("adam", "mse")
    unbuilt = duplicate(model)
    model.fit(x, y, epochs=2, verbose=0)
    twin = duplicate(model)
    for one in (model, twin):
        one.fit(x, y, epochs=3, verbose=0)
    assert np.array_equal(twin.predict(x), model.predict(x))
    twin.save(tmp_path / "m.safetensors")
    assert np.array_equal(fnn.load(tmp_path / "m.safetensors").predict(x), model.predict(x))
    twin.set_weights([np.zeros_like(weights) for weights in twin.get_weights()])
    assert not twin.predict(x).any()
    assert model.predict(x).any()
    unbuilt.fit(x, y, verbose=0)


@pytest.mark.parametrize("setting", [("momentum", 0.9), ("use_ema", True)])
def test_what_could_not_be_loaded_is_not_saved(tmp_path, setting):
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    model.compile(fnn.SGD(0.1), "mse")
    path = tmp_path / "model.safetensors"
    model.save(path)
    before = path.read_bytes()
    setattr(model.optimizer, *setting)
    for save in (model.save, lambda path: pickle.dumps(model), lambda path: copy.copy(model)):
        with pytest.raises(RuntimeError, match="keeps other state than when compile was called"):
            save(path)
    assert path.read_bytes() == before
