"""Names of inputs and of columns: remembered when a model is trained, and matched ever after."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from model_helpers import unchanged

import fastnn as fnn

pandas = pytest.importorskip("pandas")

NAMES = ["age", "height", "weight", "income"]
VALUES = np.random.default_rng(0).normal(size=(120, 4))
FRAME = pandas.DataFrame(VALUES, columns=NAMES)
LABELS = (VALUES[:, 0] > VALUES[:, 3]).astype(int)
OTHER_ORDER = FRAME[["income", "weight", "age", "height"]]


def trained(**options):
    model = fnn.Sequential([fnn.Dense(8, "tanh"), fnn.Dense(2)], seed=0)
    model.compile(fnn.Adam(0.02), "crossentropy", "accuracy")
    model.fit(FRAME, LABELS, epochs=20, verbose=0, **options)
    return model


def test_columns_are_taken_by_name():
    model = trained()
    assert model.feature_names == NAMES
    wanted = model.evaluate(FRAME, LABELS)
    assert wanted["accuracy"] > 0.9
    assert model.evaluate(OTHER_ORDER.to_numpy(), LABELS)["accuracy"] < 0.8  # by position
    assert model.evaluate(OTHER_ORDER, LABELS) == wanted
    np.testing.assert_array_equal(model.predict(OTHER_ORDER), model.predict(VALUES))
    for data in ((OTHER_ORDER, LABELS), (FRAME, LABELS)):
        history = model.fit(FRAME, LABELS, verbose=0, validation_data=data)
        assert history.history["val_loss"] == [model.evaluate(FRAME, LABELS)["loss"]]
    one, other = copy.deepcopy(model), copy.deepcopy(model)
    one.train_on_batch(FRAME, LABELS)
    other.train_on_batch(OTHER_ORDER, LABELS)
    np.testing.assert_array_equal(one.predict(VALUES), other.predict(VALUES))


@pytest.mark.parametrize("split", [0.25, 0.0])
def test_names_are_learnt_before_the_rows_are_split(split):
    assert trained(validation_split=split).feature_names == NAMES


RENAMED = FRAME.rename(columns={"age": "Age"})


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.predict(x),
        lambda model, x: model.evaluate(x, LABELS),
        lambda model, x: model.train_on_batch(x, LABELS),
        lambda model, x: model.fit(x, LABELS, verbose=0),
        lambda model, x: model.fit([(x, LABELS)], verbose=0),
        lambda model, x: model.fit(FRAME, LABELS, verbose=0, validation_data=(x, LABELS)),
        lambda model, x: model.fit(x, LABELS, verbose=0, validation_split=0.5),
        lambda model, x: model.predict_one(x.iloc[0]),
        lambda model, x: model.learn_one(dict(x.iloc[0]), 1),
        lambda model, x: model.diagnose(x, LABELS),
    ],
)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (RENAMED, "it lacks 'age' and also has 'Age'"),
        (FRAME[NAMES[:3]], "it lacks 'income'"),
        (FRAME.assign(extra=1.0), "it also has 'extra'"),
    ],
)
def test_missing_and_unknown_names_are_refused(call, x, message):
    model = trained()
    with unchanged(model), pytest.raises(ValueError, match=message):
        call(model, x)
    assert model.feature_names == NAMES


def test_a_name_that_is_there_twice_is_refused():
    twice = FRAME[[*NAMES, "age"]]
    with pytest.raises(ValueError, match="it repeats 'age'"):
        trained().predict(twice)


def test_names_are_kept_by_files_and_copies(tmp_path):
    model = trained()
    model.save(tmp_path / "m")
    for again in (
        fnn.load(tmp_path / "m"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert again.feature_names == NAMES
        np.testing.assert_array_equal(again.predict(OTHER_ORDER), model.predict(FRAME))


def test_names_may_be_set_and_forgotten():
    model = trained()
    model.feature_names = None
    assert model.predict(RENAMED).shape == (120, 2)
    model.feature_names = ["Age", *NAMES[1:]]
    np.testing.assert_array_equal(model.predict(RENAMED), model.predict(FRAME.to_numpy()))
    for names, message in (
        (NAMES[:2], "a name for each column"),
        ("abcd", "a name for each column"),
        (["a", "b", "c", "a"], "must be distinct"),
    ):
        with pytest.raises(ValueError, match=message):
            model.feature_names = names
    with pytest.raises(TypeError, match="must be strings"):
        model.feature_names = [1, 2, 3, 4]


def test_a_training_that_does_not_begin_teaches_nothing():
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(4,))
    model.compile("adam", "crossentropy")
    with pytest.raises(ValueError, match="class labels"):
        model.fit(FRAME, LABELS + 5, verbose=0)
    assert model.feature_names is None
    model.fit(VALUES, LABELS, verbose=0)
    assert model.feature_names is None
    model.predict(FRAME)
    assert model.feature_names is None


def test_frames_without_names_are_taken_by_position():
    model = trained()
    numbered = pandas.DataFrame(VALUES)
    np.testing.assert_array_equal(model.predict(numbered), model.predict(VALUES))


def test_columns_of_targets_are_matched_too():
    y = pandas.DataFrame({"low": VALUES[:, 0], "high": VALUES[:, 1]})
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(4,), seed=0)
    model.compile("adam", "mse")
    model.fit(VALUES, y, verbose=0)
    assert model.evaluate(VALUES, y[["high", "low"]]) == model.evaluate(VALUES, y)
    with pytest.raises(ValueError, match=r"y must have the columns .* it lacks 'low'"):
        model.evaluate(VALUES, y.rename(columns={"low": "lower"}))


def test_samples_by_name():
    model = trained()
    row = OTHER_ORDER.iloc[5]
    wanted = model.predict(VALUES[5:6])[0]
    np.testing.assert_array_equal(model.predict_one(row), wanted)
    np.testing.assert_array_equal(model.predict_one(dict(row)), wanted)
    one, other = copy.deepcopy(model), copy.deepcopy(model)
    for _ in range(3):
        assert one.learn_one(dict(row), 1) == other.learn_one(VALUES[5], 1)
    with pytest.raises(ValueError, match="lacks 'age'"):
        model.learn_one({"height": 1.0, "weight": 1.0, "income": 1.0}, 1)


def test_a_stream_of_dicts_teaches_the_names():
    model = fnn.Sequential([fnn.Dense(2)], seed=0)
    model.compile("adam", "crossentropy")
    model.learn_one({"a": 1.0, "b": 2.0}, 1)
    assert model.feature_names == ["a", "b"]
    np.testing.assert_array_equal(
        model.predict_one({"b": 2.0, "a": 1.0}), model.predict_one([1.0, 2.0])
    )


# --- several inputs -------------------------------------------------------------------------------

IMAGES, EXTRAS = VALUES, VALUES[:, :2] ** 2
TARGET = VALUES.sum(axis=1)


def two_inputs():
    image, extra = fnn.Input((4,), name="image"), fnn.Input((2,), name="extra")
    joined = fnn.Concatenate()([image, extra])
    model = fnn.Model([image, extra], fnn.Dense(1)(joined), seed=0)
    model.compile("adam", "mse")
    return model


BY_NAME = {"extra": EXTRAS, "image": IMAGES}
ROW = {"extra": EXTRAS[0], "image": IMAGES[0]}


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x, row: m.fit(x, TARGET, verbose=0, epochs=2).history,
        lambda m, x, row: m.fit(x, TARGET, verbose=0, validation_data=(x, TARGET)).history,
        lambda m, x, row: m.fit(x, TARGET, verbose=0, validation_split=0.3).history,
        lambda m, x, row: m.fit([(x, TARGET)] * 3, verbose=0).history,
        lambda m, x, row: m.evaluate(x, TARGET),
        lambda m, x, row: m.train_on_batch(x, TARGET),
        lambda m, x, row: m.predict(x).tolist(),
        lambda m, x, row: m.forward(x, training=True).tolist(),
        lambda m, x, row: m.predict_one(row).tolist(),
        lambda m, x, row: m.learn_one(row, 1.0),
    ],
)
def test_inputs_by_name(call):
    listed = [BY_NAME["image"], BY_NAME["extra"]], [ROW["image"], ROW["extra"]]
    assert call(two_inputs(), BY_NAME, ROW) == call(two_inputs(), *listed)
    for wrong in (
        {"image": IMAGES},
        {**BY_NAME, "more": EXTRAS},
        {"image": IMAGES, "Extra": EXTRAS},
    ):
        model = two_inputs()
        row = {name: part[0] for name, part in wrong.items()}
        with unchanged(model), pytest.raises(ValueError, match="x must have the entries image, ex"):
            call(model, wrong, row)


def test_one_input_by_name():
    model = fnn.Sequential([fnn.Dense(1)], seed=0)
    model.compile("adam", "mse")
    model.fit({"input": VALUES}, TARGET, verbose=0)
    np.testing.assert_array_equal(model.predict({"input": VALUES}), model.predict(VALUES))
    np.testing.assert_array_equal(
        model.predict_one({"input": VALUES[0]}), model.predict_one(VALUES[0])
    )
    with pytest.raises(ValueError, match="x must have the entries input, got x"):
        model.predict({"x": VALUES})


@pytest.mark.parametrize("form", ["table", "batch"])
def test_a_table_of_arrow_is_matched_by_name(form):
    arrow = pytest.importorskip("pyarrow")

    def made(names):
        table = arrow.table({name: FRAME[name].to_numpy() for name in names})
        return table if form == "table" else table.to_batches()[0]

    model = fnn.Sequential([fnn.Dense(8, "tanh"), fnn.Dense(2)], seed=0)
    model.compile(fnn.Adam(0.02), "crossentropy", "accuracy")
    history = model.fit(made(NAMES), arrow.array(LABELS), validation_split=0.2, verbose=0)
    assert model.feature_names == NAMES
    other = fnn.Sequential([fnn.Dense(8, "tanh"), fnn.Dense(2)], seed=0)
    other.compile(fnn.Adam(0.02), "crossentropy", "accuracy")
    assert other.fit(VALUES, LABELS, validation_split=0.2, verbose=0).history == history.history
    swapped = made(list(OTHER_ORDER.columns))
    np.testing.assert_array_equal(model.predict(swapped), model.predict(VALUES))
    with pytest.raises(ValueError, match="it lacks 'age'"):
        model.predict(made(NAMES[1:]))


def test_columns_of_arrow_that_are_not_numbers_are_named():
    arrow = pytest.importorskip("pyarrow")
    model = fnn.Sequential([fnn.Dense(1)], seed=0)
    texts = arrow.table({"a": ["x", "y"], "b": [1.0, 2.0]})
    with pytest.raises(TypeError, match="column 'a' of x must hold numbers, got dtype string"):
        model.predict(texts)
    with pytest.raises(ValueError, match="column 'a' of x has 1 missing value"):
        model.predict(arrow.table({"a": [1, None], "b": [1.0, 2.0]}))
    chunks = arrow.chunked_array([[True], [False]])
    whole = arrow.table(
        {"a": [1, 2], "b": chunks, "c": arrow.array([1, 2]).cast(arrow.decimal128(20))}
    )
    np.testing.assert_array_equal(model.predict(whole), model.predict([[1, 1, 1], [2, 0, 2]]))


def test_rows_of_a_table_of_arrow_are_held_out():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({name: FRAME[name].to_numpy() for name in NAMES})
    for options in ({}, {"shuffle": False}, {"stratify": True}):
        train, held = fnn.datasets.hold_out(table, LABELS, 0.2, seed=0, **options)
        want = fnn.datasets.hold_out(VALUES, LABELS, 0.2, seed=0, **options)
        for got, wanted in ((train, want[0]), (held, want[1])):
            np.testing.assert_array_equal(got[0].to_pandas().to_numpy(), wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])


def test_a_target_by_the_name_of_the_only_output():
    y = VALUES @ [1.0, 2.0, 3.0, 4.0]

    def model():
        made = fnn.Sequential([fnn.Dense(1, name="price")], input_shape=(4,), seed=0)
        made.compile("adam", "mse")
        return made

    named, plain = model(), model()
    named.fit({"input": VALUES}, {"price": y}, verbose=0, validation_data=(VALUES, {"price": y}))
    plain.fit(VALUES, y, verbose=0, validation_data=(VALUES, y))
    assert named.history.history == plain.history.history
    assert named.evaluate(VALUES, {"price": y}) == plain.evaluate(VALUES, y)
    assert named.train_on_batch(VALUES, {"price": y}) == plain.train_on_batch(VALUES, y)
    assert named.learn_one(VALUES[0], {"price": y[0]}) == plain.learn_one(VALUES[0], y[0])
    named.fit([(VALUES, {"price": y})], verbose=0)
    for call in (named.fit, named.evaluate, named.train_on_batch):
        with (
            unchanged(named),
            pytest.raises(ValueError, match="y must have the entries price, got"),
        ):
            call(VALUES, {"prise": y})
    with unchanged(named), pytest.raises(ValueError, match="y must have the entries price, got p"):
        named.learn_one(VALUES[0], {"prise": y[0]})


def test_the_ends_of_a_model_by_name():
    a, b = fnn.Input((2,), name="a"), fnn.Input((3,), name="b")
    out = fnn.Dense(1, name="out")(fnn.Concatenate()([a, b]))
    model = fnn.Model({"b": b, "a": a}, out, seed=0)
    assert [name for name, _ in model.input_shapes] == ["b", "a"]
    with pytest.raises(ValueError, match=r"inputs: the key 'x' must be the name of its input, 'a'"):
        fnn.Model({"x": a, "b": b}, out)
    with pytest.raises(
        TypeError, match="outputs must be a list, got a dict: the name of an output"
    ):
        fnn.Model([a, b], {"out": out})


@pytest.mark.parametrize("cell", ["tall", None])
def test_a_cell_of_a_sample_that_is_no_number_is_named(cell):
    model = trained()
    row = {**dict(FRAME.iloc[0]), "height": cell}
    with pytest.raises(TypeError, match=f"column 'height' of x must hold numbers, got {cell!r}"):
        model.predict_one(row)
    with unchanged(model), pytest.raises(TypeError, match="column 'height' of x must hold"):
        model.learn_one(row, 1)


def test_weights_that_are_text_are_called_so():
    model = trained()
    with unchanged(model), pytest.raises(TypeError, match=r"sample_weight .*, got list of text"):
        model.fit(VALUES, LABELS, sample_weight=["a"] * len(LABELS), verbose=0)
