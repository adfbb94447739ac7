"""Hints for installing optional packages; only this module contains the distribution's name.

The package index lists this package as ``fastnn-cpu``, because ``fastnn`` there belongs to another
project; a hint that names the wrong one would make users install a stranger's code.
"""

from __future__ import annotations

DISTRIBUTION = "fastnn-cpu"


def install(extra: str) -> str:
    """Return the command that installs an extra.

    Examples
    --------
    >>> install("plot")
    "pip install 'fastnn-cpu[plot]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def missing(need: str, extra: str, otherwise: str = "") -> ImportError:
    """Return the error to raise if a package that an extra provides is not installed.

    Parameters
    ----------
    need : str
        What needs which package, for example ``"pictures need matplotlib"``.
    extra : str
        The extra of `pyproject.toml` that provides the package.
    otherwise : str, default ""
        What the user can do instead of installing it.

    Examples
    --------
    >>> missing("pictures need matplotlib", "plot")
    ImportError("pictures need matplotlib: pip install 'fastnn-cpu[plot]'")
    """
    hint = f"{need}: {install(extra)}"
    return ImportError(f"{hint}, or {otherwise}" if otherwise else hint)
