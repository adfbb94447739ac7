"""Limits of the system that tests set for a while."""

from __future__ import annotations

import contextlib
import resource
import signal


@contextlib.contextmanager
def limited_file_size(size):
    """Let files grow up to a size only; writing more is an error, as on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)
