"""Print the parts of the package's folder that a wheel leaves out, one path per line.

python tools/not_installed.py fastnn files        sources of Cython and Meson
python tools/not_installed.py fastnn directories  caches of compiled Python, existing or future
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

SOURCES = (".pyx", ".pxd", ".pxi")


def files(package: Path) -> Iterator[Path]:
    """Yield the files that only building needs."""
    for path in sorted(package.rglob("*")):
        if path.suffix in SOURCES or path.name == "meson.build":
            yield path.relative_to(package)


def directories(package: Path) -> Iterator[Path]:
    """Yield the bytecode cache of each folder."""
    for path in [package, *sorted(package.rglob("*"))]:
        if path.is_dir() and path.name != "__pycache__":
            yield path.relative_to(package) / "__pycache__"


if __name__ == "__main__":
    found = {"files": files, "directories": directories}[sys.argv[2]]
    print(*(path.as_posix() for path in found(Path(sys.argv[1]))), sep="\n")
