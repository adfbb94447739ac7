"""The compiled part of fastnn: `kernels` (each kernel on its own) and `engine` (programs)."""

from __future__ import annotations

import importlib
import os

# How often an idle worker of GCC's OpenMP library looks for work before it sleeps: for about a
# millisecond. By default it is fifteen, which are taken from whatever else would run meanwhile,
# also from the thread that has opened the team, if the machine is shared. The library reads it
# once, when it is loaded; a program that has loaded it before keeps what it has.
SPINS = 20_000


def _load() -> None:
    """Load the engine, and with it OpenMP; the environment is then as it was."""
    is_set_by_user = "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ
    if not is_set_by_user:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        importlib.import_module("fastnn.native.engine")
    finally:
        if not is_set_by_user:
            del os.environ["GOMP_SPINCOUNT"]


_load()
