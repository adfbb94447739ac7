"""scikit-learn's face of fastnn: estimators for its pipelines, searches and validation.

They need scikit-learn 1.9 or newer (extra ``sklearn``), which is imported when the first of them is
asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from fastnn.core import extras, hints

if TYPE_CHECKING:
    from fastnn.estimators.classifier import MLPClassifier
    from fastnn.estimators.regressor import MLPRegressor
    from fastnn.estimators.tables import TabularClassifier, TabularRegressor

# The module of each estimator.
_MODULES = {
    "MLPClassifier": "classifier",
    "MLPRegressor": "regressor",
    "TabularClassifier": "tables",
    "TabularRegressor": "tables",
}


def __getattr__(name: str) -> object:
    """Import an estimator, and scikit-learn with it, on first use.

    Raises
    ------
    ImportError
        scikit-learn is not installed, or is older than 1.9.
    """
    if name not in _MODULES:
        raise hints.missing_name(__name__, name, __all__)
    try:
        import sklearn.callback  # noqa: F401 - added in 1.9
    except ModuleNotFoundError as error:
        if error.name not in ("sklearn", "sklearn.callback"):
            raise
        raise extras.missing(f"{name} needs scikit-learn 1.9 or newer", "sklearn") from None
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]
