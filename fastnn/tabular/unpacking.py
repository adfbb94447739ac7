"""Packed files, unpacked up to a limit: a small file can hold gigabytes of zeros.

What a file says of its own size is compared with the limit before it is unpacked; where it says
nothing, unpacking ends at the limit.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from fastnn.core import extras
from fastnn.core.formats import FormatError

PACKED = (".gz", ".bz2", ".xz", ".zst")
SPARE = 64 << 20  # bytes
RATIO = 100  # text and numbers that say anything are packed to a tenth, rarely to a fiftieth
_PIECE = 16 << 20
_XZ_MEMORY = 256 << 20  # what unpacking itself may take; xz -9 takes 65 MB


def most(size: int) -> int:
    """Return how many bytes a packed file of a size may hold."""
    return SPARE + RATIO * size


def too_large(source: str, size: int, instead: str) -> FormatError:
    """Return the error for a packed file that holds more than `most` bytes.

    Parameters
    ----------
    source : str
        What the file is called in messages.
    size : int
        Of the file, in bytes.
    instead : str
        What to do if the file is sound.
    """
    return FormatError(
        f"{source}: its {size:,} bytes hold more than {most(size):,}, as files do that are made to "
        f"fill memory; if it is sound, {instead}"
    )


def unpacked(content: bytes, source: str, suffix: str) -> bytes:
    """Return what is in a packed text; a text with another suffix as it is.

    Parameters
    ----------
    content : bytes
    source : str
        What the file is called in messages.
    suffix : str
        The last one: ".gz" and so on.

    Raises
    ------
    FormatError
        It is not whole, or holds more than `most` bytes.
    ImportError
        pyarrow is missing, which unpacks ``.zst``.
    """
    limit = most(len(content))
    cut = f"{source}: ends in the middle of its packed data; it was cut: copy or download it again"
    try:
        if suffix == ".gz":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                found = file.read(limit + 1)
        elif suffix == ".bz2":
            found = _all_of(bz2.BZ2Decompressor, content, limit)
        elif suffix == ".xz":
            found = _all_of(lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), content, limit)
        elif suffix == ".zst":
            found = _zstandard(content, source, limit)
        else:
            return content
    except EOFError:
        raise FormatError(cut) from None
    except (OSError, lzma.LZMAError, zlib.error) as error:
        raise FormatError(f"{source}: is not a whole {suffix} file ({error})") from None
    if len(found) > limit:
        raise too_large(source, len(content), "unpack it first")
    return found


def _all_of(make: Callable[[], Any], content: bytes, limit: int) -> bytes:
    """Return what several packed streams hold, one behind the other, up to the limit and a bit."""
    parts, total = [], 0
    while content and total <= limit:
        decompressor, rest = make(), content
        while not decompressor.eof and total <= limit:
            part = decompressor.decompress(rest, _PIECE)
            rest = b""
            if not part and decompressor.needs_input and not decompressor.eof:
                raise EOFError
            parts.append(part)
            total += len(part)
        content = decompressor.unused_data
    return b"".join(parts)


def _zstandard(content: bytes, source: str, limit: int) -> bytes:
    try:
        import pyarrow
    except ImportError:
        raise extras.missing(".zst files need pyarrow", "table") from None
    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd") as stream:
            return bytes(stream.read(limit + 1))
    except ValueError as error:
        raise FormatError(f"{source}: is not a whole .zst file ({error})") from None


__all__ = ["PACKED", "RATIO", "SPARE", "most", "too_large", "unpacked"]
