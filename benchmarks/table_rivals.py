"""The sides of the comparison on tables: fastnn and its rivals, all with their defaults.

A side is made for one fit. It has `fit(X, y)`, where `X` is a pandas frame with text in columns of
categories and with missing cells, `predict(X)`, and `predict_proba(X)` with one column for each
class in the sorted order of classes. What a library cannot take is converted here, and `SIDES`
says so, since the conversion is part of what its users have to do.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Setting:
    """What a side is told: nothing else about it differs from its defaults."""

    task: str  # "regression" or "classification"
    seed: int
    threads: int


@dataclass(frozen=True)
class Side:
    """A library with its defaults, and what is done to the table for it."""

    make: Callable[[Setting], Any]
    packages: tuple[str, ...]
    treatment: str

    def versions(self) -> dict[str, str]:
        """Versions of those packages that are installed."""
        found = {}
        for package in self.packages:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[package] = importlib.metadata.version(package)
        return found


class Adapter:
    """Converts the table before an estimator sees it, and its classes to 0, 1, 2, …"""

    def __init__(self, estimator: Any, setting: Setting):
        self.estimator = estimator
        self.setting = setting

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Adapter:
        self.categories = text_columns(X)
        self.means = X.drop(columns=self.categories).mean()
        target = y.to_numpy()
        if self.setting.task == "classification":
            self.classes, target = np.unique(target, return_inverse=True)
        self.train(self.convert(X), target)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        found = np.asarray(self.estimator.predict(self.convert(X))).reshape(len(X))
        if self.setting.task == "classification":
            return self.classes[found.astype(int)]
        return found

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.estimator.predict_proba(self.convert(X)))

    def convert(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.astype(dict.fromkeys(self.categories, "category"))

    def train(self, X: pd.DataFrame, y: np.ndarray) -> None:
        self.estimator.fit(X, y)


class CatBoostAdapter(Adapter):
    """CatBoost takes categories as text without missing cells, and wants their names."""

    def convert(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(
            **{
                name: X[name].astype(object).fillna("missing").astype(str)
                for name in self.categories
            }
        )

    def train(self, X: pd.DataFrame, y: np.ndarray) -> None:
        self.estimator.fit(X, y, cat_features=self.categories)


class MeanAdapter(Adapter):
    """For a library that refuses missing numbers: the training mean takes their place."""

    def convert(self, X: pd.DataFrame) -> pd.DataFrame:
        filled = X.fillna(self.means)
        texts = {
            name: X[name].astype(object).fillna("missing").astype(str).astype("category")
            for name in self.categories
        }
        return filled.assign(**texts)


def text_columns(X: pd.DataFrame) -> list[str]:
    return [name for name, kind in X.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]


def kind_of(setting: Setting) -> str:
    return "Classifier" if setting.task == "classification" else "Regressor"


def hist_gradient_boosting(setting: Setting) -> Adapter:
    from sklearn import ensemble

    made = getattr(ensemble, f"HistGradientBoosting{kind_of(setting)}")
    return Adapter(made(categorical_features="from_dtype", random_state=setting.seed), setting)


def lightgbm(setting: Setting) -> Adapter:
    import lightgbm

    made = getattr(lightgbm, f"LGBM{kind_of(setting)}")
    options = {"n_jobs": setting.threads, "verbose": -1, "random_state": setting.seed}
    return Adapter(made(**options), setting)


def catboost(setting: Setting) -> Adapter:
    import catboost

    made = getattr(catboost, f"CatBoost{kind_of(setting)}")
    options = {"thread_count": setting.threads, "random_seed": setting.seed}
    quiet = {"verbose": False, "allow_writing_files": False}
    return CatBoostAdapter(made(**options, **quiet), setting)


def realmlp(setting: Setting) -> Adapter:
    import pytabkit

    made = getattr(pytabkit, f"RealMLP_TD_{kind_of(setting)}")
    options = {"device": "cpu", "n_threads": setting.threads, "random_state": setting.seed}
    return MeanAdapter(made(**options), setting)


def tabm(setting: Setting) -> Adapter:
    import pytabkit

    made = getattr(pytabkit, f"TabM_D_{kind_of(setting)}")
    options = {"device": "cpu", "n_threads": setting.threads, "random_state": setting.seed}
    return MeanAdapter(made(**options), setting)


def fastnn(setting: Setting) -> Any:
    return from_module("fastnn:TabularClassifier/TabularRegressor", {})(setting)


def from_module(spec: str, options: dict[str, Any]) -> Callable[[Setting], Any]:
    """A side from "module:Classifier/Regressor", for example a variant that is being tried.

    Its classes take `random_state` and `options` as arguments, and a table as it is.
    """
    module, _, names = spec.partition(":")
    classifier, _, regressor = names.partition("/")

    def make(setting: Setting) -> Any:
        name = classifier if setting.task == "classification" else regressor or classifier
        made = getattr(importlib.import_module(module), name, None)
        if made is None:
            raise AttributeError(f"{module} has no {name}")
        return made(random_state=setting.seed, **options)

    return make


AS_IT_IS = "takes the table as it is"
SIDES = {
    "fastnn": Side(fastnn, ("fastnn-cpu",), AS_IT_IS),
    "HistGradientBoosting": Side(
        hist_gradient_boosting,
        ("scikit-learn",),
        'categories as pandas\' "category", with categorical_features="from_dtype"',
    ),
    "LightGBM": Side(lightgbm, ("lightgbm",), 'categories as pandas\' "category"'),
    "CatBoost": Side(
        catboost, ("catboost",), 'cat_features named; missing categories as the text "missing"'
    ),
    "RealMLP-TD": Side(
        realmlp,
        ("pytabkit", "torch"),
        'missing numbers replaced by the training mean, missing categories by the text "missing"',
    ),
    "TabM-D": Side(tabm, ("pytabkit", "torch"), "as for RealMLP-TD"),
}
BASE = "HistGradientBoosting"


def available() -> list[str]:
    """The sides whose packages are installed."""
    return [name for name, side in SIDES.items() if side.versions().keys() == set(side.packages)]
