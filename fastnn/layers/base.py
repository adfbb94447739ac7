"""What all layers have in common, the inputs that they are called on, and the table of them.

A layer knows no arithmetic and no backward: it emits rows of the op table, and the program is
differentiated as a whole. To add one made of existing ops, write a class as short as those of this
package and decorate it with `registry.add`.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from fastnn import initializers
from fastnn.core import checks
from fastnn.core.registry import Registry, fixed
from fastnn.initializers import Initializer
from fastnn.program.builder import Builder
from fastnn.program.ops import Value
from fastnn.program.python_ops import LayerCode
from fastnn.regularizers import Regularizer

if TYPE_CHECKING:
    from fastnn.runtime import Runtime

Shape = tuple[int, ...]
Kinds = dict[str, "type[Layer]"]
T = TypeVar("T", bound="Layer")


@dataclass(frozen=True, eq=False, repr=False)
class Tensor:
    """A place in the graph of a functional `Model`: what a layer gives for symbolic inputs.

    Attributes
    ----------
    shape : tuple of int
        Of one sample.
    layer : Layer or None
        What computes it; None for an `Input`.
    inputs : tuple of Tensor
    name : str
        Of an input.
    """

    shape: Shape
    layer: Layer | None = None
    inputs: tuple[Tensor, ...] = ()
    name: str = ""

    def __repr__(self) -> str:
        return f"<Tensor {self.shape} of {self.name or self.layer!r}>"


def Input(shape: Shape, name: str = "input") -> Tensor:
    """Return an input of a functional model.

    Parameters
    ----------
    shape : tuple of int
        Of one sample, without the batch.
    name : str, default "input"

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fastnn as fnn
    >>> fnn.Input((64,)).shape
    (64,)
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"name must be a non-empty string without '/', got {name!r}")
    return Tensor(checks.shape("shape", shape), name=name)


class Layer:
    """Base of all layers, and of those that you write with NumPy.

    What is in `config` is set once, by the constructor.

    Parameters
    ----------
    name : str, optional
        Unique in its model, without "/"; default: the class's, numbered.
    trainable : bool, default True
        Whether training changes its parameters.

    Attributes
    ----------
    trainable : bool
        May be set at any time: False freezes the layer.
    learning_rate_factor : float
        What the learning rate is multiplied with for its parameters; 1 at first, may be set at
        any time.
    parameters : dict of str to ndarray
        By name; read-only while `forward` and `backward` run.
    gradients : dict of str to ndarray
        By name: zeros that `backward` fills.

    Notes
    -----
    A layer of your own defines

    ``forward(self, x, *, training)``
        x of shape (rows, *input_shape) in the model's dtype, read-only; of several inputs a
        tuple. It returns the output, and may keep on the layer what `backward` needs.
    ``backward(self, grad_output)``
        It returns the gradient by x (of several inputs a tuple), and writes those of the
        parameters to ``self.gradients[name][...]``.
    ``build(self, input_shape)``, optional
        Calls `add_weight` for each parameter; of several inputs it gets a tuple of shapes.
    ``output_shape(self, *input_shapes)``, optional
        Of one sample; default: the input's.
    ``config(self)``, if its constructor takes arguments
        They, as JSON can hold them.

    It runs in Python, between native parts of a step, and may raise: the parameters are then as
    before the step. To save a model with it, decorate the class with
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

    def __init__(self, name: str | None = None, trainable: bool = True) -> None:
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a non-empty string without '/', got {name!r}")
        self.given_name = name
        self.name = name or self.kind
        self.parameters: dict[str, np.ndarray] = {}
        self.owner: weakref.ref[Runtime] | None = None  # a layer belongs to one model
        self.trainable = trainable
        self.learning_rate_factor = 1.0
        self.gradients: dict[str, np.ndarray] = {}  # for layers written with NumPy

    def __init_subclass__(cls, **options: Any) -> None:
        """Name the kind after the class, unless it says so itself."""
        super().__init_subclass__(**options)
        if "kind" not in vars(cls):
            cls.kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "trainable":
            value = checks.boolean(name, value)
        elif name == "learning_rate_factor":
            value = checks.number(name, value, least=0)
        elif name == "name" and vars(self).get("owner") is not None:
            raise AttributeError(
                f"layer {self.name!r} belongs to a model that knows it by this name: "
                f"name it where it is made, {type(self).__name__}(..., name={value!r})"
            )
        elif name in vars(self) and (name.endswith("_regularizer") or name in self.config()):
            raise fixed(self, name, value)
        super().__setattr__(name, value)
        assigned = vars(self).get("_assigned")  # while a forward of the user's runs
        if assigned is not None:
            assigned[name] = value
        owner = vars(self).get("owner")
        runtime = None if owner is None else owner()
        if runtime is not None and name in ("trainable", "learning_rate_factor"):
            runtime.forget_training_programs()

    def take(self, owner: weakref.ref[Runtime] | None, parameters: dict[str, np.ndarray]) -> None:
        """Belong to a model, with views of its parameters by name, or to none."""
        self.owner, self.parameters = owner, parameters

    def rate_factor(self, parameter: str) -> float:
        """Return what the learning rate of a parameter is multiplied with; 0 if it is frozen."""
        return self.learning_rate_factor if self.trainable else 0.0

    def regularizer(self, parameter: str) -> Regularizer | None:
        """Return what is added to the loss for a parameter: `self.<parameter>_regularizer`."""
        return getattr(self, f"{parameter}_regularizer", None)

    def regularizer_configs(self) -> dict[str, Any]:
        """Return what `config` says of the regularizers that were given."""
        return {
            name: value.config()
            for name, value in vars(self).items()
            if name.endswith("_regularizer") and value is not None
        }

    # --- what the package's layers define, and others inherit -----------------------------------

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

    # --- what others may call --------------------------------------------------------------------

    def add_weight(self, name: str, shape: Shape, initializer: object = "glorot_uniform") -> None:
        """Give the layer a parameter; to be called by its `build`.

        Parameters
        ----------
        name : str
            Key in `parameters` and `gradients`.
        shape : tuple of int
        initializer : str or Initializer, default "glorot_uniform"
        """
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"name must be a non-empty string without '/', got {name!r}")
        if name in self._weights:
            raise ValueError(f"layer {self.name!r} has a weight {name!r} already")
        self._weights[name] = checks.shape("shape", shape), initializers.get(initializer)

    # --- what the package asks -------------------------------------------------------------------

    @property
    def runs_in_python(self) -> bool:
        """Whether a part of a step is done by the user's Python."""
        return hasattr(self, "forward")

    def parts(self) -> tuple[Layer, ...]:
        """Return the layer, and the layers inside it."""
        return (self,)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return what `make` builds an equal layer from, as JSON can hold it."""
        defaults = {"trainable": True, "learning_rate_factor": 1.0}
        now = {name: getattr(self, name) for name in defaults}
        changed = {name: value for name, value in now.items() if value != defaults[name]}
        return {"kind": self.kind, "name": self.name, "config": self.config(), **changed}

    @classmethod
    def from_config(cls, name: str, config: dict[str, Any], kinds: Kinds) -> Layer:
        """Return a layer from what `config` returned; `kinds` are those of layers inside it."""
        return cls(name=name, **config)

    def _parameter(self, name: str) -> np.ndarray:
        if name not in self.parameters:
            raise AttributeError(f"layer {self.name!r} has no {name} (yet): build the model first")
        return self.parameters[name]

    def __call__(self, *inputs: Any) -> Tensor:
        """Return the output of the layer for symbolic inputs.

        Parameters
        ----------
        *inputs : Tensor, or one list of them

        Returns
        -------
        Tensor
        """
        tensors: tuple[Any, ...] = inputs
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            tensors = tuple(inputs[0])
        if "owner" not in vars(self):
            raise TypeError(
                f"{type(self).__name__}.__init__ must begin with super().__init__(name)"
            )
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"layer {self.name!r} must be called on Input(...) or the output of another "
                    f"layer, got {type(tensor).__name__}; to compute with arrays, call the model"
                )
        shape = self._checked_output_shape(*(tensor.shape for tensor in tensors))
        return Tensor(shape, self, tensors)

    def _checked_output_shape(self, *shapes: Shape) -> Shape:
        try:
            return self.output_shape(*shapes)
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def only(kind: str, shapes: tuple[Shape, ...]) -> Shape:
    """Return the shape of the single input that a layer takes; raise if there are more."""
    if len(shapes) != 1:
        raise ValueError(f"{kind} takes one input, got {len(shapes)}")
    return shapes[0]


class UnknownKind(LookupError):
    """There is no class for a kind of layer."""


def view_of(name: str) -> Any:
    """Return a property: the view of a layer's parameter."""
    return property(lambda self: self._parameter(name), doc=f"View of {name}, once there is one.")


def make(described: dict[str, Any], kinds: Kinds) -> Layer:
    """Return a layer from what `Layer.describe` returned.

    Parameters
    ----------
    described : dict
    kinds : dict of str to type
        Classes by kind.

    Raises
    ------
    UnknownKind
        It is in neither `kinds` nor the registry.
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


def name_layers(layers: Sequence[Layer]) -> None:
    """Give each layer a name of its own among these: what the user said, or its kind."""
    for layer in layers:
        if "owner" not in vars(layer):
            kind = type(layer).__name__
            raise TypeError(f"{kind}.__init__ must begin with super().__init__(name)")
        if layer.owner is not None:
            raise ValueError(
                f"layer {layer.name!r} already belongs to another model; make a new layer"
            )
    given = [layer.given_name for layer in layers if layer.given_name]
    for name in given:
        if given.count(name) > 1:
            raise ValueError(f"layer names must be unique, got {name!r} {given.count(name)} times")
    taken = set(given)
    for layer in layers:
        if layer.given_name:
            continue
        number, name = 0, layer.kind
        while name in taken:
            number += 1
            name = f"{layer.kind}_{number}"
        taken.add(name)
        layer.name = name


class _Kinds(Registry[Layer]):
    """Layers by kind, for loading a saved architecture."""

    def add(self, cls: type[T]) -> type[T]:
        """Add a class under its ``kind``; a decorator. A class of one's own may be given again.

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
