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

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastnn.core import checks
from fastnn.core.formats import FormatError, quoted, whole_number
from fastnn.layers import Layer, Tensor
from fastnn.layers.base import Composite, Kinds, make
from fastnn.layers.composition import Composition
from fastnn.network import DTYPES, Network
from fastnn.program.graph import Graph

Options = tuple[str, int | None]  # dtype and seed


def describe(network: Network) -> dict[str, Any]:
    """Return the architecture of a built network in a form that JSON can hold."""
    paths = {step.layer: step.name for step in network.graph.steps}  # a layer has one name
    layers = [
        {**layer.describe(), "name": path.rsplit("/", 1)[-1], "path": path}
        for layer, path in paths.items()
    ]
    dtype = network.given_dtype
    return {"layers": layers, **_described(network.composition, network.graph, paths, dtype)}


def _described(
    composition: Composition, graph: Graph, paths: Mapping[Any, str], dtype: str
) -> dict[str, Any]:
    """Describe inputs, steps and outputs of a network or of one that is part of it.

    A part has the dtype of the whole, unless its description says another.
    """
    steps: list[dict[str, Any]] = []
    models: dict[str, Any] = {}
    for call in composition.calls:
        inputs = list(call.inputs)
        if call.inner is None:
            steps.append({"layer": paths[call.item], "name": call.name, "inputs": inputs})
            continue
        steps.append({"model": call.name, "inputs": inputs})
        own = call.item.given_dtype if isinstance(call.item, Network) else dtype
        models[call.name] = {
            "kind": call.inner.kind,
            **({"dtype": own} if own != dtype else {}),
            **_described(call.inner.composition, call.inner.graph, paths, dtype),
        }
    return {
        "inputs": [{"name": name, "shape": list(shape)} for name, shape in graph.inputs],
        "steps": steps,
        "outputs": list(composition.outputs),
        **({"models": models} if models else {}),
    }


class Check(Protocol):
    """Checks a network before anything is allocated for it."""

    def __call__(self, graph: Graph, paths: Mapping[Layer, str], *, is_whole: bool) -> None:
        """Raise if it cannot be.

        Parameters
        ----------
        graph : Graph
        paths : dict of Layer to str
            Names of the layers in the outermost network.
        is_whole : bool
            Whether it is the outermost one.
        """


def restore(
    about: dict[str, Any],
    kind: str,
    options: Options,
    kinds: Kinds,
    check: Check,
    *,
    shared: Mapping[str, Layer] | None = None,
    draws: bool = True,
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
    check : callable
        Told of the network and of its parts, each before anything is allocated for it.
    shared : dict of str to Layer, optional
        Layers that exist already, by their names in the network.
    draws : bool, default True
        Whether the parameters get their initial values; otherwise they are zeros.

    Raises
    ------
    UnknownKind
        A kind of layer is not known.
    """
    if "output" in about:  # format 1
        about = {**about, "outputs": [about["output"]]}
    known = shared or {}
    layers: dict[str, Layer] = {}
    for entry in about["layers"]:
        path = entry.get("path", entry["name"])
        if path in layers:
            raise FormatError(f"layer {quoted(path)} is described twice")
        layers[path] = known.get(path) or make(entry, kinds)
        if not draws:  # from a file; a copy may have any names
            for part in layers[path].parts():
                checks.stored_name("name", part.name)
    return _Restored(options, layers, check, draws).network(about, kind, None)


class _Restored:
    """Builds networks of layers that are made already."""

    def __init__(
        self, options: Options, layers: Mapping[str, Layer], check: Check, draws: bool
    ) -> None:
        self._options, self._layers, self._check, self._draws = options, layers, check, draws
        self._checked = checks.part_name if draws else checks.stored_name
        self._paths = {layer: path for path, layer in layers.items()}

    def network(self, about: dict[str, Any], kind: str, name: str | None) -> Network:
        """Return a network; the outermost one has no name."""
        if kind not in ("Sequential", "Model"):
            raise FormatError(f"unknown kind of model {quoted(kind)}")
        whole, seed = self._options
        dtype = about.get("dtype", whole)
        if not isinstance(dtype, str) or DTYPES.get(dtype) != DTYPES[whole]:
            raise FormatError(f"a model in one of dtype {quoted(whole)} has another")
        models = {
            self._checked("name", part): self.network(inner, inner["kind"], part)
            for part, inner in about.get("models", {}).items()
        }
        inputs = [
            Tensor(checks.shape("shape", one["shape"]), name=self._checked("name", one["name"]))
            for one in about["inputs"]
        ]
        names: dict[Layer | Composite, str] = {}
        parts: list[Layer | Network] = []
        for step in about["steps"]:
            part = models[step["model"]] if "model" in step else self._layers[step["layer"]]
            given = step.get("name", step.get("model", step.get("layer")))
            if names.setdefault(part, self._checked("name", given)) != given:
                raise FormatError(f"{quoted(given)} has two names")
            parts.append(part)
        if len(set(names.values())) < len(names):
            raise FormatError("two layers have the same name")
        if not names.keys() >= set(models.values()):
            raise FormatError("there is a model that is not used")

        def check(graph: Graph) -> None:
            if name is None:
                self._check_steps(graph)
            self._check(graph, self._paths, is_whole=name is None)

        if kind == "Sequential":
            (entrance,) = inputs
            network = Network(dtype, seed, parts, name)
            network.chain_shape = entrance.shape
            network.build_chain(entrance.shape, names, check, draws=self._draws)
            return network
        tensors = list(inputs)
        for step, part in zip(about["steps"], parts, strict=True):
            given = [_at(tensors, place) for place in step["inputs"]]
            tensors += [part(*given)] if isinstance(part, Layer) else part.called_on(given)
        network = Network(dtype, seed, name=name)
        outputs = [_at(tensors, place) for place in about["outputs"]]
        if not outputs or not inputs:
            raise FormatError("a model has no inputs or no outputs")
        network.build(inputs, outputs, names, check, draws=self._draws)
        return network

    def _check_steps(self, graph: Graph) -> None:
        """Raise FormatError unless every layer is used, under the name that its tensors have."""
        used = {step.layer: step.name for step in graph.steps}
        if used != self._paths:
            odd = next(p for one, p in self._paths.items() if used.get(one) != p)
            raise FormatError(f"layer {quoted(odd)} is not used, or has another name")


def _at(tensors: Sequence[Tensor], place: Any) -> Tensor:
    return tensors[whole_number("the position of an input", place, most=len(tensors) - 1)]


__all__ = ["Check", "describe", "restore"]
