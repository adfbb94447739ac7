"""What `compile` is given, per output: the loss, its weight, and the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastnn import data, losses, optimizers
from fastnn.core import checks
from fastnn.core.formats import brief
from fastnn.metrics import Metric
from fastnn.metrics import get as metric_of
from fastnn.program.objective import Objective, OutputObjective
from fastnn.program.precision import MIXED


def objective_of(
    optimizer: object,
    loss: object,
    metrics: object,
    loss_weights: object,
    outputs: Sequence[str],
    weighted_metrics: object = None,
) -> Objective:
    """Return what `compile` was given, checked.

    Parameters
    ----------
    optimizer, loss, metrics, loss_weights
        As in `Model.compile`.
    outputs : sequence of str
        Names of the outputs.
    weighted_metrics
        As in `Model.compile`.

    Raises
    ------
    ValueError, TypeError
        A name is unknown, the number of losses is not that of the outputs, or there are metrics
        or weights without a loss.
    """
    if loss is None:
        for name, given in (
            ("metrics", metrics),
            ("weighted_metrics", weighted_metrics),
            ("loss_weights", loss_weights),
        ):
            if given is not None and given != [] and given != {}:
                known = ", ".join(losses.registry)
                raise ValueError(f"loss must be given along with {name}, one of {known}")
        return Objective(optimizers.get(optimizer).copy())
    return Objective(
        optimizers.get(optimizer).copy(),
        output_objectives(loss, metrics, loss_weights, outputs, weighted_metrics),
    )


def output_objectives(
    loss: object,
    metrics: object,
    loss_weights: object,
    outputs: Sequence[str],
    weighted_metrics: object = None,
) -> tuple[OutputObjective, ...]:
    """Return the objective of each output.

    Parameters
    ----------
    loss, metrics, loss_weights
        As in `Model.compile`.
    outputs : sequence of str
        Names of the outputs.
    weighted_metrics
        As in `Model.compile`.

    Returns
    -------
    tuple of OutputObjective

    Raises
    ------
    ValueError, TypeError
        A name is unknown, or the number of entries is not that of the outputs.
    """
    is_config = isinstance(loss, dict) and "name" in loss
    if isinstance(loss, (list, tuple, dict)) and not is_config:
        if not isinstance(loss, dict):  # anything that is not a loss is reported first
            loss = [losses.get(one) for one in loss]
        losses_of = list(data.by_name("loss", loss, outputs).values())
    else:
        losses_of = [loss] * len(outputs)
    chosen = [losses.get(one) for one in losses_of]
    own = [one for one in chosen if isinstance(one, losses.Custom)]
    for one in own:
        if any(one != other and one.name == other.name for other in own):
            raise ValueError(
                f"loss: two losses of your own are both called {one.name!r}; give them names, "
                "losses.Custom(function, derivative, name)"
            )
    weights: list[object] = [1.0] * len(outputs)
    if loss_weights is not None:
        weights = list(data.by_name("loss_weights", loss_weights, outputs).values())
    plain = _metrics("metrics", metrics, outputs)
    weighted = _metrics("weighted_metrics", weighted_metrics, outputs)
    made = tuple(
        OutputObjective(one, own, _weight(weight), own_weighted)
        for one, own, weight, own_weighted in zip(chosen, plain, weights, weighted, strict=True)
    )
    for objective in made:
        _check_labels([label for label, _, _ in objective.labelled()])
        for metric in objective.weighted_metrics:
            metric.check_weighted()
    return made


def _weight(weight: object) -> float:
    return checks.number("loss_weights", weight, least=0)


def _metrics(argument: str, metrics: object, outputs: Sequence[str]) -> list[tuple[Metric, ...]]:
    """Return the metrics of each output; one, or a list of them, applies to all."""
    return [tuple(map(metric_of, one)) for one in _given_metrics(argument, metrics, outputs)]


def _given_metrics(argument: str, metrics: object, outputs: Sequence[str]) -> list[list[object]]:
    if metrics is None:
        return [[] for _ in outputs]
    if isinstance(metrics, dict) and "name" not in metrics:
        unknown = [str(name) for name in metrics if name not in outputs]
        if unknown:
            raise ValueError(
                f"{argument} must be for the outputs {', '.join(outputs)}, got {', '.join(unknown)}"
            )
        return [_listed(argument, metrics.get(name)) for name in outputs]
    given = _listed(argument, metrics)
    if given and all(one is None or isinstance(one, (list, tuple)) for one in given):
        named = data.by_name(argument, given, outputs)
        return [_listed(argument, one) for one in named.values()]
    return [given for _ in outputs]


def _listed(argument: str, metrics: object) -> list[object]:
    """Return a list of metrics; a single one need not be in a list."""
    if metrics is None:
        return []
    if isinstance(metrics, (str, Metric, dict)) or callable(metrics):
        return [metrics]
    if not isinstance(metrics, Iterable):
        raise TypeError(f"{argument} must be a metric or a list of metrics, got {metrics!r}")
    return list(metrics)


def _check_labels(labels: Sequence[str]) -> None:
    """Raise ValueError if two results would have one name."""
    for label in labels:
        if labels.count(label) > 1 or label == "loss":
            raise ValueError(f"metrics must have names of their own, got {label!r} twice")


def checked_precision(precision: object, dtype: str) -> str | None:
    """Return how products are to be computed; None leaves that as it is.

    Parameters
    ----------
    precision : object
        As given to `compile`.
    dtype : {"float32", "float64"}
        The model's.

    Raises
    ------
    ValueError
        It is neither the dtype nor "mixed_bfloat16", or the latter with float64.
    """
    if precision is None:
        return None
    allowed = [dtype] if dtype == "float64" else [dtype, MIXED]
    if not isinstance(precision, str) or precision not in allowed:
        meant = isinstance(precision, str) and "16" in precision and dtype == "float32"
        raise ValueError(
            f"precision must be {' or '.join(map(repr, allowed))} for a model of dtype {dtype!r}, "
            f"got {brief(repr(precision))}{f'; did you mean {MIXED!r}?' if meant else ''}"
        )
    return str(precision)
