"""What all layers have in common, the inputs that they are called on, and the table of them.

A layer knows no arithmetic and no backward: it emits rows of the op table, and the program is
differentiated as a whole. To add one made of existing ops, write a class as short as those of this
package and decorate it with `registry.add`.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastnn import checks
from fastnn.initializers import Initializer
from fastnn.program.lower import Builder
from fastnn.program.ops import Value
from fastnn.registry import Registry, fixed
from fastnn.regularizers import Regularizer

if TYPE_CHECKING:
    from fastnn.runtime import Runtime

Shape = tuple[int, ...]
Kinds = dict[str, "type[Layer]"]


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
    """Base of all layers. What is in `config` is set once, by the constructor.

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

    def __setattr__(self, name: str, value: object) -> None:
        if name == "trainable":
            value = checks.boolean(name, value)
        elif name == "learning_rate_factor":
            value = checks.number(name, value, least=0)
        elif name in vars(self) and name in self.config():
            raise fixed(self, name, value)
        super().__setattr__(name, value)
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
        """Return what is added to the loss for a parameter."""
        return None

    def parameter_shapes(self, *inputs: Shape) -> dict[str, tuple[Shape, Initializer]]:
        """Return shape and initializer of each parameter, for inputs of these shapes."""
        return {}

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the shape of one sample of the output; raise if the inputs do not fit."""
        raise NotImplementedError

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the layer's forward ops and return its output."""
        raise NotImplementedError

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
    KeyError
        The kind is in neither `kinds` nor the registry.
    """
    kind = described["kind"]
    cls = kinds[kind] if kind in kinds else registry[kind]
    layer = cls.from_config(described["name"], described["config"], kinds)
    for name in ("trainable", "learning_rate_factor"):
        if name in described:
            setattr(layer, name, described[name])
    return layer


def name_layers(layers: Sequence[Layer]) -> None:
    """Give each layer a name of its own among these: what the user said, or its kind."""
    for layer in layers:
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

    def add(self, cls: type[Layer]) -> type[Layer]:
        self._classes[cls.kind] = cls
        return cls


registry = _Kinds("layer", Layer)
