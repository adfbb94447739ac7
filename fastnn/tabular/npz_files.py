"""Tables from NumPy's files of arrays. Nothing in a file is evaluated."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from fastnn.tabular.columns import listed
from fastnn.tabular.table import Table


def read_npz(path: Path, target: str | None) -> Table:
    """Return the array of inputs, and that of the target, as numbered columns."""
    arrays = _arrays_in(path)
    name = _inputs_among(path, arrays, target)
    x = arrays[name]
    if x.ndim < 2 or x.size == 0 or x.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: array {name!r} must hold numbers of shape (rows, columns), "
            f"got {x.dtype} of shape {x.shape}"
        )
    x = x.reshape(len(x), -1)
    columns = {f"{name}[{i}]": x[:, i] for i in range(x.shape[1])}
    if target is not None and target in arrays:
        y = arrays[target]
        if y.shape not in ((len(x),), (len(x), 1)):
            raise ValueError(f"{path}: array {target!r} must have shape ({len(x)},), got {y.shape}")
        columns[target] = y.reshape(-1)
    unused = tuple(array for array in arrays if array not in (name, target))
    return Table(columns, len(x), str(path), has_names=False, left_out=unused)


def _arrays_in(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.npz`` file, by name."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: is not a .npz file; numpy.savez(path, x=..., y=...) writes one")
    try:
        # allow_pickle=False is the default, and explicit here: a file must not run anything.
        with np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
    except MemoryError:
        raise
    except Exception as error:  # NumPy passes on whatever its parsers raise for a damaged file
        reason = " ".join(str(error).split())
        if "allow_pickle" in reason:
            reason = "it holds Python objects; save arrays of numbers"
        raise ValueError(f"{path}: cannot be read: {reason}") from None
    # NumPy returns members that are not arrays as bytes; they are of no use here.
    return {name: part for name, part in members.items() if isinstance(part, np.ndarray)}


def _inputs_among(path: Path, arrays: dict[str, np.ndarray], target: str | None) -> str:
    """Return the name of the array that holds the inputs: "x", or the only one there is."""
    others = [name for name in arrays if name != target]
    if "x" not in others and len(others) != 1:
        raise ValueError(f"{path}: expected the inputs as array 'x', there is {listed(arrays)}")
    return "x" if "x" in others else others[0]
