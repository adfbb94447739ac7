"""Classes declared by fields: constructors, checks, `repr`, `config`, and unknown names.

The registries are enumerated, so a new class is tested as soon as it is registered.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn.core import declare, hints
from fastnn.core.declare import Declared

REGISTRIES = {
    "activation": fnn.activations,
    "initializer": fnn.initializers,
    "layer": fnn.layers,
    "loss": fnn.losses,
    "metric": fnn.metrics,
    "optimizer": fnn.optimizers,
    "regularizer": fnn.regularizers,
    "schedule": fnn.schedules,
}
# Arguments that constructors require.
NEEDED = {
    "Dense": {"units": 3},
    "Dropout": {"rate": 0.25},
    "Activation": {"activation": "tanh"},
    "ParametricActivation": {"activation": "tanh"},
    "Columns": {"start": 0, "stop": 9},
    "Reshape": {"target_shape": (2, -1)},
    "Embedding": {"input_dim": 7, "output_dim": 2},
    "CategoryEncoding": {"num_tokens": 7},
    "MemberScale": {"members": 4},
    "MemberDense": {"units": 3, "members": 4},
    "Rescaling": {"scale": 0.5},
    "PiecewiseConstantDecay": {"boundaries": (5, 9), "values": (0.3, 0.2, 0.1)},
    "WarmUp": {"schedule": 0.1, "steps": 4},
    "OneCycle": {"max_learning_rate": 0.1, "total_steps": 9},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 9},
    "Constant": {"learning_rate": 0.1},
    "StepDecay": {"initial_learning_rate": 0.1, "decay_steps": 9},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 9},
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 9},
    "CosineLogCycles": {"initial_learning_rate": 0.1, "decay_steps": 9},
    "FlatCosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 9},
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 9, "decay_rate": 0.5},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 9, "decay_rate": 0.5},
}
# Arguments that other values of a field require.
WITH = {
    ("Uniform", "minimum"): {"maximum": 9.0},
    ("CosineDecay", "warmup_steps"): {"warmup_target": 0.2},
}


def classes():
    found = {}
    for kind, module in REGISTRIES.items():
        if kind == "activation":
            continue
        for name in module.registry:
            cls = module.registry[name]
            found[f"{kind} {cls.__name__}"] = cls
    return found


CLASSES = classes()
every_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)


def needed(cls):
    if cls is fnn.initializers.Constant:
        return {}
    if cls is fnn.Residual:
        return {"block": [fnn.Dense(3)]}
    return copy.deepcopy(NEEDED.get(cls.__name__, {}))


def made(cls, **others):
    return cls(**{**needed(cls), **others})


def with_another(cls, name):
    """An instance whose field has a value other than the default."""
    others = WITH.get((cls.__name__, name), {})
    return made(cls, **others, **{name: accepted(cls.fields()[name])})


def numbers(cls):
    """Fields that are numbers."""
    return {name: field for name, field in cls.fields().items() if field.bounds}


def accepted(field):
    """A valid number for a field other than its default."""
    low, high = field.bounds.get("least"), field.bounds.get("below", np.inf)
    if "below" not in field.bounds:
        return low + 3
    middle = 0.375 if np.isinf(high) else (max(low, 0) + high) * 0.375
    return max(low, 0) + middle


def test_a_class_without_a_test_cannot_be():
    assert len(CLASSES) > 60
    assert all(issubclass(cls, Declared) for cls in CLASSES.values())
    for cls in CLASSES.values():
        required = {name for name, field in cls.fields().items()
                    if field.default is declare.REQUIRED}  # fmt: skip
        assert required == set(needed(cls)), cls


# --- constructors ---------------------------------------------------------------------------------


@every_class
def test_arguments_by_position_and_by_keyword_are_the_same(cls):
    one = made(cls)
    positional = [
        getattr(one, name)
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    assert cls(*positional).config() == one.config()
    assert vars(one).keys() >= cls.fields().keys()


@every_class
def test_the_signature_is_that_of_the_fields(cls):
    parameters = inspect.signature(cls).parameters
    assert list(parameters) == list(cls.fields())
    for name, field in cls.fields().items():
        is_required = parameters[name].default is inspect.Parameter.empty
        assert is_required == (field.default is declare.REQUIRED)
        assert is_required or parameters[name].default == field.default
    bound = inspect.signature(cls).bind(**needed(cls))
    assert cls(*bound.args, **bound.kwargs).config().keys() == made(cls).config().keys()


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (fnn.Huber, ["delta"]),
        (fnn.Dense, ["units", "activation"]),
        (fnn.BatchNormalization, ["momentum", "epsilon"]),
        (fnn.LayerNormalization, ["epsilon"]),
        (fnn.AdamW, ["learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad"]),
        (fnn.LBFGS, ["memory", "tolerance_gradient", "tolerance_change"]),
        (fnn.PReLU, ["alpha_initializer"]),
        (fnn.CSVLogger, ["filename", "separator", "append"]),
        (fnn.Diagnose, ["every"]),
        (fnn.EarlyStopping, ["monitor"]),
        (fnn.LearningRateScheduler, ["schedule"]),
        (fnn.ModelCheckpoint, ["filepath", "monitor"]),
        (fnn.Recorder, ["rows"]),
        (
            fnn.ReduceLROnPlateau,
            ["monitor", "factor", "patience", "mode", "min_delta", "cooldown", "min_lr"],
        ),
        (fnn.TensorBoard, ["log_dir", "histogram_freq"]),
        (fnn.TerminateOnNaN, []),
        (fnn.TerminateOnSmallGradient, ["tolerance"]),
        (fnn.TerminateOnSmallImprovement, ["monitor"]),
        (fnn.TerminateOnValue, ["monitor", "value"]),
    ],
)
def test_positional_arguments_are_these(cls, expected):
    parameters = inspect.signature(cls).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == expected


@every_class
def test_too_many_arguments_or_the_same_twice(cls):
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\(\) takes .* positional argument"):
        cls(*range(20))
    name = next(iter(cls.fields()), None)
    if name is None or cls.fields()[name].kw_only:
        return
    with pytest.raises(TypeError, match=rf"{cls.__name__}\(\) got multiple values for .*{name}"):
        cls(getattr(made(cls), name), **{**needed(cls), name: None})


@every_class
def test_a_missing_argument_is_named(cls):
    for name in needed(cls):
        others = {key: value for key, value in needed(cls).items() if key != name}
        with pytest.raises(TypeError, match=f"is missing the argument '{name}' .its arguments"):
            cls(**others)


@every_class
def test_a_misspelt_argument_is_answered_with_the_nearest(cls):
    for name, field in cls.fields().items():
        misspelt = name[:-2] + name[-1] if len(name) > 3 else name + "x"
        if misspelt in cls.fields() or hints.advice(cls, misspelt):
            continue
        with pytest.raises(TypeError) as caught:
            made(cls, **{misspelt: field.default})
        assert f"{cls.__name__}() got an unexpected keyword argument {misspelt!r}" in str(
            caught.value
        )
        assert f"did you mean {hints.nearest(misspelt, cls.fields())!r}?" in str(caught.value)
        assert ", ".join(cls.fields()) in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Adam(lr=1e-3), "Adam() got an unexpected keyword argument 'lr': write learn"),
        (lambda: fnn.Dense(10, activaton="relu"), "'activaton'; did you mean 'activation'? ("),
        (lambda: fnn.BatchNormalization(axis=0), "'axis': leave it out: each input is normalized"),
        (lambda: fnn.Crossentropy(from_logits=True), "'from_logits': leave it out: the loss tak"),
        (lambda: fnn.Dense(10, input_shape=(4,)), "'input_shape': give it to the model, Seq"),
        (lambda: fnn.losses.get({"name": "huber", "dleta": 1}), "'dleta'; did you mean 'delta'?"),
        (lambda: fnn.optimizers.get({"name": "sgd", "lr": 1}), "SGD() got an unexpected keyword"),
        (lambda: fnn.metrics.ROCAUC(curve="PR"), "'curve' (it takes no arguments)"),
        (lambda: fnn.SGD(kernel="adam"), "'kernel' (its arguments are learning_rate, momentum"),
        (lambda: fnn.Dense(3, learning_rate_factor=1.0), "'learning_rate_factor' (its argum"),
    ],
)  # fmt: skip
def test_arguments_of_other_libraries(call, message):
    with pytest.raises(TypeError) as caught:
        call()
    assert message in str(caught.value)


# --- values ---------------------------------------------------------------------------------------


@every_class
def test_every_number_is_checked_when_it_is_given(cls):
    for name, field in numbers(cls).items():
        assert getattr(with_another(cls, name), name) == accepted(field)
        bad = [np.nan, np.inf, "a", True, [1.0]]
        bad += [] if field.is_optional else [None]
        least, below = field.bounds["least"], field.bounds.get("below", np.inf)
        bad += [] if np.isinf(least) else [least - 0.25]
        bad += [] if np.isinf(below) else [below, below + 1]
        bad += [0.0, -1.0] if field.bounds.get("is_positive") else []
        for value in bad:
            with pytest.raises(ValueError, match=rf"^{name} must be .*, got ".replace("[", r"\[")):
                made(cls, **{name: value})


@every_class
def test_every_boolean_is_checked_when_it_is_given(cls):
    for name, field in cls.fields().items():
        if isinstance(field.default, bool):
            with pytest.raises(TypeError, match=f"^{name} must be True or False, got 1"):
                made(cls, **{name: 1})


@pytest.mark.parametrize("name", list(fnn.optimizers.registry))
def test_an_optimizer_checks_each_value_that_is_set(name):
    optimizer = fnn.optimizers.get(name)
    before = optimizer.config()
    for field_name, field in numbers(type(optimizer)).items():
        with pytest.raises(ValueError, match=f"^{field_name} must be "):
            setattr(optimizer, field_name, np.nan)
        assert optimizer.config() == before
        setattr(optimizer, field_name, accepted(field))
        assert getattr(optimizer, field_name) == accepted(field)
        setattr(optimizer, field_name, before[field_name])
    with pytest.raises(ValueError, match="beta_2 must be a number in"):
        fnn.Adam().beta_2 = 1.5


def test_a_factor_of_rates_is_a_number_or_a_dict_of_numbers():
    layer = fnn.Dense(3)
    for value in (0.5, {"bias": 0.1}, {"bias": 0, "kernel": 2}, {}):
        layer.learning_rate_factor = value
        assert layer.learning_rate_factor == value
    for bad in (-1, "a", None, [0.1], {"bias": -1}, {"bias": None}, {"bias": np.nan}):
        with pytest.raises(ValueError, match=r"^learning_rate_factor.* must be a finite number"):
            layer.learning_rate_factor = bad
        assert layer.learning_rate_factor == {}


def test_fields_are_checked_together_and_put_back():
    optimizer = fnn.SGD(momentum=0.9, nesterov=True, clipnorm=1.0)
    with pytest.raises(ValueError, match="give clipnorm or global_clipnorm, not both"):
        optimizer.global_clipnorm = 1.0
    with pytest.raises(ValueError, match="nesterov=True needs a momentum above 0"):
        optimizer.momentum = 0.0
    assert (optimizer.global_clipnorm, optimizer.momentum) == (None, 0.9)
    optimizer.clipnorm = None
    optimizer.global_clipnorm = 1.0


FIXED = {name: cls for name, cls in CLASSES.items() if not name.startswith("optimizer")}


@pytest.mark.parametrize("cls", FIXED.values(), ids=FIXED)
def test_what_programs_are_compiled_from_is_fixed(cls):
    one = made(cls)
    for name, field in cls.fields().items():
        if field.is_fixed is False:
            continue
        before = getattr(one, name)
        with pytest.raises(AttributeError, match=rf"{cls.__name__}.{name} cannot be changed"):
            setattr(one, name, before)
        assert getattr(one, name) is before


# --- attributes -----------------------------------------------------------------------------------


@every_class
def test_nothing_foreign_can_be_set(cls):
    one = made(cls)
    before = dict(vars(one))
    for name in ("foo", "learning_rat", "trainble", "Units"):
        with pytest.raises(AttributeError, match=f"{cls.__name__} has no attribute '{name}'"):
            setattr(one, name, 1)
    assert vars(one) == before


@pytest.mark.parametrize(
    ("owner", "name", "nearest"),
    [
        (lambda: fnn.Dense(3), "trainble", "; did you mean 'trainable'?"),
        (lambda: fnn.Dense(3), "learning_rate_facto", "; did you mean 'learning_rate_factor'?"),
        (lambda: fnn.Dense(3), "requires_grad", ": set layer.trainable"),
        (fnn.Adam, "leraning_rate", "; did you mean 'learning_rate'?"),
        (fnn.Adam, "lr", ": write learning_rate"),
        (fnn.Huber, "dleta", "; did you mean 'delta'?"),
        (fnn.Huber, "foo", ""),
    ],
)
def test_the_nearest_attribute_is_named(owner, name, nearest):
    one = owner()
    with pytest.raises(AttributeError, match=re.escape(f"has no attribute '{name}'{nearest}")):
        setattr(one, name, 1)


def test_views_are_written_into():
    layer = fnn.Sequential([fnn.Dense(2)], input_shape=(3,)).layers[0]
    with pytest.raises(AttributeError, match=r"Dense.kernel cannot be set; .* kernel\[...\] ="):
        layer.kernel = np.ones((3, 2))
    layer.kernel[...] = 1


# --- repr, config, equality -----------------------------------------------------------------------


@every_class
def test_repr_makes_an_equal_one(cls):
    names = {**vars(fnn), **vars(inspect.getmodule(cls)), **vars(fnn.regularizers)}
    if not issubclass(cls, fnn.schedules.Schedule):
        names |= vars(fnn.initializers)
    for one in (made(cls), *(with_another(cls, name) for name in numbers(cls))):
        again = eval(repr(one), names)
        assert again.config() == one.config()
        assert repr(again) == repr(one)
        assert "object at" not in repr(one)


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (fnn.Dense(10, "relu"), "Dense(10, activation='relu', name='dense')"),
        (fnn.Dense(1, use_bias=False, name="end"), "Dense(1, use_bias=False, name='end')"),
        (fnn.Dropout(0.1, trainable=False), "Dropout(0.1, name='dropout', trainable=False)"),
        (fnn.Add(), "Add(name='add')"),
        (fnn.Dense(1, fnn.activations.get("elu", alpha=2)),
         "Dense(1, activation=ActivationFunction('elu', parameter=2.0), name='dense')"),
        (fnn.Residual(fnn.Dense(2)), "Residual((Dense(2, name='dense'),), name='residual')"),
        (fnn.Adam(), "Adam(learning_rate=0.001)"),
        (fnn.Adam(0.1, weight_decay=0.5), "Adam(learning_rate=0.1, weight_decay=0.5)"),
        (fnn.Dropout(fnn.schedules.CosineDecay(0.1, 10)),
         "Dropout(CosineDecay(0.1, decay_steps=10), name='dropout')"),
        (fnn.AdamW(weight_decay=fnn.schedules.CosineDecay(0.1, 10)),
         "AdamW(learning_rate=0.001, weight_decay=CosineDecay(0.1, decay_steps=10))"),
        (fnn.LBFGS(tolerance_change=0.5), "LBFGS(memory=10, tolerance_change=0.5)"),
        (fnn.losses.get("mse"), "MeanSquaredError()"),
        (fnn.metrics.Precision("micro"), "Precision(average='micro')"),
        (fnn.schedules.CosineDecay(0.1, 10), "CosineDecay(0.1, decay_steps=10)"),
        (fnn.Input((3,)), "Input((3,), name='input')"),
        (fnn.Dense(2)(fnn.Input((3,))), "Tensor(shape=(2,), layer='dense')"),
    ],
)  # fmt: skip
def test_repr_says_what_it_is(one, shown):
    assert repr(one) == shown


@every_class
def test_config_makes_an_equal_one(cls):
    one = made(cls)
    if isinstance(one, fnn.Layer):
        again = cls.from_config(one.name, one.config(), {})
        assert again.describe() == one.describe()
        assert one != again  # layers have weights of their own
        return
    again = cls(**{k: v for k, v in one.config().items() if k != "name"})
    assert again == one
    assert hash(again) == hash(one)
    for name, field in numbers(cls).items():
        other = with_another(cls, name)
        assert other != one or getattr(one, name) == accepted(field)


@every_class
def test_copies(cls):
    one = made(cls)
    for again in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert again.config() == one.config()
        with pytest.raises(AttributeError):
            again.foo = 1


# --- user-defined subclasses ----------------------------------------------------------------------


def test_a_subclass_gets_it_all():
    class Mine(fnn.Adam):
        learning_rate = 0.5
        beta_3: float = 0.25
        order: float = declare.number(default=2.0, least=1, below=4)
        warm: bool = False

    one = Mine(beta_3=0.75)
    assert repr(one) == "Mine(learning_rate=0.5, beta_3=0.75)"
    assert list(inspect.signature(Mine).parameters)[:8] == [
        "learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "beta_3", "order", "warm",
    ]  # fmt: skip
    for name, value in (("order", 5.0), ("beta_3", np.nan), ("beta_3", "a"), ("beta_2", 1.5)):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            setattr(one, name, value)
        with pytest.raises(ValueError, match=f"^{name} must be"):
            Mine(**{name: value})
    with pytest.raises(TypeError, match="warm must be True or False"):
        Mine(warm=1)
    with pytest.raises(TypeError, match="'beta_4'; did you mean 'beta_"):
        Mine(beta_4=1.0)
    with pytest.raises(AttributeError, match=r"Mine has no attribute 'ordr'; did you mean 'order'"):
        one.ordr = 2
    assert Mine(**{k: v for k, v in one.config().items() if k != "name"}) == one
    assert fnn.Adam().learning_rate == 0.001


def test_a_subclass_of_a_loss_and_of_a_layer():
    class Steep(fnn.Huber):
        delta: float = 2.0
        power: int = 3

    assert repr(Steep()) == "Steep(delta=2.0)"
    assert Steep(power=4).config() == {"name": "huber", "delta": 2.0, "power": 4}
    for value in (1.5, "3", True):
        with pytest.raises(ValueError, match="power must be an integer, got"):
            Steep(power=value)
    with pytest.raises(ValueError, match="delta must be a positive number"):
        Steep(-1)
    with pytest.raises(AttributeError, match=r"Steep.power cannot be changed"):
        Steep().power = 1

    class Wide(fnn.Dense):
        def __init__(self, units, *, name=None):
            super().__init__(10 * units, "relu", name=name)

    assert Wide(3).units == 30
    assert repr(Wide(3)) == "Wide(30, activation='relu', name='wide')"
    with pytest.raises(TypeError, match="unexpected keyword argument 'activation'"):
        Wide(3, activation="tanh")


class Powers(fnn.Layer):
    """Its constructor assigns an attribute twice, and its forward keeps arbitrary attributes."""

    def __init__(self, power=2, *, name=None):
        super().__init__(name)
        self.power = power
        self.power = float(self.power)
        self.calls = 0

    def forward(self, x, *, training):
        self.x, self.calls = x, self.calls + 1
        self.anything = training
        return x**self.power

    def backward(self, grad_output):
        return grad_output * self.power * self.x ** (self.power - 1)

    def config(self):
        assert not hasattr(self, "x"), "config is not called while the layer runs"
        return {"power": self.power}


def test_a_layer_of_the_users_keeps_what_it_likes(rng):
    layer = Powers(3)
    model = fnn.Sequential([fnn.Dense(4), layer], input_shape=(3,), dtype="float64", seed=0)
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 4))
    assert fnn.gradcheck(model, x, y)
    assert (layer.power, layer.calls > 0) == (3.0, True)
    layer.note = "mine"
    assert repr(layer) == "Powers(name='powers', power=3.0)"
    for name in ("trainble", "trainabel", "learning_rate_facto"):
        with pytest.raises(AttributeError, match=f"Powers has no attribute '{name}'; did you mean"):
            setattr(layer, name, False)
    before = model.predict(x)
    layer.power = 2.0  # no program is compiled with what NumPy computes
    assert not np.allclose(model.predict(x), before)
    layer.trainable = False


def test_a_layer_of_the_users_may_have_fields():
    class Scale(fnn.Layer):
        factor: float = 2.0
        count: int = 0

        def forward(self, x, *, training):
            self.count += 1
            return self.factor * x

        def backward(self, grad_output):
            return self.factor * grad_output

    layer = Scale(3.0, name="triple")
    model = fnn.Sequential([layer], input_shape=(2,))
    np.testing.assert_array_equal(model.predict([[1.0, 2.0]]), [[3.0, 6.0]])
    assert layer.count == 1
    assert layer.config() == {"factor": 3.0, "count": 1}
    with pytest.raises(ValueError, match="factor must be a finite number"):
        Scale("a")
    assert Scale.from_config("s", {"factor": 4.0}, {}).factor == 4.0


def test_names_of_layers_may_be_set_until_they_belong_to_a_model():
    layer = fnn.Dense(3)
    layer.name = "first"
    model = fnn.Sequential([layer], input_shape=(2,))
    assert list(model.parameters) == ["first/kernel", "first/bias"]
    with pytest.raises(AttributeError, match="belongs to a model that knows it by this name"):
        layer.name = "second"
    with pytest.raises(ValueError, match="name must be a non-empty string without '/'"):
        fnn.Dense(3).name = "a/b"


def test_a_schedule_with_a_constructor_of_its_own():
    class Sawtooth(fnn.schedules.Schedule):
        def __init__(self, height, period=4):
            self.height = height
            self.period = period
            self.slope = height / period

        def rates(self, steps):
            return self.height * (1 - steps % self.period / self.period)

    one = Sawtooth(0.5)
    assert one.config() == {"name": "", "height": 0.5, "period": 4}
    assert repr(one) == "Sawtooth(height=0.5, period=4)"
    assert one == Sawtooth(0.5, 4) != Sawtooth(0.5, 5)
    assert str(inspect.signature(Sawtooth)) == "(height, period=4)"
    with pytest.raises(AttributeError, match="cannot be changed"):
        one.height = 1
    with pytest.raises(AttributeError, match="has no attribute 'heigth'"):
        one.heigth = 1


def test_what_is_kept_while_it_runs_has_a_default_though_super_is_not_called():
    class Watcher(Declared):
        _is_fixed = False
        _has_hooks = True
        limit: float = declare.number(default=1.0, least=0)
        results: tuple = declare.state(default=())

        def on_end(self):
            return "on_end"

    class Mine(Watcher):
        def __init__(self, told):
            self.told = told

    one = Mine([])
    assert (one.results, one.limit, one.told) == ((), 1.0, [])
    one.results, one.told = ("loss",), [1]
    one.on_end = lambda: "of its own"
    assert one.on_end() == "of its own"
    assert Mine([]).results == ()
    assert repr(Watcher(2)) == "Watcher(limit=2.0)"
    for name in ("on_ends", "limitt", "result"):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            setattr(one, name, 1)


# --- classes of users whose constructors are their own --------------------------------------------


class Narrow(fnn.Dense):
    def __init__(self, units=2):
        super().__init__(units, "tanh")
        self.note = "narrow"


class Narrower(Narrow):
    def __init__(self):
        super().__init__(1)
        self.note += "er"


def test_constructors_call_each_other():
    layer = Narrower()
    assert (layer.units, layer.activation.name, layer.note) == (1, "tanh", "narrower")
    with pytest.raises(ValueError, match="units must be a positive integer, got 0"):
        Narrow(0)
    with pytest.raises(AttributeError, match="units cannot be changed"):
        layer.units = 3


def test_a_constructor_that_forgets_a_required_field_is_told():
    class Forgetful(fnn.Layer):
        width: int = declare.integer()

        def __init__(self, width):
            super().__init__()

    with pytest.raises(TypeError, match=r"Forgetful\(\) is missing the argument 'width'"):
        Forgetful(3)


def test_a_property_of_a_subclass_may_be_set():
    class Level(fnn.Callback):
        @property
        def level(self):
            return self._level

        @level.setter
        def level(self, value):
            self._level = 2 * value

    one = Level()
    one.level = 4
    assert one.level == 8


def test_signatures_are_of_classes():
    assert str(inspect.signature(fnn.Dropout)) == (
        "(rate: 'float | Schedule', *, name: 'str' = None, trainable: 'bool' = True)"
    )
    assert not hasattr(fnn.Dropout(0.1), "__signature__")


def test_plain_text_fields_hold_text():
    class Named(fnn.SGD):
        title: str = "loss"

    assert Named(title="error").title == "error"
    for bad in ("", 3, None):
        with pytest.raises(TypeError, match="title must be a non-empty string, got"):
            Named(title=bad)


# --- hints ----------------------------------------------------------------------------------------


OWNERS_BESIDE = (
    "CSVLogger", "EarlyStopping", "History", "ModelCheckpoint", "ReduceLROnPlateau",
    "Sequential",
)  # fmt: skip


def test_every_hint_is_of_something_that_there_is():
    owners = {cls.__name__: cls for cls in CLASSES.values()}
    for cls in CLASSES.values():
        owners |= {base.__name__: base for base in cls.__mro__}
    owners |= {"Model": fnn.Model, "Callback": fnn.Callback, "Input": fnn.Input}
    owners |= {name: getattr(fnn, name) for name in OWNERS_BESIDE}
    for owner, name in hints.ADVICE:
        cls, _, method = owner.partition(".")
        assert cls in owners, owner
        if method:
            parameters = inspect.signature(getattr(owners[cls], method)).parameters
            assert name not in parameters, (owner, name)
        elif issubclass(owners[cls], Declared):
            assert name not in owners[cls].fields(), (owner, name)
        else:
            assert name not in inspect.signature(owners[cls]).parameters, (owner, name)


def test_hints_for_a_method_and_for_an_attribute():
    error = hints.unexpected_argument("Model.fit", "nb_epoch", ["x", "epochs"])
    assert str(error) == (
        "Model.fit() got an unexpected keyword argument 'nb_epoch': write epochs "
        "(its arguments are x, epochs)"
    )
    error = hints.unexpected_argument("Model.fit", "epoch", ["x", "epochs"])
    assert "'epoch'; did you mean 'epochs'? (its arguments are x, epochs)" in str(error)
    assert str(hints.missing_attribute(fnn.Sequential, "state_dict", [])) == (
        "Sequential has no attribute 'state_dict': use model.get_weights(), or "
        "model.save_weights(path)"
    )
    assert str(hints.missing_attribute("Model", "sumary", ["summary"])) == (
        "Model has no attribute 'sumary'; did you mean 'summary'?"
    )
