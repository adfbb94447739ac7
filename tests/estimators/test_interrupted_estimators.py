"""Ctrl-C at any place of an estimator's methods, and while tables are read and encoded.

`fit` ends with a warning and what it has learned, or with KeyboardInterrupt and the estimator as it
was; it can be fitted again to the same bits.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
pytest.importorskip("pandas")

import pandas as pd
from interruptions import Interrupted, check_places

import fastnn as fnn
from fastnn.tabular import Encoding, read

pytestmark = [
    pytest.mark.alone,  # it handles signals
    # KeyboardInterrupt within a finalizer is printed and ignored by Python.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Training interrupted"),
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations"),
]

RNG = np.random.default_rng(0)
ROWS = 40
X = RNG.normal(size=(ROWS, 3))
Y = (X[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(
    {
        "size": X[:, 0],
        "town": RNG.choice(["Köln", "Nara", "Oslo"], ROWS),
        "sold": pd.date_range("2020-01-05", periods=ROWS, freq="17h"),
    }
)


def multilayer(_=None, **options):
    return fnn.MLPClassifier((4,), max_iter=3, random_state=0, **options)


def table(members):
    recipe = {"name": "realmlp", "epochs": 3, "hidden": [4]}
    return fnn.TabularClassifier(recipe=recipe, n_members=members, random_state=0)


def answers(estimator, x=X):
    return estimator.predict_proba(x).tobytes()


def fits_again(wanted, x=X):
    """Return a check: what was learned can be used, and all can be learned again."""

    def check(estimator, _):
        if hasattr(estimator, "model_"):
            assert estimator.predict_proba(x).shape == (ROWS, 2)
            pickle.loads(pickle.dumps(estimator))
        assert answers(estimator.fit(x, Y), x) == wanted()

    return check


def is_unchanged(estimator, _):
    assert answers(estimator) == answers(multilayer().fit(X, Y))
    fits_again(lambda: answers(multilayer().fit(X, Y)))(estimator, _)


class Learned:
    """Estimators of tables, learned once."""

    by_members: dict = {}  # noqa: RUF012

    @classmethod
    def table(cls, members=1):
        if members not in cls.by_members:
            cls.by_members[members] = table(members).fit(FRAME, Y)
        return cls.by_members[members]


def with_files(folder):
    estimator = Learned.table()
    estimator.save(folder / "m")
    FRAME.assign(y=Y).to_csv(folder / "t.csv", index=False)
    FRAME.assign(y=Y).to_csv(folder / "t.csv.gz", index=False)
    FRAME.assign(y=Y).to_parquet(folder / "t.parquet")
    np.savez(folder / "t.npz", x=X, y=Y)
    return estimator, answers(estimator, FRAME)


def looks(call, watched=()):
    def check(given, folder):
        estimator, wanted = given
        assert answers(estimator, FRAME) == wanted
        estimator.predict_one(FRAME.iloc[0].to_dict())
        np.testing.assert_allclose(
            fnn.load(folder / "m").predict_proba(FRAME), estimator.predict_proba(FRAME), rtol=1e-5
        )
        assert read(folder / "t.csv").rows == ROWS

    return Interrupted(with_files, lambda given, folder: call(given[0], folder), check, watched)


def fitting(ready, call, check):
    return Interrupted(ready, call, check, least_ended=0)  # `fit` may warn and return


CALLS = {
    "MLP fit": fitting(
        multilayer, lambda one, _: one.fit(X, Y),
        fits_again(lambda: answers(multilayer().fit(X, Y))),
    ),
    "MLP fit again": fitting(
        lambda _: multilayer().fit(X, Y), lambda one, _: one.fit(X, Y),
        fits_again(lambda: answers(multilayer().fit(X, Y))),
    ),
    "MLP fit with early stopping": fitting(
        lambda _: multilayer(early_stopping=True), lambda one, _: one.fit(X, Y),
        fits_again(lambda: answers(multilayer(early_stopping=True).fit(X, Y))),
    ),
    "MLP partial_fit": fitting(
        lambda _: multilayer().fit(X, Y), lambda one, _: one.partial_fit(X, Y),
        fits_again(lambda: answers(multilayer().fit(X, Y))),
    ),
    "MLP predict_proba": Interrupted(
        lambda _: multilayer().fit(X, Y), lambda one, _: one.predict_proba(X), is_unchanged,
    ),
    "MLP pickle": Interrupted(
        lambda _: multilayer().fit(X, Y), lambda one, _: pickle.loads(pickle.dumps(one)),
        is_unchanged,
    ),
    "table fit, one network": fitting(
        lambda _: table(1), lambda one, _: one.fit(FRAME, Y),
        fits_again(lambda: answers(Learned.table(1), FRAME), FRAME),
    ),
    "table fit, two networks": fitting(
        lambda _: table(2), lambda one, _: one.fit(FRAME, Y),
        fits_again(lambda: answers(Learned.table(2), FRAME), FRAME),
    ),
    "table predict_proba": looks(lambda one, _: one.predict_proba(FRAME)),
    "table save": looks(lambda one, folder: one.save(folder / "m")),
    "table load": looks(lambda _, folder: fnn.load(folder / "m")),
    "table pickle": looks(lambda one, _: pickle.loads(pickle.dumps(one))),
    "permutation_importance": looks(
        lambda one, _: one.permutation_importance(FRAME, Y, n_repeats=1)
    ),
    "encoding": looks(lambda *_: Encoding.fit(FRAME).encode(FRAME)),
    "read csv": looks(lambda _, folder: read(folder / "t.csv")),
    "read csv.gz": looks(lambda _, folder: read(folder / "t.csv.gz"), ("gzip.py",)),
    "read parquet": looks(lambda _, folder: read(folder / "t.parquet"), ("pyarrow",)),
    "read npz": looks(lambda _, folder: read(folder / "t.npz", target="y"), ("zipfile.py",)),
}  # fmt: skip


ALWAYS = ("MLP fit", "MLP partial_fit", "MLP pickle", "table fit, one network", "table save",
          "read npz")  # fmt: skip


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize(("count", "second"), [(2, None), (2, 2)], ids=["once", "twice"])
def test_some_places(name, count, second, tmp_path):
    check_places(CALLS[name], tmp_path, count, second)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("second", [None, 2, 5])
def test_many_places(name, second, tmp_path):
    check_places(CALLS[name], tmp_path, 60 if second is None else 20, second)
