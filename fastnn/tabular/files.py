"""Models saved together with the encoding of their tables."""

from __future__ import annotations

import os
from typing import Any

from fastnn.exchange import model_file
from fastnn.model import Model
from fastnn.tabular.encoding import Encoding


def save(
    model: Model, encoding: Encoding, path: str | os.PathLike, *, attachments: dict[str, Any]
) -> None:
    """Save a model with the encoding of its columns.

    Parameters
    ----------
    model : Model
    encoding : Encoding
    path : path-like
    attachments : dict
        What else to keep with it; JSON.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        As `Model.save`.
    """
    entries, tensors = encoding.to_file()
    model_file.save(
        model.network, path, tensors=tensors, attachments={"table": entries, **attachments}
    )


def load(path: str | os.PathLike) -> tuple[Model, Encoding | None, dict[str, Any]]:
    """Load a model with the encoding of its columns.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    model : Model
    encoding : Encoding or None
        None for a model that `Model.save` wrote.
    attachments : dict
        What else was saved with it.

    Raises
    ------
    FileNotFoundError, ValueError
        As `fastnn.load`.
    """
    about, tensors = model_file.read(path)
    attachments = about.get("attachments") or {}
    model = Model.of(model_file.restore(about, tensors, path))
    if "table" not in attachments:
        return model, None, attachments
    try:
        encoding = Encoding.from_file(attachments["table"], tensors)
    except ValueError as error:
        raise ValueError(f"path: {str(path)!r}: {error}") from None
    if model.input_shapes[0][1] != (encoding.inputs,):
        raise ValueError(f"path: {str(path)!r}: columns and network do not fit each other")
    return model, encoding, attachments
