"""Code that runs in another Python, which may be set up in ways that this one must not be."""

from __future__ import annotations

import os
import subprocess
import sys


def python(code, *, cwd, timeout=60, arguments=(), preexec_fn=None, **environment):
    """Run code in another Python, started in a folder; return the completed process."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, env=environ(**environment),
        capture_output=True, text=True, timeout=timeout, check=False, preexec_fn=preexec_fn,
    )  # fmt: skip


def environ(**environment):
    """Return the environment without what sets the number of threads, and with `environment`."""
    kept = {
        name: value for name, value in os.environ.items()
        if name not in ("FASTNN_NUM_THREADS", "PYTHONPATH") and not name.startswith("OMP_")
    }  # fmt: skip
    return {**kept, **environment}
