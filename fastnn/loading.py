"""`fastnn.load`: a model file, and what it holds.

It stands above `model` and `tabular`, because a file that describes the columns of a table gives
what takes them. A plain Model for such a file would take encoded columns and give encoded numbers,
without a word; and what reads model files (`exchange`) knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastnn.core import files
from fastnn.model import Model


def load(
    path: files.Target,
    *,
    custom_objects: Mapping[str, object] | None = None,
) -> Any:
    """Load a model, ready to predict or to continue training.

    A training that is resumed counts its epochs on if `fit` is given the `initial_epoch`; the steps
    of a schedule continue by themselves.

    Parameters
    ----------
    path : path-like or binary file object
        A file object is read from where it stands to its end.
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
    FormatError
        The file was not written by fastnn, is damaged, or holds a layer or loss that is not
        known. It is a ValueError.
    MemoryError
        The model is what its file says, and does not fit in memory.
    TypeError
        `path` is neither a name nor a file object, or `custom_objects` holds something else.
    ValueError
        `path` is empty or a folder.

    Notes
    -----
    A file from a stranger runs no code. Names, numbers and shapes are compared with what the file
    holds before memory is allocated for the model.

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
    attachments = dict(about.get("attachments") or {})

    def model() -> Model:
        return Model.of(model_file.restore(about, tensors, path, own))

    if "table" not in attachments:
        return model()
    from fastnn.tabular.saved import restored

    return restored(model, attachments, tensors, path)
