"""Which fastnn the tests accept: an installed one, or an editable install of this tree."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from pathlib import Path

INSTALLED = {"site-packages", "dist-packages"}


def editable_root(project: str) -> Path | None:
    """Return the source tree of an editable install, according to its metadata.

    Parameters
    ----------
    project : str
        Name of the distribution.

    Returns
    -------
    Path or None
        None if it is not installed, or not as an editable install.
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
    """Return why a package must not be tested; "" if it may be.

    Parameters
    ----------
    package : Path
        The file that `import fastnn` loaded.
    root : Path
        The tree to which the tests belong.

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
