"""Names from Keras, PyTorch and scikit-learn, and typos: the error says what to write."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn.core import hints

X, Y = np.zeros((4, 3)), np.zeros(4)


def model():
    made = fnn.Sequential([fnn.Dense(1)], input_shape=(3,), seed=0)
    made.compile("sgd", "mse")
    return made


CALLS = {
    "Model.fit": lambda m, name: m.fit(X, Y, **{name: 1}),
    "Model.predict": lambda m, name: m.predict(X, **{name: 1}),
    "Model.evaluate": lambda m, name: m.evaluate(X, Y, **{name: 1}),
    "Model.compile": lambda m, name: m.compile("sgd", "mse", **{name: 1}),
}
ARGUMENTS = [key for key in hints.ADVICE if key[0] in CALLS]
ATTRIBUTES = [name for owner, name in hints.ADVICE if owner == "Model"]


@pytest.mark.parametrize(("owner", "name"), ARGUMENTS)
def test_every_argument_of_the_table_is_answered_with_its_hint(owner, name):
    advice = re.escape(hints.ADVICE[owner, name])
    with pytest.raises(TypeError, match=rf"{owner}\(\) .* argument '{name}': {advice}"):
        CALLS[owner](model(), name)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_of_the_table_is_answered_with_its_hint(name):
    with pytest.raises(AttributeError, match=re.escape(hints.ADVICE["Model", name])):
        getattr(model(), name)


def test_the_table_says_nothing_of_what_there_is():
    assert not [name for name in ATTRIBUTES if hasattr(fnn.Model, name)]
    assert len(ARGUMENTS) > 20
    assert len(ATTRIBUTES) > 30


def test_a_misspelt_argument_leads_to_the_nearest_one():
    with pytest.raises(TypeError, match=r"'epoch'; did you mean 'epochs'\? \(its arguments are x,"):
        model().fit(X, Y, epoch=3)
    with pytest.raises(TypeError, match=r"Sequential\(\) .* 'inputshape'; did you mean 'input_sh"):
        fnn.Sequential([fnn.Dense(1)], inputshape=(3,))
    x = fnn.Input((3,))
    with pytest.raises(TypeError, match=r"Model\(\) .* 'output'; did you mean 'outputs'\?"):
        fnn.Model(x, output=fnn.Dense(1)(x))


@pytest.mark.parametrize("name", ["trainble", "stop_trainig", "foo", "trainables", "lr"])
def test_what_nothing_reads_cannot_be_set(name):
    with pytest.raises(AttributeError, match=f"Model has no attribute '{name}'"):
        setattr(model(), name, 1)


def test_a_class_of_ones_own_keeps_what_it_likes_but_slips():
    class Mine(fnn.Sequential):
        def __init__(self, layers):
            super().__init__(layers, input_shape=(3,), seed=0)
            self.notes = "mine"

    mine = Mine([fnn.Dense(1)])
    mine.later = 3
    assert (mine.notes, mine.later) == ("mine", 3)
    for name in ("trainble", "stop_trainin"):
        with pytest.raises(AttributeError, match=f"'{name}'"):
            setattr(mine, name, True)


def test_a_misspelt_attribute_leads_to_the_nearest_one():
    with pytest.raises(AttributeError, match=r"'parameter'; did you mean 'parameters'\?"):
        _ = model().parameter
    assert not hasattr(model(), "__array_interface__")


def test_copies_and_pickles_do_not_meet_the_hints():
    for again in (copy.copy(model()), copy.deepcopy(model()), pickle.loads(pickle.dumps(model()))):
        np.testing.assert_array_equal(again.predict(X), model().predict(X))
    waiting = pickle.loads(pickle.dumps(fnn.Sequential([fnn.Dense(1)], seed=0)))
    assert waiting.predict(X).shape == (4, 1)


def test_dir_shows_what_is_public_and_nothing_else():
    assert dir(fnn) == sorted(fnn.__all__)
    assert all(hasattr(fnn, name) for name in dir(fnn))


def test_a_model_says_what_it_is():
    assert repr(model()) == "<Sequential of 1 layer, (3,) to (1,), 4 parameters, float32>"
    assert repr(fnn.Sequential([fnn.Dense(1)])) == "<Sequential of 1 layer, not built yet>"
    assert repr(model().network).startswith("<Network of 1 layer, 4 parameters")


def test_an_axis_that_changes_nothing_is_taken():
    for cls in (fnn.BatchNormalization, fnn.LayerNormalization):
        assert cls(axis=-1).config() == cls().config()
        with pytest.raises(TypeError, match="unexpected keyword argument 'axis': leave it out"):
            cls(axis=0)
