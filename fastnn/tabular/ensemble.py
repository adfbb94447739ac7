"""The members of an ensemble as one network, and what they say of rows they have not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn import layers
from fastnn.model import Model
from fastnn.tabular.member import Member
from fastnn.tabular.recipes import Recipe, Task


def out_of_fold(members: Sequence[Member], x: np.ndarray, task: Task) -> np.ndarray:
    """Return the prediction of each row by the member that has not seen it.

    Parameters
    ----------
    members : sequence of Member
    x : ndarray of float32, shape (rows, inputs)
    task : Task

    Returns
    -------
    ndarray of float32, shape (rows, outputs)
        NaN for rows that no member held out.
    """
    found = np.full((len(x), task.outputs), np.nan, np.float32)
    for member in members:
        found[member.held_out] = member.predict(x[member.held_out], task)
    return found


def joined_model(
    models: Sequence[Model], recipe: Recipe, task: Task, temperature: float, seed: int
) -> Model:
    """Return one network whose output is the mean of those of several networks.

    Parameters
    ----------
    models : sequence of Model
    recipe : Recipe
        That made them.
    task : Task
    temperature : float
        Logits are divided by it before the softmax.
    seed : int
    """
    given = layers.Input((task.inputs,))
    ends = []
    for model in models:
        if task.classes and temperature != 1:
            cooled = layers.Rescaling(1 / temperature)(recipe.logits(model, given))
            ends.append([layers.Activation("softmax")(cooled)])
        else:
            ends.append(recipe.ends(model, task, given))
    means = [
        layers.Average()(list(same)) if len(same) > 1 else same[0]
        for same in zip(*ends, strict=True)
    ]
    output = means[0] if len(means) == 1 else layers.Concatenate()(means)
    return Model(given, output, seed=seed)
