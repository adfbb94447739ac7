"""The base class of layers, the tensors that layers are called on, and the registry of layers.

A layer contains no arithmetic and no backward pass: it emits rows of the op table, and the program
is differentiated as a whole. To add a layer made of existing ops, write a class as short as those
of this package and decorate it with `registry.add`.
"""

from __future__ import annotations

import contextlib
import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from fastnn import initializers
from fastnn.core import checks
from fastnn.core.declare import Declared, boolean, checked, state
from fastnn.core.registry import Registry
from fastnn.core.views import Views
from fastnn.initializers import Initializer
from fastnn.program.builder import Builder
from fastnn.program.ops import Value
from fastnn.program.python_ops import LayerCode
from fastnn.regularizers import Regularizer

Shape = tuple[int, ...]
Kinds = dict[str, "type[Layer]"]
T = TypeVar("T", bound="Layer")


@dataclass(frozen=True, eq=False, repr=False)
class Tensor:
    """A node in the graph of a functional `Model`: a layer's output for symbolic inputs.

    Attributes
    ----------
    shape : tuple of int
        Shape of one sample.
    layer : Layer or Composite or None
        The layer, or the network, that computes it; None for an `Input`.
    inputs : tuple of Tensor
    name : str
        The name of an `Input`.
    index : int
        Which of a network's outputs it is.
    dtype : str
        "string" for an `Input` that was declared to hold text, else "".
    """

    shape: Shape
    layer: Layer | Composite | None = None
    inputs: tuple[Tensor, ...] = ()
    name: str = ""
    index: int = 0
    dtype: str = ""

    def __repr__(self) -> str:
        if self.layer is None:
            return f"Input({self.shape}, name={self.name!r})"
        return f"Tensor(shape={self.shape}, layer={self.layer.name!r})"


def Input(shape: Shape, name: str = "input", *, dtype: str | None = None) -> Tensor:
    """Return an input of a functional model.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample, without the batch axis.
    name : str, default "input"
    dtype : {"string"}, optional
        "string" says that it holds text, for a `StringLookup`; what reads it is then checked. By
        default what reads it decides. Numbers may have any real dtype.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Input((64,)).shape
    (64,)
    """
    checks.part_name("name", name)
    if dtype not in (None, "string"):
        raise ValueError(
            f"dtype must be 'string' or None, got {dtype!r}: numbers may have any real dtype, and "
            "the dtype of the arithmetic is the model's, Model(..., dtype=...)"
        )
    return Tensor(checks.shape("shape", shape), name=name, dtype=dtype or "")


class Composite:
    """A network that can be called on tensors like a layer; `fastnn.network.Network` is one.

    Attributes
    ----------
    name : str
        Unique among the layers and networks of the network that it is part of, once it is.
    given_name : str or None
    """

    name: str
    given_name: str | None

    @property
    def inner(self) -> Any:
        """What it consists of now; a `fastnn.layers.composition.Inner`."""
        raise NotImplementedError

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, also those of networks that are parts, each once."""
        raise NotImplementedError

    def called_on(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return its outputs for symbolic inputs."""
        raise NotImplementedError


class LayerUser(Protocol):
    """A network that a layer is part of, which the layer notifies of changes."""

    @property
    def number(self) -> int:
        """Lower than those of networks that were made later."""

    def looked_at(self) -> AbstractContextManager[object]:
        """Return a context in which no other thread changes the parameters."""

    def changed_by(self, what: str) -> AbstractContextManager[object]:
        """Return a context in which this thread alone may set parameters; `what` sets them."""

    def layer_changed(self) -> None:
        """Take note that the layer's settings have changed."""

    def checked_weights(
        self, parameters: Mapping[str, np.ndarray], weights: Iterable[object]
    ) -> list[np.ndarray]:
        """Return arrays for the parameters, one each; raise if they do not fit."""

    def weights_set(self) -> None:
        """Take note that the layer's parameters have been set."""


class _OfFirstCall:
    """What is known from the layer's first call on a tensor.

    A user's layer may keep an attribute of the same name, which then counts.

    Parameters
    ----------
    known : callable
        Returns it for the tensor that the layer returned.
    """

    def __init__(self, known: Callable[[Tensor], Any]) -> None:
        self._known = known

    def __get__(self, layer: Layer | None, cls: type) -> Any:
        if layer is None:
            return self
        made = vars(layer).get("_first_output")
        if made is None:
            raise AttributeError(f"layer {layer.name!r} has not been called on a tensor yet")
        return self._known(made)


def _inputs_of(made: Tensor) -> Tensor | list[Tensor]:
    return made.inputs[0] if len(made.inputs) == 1 else list(made.inputs)


def _factor(name: str, value: Any) -> float | dict[str, float]:
    """Check a factor of learning rates, or factors by parameter."""
    if isinstance(value, Mapping):
        return {str(one): checks.number(f"{name}[{one!r}]", n, least=0) for one, n in value.items()}
    return checks.number(name, value, least=0)


class Layer(Declared):
    """Base class of all layers, including those that you write with NumPy.

    The constructor's arguments cannot be changed later.

    Parameters
    ----------
    name : str, optional
        Unique in its model, without "/"; default: that of the class, numbered.
    trainable : bool, default True
        Whether training changes its parameters.

    Attributes
    ----------
    trainable : bool
        May be set at any time: False freezes the layer.
    learning_rate_factor : float or dict of str to float
        Factor of the learning rate for the layer's parameters, or, by name, for some of them, such
        as ``{"bias": 0.1}``; 1 at first, may be set at any time. A dict is set anew to change it.
    output : Tensor
        What the layer returned when it was first called, so that
        ``Model(base.input, base.layers[-2].output)`` ends at that layer.
    input : Tensor or list of Tensor
        What it was first called on.
    parameters : dict of str to ndarray
        Keyed by name; read-only while `forward` and `backward` run.
    gradients : dict of str to ndarray
        Keyed by name; zeros that `backward` fills.

    Notes
    -----
    A layer can be part of several models, which then share its parameters. ``copy.copy`` and
    ``copy.deepcopy`` return a layer of its own that starts from the same parameters.

    A layer of your own defines

    ``forward(self, x, *, training)``
        x has shape (rows, *input_shape) and the model's dtype and is read-only; for several
        inputs it is a tuple. The method returns the output, and may store on the layer what
        `backward` needs.
    ``backward(self, grad_output)``
        It returns the gradient with respect to x (a tuple for several inputs), and writes the
        gradients with respect to the parameters to ``self.gradients[name][...]``.
    ``build(self, input_shape)``, optional
        It calls `add_weight` for each parameter; for several inputs it gets a tuple of shapes.
    ``output_shape(self, *input_shapes)``, optional
        It returns the shape of one sample; default: that of the input.
    ``config(self)``, if its own ``__init__`` takes arguments
        It returns them in a form that JSON can hold. It is not needed where each is kept as an
        attribute of its name, and arguments that are fields with defaults, such as
        ``power: float = 2.0`` in the class, need neither.

    The layer runs in Python, between native parts of a step, and may raise: the parameters are
    then as before the step. To save a model that has such a layer, decorate its class with
    ``fastnn.layers.registry.add``.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> class Scale(fnn.Layer):
    ...     def build(self, input_shape):
    ...         self.add_weight("factor", input_shape, "ones")
    ...
    ...     def forward(self, x, *, training):
    ...         self.x = x
    ...         return self.parameters["factor"] * x
    ...
    ...     def backward(self, grad_output):
    ...         self.gradients["factor"][...] = (grad_output * self.x).sum(axis=0)
    ...         return grad_output * self.parameters["factor"]
    >>> model = fnn.Sequential([fnn.Dense(4), Scale(), fnn.Dense(1)], input_shape=(3,), seed=0)
    >>> model.compile("adam", "mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> history = model.fit(x, x[:, :1] ** 2, epochs=5, verbose=0)
    >>> fnn.gradcheck(model, x, x[:, :1])
    True
    """

    kind: ClassVar[str] = ""

    # Whether only the shape of a sample changes, and no number is moved.
    is_reshape: ClassVar[bool] = False
    # Whether the outputs equal the inputs outside training.
    is_identity: ClassVar[bool] = False
    # Whether it measures data before it can run; see `layers.preprocessing.base`.
    measures: ClassVar[bool] = False
    # Whether it is applied where data come in, and programs read what it made of them.
    is_lookup: ClassVar[bool] = False
    # Whether it takes numbers of any size: it normalizes, rescales or counts them.
    takes_any_scale: ClassVar[bool] = False
    # Which of its inputs holds categories, which `check_input` checks; None: it checks them all.
    checked_input: ClassVar[int | None] = None
    # Whether it reads text.
    takes_text: ClassVar[bool] = False

    _else_positional: ClassVar[tuple[str, ...]] = ("name", "trainable")
    output = _OfFirstCall(lambda made: made)
    input = _OfFirstCall(_inputs_of)

    _not_misspelt: ClassVar[tuple[str, ...]] = ("trainable", "learning_rate_factor")

    name: str = checked(
        checks.part_name, default=None, is_optional=True, kw_only=True, is_fixed=False
    )
    trainable: bool = boolean(default=True, kw_only=True, is_fixed=False)
    learning_rate_factor: float | dict[str, float] = checked(
        _factor, default=1.0, init=False, is_fixed=False
    )
    given_name: str | None = state()
    parameters: dict[str, np.ndarray] = state(default_factory=dict)
    gradients: dict[str, np.ndarray] = state(default_factory=dict)
    arena: Any = state()  # of the network that has created the parameters
    users: weakref.WeakSet[LayerUser] = state(default_factory=weakref.WeakSet)

    def __init_subclass__(cls, **options: Any) -> None:
        """Name the kind after the class, unless the class sets it."""
        is_own = cls.__module__.partition(".")[0] == "fastnn"
        cls._is_open = not is_own or hasattr(cls, "forward")  # a user's class keeps what it likes
        super().__init_subclass__(**options)
        if "kind" not in vars(cls):
            cls.kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def _set_up(self) -> None:
        """Set the name to the given one, or to that of the class."""
        values = vars(self)
        values["given_name"] = values["name"]
        values["name"] = values["name"] or self.kind

    def __setattr__(self, name: str, value: Any) -> None:
        values = vars(self)
        if name == "name" and values.get("arena") is not None:
            raise AttributeError(
                f"layer {self.name!r} belongs to a model that knows it by this name: "
                f"name it where it is made, {type(self).__name__}(..., name={value!r})"
            )
        if name == "learning_rate_factor" and self.is_built:
            self._check_factors(value)
        super().__setattr__(name, value)
        assigned = values.get("_assigned")  # while the user's forward runs
        if assigned is not None:
            assigned[name] = value
        if name == "name":
            values["given_name"] = value
        elif name in ("trainable", "learning_rate_factor"):
            for user in tuple(values.get("users", ())):
                user.layer_changed()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle keeps: the parameters' values, but no network."""
        state = {name: value for name, value in vars(self).items() if name not in _OF_NETWORKS}
        state["parameters"] = {name: view.copy() for name, view in self.parameters.items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, arena=None, users=weakref.WeakSet())

    def take(self, arena: object, parameters: Mapping[str, np.ndarray]) -> None:
        """Attach the layer to an arena, with views of its parameters by name."""
        self.arena, self.parameters = arena, Views(parameters)

    def keep_output(self, tensor: Tensor | None) -> None:
        """Take note of what the layer returned in the network that has created it."""
        vars(self)["_first_output"] = tensor

    def used_by(self, user: LayerUser) -> None:
        """Take note of a network that the layer is part of."""
        self.users.add(user)

    def left_by(self, user: LayerUser) -> None:
        """Take note of a network that the layer is not part of any longer."""
        self.users.discard(user)
        if not self.users:
            self.arena = None
            vars(self).pop("_first_output", None)

    def forget_parameters(self) -> None:
        """Drop the parameters that no network uses, so that the next one initializes them."""
        if not self.users:
            self.parameters = {}

    def owner_of(self, parameter: str) -> tuple[Layer, str]:
        """Return the layer that has a parameter, this one or one inside it, and its name there."""
        return self, parameter

    @property
    def is_built(self) -> bool:
        """Whether a network that still exists has created the layer's parameters."""
        return self.arena is not None and bool(self.users)

    @property
    def acts_otherwise_in_training(self) -> bool:
        """Whether its outputs for the same parameters are others in training."""
        return (self.is_identity and not self.is_reshape) or hasattr(self, "forward")

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of the layer's parameters, in the order of `parameters`."""
        users = self._users_in_order()
        with users[0].looked_at() if users else contextlib.nullcontext():
            return [view.copy() for view in self.parameters.values()]

    def set_weights(self, weights: Iterable[object]) -> None:
        """Set the layer's parameters.

        Parameters
        ----------
        weights : sequence of array_like
            As `get_weights` returns them.

        Raises
        ------
        ValueError
            The number, a shape or the content does not fit; nothing has changed.
        RuntimeError
            The layer has no parameters yet, or another thread trains a model that it is part of.
        """
        users = self._users_in_order()
        if not users:
            raise RuntimeError(f"layer {self.name!r} has no parameters yet: build the model first")
        arrays = users[0].checked_weights(self.parameters, weights)
        with self._set_by("set_weights"):
            for view, array in zip(self.parameters.values(), arrays, strict=True):
                view[...] = array

    def _users_in_order(self) -> list[LayerUser]:
        """Return the networks that the layer is part of, the oldest first."""
        return sorted(self.users, key=lambda user: user.number)

    @contextlib.contextmanager
    def _set_by(self, what: str) -> Iterator[None]:
        """Let the block set the parameters while no other thread uses them, and tell networks."""
        users = self._users_in_order()
        with users[0].changed_by(what) if users else contextlib.nullcontext():
            yield
            for user in users:
                user.weights_set()

    def rate_factor(self, parameter: str) -> float:
        """Return the factor of a parameter's learning rate; 0 if it is frozen."""
        factor = self.learning_rate_factor
        if isinstance(factor, dict):
            if self.parameters:  # while a network is built there are none yet
                self._check_factors(factor)
            factor = factor.get(parameter, 1.0)
        return factor if self.trainable else 0.0

    def _check_factors(self, factor: Any) -> None:
        """Raise ValueError if there are factors of parameters that the layer does not have."""
        for name in factor if isinstance(factor, Mapping) else ():
            if name not in self.parameters:
                raise ValueError(
                    f"learning_rate_factor of layer {self.name!r}: there is no parameter {name!r}; "
                    f"there is {', '.join(self.parameters) or 'none'}"
                )

    def regularizer(self, parameter: str) -> Regularizer | None:
        """Return the regularizer of a parameter: `self.<parameter>_regularizer`."""
        return getattr(self, f"{parameter}_regularizer", None)

    def check_input(self, label: str, rows: np.ndarray, first_row: int | None = None) -> None:
        """Raise if rows of a model's input are not what the layer accepts.

        Called for layers that read an input of the model directly, or reshaped; most accept any
        numbers.

        Parameters
        ----------
        label : str
            Name of the data in the message.
        rows : ndarray, shape (rows, ...)
        first_row : int, optional
            Number of the first of these rows in the data; None: rows are not named.

        Raises
        ------
        ValueError
            The message names the position, the value and the layer.
        """

    def check_vocabulary(self, lookup: str, tokens: int, shape: Shape) -> None:
        """Raise ValueError if the layer cannot read what a lookup makes.

        Parameters
        ----------
        lookup : str
            Name of the lookup, for the message.
        tokens : int
            It makes whole numbers from 0 on, so many.
        shape : tuple of int
            Of a sample.
        """

    @property
    def checks_input(self) -> bool:
        """Whether `check_input` checks anything."""
        return type(self).check_input is not Layer.check_input

    # --- defined by the package's layers, inherited by others -----------------------------------

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return shape and initializer of each parameter, for inputs of these shapes."""
        build = getattr(self, "build", None)
        self._weights: dict[str, tuple[Shape, Initializer]] = {}
        if build is not None:
            build(inputs[0] if len(inputs) == 1 else inputs)
        return self._weights

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of one sample of the output; raise if the inputs do not fit."""
        if len(set(inputs)) != 1:
            raise ValueError(
                f"{type(self).__name__} must define output_shape(self, *input_shapes) for inputs "
                f"of different shapes, got {', '.join(map(str, inputs)) or 'none'}"
            )
        return inputs[0]

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the layer's forward ops and return its output."""
        for method in ("forward", "backward"):
            if not hasattr(self, method):
                raise TypeError(f"layer {self.name!r}: {type(self).__name__} must define {method}")
        shapes = [value.shape for value in inputs]
        weights = list(self.parameter_shapes(*shapes))
        return builder.emit(
            "python",
            (*inputs, *map(builder.parameter, weights)),
            checks.shape(f"layer {self.name!r}: output_shape", self.output_shape(*shapes)),
            code=LayerCode(self, len(inputs), weights),
            training=builder.training,
        )

    # --- for layers written by users -------------------------------------------------------------

    def add_weight(self, name: str, shape: Shape, initializer: object = "glorot_uniform") -> None:
        """Add a parameter to the layer; to be called from its `build`.

        Parameters
        ----------
        name : str
            Key in `parameters` and `gradients`.
        shape : tuple of int
        initializer : str or Initializer, default "glorot_uniform"
        """
        checks.part_name("name", name)
        if name in self._weights:
            raise ValueError(f"layer {self.name!r} has a weight {name!r} already")
        self._weights[name] = checks.shape("shape", shape), initializers.get(initializer)

    # --- for the rest of the package -------------------------------------------------------------

    @property
    def runs_in_python(self) -> bool:
        """Whether part of a step runs in the user's Python code."""
        return hasattr(self, "forward")

    def parts(self) -> tuple[Layer, ...]:
        """Return the layer and the layers inside it."""
        return (self,)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments in a form that JSON can hold.

        The name and `trainable`, which `describe` returns, and regularizers that were not given
        are left out.
        """
        taken = {*self.fields(), *(self._arguments if self._takes_its_own else ())}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in super().config().items()
            if name in taken and name not in Layer.fields() and not _is_left_out(name, value)
        }

    @property
    def _takes_its_own(self) -> bool:
        """Whether the constructor is a user's, with arguments besides the name."""
        return self._is_open and not self.is_generic()

    def lacking_arguments(self) -> list[str]:
        """Return the constructor's arguments that `config` does not return, nor `describe`."""
        if not self._takes_its_own:
            return []
        known = {*self.config(), *Layer.fields()}
        is_own = type(self).config is not Layer.config
        return [] if is_own else [name for name in self._arguments if name not in known]

    def own_attributes(self) -> dict[str, Any]:
        """Return the attributes that a user has set, besides arguments and state."""
        fields = type(self)._fields
        return {
            name: value
            for name, value in vars(self).items()
            if type(self)._is_open and name not in fields and name not in _NOT_OF_THE_USER
        }

    def describe(self) -> dict[str, Any]:
        """Return a description, in a form that JSON can hold, from which `make` builds a copy."""
        defaults = {"trainable": True, "learning_rate_factor": 1.0}
        now = {name: getattr(self, name) for name in defaults}
        changed = {name: value for name, value in now.items() if value != defaults[name]}
        return {"kind": self.kind, "name": self.name, "config": self.config(), **changed}

    @classmethod
    def from_config(cls, name: str, config: dict[str, Any], kinds: Kinds) -> Layer:
        """Build a layer from what `config` returned; `kinds` has the classes of inner layers."""
        return cls(name=name, **config)

    def _parameter(self, name: str) -> np.ndarray:
        if name not in self.parameters:
            raise AttributeError(f"layer {self.name!r} has no {name} (yet): build the model first")
        return self.parameters[name]

    def __call__(self, *inputs: Any, training: bool | None = None) -> Tensor:
        """Return the output of the layer for symbolic inputs.

        Parameters
        ----------
        *inputs : Tensor, or one list of Tensor
        training : bool, optional
            See `Model.__call__`.

        Returns
        -------
        Tensor
        """
        tensors: tuple[Any, ...] = inputs
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            tensors = tuple(inputs[0])
        if "arena" not in vars(self):
            raise TypeError(
                f"{type(self).__name__}.__init__ must begin with super().__init__(name)"
            )
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"layer {self.name!r} must be called on Input(...) or the output of another "
                    f"layer, got {type(tensor).__name__}; to compute with arrays, call the model"
                )
        check_training_of_part(training, [self])
        shape = self._checked_output_shape(*(tensor.shape for tensor in tensors))
        made = Tensor(shape, self, tensors)
        vars(self).setdefault("_first_output", made)
        return made

    def _checked_output_shape(self, *shapes: Shape) -> Shape:
        try:
            return self.output_shape(*shapes)
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from None


# What belongs to the networks that a layer is part of, so that copies leave it out.
_OF_NETWORKS = ("arena", "users", "_first_output", "_assigned")
_NOT_OF_THE_USER = (*_OF_NETWORKS, "_weights")


def _is_left_out(name: str, value: object) -> bool:
    return value is None and name.endswith("_regularizer")


def check_training_of_part(training: bool | None, layers: Iterable[Layer]) -> None:
    """Raise ValueError if `training`, given to a part of a model, would have no effect.

    Parameters
    ----------
    training : bool or None
        None and, for layers that always act alike, False have none to begin with.
    layers : iterable of Layer
        Of the part.
    """
    if training is None:
        return
    for layer in (part for one in layers for part in one.parts()):
        if training or layer.acts_otherwise_in_training:
            raise ValueError(
                f"training={training!r}: layer {layer.name!r} acts as the whole model does, as in "
                "training while that is trained; leave it out (BatchNormalization with "
                "trainable=False uses its moving statistics)"
            )


def only(cls_name: str, shapes: tuple[Shape, ...]) -> Shape:
    """Return the shape of a layer's only input; raise if there are more."""
    if len(shapes) != 1:
        raise ValueError(f"{cls_name} takes one input, got {len(shapes)}")
    return shapes[0]


class UnknownKind(LookupError):
    """No class is known for a kind of layer."""


def view_of(name: str) -> Any:
    """Return a property that is the view of a layer's parameter."""
    return property(lambda self: self._parameter(name), doc=f"View of {name}, once there is one.")


def make(described: dict[str, Any], kinds: Kinds) -> Layer:
    """Build a layer from what `Layer.describe` returned.

    Parameters
    ----------
    described : dict
    kinds : dict of str to type
        Classes by kind.

    Raises
    ------
    UnknownKind
        The kind is in neither `kinds` nor the registry.
    """
    kind = described["kind"]
    if kind not in kinds and kind not in registry:
        raise UnknownKind(kind)
    cls = kinds[kind] if kind in kinds else registry[kind]
    layer = cls.from_config(described["name"], described["config"], kinds)
    for name in ("trainable", "learning_rate_factor"):
        if name in described:
            setattr(layer, name, described[name])
    return layer


def name_layers(layers: Sequence[Layer | Composite]) -> dict[Layer | Composite, str]:
    """Return a unique name for each layer and network that are parts of one network.

    It is the given name; or the one that a built layer has, if it is free; or the kind, numbered,
    which a layer that is not built then has for a name.
    """
    for layer in layers:
        if isinstance(layer, Layer) and "arena" not in vars(layer):
            cls = type(layer).__name__
            raise TypeError(f"{cls}.__init__ must begin with super().__init__(name)")
    given = Counter(layer.given_name for layer in layers if layer.given_name)
    for name, count in given.items():
        if count > 1:
            raise ValueError(f"layer names must be unique, got {name!r} {count} times")
    names = {layer: layer.given_name for layer in layers if layer.given_name}
    taken = set(given)
    for layer in layers:
        is_named = isinstance(layer, Layer) and layer.is_built and layer.name not in taken
        if layer not in names and is_named:
            names[layer] = layer.name
            taken.add(layer.name)
    numbers: dict[str, int] = {}  # the first that may be free, of each kind
    for layer in layers:
        if layer in names:
            continue
        kind = layer.kind if isinstance(layer, Layer) else layer.name
        number = numbers.get(kind, 0)
        name = f"{kind}_{number}" if number else kind
        while name in taken:
            number += 1
            name = f"{kind}_{number}"
        numbers[kind] = number + 1
        taken.add(name)
        names[layer] = name
        if isinstance(layer, Layer) and not layer.is_built:
            vars(layer)["name"] = name  # not by setattr, which would make it a given name
    return {layer: names[layer] for layer in layers}


class _Kinds(Registry[Layer]):
    """Layers by kind, for loading a saved architecture."""

    def add(self, cls: type[T]) -> type[T]:
        """Register a class under its ``kind``, as a decorator; a user's class may be redefined.

        Raises
        ------
        ValueError
            The kind is one of fastnn's.
        """
        known = self._classes.get(cls.kind)
        if known is not None and known.__module__.startswith("fastnn."):
            raise ValueError(f"kind must be another one: {cls.kind!r} is fastnn's {known.__name__}")
        self._classes[cls.kind] = cls
        return cls


registry = _Kinds("layer", Layer)
