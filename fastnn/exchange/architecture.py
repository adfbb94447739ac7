"""The architecture of a network as JSON: its layers, and how they and its parts are put together.

    inputs   name and shape of each
    layers   a description of each layer, those inside parts included, once; "path" is its name in
             this network ("encoder/dense")
    steps    each use of a layer or of a model that is a part, with the positions of its inputs
    models   the models that are parts, by name: inputs, steps, models and outputs of each
    outputs  the positions of the outputs

Positions count the inputs first, then the outputs of each step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastnn.core import checks
from fastnn.layers import Layer, Tensor
from fastnn.layers.base import Composite, Kinds, make
from fastnn.layers.composition import Composition
from fastnn.network import Network
from fastnn.program.graph import Graph

Options = tuple[str, int | None]  # dtype and seed


def describe(network: Network) -> dict[str, Any]:
    """Return the architecture of a built network in a form that JSON can hold."""
    paths = {step.layer: step.name for step in network.graph.steps}  # a layer has one name
    layers = [
        {**layer.describe(), "name": path.rsplit("/", 1)[-1], "path": path}
        for layer, path in paths.items()
    ]
    return {"layers": layers, **_described(network.composition, network.graph, paths)}


def _described(composition: Composition, graph: Graph, paths: Mapping[Any, str]) -> dict[str, Any]:
    """Describe inputs, steps and outputs of a network or of one that is part of it."""
    steps: list[dict[str, Any]] = []
    models: dict[str, Any] = {}
    for call in composition.calls:
        inputs = list(call.inputs)
        if call.inner is None:
            steps.append({"layer": paths[call.item], "name": call.name, "inputs": inputs})
            continue
        steps.append({"model": call.name, "inputs": inputs})
        models[call.name] = {
            "kind": call.inner.kind,
            **_described(call.inner.composition, call.inner.graph, paths),
        }
    return {
        "inputs": [{"name": name, "shape": list(shape)} for name, shape in graph.inputs],
        "steps": steps,
        "outputs": list(composition.outputs),
        **({"models": models} if models else {}),
    }


def restore(
    about: dict[str, Any],
    kind: str,
    options: Options,
    kinds: Kinds,
    shared: Mapping[str, Layer] | None = None,
) -> Network:
    """Build the network of a description, with newly allocated parameters.

    Parameters
    ----------
    about : dict
        What `describe` returned, or an earlier format.
    kind : {"Sequential", "Model"}
    options : tuple (dtype, seed)
    kinds : dict of str to type
        Layer classes that are not in the registry, keyed by kind.
    shared : dict of str to Layer, optional
        Layers that exist already, by their names in the network.

    Raises
    ------
    UnknownKind
        A kind of layer is not known.
    """
    if "output" in about:  # format 1
        about = {**about, "outputs": [about["output"]]}
    paths = {entry.get("path", entry["name"]): entry for entry in about["layers"]}
    known = shared or {}
    made = {path: known.get(path) or make(entry, kinds) for path, entry in paths.items()}
    return _restored(about, kind, options, made, None)


def _restored(
    about: dict[str, Any],
    kind: str,
    options: Options,
    layers: Mapping[str, Layer],
    name: str | None,
) -> Network:
    if kind not in ("Sequential", "Model"):
        raise ValueError(f"unknown kind of model {kind!r}")
    models = {
        part: _restored(inner, inner["kind"], options, layers, part)
        for part, inner in about.get("models", {}).items()
    }
    inputs = [
        Tensor(checks.shape("shape", one["shape"]), name=one["name"]) for one in about["inputs"]
    ]
    names: dict[Layer | Composite, str] = {}
    parts: list[Layer | Network] = []
    for step in about["steps"]:
        part = models[step["model"]] if "model" in step else layers[step["layer"]]
        names[part] = step.get("name", step.get("model", step.get("layer")))
        parts.append(part)
    if kind == "Sequential":
        network = Network(*options, parts, name)
        network.chain_shape = inputs[0].shape
        network.build_chain(inputs[0].shape, names)
        return network
    tensors = list(inputs)
    for step, part in zip(about["steps"], parts, strict=True):
        given = [tensors[i] for i in step["inputs"]]
        tensors += [part(*given)] if isinstance(part, Layer) else part.called_on(given)
    network = Network(*options, name=name)
    network.build(inputs, [tensors[i] for i in about["outputs"]], names)
    return network


__all__ = ["describe", "restore"]
