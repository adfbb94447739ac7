"""How many processors this process may use: affinity, and the quotas of its control groups."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fastnn.native import engine


def available() -> int:
    """Return the number of processors that this thread may use now, at least 1."""
    bound = engine.openmp_processors()  # it has left each thread the processors of its place
    processors = (engine.processors_allowed() or _counted()) if bound is None else bound
    quota = quota_here()
    if quota is not None:
        processors = min(processors, quota)
    return max(processors, 1)


def _counted() -> int:
    """Return how many processors this thread may use, as Python counts them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def quota_here() -> int | None:
    """Return `quota` of this system, read once: it takes longer than a step of a small network."""
    return quota(Path("/"))


def quota(root: Path) -> int | None:
    """Return how many processors the control groups of this process allow together.

    A group has at most what each of those around it has, so the least number counts. Both versions
    of control groups are read, also where they are mounted side by side.

    Parameters
    ----------
    root : pathlib.Path
        The folder that holds "proc" and "sys".

    Returns
    -------
    int or None
        Rounded up; None where nothing limits it, or nothing that is readable and makes sense.
    """
    found = [processors for folder in _folders(root) if (processors := _quota_of(folder))]
    return min(found, default=None)


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of the groups of this process and of all groups around them."""
    mounts = root / "sys/fs/cgroup"
    for controllers, group in _groups(root):
        if not controllers:
            places = ["", "unified"]  # the second where both versions are mounted
        elif "cpu" in controllers:
            places = ["cpu", ",".join(controllers)]
        else:
            continue
        # In a container, only the inner part of the path may exist. What does not is passed over.
        for place in dict.fromkeys(places):
            for ancestor in (group, *group.parents):
                yield mounts / place / str(ancestor).lstrip("/")


def _groups(root: Path) -> Iterator[tuple[list[str], PurePosixPath]]:
    """Yield the controllers of each hierarchy, none for version 2, and the group in it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        lines = []
    found = [line.split(":", 2) for line in lines]
    for _, controllers, path in [parts for parts in found if len(parts) == 3]:
        yield controllers.split(",") if controllers else [], PurePosixPath("/", path)
    if not found:
        yield [], PurePosixPath("/")
        yield ["cpu"], PurePosixPath("/")


def _quota_of(folder: Path) -> int | None:
    """Return the quota of one group, in processors."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in (folder / name).read_text().split()]
            quota, period = map(int, words)
        except (OSError, ValueError):  # not that version, "max", or nonsense
            continue
        if quota > 0 and period > 0:  # -1 is no limit
            return math.ceil(quota / period)
    return None
