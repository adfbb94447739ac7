"""Writing files so that nothing is lost, and reading files and file objects.

A file is written under a temporary name in the same folder, flushed to the disk, and renamed; so a
crash, a full disk or Ctrl-C leaves the old file or the new one. A process that is killed meanwhile
leaves its temporary file behind. The next one that writes the same file removes it: whoever writes
a temporary file holds a lock on it, which ends with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

from fastnn.core import checks
from fastnn.core.interruption import InterruptLater

Target: TypeAlias = "str | os.PathLike[str] | BinaryIO"
Piece: TypeAlias = "bytes | bytearray | memoryview"
Read = TypeVar("Read")
_SUFFIX = ".fastnn-tmp"
_PIECE = 16 << 20  # bytes; between two of them a write can be interrupted


def write_atomically(path: Path, content: Piece | Sequence[Piece]) -> None:
    """Write a file so that a crash leaves either the old file or the new one intact.

    An existing file keeps its permission bits; a new one gets those that the umask allows. A
    symbolic link is kept, and the file that it points to is written. Temporary files that were
    left for this file by processes that have been killed are removed.

    Parameters
    ----------
    path : Path
        A path in an existing folder.
    content : bytes, or sequence of bytes
        One piece behind the other.

    Raises
    ------
    OSError
        The file cannot be written; the old one is unchanged. The error names the file.
    ValueError
        `path` is something other than a file, such as a folder or a device.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> write_atomically(path, b"first")
    >>> write_atomically(path, b"second")
    >>> path.read_bytes(), len(list(path.parent.iterdir()))
    (b'second', 1)
    """
    given = path
    try:
        path = path.resolve()  # an error where the current folder has been deleted
        if path.exists() and not path.is_file():
            raise ValueError(f"path: {str(path)!r} exists and is not a file")
        with InterruptLater() as interrupt:
            _replace(path, _pieces(content), interrupt)
    except OSError as error:
        if error.errno is None:  # of the handler of a signal
            raise
        # A full disk has no name, and the name of the temporary file says nothing to anybody.
        raise OSError(error.errno, error.strerror or str(error), str(given)) from error


def write(target: Target, content: Piece | Sequence[Piece], name: str = "path") -> None:
    """Write to a file, as `write_atomically` does, or to a file object.

    Parameters
    ----------
    target : path-like or binary file object
    content : bytes, or sequence of bytes
    name : str, default "path"
        Name of the argument in messages.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    OSError
        The file cannot be written.
    TypeError, ValueError
        `target` is no name of a file, nor a file object that takes bytes.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> write(file, b"some bytes")
    >>> file.getvalue()
    b'some bytes'
    """
    if not is_file_object(target, "write"):
        path = checks.file_path(target, name)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{name}: there is no folder {str(path.parent)!r}")
        write_atomically(path, content)
        return
    try:
        for rest in _pieces(content):
            while rest:
                written = target.write(rest)  # type: ignore[union-attr]
                rest = rest[len(rest) if written is None else written :]
    except TypeError:
        raise TypeError(f"{name}: {target!r} takes no bytes: open the file in mode 'wb'") from None
    flush = getattr(target, "flush", None)
    if flush is not None:
        flush()


def read(
    source: Target,
    what: str,
    parse: Callable[[Callable[[int], bytearray]], Read],
    name: str = "path",
) -> Read:
    """Open a file, or take one that is open, and read from there to its end.

    The file is closed by a `with` statement here: a context manager in Python is code that Ctrl-C
    may come into, and would leave it open for as long as somebody keeps the exception.

    Parameters
    ----------
    source : path-like or binary file object
    what : str
        What is expected, for messages: "model file".
    parse : callable
        It is given a function that returns the next bytes, as many as it is asked for, or as there
        are: a size that is not true takes no memory.
    name : str, default "path"
        Name of the argument in messages.

    Returns
    -------
    object
        What `parse` returns.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be read.
    TypeError, ValueError
        `source` is no name of a file, nor a file object that gives bytes; or it is a folder.

    Examples
    --------
    >>> import io
    >>> read(io.BytesIO(b"some bytes"), "text", lambda take: (take(4), take(10**12)))
    (bytearray(b'some'), bytearray(b' bytes'))
    """
    if is_file_object(source, "read"):
        return parse(lambda count: _taken(source, count, name))
    path = checks.file_path(source, name)
    if path.is_dir():
        raise ValueError(f"{name}: {str(path)!r} is a folder, expected a {what}")
    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no {what} {str(path)!r}")
    with open(path, "rb") as file:
        return parse(lambda count: _taken_at_once(file, count))


def _taken(file: Any, count: int, name: str) -> bytearray:
    """Return the next bytes of a file object, in pieces, because it may make room for all first."""
    found = bytearray()
    while len(found) < count:
        part = file.read(min(count - len(found), _PIECE))
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise TypeError(f"{name}: {file!r} gives no bytes: open the file in mode 'rb'")
        if not part:
            break
        found += part
    return found


def _taken_at_once(file: BinaryIO, count: int) -> bytearray:
    left = os.fstat(file.fileno()).st_size - file.tell()
    found = bytearray(max(0, min(count, left)))
    read = file.readinto(found)  # type: ignore[attr-defined]
    del found[read:]  # it has become shorter meanwhile
    return found


def _pieces(content: Piece | Sequence[Piece]) -> list[memoryview]:
    if isinstance(content, (bytes, bytearray, memoryview)):
        content = [content]
    return [memoryview(one) for one in content]


def is_file_object(value: object, method: str) -> bool:
    """Whether a value is an open file, or acts like one: it has the method "read" or "write"."""
    return not isinstance(value, (str, bytes, os.PathLike)) and callable(
        getattr(value, method, None)
    )


def described(source: Target) -> str:
    """Return how messages name a file or a file object, in quotation marks.

    Examples
    --------
    >>> import io
    >>> described("a.safetensors"), described(io.BytesIO())
    ("'a.safetensors'", 'the file object')
    """
    name = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
    return repr(str(name)) if isinstance(name, (str, os.PathLike)) else "the file object"


# --- replacing a file -----------------------------------------------------------------------------


def _replace(path: Path, content: list[memoryview], interrupt: InterruptLater) -> None:
    """Write a temporary file beside a file, and rename it."""
    _remove_stale(path)
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    while not _replaced(path, content, mode, interrupt):
        pass
    _sync_folder(path.parent)


def _replaced(
    path: Path, content: list[memoryview], mode: int | None, interrupt: InterruptLater
) -> bool:
    """Do so; return False if the file was taken for a stale one before it was locked.

    A file that is new (`mode` is None) is made with the bits that every program asks for, of which
    the system takes those that the umask forbids. The umask itself cannot be read without setting
    it, which other threads that make files at that moment would see.
    """
    # The name is known before there is a file, so that whatever is raised, the file is removed and
    # closed; twice, because what is raised may be raised by that.
    temporary = path.parent / f"{_prefix(path)}{os.urandom(4).hex()}{_SUFFIX}"
    handles: list[int] = []
    try:
        try:
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            _open(handles, temporary, new, 0o666 if mode is None else 0o600)
            if not _locked(handles[0]):
                return False
            if mode is not None:
                os.chmod(temporary, mode)  # before there is anything to read
            for rest in content:
                while rest:
                    interrupt.look()
                    rest = rest[os.write(handles[0], rest[:_PIECE]) :]
            interrupt.look()
            os.fsync(handles[0])
            os.replace(temporary, path)
        finally:
            _close(handles)
            temporary.unlink(missing_ok=True)
    finally:
        _close(handles)
        temporary.unlink(missing_ok=True)
    return True


def _open(handles: list[int], path: Path, flags: int, mode: int = 0o600) -> None:
    """Open a file and note its handle; in one instruction, between which nothing is raised."""
    handles.extend(map(os.open, [path], [flags], [mode]))


def _close(handles: list[int]) -> None:
    """Close the files whose handles were noted, and forget them, likewise."""
    list(map(os.close, map(handles.pop, [0] * len(handles))))


def _prefix(path: Path) -> str:
    """Return how the temporary files for a path begin; names have at most 255 bytes."""
    return f".{os.fsdecode(os.fsencode(path.name)[:200])}."


def _locked(handle: int) -> bool:
    """Mark a temporary file as in use while it is open; return False if it is gone already."""
    with contextlib.suppress(OSError):  # a file system without locks, where none counts as stale
        fcntl.flock(handle, fcntl.LOCK_EX)
    return os.fstat(handle).st_nlink > 0


def _remove_stale(path: Path) -> None:
    """Remove the temporary files for a path that no living process writes."""
    prefix = _prefix(path)
    with contextlib.suppress(OSError):
        found = [
            name
            for name in os.listdir(path.parent)
            if name.startswith(prefix) and name.endswith(_SUFFIX)
        ]
        for name in found:
            with contextlib.suppress(OSError):
                _remove_if_unused(path.parent / name)


def _remove_if_unused(temporary: Path) -> None:
    if not stat.S_ISREG(temporary.lstat().st_mode):
        return
    handles: list[int] = []
    try:
        _open(handles, temporary, os.O_RDONLY | os.O_NOFOLLOW)
        fcntl.flock(handles[0], fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if somebody writes it
        temporary.unlink()
    finally:
        _close(handles)


def _sync_folder(folder: Path) -> None:
    """Flush the new name of a file to disk, if the system can sync folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handles: list[int] = []
    try:
        try:
            _open(handles, folder, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(handles[0])
        except OSError as error:
            # The file is there: some systems flush no folder, and some folders may not be read.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM):
                raise
        finally:
            _close(handles)
    finally:
        _close(handles)
