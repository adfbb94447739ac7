"""MLPClassifier and MLPRegressor: the numbers are scikit-learn's, and what there is beside."""

from __future__ import annotations

import copy
import math
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.class_weight import compute_sample_weight

import fastnn as fnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROWS = 60


@pytest.fixture
def x(rng):
    return rng.normal(size=(ROWS, 4))


TARGETS = {
    "binary": lambda x: np.where(x[:, 0] + x[:, 1] ** 2 > 0.5, "yes", "no"),
    "multiclass": lambda x: np.digitize(x[:, 0] - x[:, 1], [-1, 0, 1]) * 3,
    "multilabel": lambda x: (x[:, :3] > 0.2).astype(int),
    "number": lambda x: x[:, 0] * x[:, 1] + x[:, 2],
    "numbers": lambda x: np.column_stack([x[:, 0] ** 2, x[:, 1], x[:, 2] - 1]),
    "poisson": lambda x: np.floor(np.exp(x[:, 0])),
}


def made(kind, module=fnn, **options):
    """Return an estimator for a kind of targets."""
    options = {"hidden_layer_sizes": (7, 5), "random_state": 3, **options}
    if kind == "poisson":
        options["loss"] = "poisson"
    name = "MLPRegressor" if kind in ("number", "numbers", "poisson") else "MLPClassifier"
    return getattr(module, name)(**options)


def pair(kind, **options):
    """Return our estimator and scikit-learn's."""
    return [made(kind, module, **options) for module in (fnn, neural_network)]


def assert_alike(ours, theirs, rtol, rtol_of_losses=None):
    for mine, other in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert_allclose(mine, other, rtol=rtol, atol=rtol)
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=rtol_of_losses or rtol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name


# --- the same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", TARGETS)
def test_training_on_all_rows_gives_scikit_learns_weights(kind, solver, is_weighted, x, rng):
    y = TARGETS[kind](x)
    weights = rng.integers(0, 4, ROWS).astype(float) if is_weighted else None
    ours, theirs = pair(
        kind, solver=solver, alpha=0.3, max_iter=40, activation="tanh", learning_rate_init=0.01
    )
    for one in (ours, theirs):
        one.fit(x, y, sample_weight=weights)
    # Adam's epsilon has another place.
    assert_alike(ours, theirs, 1e-8 if solver == "sgd" else 1e-4)
    assert_allclose(ours.score(x, y), theirs.score(x, y), rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.0},
        {"momentum": 0.9, "nesterovs_momentum": False},
        {"learning_rate": "invscaling", "power_t": 0.3},
        {"learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
        {"activation": "relu"},
        {"activation": "logistic"},
        {"activation": "identity"},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": 6},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_steps_of_batches_are_scikit_learns(options, x):
    y = TARGETS["number"](x)
    options = {"learning_rate_init": 0.01, "alpha": 0.1, **options}
    ours, theirs = pair(
        "number", solver="sgd", batch_size=15, shuffle=False, max_iter=30, **options
    )
    # The penalty that is shown is a mean over the steps, taken from the first and the last of them.
    assert_alike(ours.fit(x, y), theirs.fit(x, y), 1e-8, rtol_of_losses=1e-3)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "number", "multilabel"])
def test_early_stopping_holds_out_the_same_rows(kind, x, rng):
    y = TARGETS[kind](x)
    ours, theirs = pair(
        kind, solver="sgd", early_stopping=True, validation_fraction=0.3, max_iter=60,
        learning_rate_init=0.05, n_iter_no_change=5,
    )  # fmt: skip
    weights = rng.uniform(0.5, 2, ROWS)
    for one in (ours, theirs):
        one.fit(x, y, sample_weight=weights)
    assert_alike(ours, theirs, 1e-7)
    assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-9)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_, rel=1e-9)
    assert ours.best_loss_ is None
    assert len(ours.validation_loss_curve_) == ours.n_iter_


@pytest.mark.parametrize("kind", ["binary", "multiclass", "number", "poisson"])
def test_lbfgs_reaches_scikit_learns_minimum(kind, x):
    y = TARGETS[kind](x)
    ours, theirs = pair(
        kind, solver="lbfgs", hidden_layer_sizes=(), alpha=1.0, tol=1e-8, max_iter=2000
    )
    ours.fit(x, y), theirs.fit(x, y)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    assert_allclose(ours.coefs_[0], theirs.coefs_[0], atol=1e-4)
    assert ours.loss_curve_[-1] == ours.loss_ == ours.best_loss_


def test_probabilities_and_attributes(x):
    y = TARGETS["binary"](x)
    ours, theirs = (one.fit(x, y) for one in pair("binary", max_iter=30))
    assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), rtol=1e-3)
    assert_allclose(ours.predict_log_proba(x), np.log(ours.predict_proba(x)))
    missing = {name for name in vars(theirs) if name.endswith("_")} - set(vars(ours))
    assert not missing
    assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))


def test_the_parameters_are_scikit_learns_and_more():
    for name, more in (
        ("MLPClassifier", {"class_weight", "dropout"}),
        ("MLPRegressor", {"dropout"}),
    ):
        ours = getattr(fnn, name)().get_params()
        theirs = getattr(neural_network, name)().get_params()
        assert {key: value for key, value in ours.items() if key in theirs} == theirs
        assert set(ours) - set(theirs) == more


# --- warm_start and partial_fit -----------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("through", [lambda one: one, copy.deepcopy, pickle.dumps])
def test_partial_fit_and_warm_start_keep_the_optimizer(solver, through, x):
    y = TARGETS["number"](x)
    options = {"solver": solver, "shuffle": False, "batch_size": 20}
    whole = made("number", max_iter=4, **options).fit(x, y)
    parts = made("number", **options)
    warm = made("number", max_iter=2, warm_start=True, **options)
    for _ in range(4):
        parts.partial_fit(x, y)
        parts = through(parts)
        parts = pickle.loads(parts) if isinstance(parts, bytes) else parts
    warm.fit(x, y).fit(x, y)
    for one in (parts, warm):
        assert_array_equal(one.coefs_[0], whole.coefs_[0])
        assert_array_equal(one.loss_curve_, whole.loss_curve_)
    assert whole.model_.iterations == parts.model_.iterations == 12


def test_invscaling_continues_with_warm_start(x):
    y = TARGETS["number"](x)
    model = made("number", solver="sgd", learning_rate="invscaling", max_iter=1, power_t=0.25,
                 warm_start=True)  # fmt: skip
    model.fit(x, y).fit(x, y)
    assert model.model_.optimizer.learning_rate == 0.001 / (2 * ROWS + 1) ** 0.25


def test_adaptive_learning_rate_becomes_small(x):
    model = made("number", solver="sgd", learning_rate="adaptive", tol=0.5, max_iter=3000)
    model.fit(x, TARGETS["number"](x))
    assert model.n_iter_ < 3000
    assert model.model_.optimizer.learning_rate < 1e-6


def test_warm_start_with_lbfgs_goes_on(x):
    y = TARGETS["number"](x)
    model = made("number", solver="lbfgs", warm_start=True, max_iter=5).fit(x, y)
    first = model.loss_
    model.fit(x, y)
    assert model.loss_ < first
    assert len(model.loss_curve_) == 10


def test_warm_start_of_other_layers_is_refused(x):
    y = TARGETS["number"](x)
    model = made("number", warm_start=True, max_iter=2).fit(x, y)
    before = model.coefs_[0].copy()
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(3,\).* but coefs_ has"):
        model.set_params(hidden_layer_sizes=(3,)).fit(x, y)
    assert_array_equal(model.coefs_[0], before)


def test_warm_start_takes_new_settings(x):
    y = TARGETS["number"](x)
    model = made("number", warm_start=True, max_iter=2).fit(x, y)
    model.set_params(learning_rate_init=0.5, alpha=3.0, activation="tanh", dropout=0.5).fit(x, y)
    assert model.model_.optimizer.learning_rate == 0.5
    assert model.model_.optimizer.weight_decay == 3.0 / ROWS
    assert model.model_.layers[0].activation.name == "tanh"
    assert isinstance(model.model_.layers[1], fnn.Dropout)


def test_partial_fit_of_fewer_rows_divides_alpha_by_them(x):
    y = TARGETS["number"](x)
    ours, theirs = pair("number", solver="sgd", alpha=2.0, shuffle=False)
    for rows in (slice(0, 50), slice(50, 57), slice(57, 60)):
        ours.partial_fit(x[rows], y[rows])
        theirs.partial_fit(x[rows], y[rows])
    assert_alike(ours, theirs, 1e-9)


def test_partial_fit_stops_early_on_rows_that_it_is_given(x, rng):
    y = TARGETS["number"](x)
    model = made("number", early_stopping=True, n_iter_no_change=3, learning_rate_init=0.1)
    held = {"X_val": rng.normal(size=(20, 4)), "y_val": rng.normal(size=20)}
    for _ in range(200):
        model.partial_fit(x, y, **held)
    assert model.stopped_
    assert max(model.validation_scores_) == model.best_validation_score_
    assert len(model.validation_scores_) < 200
    assert model.score(held["X_val"], held["y_val"]) == pytest.approx(model.best_validation_score_)
    before = model.coefs_[0].copy()
    model.partial_fit(x, y, **held)
    assert_array_equal(model.coefs_[0], before)
    model.fit(x, y)
    assert not model.stopped_


def test_partial_fit_needs_held_out_rows_to_stop_early(x):
    model = made("number", early_stopping=True)
    with pytest.raises(ValueError, match=r"does not support early_stopping=True, unless .* X_val"):
        model.partial_fit(x, TARGETS["number"](x))


# --- what users ask for -------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["balanced", {"yes": 5.0}])
def test_class_weight_is_a_weight_of_rows(weights, x, rng):
    y = TARGETS["binary"](x)
    rows = rng.uniform(0.5, 2, ROWS)
    options = {"solver": "sgd", "max_iter": 10}
    weighted = made("binary", class_weight=weights, **options).fit(x, y, sample_weight=rows)
    by_row = made("binary", **options).fit(
        x, y, sample_weight=rows * compute_sample_weight(weights, y)
    )
    assert_array_equal(weighted.coefs_[0], by_row.coefs_[0])
    plain = made("binary", **options).fit(x, y)
    assert not np.allclose(plain.coefs_[0], weighted.coefs_[0])


def test_balanced_needs_all_rows(x):
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        made("binary", class_weight="balanced").partial_fit(
            x, TARGETS["binary"](x), classes=["no", "yes"]
        )


def test_dropout_is_for_training_only(x):
    y = TARGETS["multiclass"](x)
    plain = made("multiclass", max_iter=20).fit(x, y)
    model = made("multiclass", max_iter=20, dropout=[0.5, 0.0]).fit(x, y)
    assert [type(layer).__name__ for layer in model.model_.layers] == [
        "Dense", "Dropout", "Dense", "Dense",
    ]  # fmt: skip
    assert model.loss_ > plain.loss_
    assert_array_equal(model.predict_proba(x), model.predict_proba(x))
    with pytest.raises(ValueError, match="Dropout"):
        made("multiclass", dropout=0.1, solver="lbfgs").fit(x, y)


def test_activations_by_layer(x):
    y = TARGETS["number"](x)
    several = ["gelu", fnn.activations.get("elu", alpha=0.5)]
    model = made("number", max_iter=3, activation=several).fit(x, y)
    assert [layer.activation.name for layer in model.model_.layers] == ["gelu", "elu", "linear"]
    assert fnn.MLPRegressor(activation="silu", max_iter=1).fit(x, y).n_iter_ == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"activation": ["relu"]},
            "activation must be one value, or one for each of the 2",
        ),
        ({"dropout": [0.1, 0.2, 0.3]}, r"dropout must be one value, or one .* got 3"),
        ({"dropout": [0.1, 1.0]}, r"dropout must be a number in \[0, 1\), got 1.0"),
        ({"activation": ["relu", "softplux"]}, "softplus"),
    ],
)
def test_lists_that_do_not_fit_are_refused(options, message, x):
    with pytest.raises(ValueError, match=message):
        made("number", **options).fit(x, TARGETS["number"](x))


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "softmax"}, {"dropout": 1.5}, {"solver": "rmsprop"}, {"alpha": -1},
        {"class_weight": "equal"}, {"max_iter": 0},
    ],
    ids=repr,
)  # fmt: skip
def test_parameters_are_refused_as_by_scikit_learn(options, x):
    name = next(iter(options))
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassifier"):
        made("binary", **options).fit(x, TARGETS["binary"](x))


def test_held_out_rows_of_ones_own(x, rng):
    y = TARGETS["multiclass"](x)
    other = rng.normal(size=(20, 4))
    held = {"X_val": other, "y_val": TARGETS["multiclass"](other)}
    model = made("multiclass", max_iter=15, batch_size=20, shuffle=False).fit(x, y, **held)
    plain = made("multiclass", max_iter=15, batch_size=20, shuffle=False).fit(x, y)
    assert_array_equal(model.coefs_[0], plain.coefs_[0])  # they are only looked at
    assert model.validation_scores_ is None
    found = model.predict_proba(other)[range(20), np.searchsorted(model.classes_, held["y_val"])]
    assert model.validation_loss_curve_[-1] == pytest.approx(-np.log(found).mean())
    assert plain.validation_loss_curve_ is None
    early = made("multiclass", early_stopping=True, max_iter=15).fit(x, y, **held)
    assert early.best_validation_score_ == pytest.approx(early.score(other, held["y_val"]))
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        model.fit(x, y, X_val=other)
    number = made("number", max_iter=1)
    with pytest.raises(ValueError, match=r"y_val must have .*, 1 output, got .* \(20, 2\)"):
        number.fit(x, x[:, 0], X_val=other, y_val=other[:, :2])
    with pytest.raises(ValueError, match="`y` has classes not in"):
        model.fit(x, y, X_val=other, y_val=np.full(20, 77))


def test_weights_must_have_a_positive_sum(x):
    with pytest.raises(ValueError, match="class_weight must have a positive sum"):
        made("binary", class_weight={"yes": 0, "no": 0}).fit(x, TARGETS["binary"](x))


# --- weights, files, threads --------------------------------------------------------------------


def test_weights_may_be_set(x):
    y = TARGETS["number"](x)
    model = made("number", max_iter=2).fit(x, y)
    before = model.predict(x)
    model.coefs_[-1][...] = 0  # in place
    model.intercepts_[-1] = np.array([4.5])  # another array
    assert_array_equal(model.predict(x), np.full(ROWS, 4.5))
    assert not np.allclose(before, 4.5)
    model.coefs_ = [2 * one for one in model.coefs_]
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.coefs_[0], model.coefs_[0])
    assert_array_equal(again.predict(x), model.predict(x))
    assert np.shares_memory(again.coefs_[0], again.model_.layers[0].kernel)
    model.coefs_[0] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"coefs_ must have the shapes \[\(4, 7\), .* \[\(2, 2\)"):
        model.predict(x)


def test_the_model_can_be_saved(x, tmp_path):
    model = made("multiclass", max_iter=3).fit(x, TARGETS["multiclass"](x))
    model.model_.save(tmp_path / "m.safetensors")
    assert_array_equal(fnn.load(tmp_path / "m.safetensors").predict(x), model.predict_proba(x))


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_array, sp.coo_matrix])
def test_sparse_rows(form, x):
    x = np.where(x > 0.5, x, 0)
    y = TARGETS["multiclass"](x)
    options = {"max_iter": 5, "shuffle": False, "early_stopping": True}
    dense = made("multiclass", **options).fit(x, y)
    sparse = made("multiclass", **options).fit(form(x), y)
    assert_allclose(sparse.coefs_[0], dense.coefs_[0], rtol=1e-10)
    assert_allclose(sparse.predict_proba(form(x)), dense.predict_proba(x), rtol=1e-10)


def test_one_estimator_in_several_threads(x):
    model = made("binary", max_iter=3).fit(x, TARGETS["binary"](x))
    expected = model.predict_proba(x)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model.predict_proba(x), range(200)))
    assert all(np.array_equal(one, expected) for one in found)


def test_estimators_in_several_threads(x):
    y = TARGETS["binary"](x)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: made("binary", max_iter=20).fit(x, y), range(8)))
    assert all(np.array_equal(one.coefs_[0], found[0].coefs_[0]) for one in found)


# --- the end of a training ----------------------------------------------------------------------


def test_the_limit_of_evaluations_is_named(x):
    with pytest.warns(ConvergenceWarning, match=r"(?s)EVALUATIONS EXCEEDS LIMIT.*max_fun=3"):
        made("number", solver="lbfgs", max_fun=3).fit(x, TARGETS["number"](x))


def test_a_training_that_diverges_keeps_the_best_weights(x):
    y = TARGETS["number"](x)
    options = {"solver": "sgd", "learning_rate_init": 1e3, "activation": "identity"}
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        made("number", **options).fit(x, y)
    model = made("number", early_stopping=True, **options)
    with pytest.warns(ConvergenceWarning, match="best validation score are kept"):
        model.fit(x, y)
    assert math.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(x)).all()


def test_ctrl_c_keeps_what_was_learned(x, monkeypatch):
    model = made("number", max_iter=50)

    def interrupt(*_):
        if model.n_iter_ == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(model, "_adapt", interrupt)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(x, TARGETS["number"](x))
    assert len(model.loss_curve_) == model.n_iter_ == 4
    assert model.predict(x).shape == (ROWS,)


def test_what_verbose_prints(x, capsys):
    y = TARGETS["number"](x)
    ours, theirs = pair("number", solver="sgd", learning_rate="adaptive", tol=1.0,
                        n_iter_no_change=2, max_iter=30, verbose=True)  # fmt: skip
    printed = []
    for one in (ours, theirs):
        one.fit(x, y)
        printed.append(re.sub(r"\d{4}\n", "\n", capsys.readouterr().out))
    assert printed[0] == printed[1]


def test_a_batch_larger_than_the_rows(x):
    with pytest.warns(UserWarning, match="clipped"):
        made("number", batch_size=100, max_iter=1).fit(x, TARGETS["number"](x))


def test_negative_counts_are_refused(x):
    with pytest.raises(ValueError, match="y must be at least 0 for loss='poisson', got -1"):
        made("poisson").fit(x, np.full(ROWS, -1.0))


def test_nothing_else_is_warned_of(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        for kind, make in TARGETS.items():
            made(kind, max_iter=2).fit(x, make(x)).predict(x)
