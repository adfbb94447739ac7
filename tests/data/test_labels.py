"""Classes that are strings or categories."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from model_helpers import unchanged

import fastnn as fnn

pandas = pytest.importorskip("pandas")

X = np.random.default_rng(0).normal(size=(150, 2))
NUMBERS = np.digitize(X[:, 0], [-0.4, 0.4])
WORDS = np.array(["low", "middle", "high"])[NUMBERS]
ORDER = ["high", "low", "middle"]  # sorted


def classifier(units=3, loss="crossentropy", **options):
    model = fnn.Sequential([fnn.Dense(16, "tanh"), fnn.Dense(units)], input_shape=(2,), seed=0)
    model.compile(fnn.Adam(0.03), loss, **options)
    return model


FORMS = {
    "array": WORDS,
    "list": WORDS.tolist(),
    "column": WORDS[:, np.newaxis],
    "objects": WORDS.astype(object),
    "bytes": WORDS.astype("S"),
    "series": pandas.Series(WORDS),
    "series of objects": pandas.Series(WORDS, dtype=object),
    "frame": pandas.DataFrame({"class": WORDS}),
    "category": pandas.Series(WORDS).astype("category"),
}


@pytest.mark.parametrize("form", FORMS)
def test_words_train_as_the_numbers_they_stand_for(form):
    y = FORMS[form]
    numbers = np.searchsorted(ORDER, WORDS)
    model, other = classifier(metrics="accuracy"), classifier(metrics="accuracy")
    wanted = other.fit(X, numbers, epochs=20, verbose=0, validation_split=0.2)
    history = model.fit(X, y, epochs=20, verbose=0, validation_split=0.2)
    assert history.history == wanted.history
    assert model.classes == ORDER
    assert model.evaluate(X, y) == other.evaluate(X, numbers)
    said = model.predict_classes(X)
    assert said.shape == (150,)
    assert (said == np.array(ORDER)[other.predict(X).argmax(axis=1)]).all()
    assert np.mean(said == WORDS) == pytest.approx(model.evaluate(X, y)["accuracy"])
    assert model.train_on_batch(X[:7], y[:7]) == other.train_on_batch(X[:7], numbers[:7])
    assert model.learn_one(X[0], WORDS[0]) == other.learn_one(X[0], numbers[0])


def test_categories_keep_their_order():
    sizes = pandas.CategoricalDtype(["low", "middle", "high"], ordered=True)
    model = classifier()
    model.fit(X, pandas.Series(WORDS).astype(sizes), verbose=0)
    assert model.classes == ["low", "middle", "high"]


@pytest.mark.parametrize("end", ["sigmoid", None])
def test_two_words_for_binary_crossentropy(end):
    words = np.where(X[:, 0] > 0, "yes", "no")
    model = fnn.Sequential([fnn.Dense(1, end)], input_shape=(2,), seed=0)
    model.compile(fnn.Adam(0.1), "binary_crossentropy", "accuracy")
    model.fit(X, words, epochs=20, verbose=0)
    assert model.classes == ["no", "yes"]
    assert np.mean(model.predict_classes(X) == words) == model.evaluate(X, words)["accuracy"] > 0.9


def test_classes_are_kept_by_files_and_copies(tmp_path):
    model = classifier()
    model.fit(X, WORDS, epochs=5, verbose=0)
    model.save(tmp_path / "m")
    for again in (
        fnn.load(tmp_path / "m"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert again.classes == ORDER
        assert (again.predict_classes(X) == model.predict_classes(X)).all()
        assert again.fit(X, WORDS, verbose=0).history["loss"][0] > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda model, y: model.evaluate(X, y),
        lambda model, y: model.fit(X, y, verbose=0),
        lambda model, y: model.train_on_batch(X, y),
        lambda model, y: model.fit([(X, y)], verbose=0),
        lambda model, y: model.fit(X, WORDS, verbose=0, validation_data=(X, y)),
        lambda model, y: model.learn_one(X[3], y[3]),
    ],
)
def test_unknown_labels_are_refused(call):
    model = classifier()
    model.fit(X, WORDS, verbose=0)
    other = WORDS.astype(object)
    other[3] = "huge"
    with unchanged(model), pytest.raises(ValueError, match="y holds the label 'huge'"):
        call(model, other)
    other[3] = None
    with (
        unchanged(model),
        pytest.raises((ValueError, TypeError), match=r"y (holds a missing|must)"),
    ):
        call(model, other)
    with unchanged(model), pytest.raises(TypeError, match="y must hold the labels that the model"):
        call(model, NUMBERS)


def test_the_number_of_classes_must_be_that_of_the_outputs():
    for units in (2, 4):
        model = classifier(units)
        with unchanged(model), pytest.raises(ValueError, match="y holds 3 different labels"):
            model.fit(X, WORDS, verbose=0)
        assert model.classes is None
    with pytest.raises(TypeError, match="y must hold numbers for loss 'mse', got text"):
        classifier(1, "mse").fit(X, WORDS, verbose=0)


def test_batches_need_classes_that_are_set():
    batches = [(X[:20], WORDS[:20]), (X[20:], WORDS[20:])]
    model = classifier()
    with pytest.raises(ValueError, match=r"set model\.classes to the list of them"):
        model.fit(batches, verbose=0)
    model.classes = ORDER
    other = classifier()
    numbered = [(x, np.searchsorted(ORDER, y)) for x, y in batches]
    assert model.fit(batches, verbose=0).history == other.fit(numbered, verbose=0).history


def test_classes_may_be_numbers():
    model = classifier()
    model.classes = [10, 20, 50]
    history = model.fit(X, np.array([10, 20, 50])[NUMBERS], verbose=0, epochs=3)
    assert history.history == classifier().fit(X, NUMBERS, verbose=0, epochs=3).history
    assert set(model.predict_classes(X)) <= {10, 20, 50}
    with pytest.raises(ValueError, match="y holds the label 3"):
        model.evaluate(X, np.full(150, 3))


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (["a", "b"], ValueError, "classes must be 3 labels"),
        (["a", "b", "a"], ValueError, "classes must be distinct"),
        ([0.5, 1.5, 2.5], TypeError, "classes must be strings or integers"),
        ("abc", TypeError, "classes must be a list of labels"),
    ],
)
def test_bad_classes(classes, error, message):
    model = classifier()
    with unchanged(model), pytest.raises(error, match=message):
        model.classes = classes


def test_predict_classes_of_numbers():
    model = classifier()
    model.fit(X, NUMBERS, epochs=3, verbose=0)
    said = model.predict_classes(X)
    assert said.dtype == np.int64
    np.testing.assert_array_equal(said, model.predict(X).argmax(axis=1))
    for loss, end, threshold in (
        ("binary_crossentropy", "sigmoid", 0.5),
        ("binary_crossentropy", None, 0.0),
        ("mse", None, 0.5),
    ):
        one = fnn.Sequential([fnn.Dense(1, end)], input_shape=(2,), seed=0)
        one.compile("adam", loss)
        np.testing.assert_array_equal(one.predict_classes(X), one.predict(X)[:, 0] > threshold)
    several = fnn.Sequential([fnn.Dense(3, "sigmoid")], input_shape=(2,), seed=0)
    several.compile("adam", "binary_crossentropy")
    np.testing.assert_array_equal(several.predict_classes(X), several.predict(X) > 0.5)
    signs = fnn.Sequential([fnn.Dense(1)], input_shape=(2,), seed=0)
    signs.compile("adam", "hinge")
    np.testing.assert_array_equal(signs.predict_classes(X), np.sign(signs.predict(X)[:, 0]))
    with pytest.raises(RuntimeError, match="call compile"):
        fnn.Sequential([fnn.Dense(1)], input_shape=(2,)).predict_classes(X)


def test_classes_of_several_outputs():
    x = fnn.Input((2,))
    model = fnn.Model(x, [fnn.Dense(3, name="size")(x), fnn.Dense(1, name="sign")(x)], seed=0)
    model.compile("adam", {"size": "crossentropy", "sign": "binary_crossentropy"})
    signs = np.where(X[:, 1] > 0, "plus", "minus")
    model.fit(X, {"size": WORDS, "sign": signs}, verbose=0)
    assert model.classes == [ORDER, ["minus", "plus"]]
    sizes, said = model.predict_classes(X)
    assert set(sizes) <= set(ORDER)
    assert set(said) <= {"minus", "plus"}


def test_class_weights_by_label():
    one, other = classifier(), classifier()
    history = one.fit(X, WORDS, class_weight={"low": 3.0}, verbose=0)
    numbers = np.searchsorted(ORDER, WORDS)
    assert history.history == other.fit(X, numbers, class_weight={1: 3.0}, verbose=0).history
    with pytest.raises(ValueError, match=r"class_weight must be for classes .*, got 'huge'"):
        one.fit(X, WORDS, class_weight={"huge": 3.0}, verbose=0)


def test_another_head_has_other_classes():
    model = classifier()
    model.fit(X, WORDS, verbose=0)
    for words in (["no", "yes"], ["a", "b", "c"], ["d", "e", "f"]):  # fewer, more, as many
        model.pop()
        model.add(fnn.Dense(len(words)))
        model.compile("adam", "crossentropy")
        assert model.classes is None
        y = np.array(words)[np.arange(len(X)) % len(words)]
        model.fit(X, y, verbose=0)
        assert model.classes == words
        assert set(model.predict_classes(X)) <= set(words)


def test_classes_of_another_loss_are_forgotten():
    model = classifier(2)
    model.fit(X, np.where(NUMBERS, "some", "none"), verbose=0)
    assert model.classes == ["none", "some"]
    model.compile("adam", "mse")
    assert model.classes is None
    assert model.predict_classes(X).dtype == np.int64


@pytest.mark.parametrize(
    "form", [pandas.Categorical, pandas.CategoricalIndex, lambda *args, **kw: pandas.Series(
        pandas.Categorical(*args, **kw))],
    ids=["categorical", "index", "series"],
)  # fmt: skip
def test_categories_keep_their_order_without_a_series(form):
    model = classifier()
    model.fit(X, form(WORDS, categories=["middle", "low", "high"]), verbose=0)
    assert model.classes == ["middle", "low", "high"]
    model = classifier()
    model.fit(X, form(NUMBERS + 5, categories=[7, 5, 6]), verbose=0)
    assert model.classes == [7, 5, 6]


def test_labels_of_arrow():
    arrow = pytest.importorskip("pyarrow")
    array = arrow.array(WORDS.tolist())
    for form in (
        array, array.dictionary_encode(), arrow.chunked_array([array]), arrow.table({"y": array}),
    ):  # fmt: skip
        model = classifier()
        model.fit(X, form, verbose=0, validation_split=0.2)
        assert model.classes == ORDER


def test_an_enum_of_polars_keeps_its_order():
    polars = pytest.importorskip("polars")
    model = classifier()
    model.fit(X, polars.Series(WORDS, dtype=polars.Enum(["middle", "low", "high"])), verbose=0)
    assert model.classes == ["middle", "low", "high"]


@pytest.mark.parametrize("is_built", [False, True])
def test_what_looks_ahead_takes_labels_and_forgets_them(is_built):
    layers = [fnn.Dense(16, "tanh"), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(2,) if is_built else None, seed=0)
    model.compile(fnn.Adam(0.03), "crossentropy", "accuracy")
    twin = copy.deepcopy(model)
    with pytest.raises(ValueError, match="y holds 4 different labels"):
        model.find_learning_rate(X, ["a", "b", "c", "d"] * 37 + ["a", "b"])
    found = model.find_learning_rate(X, WORDS, steps=40)
    assert not model.diagnose(X, WORDS).findings
    assert model.classes is None
    numbers = np.searchsorted(ORDER, WORDS)
    assert np.array_equal(found.losses, twin.find_learning_rate(X, numbers, steps=40).losses)
    assert model.fit(X, WORDS, verbose=0).history == twin.fit(X, WORDS, verbose=0).history
