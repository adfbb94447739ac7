"""Writing a file so that a crash, or a full disk, leaves either the old file or the new one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves either the old file or the new one intact.

    An existing file keeps its permission bits; a new one gets those that the umask allows. A
    symbolic link is kept, and the file that it points to is written.

    Parameters
    ----------
    path : Path
        A path in an existing folder.
    content : bytes

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
    given, path = path, path.resolve()
    if path.exists() and not path.is_file():
        raise ValueError(f"path: {str(path)!r} exists and is not a file")
    try:
        _replace(path, content)
    except OSError as error:
        # A full disk has no name, and the name of the temporary file says nothing to anybody.
        raise OSError(error.errno, error.strerror or str(error), str(given)) from error


def _replace(path: Path, content: bytes) -> None:
    """Write a temporary file beside a file, and rename it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush the new name of a file to disk, if the system can sync folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask
