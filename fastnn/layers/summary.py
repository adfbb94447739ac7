"""The layers of a network as a table."""

from __future__ import annotations

import numpy as np

from fastnn.layers.base import Layer
from fastnn.layers.inputs import input_lookups
from fastnn.program.graph import Graph


def table_of(graph: Graph, dtype: str, precision: str) -> str:
    """Return the layers as a table, with output shapes and numbers of parameters."""
    shapes = [shape for _, shape in graph.inputs]
    rows = [
        (name, "Input (text)" if lookup and lookup.takes_text else "Input", shape, "")
        for (name, shape), lookup in zip(graph.inputs, input_lookups(graph), strict=True)
    ]
    counted: set[Layer] = set()
    for layer, positions, name in graph.steps:
        shapes.append(layer.output_shape(*(shapes[i] for i in positions)))
        count = 0 if layer in counted else sum(view.size for view in layer.parameters.values())
        counted.add(layer)
        marks = ["Python"] * any(part.runs_in_python for part in layer.parts())
        marks += ["frozen"] * (layer in graph.frozen or not layer.trainable)
        kind = type(layer).__name__ + (f" ({', '.join(marks)})" if marks else "")
        rows.append((name, kind, shapes[-1], f"{count:,}"))
    table = [("layer", "kind", "output shape", "parameters")]
    for row in rows:
        sizes = "".join(f", {size}" for size in row[2])
        table.append((row[0], row[1], f"(batch{sizes})", row[3]))
    widths = [max(len(row[i]) for row in table) for i in range(4)]
    lines = [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip()
        for a, b, c, d in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    total = sum(value.width for value in graph.parameters.values())
    size = total * np.dtype(dtype).itemsize
    kind = dtype if precision == dtype else f"{dtype} ({precision})"
    end = f"{total:,} parameters, {kind}, {size:,} bytes"
    fixed = sum(
        graph.parameters[name].width for name, factor in graph.rate_factors().items() if not factor
    )
    if fixed:
        end += f"; {fixed:,} of them are not trained"
    return "\n".join([*lines, end])
