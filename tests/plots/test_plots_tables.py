"""Pictures of models of tables: what is drawn, and what is refused."""

import warnings

import numpy as np
import pytest

import fastnn as fnn

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from picture_cases import walk

from fastnn import plots
from fastnn.descent import functions
from fastnn.plots import style, tables


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


NAMES = {
    "formula": "$x^$",
    "two": "$a$ and $b$",
    "escaped": r"\$x^$",
    "control": "\x1b[31mred\n\0",
    "half a pair": "a\udc80b",
    "other letters": "価格",
    "long": "k" * 3000,
    "long formula": "$" * 3000,
}


@pytest.mark.parametrize("what", NAMES)
def test_names_are_drawn_as_they_are(what):
    """Any name: none is read as a formula, and none leaves no room for the picture."""
    name, g = NAMES[what], np.random.default_rng(0)
    truth, said = np.arange(40) % 3, g.dirichlet(np.ones(3), 40)
    labels = [name, f"{name} 2", "b"]
    history = fnn.History({"loss": [2.0, 1.0], name: [0.5, 0.6]}, [0, 1], name, 1.0, [0.1, 0.1])
    steps = walk(functions.square, fnn.SGD(0.1), 3)
    layer = fnn.Dense(2, name=name)
    drawn = [
        tables.importance([name, "age"], [0.5, 0.1], [0.1, 0.1], name),
        tables.roc(truth, said, labels),
        tables.residuals(np.arange(9.0), np.ones(9), name),
        tables.predicted_against_true(np.arange(9.0), np.ones(9), name),
        tables.member_curves([[2.0, 1.0]], [1], name),
        plots.confusion_matrix(np.eye(3, dtype=int), labels=labels),
        plots.history(history)[0],
        plots.comparison({name: history, "b": history}, result=name),
        plots.convergence({name: steps, "b": steps})[0],
        plots.descent({name: steps}),
        plots.graph(fnn.Sequential([layer], input_shape=(3,))),
    ]
    for ax in drawn:
        with warnings.catch_warnings(), style.any_glyphs():
            warnings.simplefilter("error", append=True)
            ax.figure.draw_without_rendering()
    ticks = [text.get_text() for text in drawn[0].get_yticklabels()]
    if what == "formula":
        assert ticks == [r"\$x^\$", "age"]  # which matplotlib draws as $x^$
    if what == "control":
        assert ticks[0] == r"\x1b[31mred\n\x00"
