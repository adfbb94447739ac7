"""Tables from NumPy's files of arrays. Nothing in a file is evaluated.

What the file says of each array is read first: its kind, its shape, and how much memory it takes
unpacked. Only what is wanted is then unpacked.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from fastnn.core.formats import FormatError, brief
from fastnn.tabular.columns import listed, shown
from fastnn.tabular.table import Table
from fastnn.tabular.unpacking import most, too_large


class _Array(NamedTuple):
    """What a file says of an array."""

    member: str
    dtype: np.dtype
    shape: tuple[int, ...]


def read_npz(path: Path, target: str | None) -> Table:
    """Return the array of inputs, and that of the target, as numbered columns."""
    with open(path, "rb") as content, _opened(content, path) as file:
        arrays = _arrays_in(file, path, path.stat().st_size)
        name = _inputs_among(path, arrays, target)
        x = _unpacked(file, path, arrays[name])
        y = _unpacked(file, path, arrays[target]) if target in arrays else None
    if x.ndim < 2 or x.size == 0 or x.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: array {shown(name)} must hold numbers of shape (rows, columns), "
            f"got {x.dtype} of shape {x.shape}"
        )
    x = x.reshape(len(x), -1)
    columns = {f"{name}[{i}]": x[:, i] for i in range(x.shape[1])}
    if target is not None and y is not None:
        if y.shape not in ((len(x),), (len(x), 1)):
            raise ValueError(
                f"{path}: array {shown(target)} must have shape ({len(x)},), got {y.shape}"
            )
        columns[target] = y.reshape(-1)
    unused = tuple(array for array in arrays if array not in (name, target))
    return Table(columns, len(x), str(path), has_names=False, left_out=unused)


def _opened(content: BinaryIO, path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(content)
    except OSError:
        raise
    except Exception:  # besides BadZipFile, what Python does not know of newer versions
        raise FormatError(
            f"{path}: is not a .npz file; numpy.savez(path, x=..., y=...) writes one"
        ) from None


def _arrays_in(file: zipfile.ZipFile, path: Path, size: int) -> dict[str, _Array]:
    """Return what a file says of its arrays, by name, once it has been checked."""
    found: dict[str, _Array] = {}
    total = 0
    for info in file.infolist():
        if not info.filename.endswith(".npy"):
            continue  # what is no array is of no use here
        name = info.filename.removesuffix(".npy")
        if name in found:
            raise FormatError(f"{path}: holds two arrays called {shown(name)}")
        total += info.file_size
        if total > most(size):
            raise too_large(str(path), size, "write it with numpy.savez, which does not pack")
        try:
            with file.open(info) as member:
                magic = np.lib.format.MAGIC_PREFIX
                if member.read(len(magic)) != magic:
                    continue
                member.seek(0)
                version = np.lib.format.read_magic(member)
                if version == (1, 0):
                    shape, _, dtype = np.lib.format.read_array_header_1_0(member)
                else:
                    shape, _, dtype = np.lib.format.read_array_header_2_0(member)
                at = member.tell()
        except Exception as error:  # NumPy and zipfile pass on whatever their parsers raise
            raise _unreadable(path, error) from None
        if dtype.hasobject:
            raise FormatError(
                f"{path}: cannot be read: it holds Python objects; save arrays of numbers"
            )
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != info.file_size - at:
            raise FormatError(
                f"{path}: cannot be read: array {shown(name)} is said to have the shape "
                f"{brief(shape, 80)}, which does not fit its {info.file_size - at:,} bytes"
            )
        found[name] = _Array(info.filename, dtype, shape)
    return found


def _unpacked(file: zipfile.ZipFile, path: Path, array: _Array) -> np.ndarray:
    """Return an array of a file."""
    try:
        with file.open(array.member) as member:
            # False is the default, and explicit here: a file must not run anything.
            return np.lib.format.read_array(member, allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> FormatError:
    reason = brief(" ".join(str(error).split())) or type(error).__name__
    return FormatError(f"{path}: cannot be read: {reason}")


def _inputs_among(path: Path, arrays: Mapping[str, _Array], target: str | None) -> str:
    """Return the name of the array that holds the inputs: "x", or the only one there is."""
    others = [name for name in arrays if name != target]
    if "x" not in others and len(others) != 1:
        raise ValueError(f"{path}: expected the inputs as array 'x', there is {listed(arrays)}")
    return "x" if "x" in others else others[0]
