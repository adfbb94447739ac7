"""Write the numbers of the kernels in Cython syntax, from the list in `src_c/fastnn.h`.

python tools/kernel_numbers.py src_c/fastnn.h kernel_numbers.pxi
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def kernels(header: str) -> list[str]:
    """Return the names in FASTNN_KERNELS(X), in order."""
    listed = re.search(r"#define FASTNN_KERNELS\(X\)(.*?)\n\n", header, re.DOTALL)
    if listed is None:
        raise ValueError("the header has no FASTNN_KERNELS(X)")
    return re.findall(r"\bX\((\w+)\)", listed[1])


def declarations(header: str) -> str:
    """Return the enumeration as part of a Cython module."""
    lines = [f"        FASTNN_KERNEL_{name}" for name in kernels(header)]
    return "\n".join(['cdef extern from "fastnn.h":', "    enum:", *lines, ""])


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(declarations(source.read_text()))
