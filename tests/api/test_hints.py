"""Names from Keras, PyTorch and scikit-learn, and typos: the error says what to write."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn.core import hints
from fastnn.core.elsewhere import ATTRIBUTES as ATTRIBUTES_ELSEWHERE
from fastnn.core.elsewhere import IN_MODULES, NEVER_CALLED

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
ATTRIBUTES = [name for owner, name in hints.ADVICE if owner == "Model" and name != "*"]


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
    assert dir(fnn) == sorted([*fnn.__all__, *fnn.estimators.__all__])
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


MODULES = {
    name: getattr(fnn, name) for name in (
        "losses", "metrics", "optimizers", "callbacks", "layers", "schedules", "initializers",
        "regularizers", "activations", "datasets",
    )
}  # fmt: skip


@pytest.mark.parametrize(("module", "name"), IN_MODULES)
def test_a_name_that_another_library_has_in_a_module_is_answered(module, name):
    owner = fnn if module == "fastnn" else MODULES[module.removeprefix("fastnn.")]
    for one in {owner} if name in dir(fnn) else {owner, fnn}:
        with pytest.raises(
            AttributeError, match=re.escape(f"'{name}': {IN_MODULES[module, name]}")
        ):
            getattr(one, name)


@pytest.mark.parametrize(
    ("module", "name", "hint"),
    [
        ("losses", "SparseCategoricalCrossentropy", "did you mean 'Crossentropy'"),
        ("losses", "BCEWithLogitsLoss", "did you mean 'BinaryCrossentropy'"),
        ("losses", "MeanSquareError", "did you mean 'MeanSquaredError'"),
        ("callbacks", "EarlyStoping", "did you mean 'EarlyStopping'"),
        ("schedules", "CosineDecayRestart", "did you mean 'CosineDecayRestarts'"),
        ("activations", "relu", "activations are given by name"),
        ("activations", "swish", "did you mean 'silu'"),
        ("initializers", "HeNorml", "did you mean 'HeNormal'"),
    ],
)
def test_a_name_that_a_module_lacks_leads_to_the_nearest_one(module, name, hint):
    with pytest.raises(AttributeError, match=hint):
        getattr(MODULES[module], name)


def test_what_python_asks_of_modules_is_not_answered():
    for module in (fnn, *MODULES.values()):
        assert not hasattr(module, "__wrapped__")
        with pytest.raises(AttributeError, match="has no attribute '_x'"):
            module._x  # noqa: B018


OBJECTS = {
    "Layer": fnn.Dense(3),
    "Optimizer": fnn.Adam(),
    "Schedule": fnn.schedules.CosineDecay(0.1, 10),
    "Callback": fnn.EarlyStopping(),
    "Loss": fnn.MeanSquaredError(),
    "Metric": fnn.metrics.Accuracy(),
    "History": fnn.History(),
    "Model": model(),
}


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES_ELSEWHERE)
def test_an_attribute_that_another_library_reads_is_answered(owner, name):
    advice = re.escape(ATTRIBUTES_ELSEWHERE[owner, name])
    with pytest.raises(AttributeError, match=f"no attribute '{name}': {advice}"):
        getattr(OBJECTS[owner], name)


def test_reading_what_optimizers_have_elsewhere_is_answered():
    for name, advice in (
        ("lr", "write learning_rate"),
        ("step", r"call model.apply_gradients\(\)"),
    ):
        with pytest.raises(AttributeError, match=f"Adam has no attribute '{name}': {advice}"):
            getattr(fnn.Adam(), name)


def test_an_error_of_a_property_is_kept():
    with pytest.raises(AttributeError, match="layer 'dense' has not been called on a tensor yet"):
        fnn.Dense(3).output  # noqa: B018

    class Mine(fnn.Layer):
        @property
        def weights(self):
            raise AttributeError("mine")

    with pytest.raises(AttributeError, match=r"^mine$"):
        Mine().weights  # noqa: B018
    with pytest.raises(AttributeError, match="'Dense' object has no attribute 'foo'"):
        fnn.Dense(3).foo  # noqa: B018


@pytest.mark.parametrize(
    ("name", "hint"),
    [("optimizer", r"model.compile\("), ("dtype", "constructor"), ("layers", r"model.add\(layer\)"),
     ("parameters", r"set_weights\(weights\)"), ("history", "fit")],
)  # fmt: skip
def test_what_only_a_method_changes_cannot_be_set(name, hint):
    with pytest.raises(AttributeError, match=f"Model.{name} cannot be set: .*{hint}"):
        setattr(model(), name, None)


def test_the_parentheses_of_parameters_are_explained():
    with pytest.raises(TypeError, match="leave out the parentheses"):
        fnn.Adam(model().parameters())


def test_a_layer_by_its_number_is_explained():
    with pytest.raises(TypeError, match="name must be a string, got 0: write index=0"):
        model().get_layer(0)


BASES = {
    "Model": fnn.Sequential,
    "Layer": fnn.Layer,
    "Optimizer": fnn.Adam,
    "Loss": fnn.MeanSquaredError,
    "Metric": fnn.metrics.F1,
    "Schedule": fnn.schedules.CosineDecay,
    "Initializer": fnn.initializers.Normal,
    "Regularizer": fnn.regularizers.L2,
}


@pytest.mark.parametrize(("owner", "name"), NEVER_CALLED)
def test_a_method_that_only_another_library_calls_is_refused(owner, name):
    with pytest.raises(TypeError, match=re.escape(f"is never called: {NEVER_CALLED[owner, name]}")):
        type("Mine", (BASES[owner],), {name: lambda self, *args: 0})
    assert type("Mine", (BASES[owner],), {name: 3})


def test_what_a_class_must_define_is_said():
    class Rates(fnn.schedules.Schedule):
        pass

    class Values(fnn.initializers.Initializer):
        pass

    class Formula(fnn.losses.Loss):
        pass

    class Steps(fnn.optimizers.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match=r"Rates must define rates\(self, steps\)"):
        Rates()(3)
    with pytest.raises(NotImplementedError, match=r"Values must define sample\(self, shape, gen"):
        fnn.Sequential([fnn.Dense(1, kernel_initializer=Values())], input_shape=(3,))
    made = model()
    made.compile("sgd", Formula())
    with pytest.raises(TypeError, match=r"Formula has no formula: use losses.Custom\(function"):
        made.fit(X, Y, verbose=0)
    with pytest.raises(TypeError, match="optimizer Steps has no formula"):
        model().compile(Steps(), "mse")


def test_a_model_without_its_ends_is_explained():
    class Net(fnn.Model):
        def __init__(self):
            super().__init__()

    with pytest.raises(TypeError, match=r"Model\(\) is missing inputs, outputs: give the tensors"):
        Net()
    with pytest.raises(TypeError, match=r"Model.fit\(\) is missing x"):
        model().fit()
    with pytest.raises(TypeError, match=r"Model.train_on_batch\(\) is missing y"):
        model().train_on_batch(X)


def test_too_many_positional_arguments_are_explained():
    with pytest.raises(
        TypeError, match=r"Sequential\(\) got 2 .* at most 1 \(layers\): give the la"
    ):
        fnn.Sequential(fnn.Dense(3), fnn.Dense(1))
    with pytest.raises(TypeError, match=r"summary\(\) got 1 positional arguments, it takes none"):
        model().summary(print)
    with pytest.raises(
        TypeError, match=r"evaluate\(\) got 4 .* it takes at most 3 \(x, y, sample_w"
    ):
        model().evaluate(X, Y, None, 32)


def test_names_in_an_error_about_outputs_are_those_of_outputs():
    x = fnn.Input((3,), name="x")
    two = fnn.Model(x, [fnn.Dense(1, name="a")(x), fnn.Dense(1, name="b")(x)])
    with pytest.raises(
        ValueError, match=r"output_gradient must .* by the names of the outputs \(a, b"
    ):
        two.gradients_of(X, output_gradient=np.ones((4, 1)))
