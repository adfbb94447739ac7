"""Which fastnn the tests may test: an installed one, or an editable install of this tree."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from pathlib import Path

INSTALLED = {"site-packages", "dist-packages"}


def editable_root(project: str) -> Path | None:
    """Return the source tree of an editable install, as its metadata say.

    Parameters
    ----------
    project : str
        Name of the distribution.

    Returns
    -------
    Path or None
        None: it is not installed, or not that way.
    """
    try:
        record = importlib.metadata.distribution(project).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    facts = json.loads(record or "{}")
    if not facts.get("dir_info", {}).get("editable", False):
        return None
    return Path(facts["url"].removeprefix("file://")).resolve()


def refusal(package: Path, root: Path) -> str:
    """Return why a package is not one to test; "" where it is.

    Parameters
    ----------
    package : Path
        The file that `import fastnn` has read.
    root : Path
        The tree that the tests belong to.

    Returns
    -------
    str
    """
    package, root = package.resolve(), root.resolve()
    if INSTALLED & set(package.parts):
        return ""
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    editable = editable_root(settings["project"]["name"])
    if editable is not None and package.is_relative_to(editable):
        return ""
    return (
        f"these tests test an installed fastnn, but got {package}. Run `pip install .` and start "
        "pytest outside the source tree, or `pip install --no-build-isolation -e .` for this tree."
    )
