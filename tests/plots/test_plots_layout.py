"""Nothing hides, overlaps or is cut: in every picture, and with many series and long names."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

import fastnn as fnn
from fastnn.analysis.profiling import Profile
from fastnn.descent import functions, minimize

plt = pytest.importorskip("matplotlib.pyplot")

from layout import faults  # noqa: E402
from picture_cases import CASES, drawn, profile  # noqa: E402

from fastnn import plots  # noqa: E402

# `make test-full`, and so CI, draws them.
pytestmark = pytest.mark.slow

DPI = 96
LONG = "a_name_of_forty_letters_that_goes_on_{:03}"


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def assert_whole(ax):
    figure = (ax[0] if isinstance(ax, list) else ax).figure
    assert faults(figure, DPI) == []


@pytest.mark.parametrize("name", list(CASES))
def test_every_picture_can_be_read(name):
    assert_whole(drawn(name))


# --- many series and long names -----------------------------------------------------------------


def test_twelve_trainings_with_long_names():
    at = np.arange(1, 31)
    trainings = {
        LONG.format(i): fnn.History({"loss": list(2.3 * (0.8 + 0.015 * i) ** at)}, list(range(30)))
        for i in range(12)
    }
    ax = plots.comparison(trainings)
    assert_whole(ax)
    assert ax.get_window_extent().height > 0.35 * 6.4 * DPI, "the legend leaves room for the curves"
    looks = {(line.get_color(), line.get_marker(), str(line._unscaled_dash_pattern))
             for line in ax.lines}  # fmt: skip
    assert len(looks) == 12


@pytest.mark.parametrize("classes", [3, 12])
@pytest.mark.parametrize("letters", [3, 40])
def test_confusion_matrix_with_long_names(classes, letters):
    names = [LONG.format(i)[-letters:] for i in range(classes)]
    ax = plots.confusion_matrix(100 * np.eye(classes, dtype=int) + 1, labels=names)
    assert_whole(ax)
    assert ax.get_window_extent().width > 30 * classes


def test_decision_boundary_of_twelve_classes():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 12
    turn = 2 * np.pi * y / 12
    x = np.column_stack([np.cos(turn), np.sin(turn)]) + rng.normal(0, 0.05, (120, 2))
    model = fnn.Sequential([fnn.Dense(12)], input_shape=(2,), seed=0)
    ax = plots.decision_boundary(model, x, y, names=(LONG.format(0), LONG.format(1)))
    assert_whole(ax)
    points = [one for one in ax.collections if str(one.get_label()).startswith("class")]
    looks = {(tuple(one.get_facecolor()[0]), one.get_paths()[0].vertices.tobytes())
             for one in points}  # fmt: skip
    assert len(looks) == 12, "each class has its own color and marker"


def test_histograms_of_ten_layers_with_long_names():
    layers = [fnn.Dense(4, "relu", name=LONG.format(i)) for i in range(10)]
    model = fnn.Sequential(layers, input_shape=(3,), seed=0)
    model.compile("adam", "mse")
    recorder = fnn.Recorder(rows=8)
    x = np.random.default_rng(0).normal(size=(64, 3))
    model.fit(x, np.zeros((64, 4)), epochs=3, verbose=0, callbacks=[recorder])
    assert_whole(plots.histograms(recorder, "gradients", names="*/kernel"))


def test_graph_of_ten_layers_with_long_names():
    layers = [fnn.Dense(4, "relu", name=LONG.format(i)) for i in range(10)]
    assert_whole(plots.graph(fnn.Sequential(layers, input_shape=(3,), seed=0)))


def test_profile_of_layers_with_long_names():
    made = profile()
    rows = [
        type(row)(**{**vars(row), "layer": LONG.format(i)})
        for i, row in enumerate(made.rows + made.rows)
    ]
    ax = plots.profile(Profile(rows, "train", "float32", 32, 1, 100, made.limits))
    assert_whole(ax)
    assert ax.get_window_extent().width > 0.4 * ax.figure.bbox.width


def test_ten_walks_with_long_names():
    start = functions.rosenbrock.start
    walks = {
        LONG.format(i): minimize(
            functions.rosenbrock, start, optimizer=fnn.Adam(0.01 * (i + 1)), steps=60
        )
        for i in range(10)
    }
    assert_whole(plots.descent(walks))
    assert_whole(plots.convergence(walks))


def test_a_walk_whose_optimizer_says_much():
    optimizer = fnn.Adam(0.123456789, beta_1=0.987654321, weight_decay=1e-5, global_clipnorm=2.5)
    panels = plt.subplots(1, 2, figsize=(8.6, 4.5), layout="constrained")[1]
    for ax in panels:
        minimize(functions.bowl, [-8, 6], optimizer=optimizer, steps=30).plot(ax=ax)
    assert_whole(list(panels))


# --- geometry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [functions.bowl, functions.ravine])
def test_maps_have_one_scale(function):
    for ax in (None, plt.subplots(figsize=(9, 3), layout="constrained")[1]):
        ax = plots.descent(minimize(function, function.start, steps=3), ax=ax)
        ax.figure.draw_without_rendering()
        assert ax.transData.transform([(0, 0), (1, 0), (0, 1)]) @ [1, 1] == pytest.approx(
            ax.transData.transform((0, 0)).sum() + np.array([0, 1, 1]) * ax.bbox.width
            / np.ptp(ax.get_xlim())
        )  # fmt: skip
        bar = ax.figure.axes[1]
        assert bar.bbox.height == pytest.approx(ax.bbox.height), "the color bar is as high"


def test_a_strip_is_not_drawn_to_scale():
    ax = plots.descent(minimize(lambda x: x[0] ** 2 + 1e4 * x[1] ** 2, [9.0, 0.01], steps=3,
                                grad=lambda x: np.array([2 * x[0], 2e4 * x[1]]),
                                optimizer=fnn.SGD(1e-5)))  # fmt: skip
    assert ax.get_aspect() == "auto"


def test_a_map_can_be_pickled():
    figure = plots.descent(minimize(functions.bowl, functions.bowl.start, steps=3)).figure
    again = pickle.loads(pickle.dumps(figure))
    assert faults(again, DPI) == []


# --- walks that take the same way ---------------------------------------------------------------


def test_no_walk_hides_another():
    """Wider ones are below, markers are apart, and each end has its walk's color and marker."""
    optimizers = {"SGD": fnn.SGD(0.001), "momentum": fnn.SGD(0.001, momentum=0.9),
                  "Adam": fnn.Adam(0.1)}  # fmt: skip
    walks = {name: minimize(functions.rosenbrock, [-1.5, 2], optimizer=one, steps=500)
             for name, one in optimizers.items()}  # fmt: skip
    ax = plots.descent(walks)
    ways = [line for line in ax.lines if line.get_gid() == "way"]
    ends = [line for line in ax.lines if line.get_gid() == "end"]
    widths = [way.get_linewidth() for way in ways]
    assert all(below >= above + 0.9 for below, above in itertools.pairwise(widths))
    sizes = [end.get_markersize() for end in ends]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    for way, end in zip(ways, ends, strict=True):
        assert end.get_zorder() > way.get_zorder()
        assert (end.get_color(), end.get_marker()) == (way.get_color(), way.get_marker())
    dots = [
        line for line in ax.lines if line.get_linestyle() == "None" and len(line.get_xdata()) > 1
    ]
    for line in dots:
        gaps = np.hypot(*(np.diff(line.get_xydata(), axis=0) / 4).T)
        assert gaps.min() > 0.035
        assert len(gaps) < 40


# --- the look of one's own pictures -------------------------------------------------------------


def test_the_style_gives_each_curve_a_color_and_a_dash():
    with plt.style.context(plots.STYLE):
        ax = plt.subplots()[1]
        lines = [ax.plot([0, 1], [i, i], label=f"{i}")[0] for i in range(7)]
    assert len({line.get_color() for line in lines}) == 7
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 7
    assert lines[0].get_color() == plots.style.BLUE
    assert not ax.spines["top"].get_visible()
    assert ax.figure.get_layout_engine() is not None


@pytest.mark.parametrize("name", ["confusion_matrix", "decision_boundary", "descent", "histograms"])
def test_no_grid_over_an_image_under_the_style(name):
    with plt.style.context(plots.STYLE):
        axes = CASES[name][1](None)
    for ax in (axes if isinstance(axes, list) else [axes])[0].figure.axes:
        assert not any(line.get_visible() for line in ax.get_xgridlines())


# --- what is found ------------------------------------------------------------------------------


def test_faults_are_found():
    figure, ax = plt.subplots(figsize=(4, 3), layout="constrained")
    ax.plot([0, 1], [0, 1], label="data")
    assert "axes '' have no label" in faults(figure, DPI)
    ax.set(xlabel="x", ylabel="y")
    assert faults(figure, DPI) == []
    ax.legend(loc="center")
    assert faults(figure, DPI) == ["the legend lies over data"]
    ax.legend(loc="upper left")
    assert faults(figure, DPI) == []
    ax.text(0.1, 0.5, "one text")
    ax.text(0.12, 0.5, "another")
    assert faults(figure, DPI) == ["'one text' and 'another' overlap"]
    for text in [*ax.texts]:
        text.remove()
    ax.set_title("a title that is far too long for a picture of this size, which is cut")
    assert any("is cut" in fault for fault in faults(figure, DPI))
    ax.set_title("small", fontsize=5)
    assert faults(figure, DPI) == ["'small' is too small"]
    figure.set_size_inches(12, 3)
    assert "it is 1152 pixels wide" in faults(figure, DPI)


def test_a_legend_over_an_image_is_found():
    figure, ax = plt.subplots(layout="constrained")
    ax.pcolormesh(np.zeros((3, 3)))
    ax.plot([0], [0], label="point")
    ax.set(xlabel="x", ylabel="y")
    ax.legend()
    assert faults(figure, DPI) == ["the legend lies over an image"]
