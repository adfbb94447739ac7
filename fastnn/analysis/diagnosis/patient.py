"""The quantities that a diagnosis examines, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastnn import activations
from fastnn.activations import ActivationFunction
from fastnn.analysis import inspection
from fastnn.data import AnySource, Source
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.layers import Layer
    from fastnn.losses import Loss

ROWS = 512  # rows in the sample; trials train on all rows


@dataclass
class Patient:
    """A model with its training data.

    Attributes
    ----------
    network : Network
        Compiled.
    sources : sequence of Source or Sparse
        Inputs, the target, and sample weights, if any.
    target_types : tuple of {"real", "label", "weight"}
        Types of the sources after the inputs; see `Runtime.bound`.
    batch_size : int
        Batch size of the trials.
    """

    network: Network
    sources: Sequence[AnySource]
    target_types: tuple[str, ...]
    batch_size: int

    @cached_property
    def sample(self) -> list[Source]:
        """A sample of the rows."""
        return inspection.sample(self.sources, ROWS)

    @cached_property
    def activations(self) -> dict[str, np.ndarray]:
        """The outputs of each layer for the sample."""
        return inspection.activations(self.network.runtime, self.sample)

    @cached_property
    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of the mean loss on the sample."""
        return inspection.gradients(self.network.runtime, self.sample, self.target_types)

    @property
    def target_type(self) -> str:
        """The type of the target: "real" or "label"."""
        return self.target_types[0]

    @property
    def loss(self) -> Loss:
        """The model's loss."""
        return self.network.require_objective().loss

    @property
    def inputs(self) -> list[tuple[str, np.ndarray]]:
        """Names and rows of the sample's inputs."""
        names = [name for name, _ in self.network.input_shapes]
        return [(name, source.array) for name, source in zip(names, self.sample, strict=False)]

    @property
    def target(self) -> np.ndarray:
        """The target of all rows, shape (rows, width)."""
        return self.sources[len(self.network.input_shapes)].take()

    @property
    def layers(self) -> list[tuple[str, Layer]]:
        """The layers in the order of computation, named as by `inspection.layer_names`."""
        graph = self.network.runtime.graph
        names = inspection.layer_names(self.network.runtime)
        return [(name, layer) for name, (layer, _, _) in zip(names, graph.steps, strict=True)]

    @cached_property
    def end(self) -> tuple[str, ActivationFunction]:
        """Name and activation of the last layer that changes the numbers it reads."""
        graph, named = self.network.runtime.graph, self.layers
        position = graph.outputs[0] - len(graph.inputs)
        while position >= 0:
            name, layer = named[position]
            if not layer.is_identity:
                return name, activation_of(layer)
            position = graph.steps[position][1][0] - len(graph.inputs)
        return "", activations.get("linear")


def activation_of(layer: Layer) -> ActivationFunction:
    """Return a layer's activation; "linear" if it has none."""
    found = getattr(layer, "activation", None)
    return found if isinstance(found, ActivationFunction) else activations.get("linear")
