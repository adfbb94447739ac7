"""`fastnn.load`: a model file, and what it holds.

It stands above `model` and `tabular`, because a file that describes the columns of a table gives
what takes them. A plain Model for such a file would take encoded columns and give encoded numbers,
without a word; and what reads model files (`exchange`) knows nothing of tables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastnn.model import Model


def load(
    path: str | os.PathLike,
    *,
    custom_objects: Mapping[str, object] | None = None,
) -> Any:
    """Load a model, ready to predict or to continue training.

    A training that is resumed counts its epochs on if `fit` is given the `initial_epoch`; the steps
    of a schedule continue by themselves.

    Parameters
    ----------
    path : path-like
    custom_objects : dict of str to object, optional
        What you have written yourself, keyed by name: classes of layers that are not registered
        (see `Layer`), of optimizers, losses, metrics, schedules, initializers and regularizers;
        losses (`losses.Custom`); functions that are metrics.

    Warns
    -----
    UserWarning
        A metric function is not known and is left out, or an object of a class that is not known
        is replaced by one of the class that it is derived from.

    Returns
    -------
    Model or TabularModel
        What `Model.save` wrote is a Model. What was saved with the columns of a table, as
        `fastnn train` does, is a `fastnn.tabular.TabularModel`: its `predict` takes those
        columns, as a frame for example, and answers in classes or in the target's unit; its
        `model` is the Model, for encoded inputs.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        `custom_objects` holds something else.
    ValueError
        The file was not written by fastnn, is damaged, or holds a layer or loss that is not
        known.

    Examples
    --------
    >>> import fastnn as fnn, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
    >>> fnn.Sequential([fnn.Dense(2)], input_shape=(3,)).save(path)
    >>> fnn.load(path).output_shape
    (2,)
    """
    from fastnn.exchange import model_file

    own = model_file.checked_custom_objects(custom_objects)
    about, tensors = model_file.read(path)
    model = Model.of(model_file.restore(about, tensors, path, own))
    attachments = dict(about.get("attachments") or {})
    if "table" not in attachments:
        return model
    from fastnn.tabular import TabularModel

    return TabularModel.from_file(model, attachments, tensors, path)
