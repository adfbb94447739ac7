"""Tensors and texts in one file, in the safetensors format, with a checksum.

    8 bytes      length of the header, little-endian
    header       JSON: for each tensor its dtype, shape and place; "__metadata__": texts by name
    the rest     the tensors, without gaps

The safetensors library writes the file. It is read here, because all of it must be checked before
anything is made of it: the checksum, which the library does not know; names that are given twice;
and file objects, which the library could only read from a copy.

The checksum is the SHA-256 of the whole file in which its own digits are zeros.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnn.core import files
from fastnn.core.formats import LARGEST, FormatError, brief, parsed_json, quoted

CHECKSUM = "checksum"
_ZEROS = "sha256:" + "0" * 64
_MADE = re.compile(r"sha256:[0-9a-f]{64}")
_METADATA = "__metadata__"
_HEADER_LIMIT = 100_000_000  # bytes; that of the safetensors library
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "<u2", "I16": "<i2", "U32": "<u4",
    "I32": "<i4", "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


class Content(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    metadata : dict of str to str
        Without the checksum.
    tensors : dict of str to ndarray
        Views of what was read.
    """

    metadata: dict[str, str]
    tensors: dict[str, np.ndarray]


def packed(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> list[files.Piece]:
    """Return the bytes of a file, with a checksum in its metadata.

    Parameters
    ----------
    arrays : dict of str to ndarray
    metadata : dict of str to str
        A single entry.

    Returns
    -------
    list of bytes-like
        The file in pieces, so that the tensors are not copied once more.

    Examples
    --------
    >>> import io
    >>> file = packed({"x": np.arange(3.0)}, {"note": "three numbers"})
    >>> read(io.BytesIO(b"".join(file)), "file").tensors["x"]
    array([0., 1., 2.])
    """
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    made = save(contiguous, dict(metadata))
    start = 8 + int.from_bytes(made[:8], "little")
    # The library would write two entries in any order; the same model is to have the same bytes.
    first = f'{{"{_METADATA}":{{'.encode()
    text, rest = made[8:start].rstrip(b" "), memoryview(made)[start:]
    assert text.startswith(first)
    text = first + f'"{CHECKSUM}":"{_ZEROS}",'.encode() + text[len(first) :]
    text += b" " * (-len(text) % 8)
    head = bytearray(len(text).to_bytes(8, "little") + text)
    place = _place(head, _ZEROS)
    head[place : place + len(_ZEROS)] = _checksum(head, rest).encode()
    return [head, rest]


def read(source: files.Target, what: str) -> Content:
    """Return what a file holds, once all that its header says has been checked.

    Parameters
    ----------
    source : path-like or binary file object
    what : str
        What is expected, for messages: "model file".

    Raises
    ------
    FormatError
        It is no safetensors file, was cut, or a bit of it has changed.
    OSError, TypeError, ValueError
        It cannot be read; see `files.read`.
    """
    return files.read(source, what, lambda take: _read(take, named(source)))


def named(source: files.Target) -> str:
    """Return how messages name a file or a file object, in quotation marks."""
    return brief(files.described(source), 300)


def _read(take: Callable[[int], bytearray], name: str) -> Content:
    first = take(8)
    size = int.from_bytes(first, "little")
    if len(first) < 8 or size < 2:
        raise _no_file(name, "it does not begin with the length of a header")
    if size > _HEADER_LIMIT:
        raise _no_file(name, f"its header has {size:,} bytes, more than {_HEADER_LIMIT:,}")
    text = take(size)
    if len(text) < size:
        raise _no_file(name, f"its header has {size:,} bytes, of which {len(text):,} are there")
    header = _header(text, name)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _no_file(name, "its metadata are no texts")
    entries = {key: _checked_entry(key, entry, name) for key, entry in header.items()}
    end = _end_of(entries, name)
    content = take(end + 1)
    if len(content) != end:
        found = "more" if len(content) > end else f"{len(content):,}; was it cut?"
        raise _no_file(name, f"its tensors take {end:,} bytes, there are {found}")
    told = metadata.pop(CHECKSUM, None)
    if told is not None:
        _check(first + text, memoryview(content), told, name)
    elif any(_MADE.fullmatch(one) for one in metadata.values()):
        raise _no_file(name, "the name of its checksum is damaged")
    memory = memoryview(content)
    tensors = {
        key: np.frombuffer(memory[begin:end], dtype).reshape(shape)
        for key, (dtype, shape, begin, end) in entries.items()
    }
    return Content(metadata, tensors)


def _no_file(name: str, reason: str) -> FormatError:
    return FormatError(f"path: {name} is not a safetensors file ({reason})")


def _header(text: bytearray, name: str) -> dict[str, Any]:
    try:
        found = parsed_json(bytes(text), "its header")
    except FormatError as error:
        raise _no_file(name, str(error)) from None
    if not isinstance(found, dict):
        raise _no_file(name, "its header holds no names")
    return found


def _checked_entry(key: str, entry: Any, name: str) -> tuple[str, tuple[int, ...], int, int]:
    """Return dtype, shape, and where a tensor begins and ends."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _no_file(name, f"the entry of tensor {quoted(key)} is damaged")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(
            f"path: tensor {quoted(key)} of {name} has dtype {quoted(dtype)}, which is none of "
            f"{', '.join(_DTYPES)}"
        )
    if not (_are_sizes(shape) and len(shape) <= 32 and _are_sizes(offsets) and len(offsets) == 2):
        raise _no_file(name, f"shape or place of tensor {quoted(key)} is damaged")
    begin, end = offsets
    if math.prod(filter(None, shape)) > LARGEST // 8:  # also where another size is 0
        raise _no_file(name, f"the shape of tensor {quoted(key)} is damaged")
    if math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize != end - begin:
        took = f"{end - begin:,} bytes, which are not those of its shape {quoted(shape, 80)}"
        raise _no_file(name, f"tensor {quoted(key)} has {took}")
    return _DTYPES[dtype], tuple(shape), begin, end


def _end_of(entries: Mapping[str, tuple[str, tuple[int, ...], int, int]], name: str) -> int:
    """Return where the last tensor ends, if they lie one behind the other."""
    at = 0
    for begin, end, key in sorted((begin, end, key) for key, (*_, begin, end) in entries.items()):
        if begin != at:
            what = "overlaps another" if begin < at else "lies behind a gap"
            raise _no_file(name, f"tensor {quoted(key)} {what}")
        at = end
    return at


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**63 for one in value)


def _check(head: bytearray, rest: memoryview, told: str, name: str) -> None:
    """Raise FormatError unless the checksum is that of the file."""
    place = _place(head, told) if _MADE.fullmatch(told) else -1
    if place >= 0:
        head[place : place + len(told)] = _ZEROS.encode()
        if told == _checksum(head, rest):
            return
    raise FormatError(
        f"path: {name} is damaged, its checksum is that of other content: copy or download it again"
    )


def _checksum(head: bytearray, rest: memoryview) -> str:
    found = hashlib.sha256(head)
    found.update(rest)
    return f"sha256:{found.hexdigest()}"


def _place(head: bytearray, checksum: str) -> int:
    """Return where the checksum stands in the header, or -1."""
    before = f'"{CHECKSUM}":"'.encode()
    found = head.find(before + checksum.encode() + b'"')
    return -1 if found < 0 else found + len(before)


__all__ = ["CHECKSUM", "Content", "named", "packed", "read"]
