"""Models with the precision mixed_bfloat16: what is rounded, what stays, and what keeps it."""

from __future__ import annotations

import copy
import pickle
import re
import warnings

import numpy as np
import pytest
from helpers import assert_same_bits
from program_cases import train_by_reference, train_natively

import fastnn as fnn
from fastnn.exchange import architecture
from fastnn.native import engine

MIXED = "mixed_bfloat16"

pytestmark = pytest.mark.filterwarnings("ignore:this processor, or the ISA in use")


def made(precision=MIXED, *, dtype="float32", units=(192, 130), optimizer="adam", seed=0):
    layers = [fnn.Dense(one, activation="relu") for one in units]
    model = fnn.Sequential([*layers, fnn.Dense(3)], input_shape=(300,), dtype=dtype, seed=seed)
    model.compile(optimizer, "crossentropy", precision=precision)
    return model


def data(rng, rows=70):
    x = rng.standard_normal((rows, 300)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def test_precision_is_what_compile_was_given_and_stays():
    model = made(None)
    assert model.precision == "float32"
    model.compile("sgd", "crossentropy", precision=MIXED)
    assert (model.precision, model.dtype) == (MIXED, "float32")
    model.compile("sgd", "crossentropy")
    assert model.precision == MIXED
    model.compile("sgd", "crossentropy", precision="float32")
    assert model.precision == "float32"


def test_precision_before_building(rng):
    x, y = data(rng)
    model = fnn.Sequential([fnn.Dense(192), fnn.Dense(3)], seed=0)
    model.compile("sgd", "crossentropy", precision=MIXED)
    model.fit(x, y, verbose=0)
    other = fnn.Sequential([fnn.Dense(192), fnn.Dense(3)], input_shape=(300,), seed=0)
    other.compile("sgd", "crossentropy", precision=MIXED)
    other.fit(x, y, verbose=0)
    assert model.precision == MIXED
    assert_same_bits(model.get_weights()[0], other.get_weights()[0])


def test_predictions_of_dtype_bfloat16_round_and_return_float32(rng):
    x, _ = data(rng)
    model, plain = made(None, dtype="bfloat16"), made(None)
    assert (model.precision, model.dtype) == (MIXED, "float32")
    assert all(view.dtype == np.float32 for view in model.parameters.values())
    got, exact = model.predict(x), plain.predict(x)
    assert got.dtype == np.float32
    assert (got != exact).any()
    np.testing.assert_allclose(got, exact, atol=0.03 * np.abs(exact).max())
    assert_same_bits(got, made(MIXED).predict(x), "the same as by compile")


def test_a_change_of_precision_is_seen_by_prepared_calls(rng):
    x, y = data(rng)
    model, plain = made(None), made(None)
    for rows in (1, 7, 70):
        model.predict(x[:rows])
    model.predict_one(x[0])
    model.compile("adam", "crossentropy", precision=MIXED)
    wanted = made(MIXED)
    for rows in (1, 7, 70):
        assert_same_bits(model.predict(x[:rows]), wanted.predict(x[:rows]), f"{rows} rows")
    assert_same_bits(model.predict_one(x[0]), wanted.predict_one(x[0]))
    assert model.train_on_batch(x, y) == wanted.train_on_batch(x, y)
    model.compile("adam", "crossentropy", precision="float32")
    plain.set_weights(model.get_weights())
    assert_same_bits(model.predict(x), plain.predict(x))


def test_a_row_has_the_same_bits_in_any_batch(rng):
    x, _ = data(rng, 600)
    model = made()
    wanted = model.predict(x)
    for rows in (1, 2, 5, 6, 7, 8, 9, 31, 513):
        assert_same_bits(model.predict(x[:rows]), wanted[:rows], f"{rows} rows")
    assert_same_bits(model.predict_one(x[3]), wanted[3])


@pytest.mark.parametrize("rows", [8, 9, 70, 200])
@pytest.mark.parametrize("units", [(192, 130), (128, 128), (700, 400)], ids=str)
def test_a_step_is_that_of_the_reference(units, rows, rng):
    """Rounding flips where both differ in a last bit, which is rare: so means are compared."""
    x, y = data(rng, rows)
    model, plain = made(units=units, optimizer="sgd"), made(None, units=units, optimizer="sgd")
    before = {"results": 0.0, "parameters": model.network.runtime.arenas["parameters"].copy()}
    wanted, without = train_by_reference(model, x, y), train_by_reference(plain, x, y)
    got = train_natively(model, x, y)
    for name, start in before.items():
        error = np.abs(got[name] - wanted[name]).mean()
        rounding = np.abs(without[name] - wanted[name]).mean()
        change = np.abs(wanted[name] - start).mean()
        assert error < 0.1 * rounding + 1e-6 * change, name
        assert 1e-6 < rounding / change < 0.05, name


def test_small_layers_and_what_is_no_product_stay_in_float32(rng, capsys):
    x = rng.standard_normal((40, 63)).astype(np.float32)
    layers = [fnn.Dense(512), fnn.Dense(63), fnn.Dense(64), fnn.Dense(255), fnn.Dense(256)]
    models = [
        fnn.Sequential(layers_, input_shape=(63,), seed=0, dtype=dtype)
        for layers_, dtype in ((layers[:4], "bfloat16"), (copy.deepcopy(layers[:4]), "float32"))
    ]
    assert_same_bits(*(model.predict(x) for model in models))
    model = fnn.Sequential(
        [fnn.Dense(64), fnn.Dense(256, name="large")], input_shape=(63,), dtype="bfloat16"
    )
    model.explain("predict")
    lines = [line for line in capsys.readouterr().out.splitlines() if "products" in line]
    assert [line.split()[1:] for line in lines] == [["large:", "products", "in", "bfloat16"]]


def test_a_sparse_input_is_not_rounded(rng):
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.random(50, 300, 0.1, "csr", np.float32, random_state=0)
    layer = [fnn.Dense(192)]
    model = fnn.Sequential(layer, input_shape=(300,), dtype="bfloat16", seed=0)
    plain = fnn.Sequential([fnn.Dense(192)], input_shape=(300,), seed=0)
    assert_same_bits(model.predict(x), plain.predict(x))


@pytest.mark.parametrize("copied", ["save", "deepcopy", "pickle", "clone_model"])
def test_copies_and_files_keep_the_precision(copied, rng, tmp_path):
    x, y = data(rng)
    model = made()
    model.fit(x, y, epochs=2, verbose=0)
    if copied == "save":
        model.save(tmp_path / "model.safetensors")
        other = fnn.load(tmp_path / "model.safetensors")
    elif copied == "clone_model":
        other = fnn.clone_model(model)
        other.set_weights(model.get_weights())
    else:
        other = copy.deepcopy(model) if copied == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert (other.precision, other.dtype) == (MIXED, "float32")
    assert_same_bits(other.predict(x), model.predict(x))
    if copied != "clone_model":
        for one in (model, other):
            one.fit(x, y, epochs=2, verbose=0, shuffle=False)
        assert_same_bits(other.get_weights()[0], model.get_weights()[0])


def test_a_training_is_resumed_only_with_its_precision(rng, tmp_path):
    x, y = data(rng)
    backup = fnn.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    whole, first, second, other = made(), made(), made(), made("float32")
    whole.fit(x, y, epochs=4, verbose=0)
    first.fit(x, y, epochs=2, verbose=0, callbacks=[backup])
    path = next((tmp_path / "backup").glob("*.safetensors"))
    second.fit(x, y, epochs=4, verbose=0, resume_from=path)
    assert_same_bits(second.get_weights()[0], whole.get_weights()[0])
    with pytest.raises(ValueError, match=r"dtype.*float32.*bfloat16|dtype.*bfloat16.*float32"):
        other.fit(x, y, epochs=4, verbose=0, resume_from=path)


def test_workers_give_the_same_bits(rng, team):
    x, y = data(rng, 300)
    weights = []
    for count in (1, 2, 3):
        team(count)
        model = made(units=(256, 256))
        model.fit(x, y, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for other in weights[1:]:
        for one, wanted in zip(other, weights[0], strict=True):
            assert_same_bits(one, wanted)


def test_training_learns_as_well_as_in_float32():
    x, y = fnn.datasets.load_digits()
    x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]
    found = []
    for precision in ("float32", MIXED):
        layers = [
            fnn.Dense(256, activation="relu"),
            fnn.Dense(256, activation="relu"),
            fnn.Dense(10),
        ]
        model = fnn.Sequential(layers, input_shape=(64,), seed=0)
        model.compile("adam", "crossentropy", metrics=["accuracy"], precision=precision)
        model.fit(x_train, y_train, epochs=15, verbose=0)
        found.append(model.evaluate(x_test, y_test, verbose=0)["accuracy"])
    assert found[0] > 0.9
    assert found[1] > found[0] - 0.01


@pytest.mark.parametrize(
    ("dtype", "precision", "allowed"),
    [
        ("float32", "bfloat16", "'float32' or 'mixed_bfloat16'"),
        ("float32", "float64", "'float32' or 'mixed_bfloat16'"),
        ("float32", 16, "'float32' or 'mixed_bfloat16'"),
        ("float32", np.dtype("float32"), "'float32' or 'mixed_bfloat16'"),
        ("float64", np.dtype("float64"), "'float64'"),
        ("float32", np.array(MIXED), "'float32' or 'mixed_bfloat16'"),
        ("float32", np.zeros(2), "'float32' or 'mixed_bfloat16'"),
        ("float64", MIXED, "'float64'"),
    ],
)
def test_other_precisions_are_refused_before_anything_changes(dtype, precision, allowed):
    model = made(None, dtype=dtype)
    optimizer = model.optimizer
    got = re.escape(repr(precision))
    with pytest.raises(ValueError, match=f"^precision must be {allowed} for .*got {got}"):
        model.compile("sgd", "crossentropy", precision=precision)
    assert model.optimizer is optimizer
    assert model.precision == dtype


def test_a_model_says_its_precision(capsys):
    model = made()
    assert repr(model).endswith("float32 (mixed_bfloat16)>")
    assert repr(made(None)).endswith("float32>")
    model.summary()
    assert "mixed_bfloat16" in capsys.readouterr().out
    with pytest.raises(
        AttributeError, match=r"cannot be set: call model.compile\(.*precision=...\)"
    ):
        model.precision = "float32"
    with pytest.raises(ValueError, match="did you mean 'mixed_bfloat16'"):
        model.compile("adam", "mse", precision="bf16")


@pytest.mark.parametrize("copied", ["save", "deepcopy", "clone_model"])
@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float32", "bfloat16")], ids=str)
def test_copies_and_files_keep_the_precision_of_each_model(dtypes, copied, rng, tmp_path):
    x, _ = data(rng)
    inner = fnn.Sequential([fnn.Dense(192)], input_shape=(300,), dtype=dtypes[0], name="inner")
    model = fnn.Sequential([inner, fnn.Dense(130)], dtype=dtypes[1], seed=0)
    if copied == "save":
        model.save(tmp_path / "model.safetensors")
        other = fnn.load(tmp_path / "model.safetensors")
    elif copied == "deepcopy":
        other = copy.deepcopy(model)
    else:
        other = fnn.clone_model(model)
        other.set_weights(model.get_weights())
    for one, another in ((model, other), (inner, other.layers[0])):
        assert another.precision == one.precision
        assert_same_bits(another.predict(x), one.predict(x))


def test_a_float64_part_of_a_float32_file_is_refused(tmp_path):
    inner = fnn.Sequential([fnn.Dense(5)], input_shape=(4,), dtype="bfloat16", name="inner")
    model = fnn.Sequential([inner, fnn.Dense(2)])
    about = architecture.describe(model.network)
    assert about["models"]["inner"]["dtype"] == "bfloat16"
    for wrong in ("float64", "bfloat17", 5, ["float32"]):
        about["models"]["inner"]["dtype"] = wrong
        with pytest.raises(fnn.FormatError, match="a model in one of dtype 'float32' has another"):
            architecture.restore(about, "Sequential", ("float32", 0), {}, lambda *_, **__: None)


def test_rounding_to_infinity_is_told_of_by_the_layer(rng):
    x, y = data(rng)
    model = made(optimizer="sgd")
    model.layers[0].set_weights([np.full((300, 192), 3.4e38, np.float32), np.zeros(192, "f4")])
    with pytest.raises(fnn.NonFiniteLossError, match="'dense'"):
        model.fit(np.zeros_like(x), y, verbose=0)


def test_emulation_is_warned_of_where_something_is_emulated(rng, monkeypatch):
    x, _ = data(rng)
    monkeypatch.setattr(engine, "HAS_BFLOAT16", False)
    with pytest.warns(UserWarning, match="no instructions for bfloat16") as caught:
        made().predict(x)
    assert caught[0].filename == __file__
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = made()
        model.fit(*data(rng), validation_split=0.2, verbose=0)
        model.predict(x)
        model.profile(*data(rng), batch_size=8)
    assert len(caught) == 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made().diagnose(*data(rng), batch_size=8)
    assert {one.filename for one in caught} == {__file__}  # also from a cached_property
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(engine, "HAS_BFLOAT16", True)
        made().predict(x)
        monkeypatch.setattr(engine, "HAS_BFLOAT16", False)
        made(units=(20,)).predict(x)  # with nothing to round


def test_gradients_are_checked_in_float64_without_rounding(rng):
    x, y = data(rng, 5)
    layers = [fnn.Dense(80, activation="tanh"), fnn.Dense(210, activation="tanh"), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(300,), dtype="bfloat16", seed=0)
    model.compile("adam", "crossentropy")
    assert fnn.gradcheck(model, x, y)
