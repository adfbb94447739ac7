"""`predict_classes`: the class of each row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastnn.data.labels import decoded
from fastnn.network import Network
from fastnn.program.lower import thresholds_of


def classes_of(network: Network, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the classes that the outputs of a network stand for; see `Model.predict_classes`.

    Parameters
    ----------
    network : Network
        Compiled: the loss says what its outputs are.
    outputs : sequence of ndarray
        What `predict` returned, one for each output.
    """
    objective = network.require_objective()
    ends = zip(objective.outputs, network.output_shapes, strict=True)
    types = [
        "label" if one.loss.takes_labels and math.prod(shape) > 1 else "real" for one, shape in ends
    ]
    found = []
    thresholds = thresholds_of(network.graph, objective.outputs, types)
    known = network.known_classes()
    for array, one, threshold, classes in zip(
        outputs, objective.outputs, thresholds, known, strict=True
    ):
        flat = array.reshape(len(array), -1)
        if threshold is None:
            numbers = flat.argmax(axis=1)
        else:
            numbers = (flat > threshold).astype(np.int64)
            if one.loss.target_range == (-1, 1):
                numbers = 2 * numbers - 1
            if flat.shape[1] == 1:
                numbers = numbers[:, 0]
        found.append(numbers if classes is None else decoded(numbers, classes))
    return found
