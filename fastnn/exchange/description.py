"""What a model file says of a network besides its tensors, in JSON's types."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from fastnn import layers
from fastnn.core import checks
from fastnn.core.declare import with_class_names
from fastnn.exchange import architecture
from fastnn.layers import Layer
from fastnn.metrics import Function, Metric
from fastnn.native import engine
from fastnn.network import Network
from fastnn.runtime import Objective, Runtime

FORMAT = 3  # 1 had one output, 2 no models as parts


def parts_of(network: Network) -> list[Layer]:
    """Return the layers, and the layers inside them."""
    return [part for whole in network.layers for part in whole.parts()]


def check_layers(network: Network) -> None:
    """Raise ValueError if a layer could not be loaded again."""
    for name, _ in network.graph.inputs:
        checks.stored_name("the name of an input", name)
    for step in network.graph.steps:
        for one in step.name.split("/"):
            checks.stored_name("the name of a layer", one)
    for layer in parts_of(network):
        checks.stored_name("the name of a layer", layer.name)
        if layer.kind not in layers.registry or layers.registry[layer.kind] is not type(layer):
            raise ValueError(
                f"layer {layer.name!r} is a {type(layer).__name__}, which load would not know: "
                "decorate the class with fastnn.layers.registry.add"
            )
        lacking = layer.lacking_arguments()
        if lacking:
            raise ValueError(
                f"layer {layer.name!r} cannot be saved: {type(layer).__name__}.__init__ takes "
                f"{', '.join(lacking)}, which must be kept as attributes of these names, or "
                "returned by a config method"
            )
        try:
            json.dumps(layer.config())
        except TypeError as error:
            raise ValueError(
                f"layer {layer.name!r} cannot be saved: its config must be JSON ({error})"
            ) from None


def views_of(runtime: Runtime) -> dict[str, np.ndarray]:
    """Return views of parameters and optimizer state, keyed by the names of their tensors."""
    views = {f"parameters/{name}": view for name, view in runtime.parameters.items()}
    return views | {f"optimizer/{name}": view for name, view in runtime.state_views().items()}


def description(network: Network, attachments: dict[str, Any]) -> dict[str, Any]:
    """Return everything except the tensors, in JSON's types."""
    return with_class_names(_described, network, attachments)


def _described(network: Network, attachments: dict[str, Any]) -> dict[str, Any]:
    runtime = network.runtime
    return {
        "format": FORMAT,
        "version": engine.VERSION,
        "kind": "Sequential" if network.is_sequential else "Model",
        "dtype": network.given_dtype,
        "seed": network.seed,
        "step": runtime.step,
        "accumulated": runtime.accumulated,
        "key": runtime.key,
        "generator": network.generator.bit_generator.state,
        "architecture": architecture.describe(network),
        "compile": None if runtime.objective is None else _described_objective(runtime.objective),
        "frozen": sorted({one.name for one in network.graph.steps if one.layer in network.frozen}),
        "names": network.names.described(),
        "attachments": attachments,
    }


def _described_objective(objective: Objective) -> dict[str, Any]:
    """Return the arguments of `compile`; of the user's functions, only the names."""
    if not objective.has_loss:
        return {"optimizer": objective.optimizer.config(), "loss": None}
    outputs = objective.outputs
    return {
        "optimizer": objective.optimizer.config(),
        "loss": [output.loss.config() for output in outputs],
        "metrics": [list(map(_described_metric, output.metrics)) for output in outputs],
        "loss_weights": [output.weight for output in outputs],
        "weighted_metrics": [
            list(map(_described_metric, output.weighted_metrics)) for output in outputs
        ],
    }


def _described_metric(metric: Metric) -> dict[str, Any]:
    if isinstance(metric, Function):
        return {"function": metric.label, "direction": metric.direction}
    return metric.config()


__all__ = ["FORMAT", "check_layers", "description", "parts_of", "views_of"]
