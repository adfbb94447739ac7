"""Pictures of models of tables: what is drawn, and what is refused."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt

from fastnn.plots import tables


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_member_curves_mark_the_best_epochs():
    ax = tables.member_curves([[3.0, 1.0, 2.0], [2.0, 2.5]], [1, 0], "rmse")
    marks = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert marks == [[[2.0, 1.0]], [[1.0, 2.0]]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "rmse")
    with pytest.raises(ValueError, match="at least one epoch"):
        tables.member_curves([[1.0], []], [0, 0], "rmse")


def test_roc_curve():
    said = np.array([0.1, 0.4, 0.35, 0.8])
    ax = tables.roc([0, 0, 1, 1], np.stack([1 - said, said], axis=1), ["no", "yes"])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["yes: area 0.750"]
    x, y = ax.lines[1].get_data()
    assert x.tolist() == [0, 0, 0.5, 0.5, 1]
    assert y.tolist() == [0, 0.5, 0.5, 1, 1]
    same = tables.roc([0, 1, 0, 1], np.full((4, 2), 0.5), ["no", "yes"])
    assert len(same.lines[1].get_xdata()) == 2  # equal probabilities are one step
    with pytest.raises(ValueError, match=r"shape \(rows, 3\)"):
        tables.roc([0], [[1.0, 0.0]], ["a", "b", "c"])


def test_roc_of_many_classes():
    g = np.random.default_rng(0)
    ax = tables.roc(np.arange(100) % 10, g.dirichlet(np.ones(10), 100), list("abcdefghij"))
    assert len(ax.get_legend().get_texts()) == tables.MOST_CURVES


def test_residuals_and_predictions():
    truth, predicted = np.arange(9.0), np.arange(9.0) + 1
    ax = tables.residuals(truth, predicted, "price")
    assert ax.lines[1].get_ydata().tolist() == [1.0] * 9
    ax = tables.predicted_against_true(truth, predicted, "price")
    assert ax.lines[1].get_xdata().tolist() == truth.tolist()
    assert ax.get_ylabel() == "predicted price"
    many = tables.residuals(np.zeros(20_000), np.ones(20_000), "price")
    assert len(many.lines[1].get_xdata()) == tables.MOST_POINTS
    for draw in (tables.residuals, tables.predicted_against_true):
        with pytest.raises(ValueError, match="same shape"):
            draw(truth, predicted[1:], "price")


def test_importance():
    names = [f"column {i} {'x' * 40 * (i == 0)}" for i in range(20)]
    ax = tables.importance(names, np.arange(20, 0, -1), np.ones(20), "rmse")
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert len(shown) == 15
    assert max(map(len, shown)) <= tables.LONGEST
    assert ax.yaxis_inverted()
    with pytest.raises(ValueError, match="as many"):
        tables.importance(["a"], [1.0, 2.0], [1.0], "rmse")
