"""Plots of all kinds: axes, labels, names, no screen, no matplotlib; learning curves."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import fastnn as fnn

plt = pytest.importorskip("matplotlib.pyplot")
Figure = pytest.importorskip("matplotlib.figure").Figure

from picture_cases import CASES, MOVING, drawn, profile, trained, walks  # noqa: E402

from fastnn import plots  # noqa: E402
from fastnn.plots import graphs, programs, style  # noqa: E402
from fastnn.program.ops import OPS  # noqa: E402

FIRST = {function: name for name, (function, _) in reversed(CASES.items())}
HAS_PANELS = {"activations", "convergence", "histograms", "history"}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return Figure().subplots()


def history(**losses):
    return fnn.History(losses, list(range(len(losses["loss"]))))


def names_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- each plot ----------------------------------------------------------------------------------


def test_no_picture_without_a_case():
    assert set(FIRST) | set(MOVING) | {"STYLE"} == set(plots.__all__)
    assert set(plots.__all__) <= set(dir(plots))


def given(name):
    """As many axes as it needs, on one figure, made the way a user would."""
    if name.startswith("surface"):
        return plt.subplots(subplot_kw={"projection": "3d"})[1]
    return plt.subplots(len(drawn(name)))[1]


@pytest.mark.parametrize("name", list(CASES))
def test_draws_on_the_axes_it_is_given(name):
    function, draw = CASES[name]
    axes = given(name)
    found = draw(axes)
    assert len(plt.get_fignums()) == 1
    if function in HAS_PANELS:
        assert isinstance(found, list)
        assert all(one is other for one, other in zip(found, np.ravel(axes), strict=True))
    else:
        assert found is axes


@pytest.mark.parametrize("name", list(CASES))
def test_a_figure_of_its_own_says_what_it_shows(name):
    panels = drawn(name)
    figure = panels[0].figure
    assert figure.get_layout_engine() is not None
    figure.draw_without_rendering()
    if name == "graph":  # boxes and arrows
        assert not panels[0].axison
        return
    across = [figure.get_supxlabel(), *[panel.get_xlabel() for panel in panels]]
    assert any(across), "what the horizontal axis shows"
    if name not in ("profile", "importance"):  # their bars are named one by one
        up = [figure.get_supylabel(), *[panel.get_ylabel() for panel in panels]]
        assert any(up), "what the vertical axis shows"
    assert any(panel.get_title() for panel in panels)
    legends = [panel.get_legend() for panel in panels if panel.get_legend()]
    for text in [*[p.title for p in panels], *[p.xaxis.label for p in panels], *legends]:
        extent = text.get_window_extent()
        assert figure.bbox.x0 - 1 <= extent.x0 <= extent.x1 <= figure.bbox.x1 + 1, f"{text} is cut"
        assert figure.bbox.y0 - 1 <= extent.y0 <= extent.y1 <= figure.bbox.y1 + 1, f"{text} is cut"


@pytest.mark.parametrize("name", list(CASES))
def test_curves_differ_in_grayscale(name):
    """Lines with names in a legend have distinct line styles or markers."""
    for panel in drawn(name):
        curves = [line for line in panel.lines if not line.get_label().startswith("_")]
        looks = {(str(c._unscaled_dash_pattern), c.get_linestyle(), c.get_marker(),
                  c.get_linewidth()) for c in curves}  # fmt: skip
        assert len(looks) == len(curves)


@pytest.mark.parametrize("name", [*FIRST.values(), *MOVING])
def test_without_matplotlib(name, monkeypatch, tmp_path):
    trained(), walks()
    for module in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[plot\]'"):
        CASES[name][1](None) if name in CASES else MOVING[name](tmp_path / "a.gif")


def test_without_a_screen(tmp_path):
    """As on a server: no backend chosen, no display; and nothing is drawn on import."""
    code = (
        "import sys, fastnn as fnn\n"
        "from fastnn import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "walk = fnn.descent.minimize(fnn.descent.functions.bowl, [1.0, 2.0], steps=3)\n"
        "walk.plot().figure.savefig('walk.png')\n"
        "walk.animate('walk.gif', frames=2)\n"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "DISPLAY")}
    kept |= {"MPLCONFIGDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path, env=kept)
    assert (tmp_path / "walk.png").stat().st_size > 1000
    assert (tmp_path / "walk.gif").stat().st_size > 1000


def test_import_is_lean():
    heavy = (
        "pandas matplotlib tqdm safetensors fastnn.cli fastnn.cli.parser fastnn.plots "
        "fastnn.analysis.profiling fastnn.analysis.machine_limits fastnn.analysis.diagnosis "
        "fastnn.analysis.lr_finder tensorboardX"
    )
    code = f"import sys, fastnn; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "package", [plots, fnn.descent, fnn.descent.functions, fnn.datasets], ids=lambda p: p.__name__
)
def test_dir_shows_public_names_only(package):
    assert dir(package) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)
    assert not {"annotations", "np", "Any"} & set(dir(package))


# --- what they have in common -------------------------------------------------------------------


def test_panels():
    panels = style.panels(None, 5, columns=3)
    figure = panels[0].figure
    assert len(panels) == 5
    assert [ax.axison for ax in figure.axes] == [True] * 5 + [False]
    assert style.panels(panels[0], 1) == [panels[0]]
    for ax in (panels, tuple(panels), np.array(panels)):
        assert style.panels(ax, 5) == panels
    with pytest.raises(ValueError, match="ax must be 2 axes, one for each of the panels, got 5"):
        style.panels(panels, 2)
    with pytest.raises(ValueError, match="ax must be 2 axes, one for each of the panels, got 1"):
        style.panels(panels[0], 2)


@pytest.mark.parametrize(
    ("count", "most", "chosen"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (5, 3, [0, 2, 4]), (9, 2, [0, 8]), (9, 1, [8]),
     (1, 1, [0])],
)  # fmt: skip
def test_frames_are_spread(count, most, chosen):
    assert style.spread(count, most) == chosen


def test_colors_and_dashes_and_markers_differ():
    for looks in (style.COLORS, style.DASHES, style.MARKERS):
        assert len(set(looks)) == len(looks) == 7
    assert style.curve(0) != style.curve(1)
    looks = [(*style.curve(i).values(), style.marker(i)) for i in range(49)]
    assert len(set(looks)) == 49, "where the colors start again, dashes and markers are others"


def test_long_names_are_wrapped_in_few_columns():
    ax = plt.subplots(layout="constrained")[1]
    for number in range(4):
        ax.plot([0, 1], [0, number], label=f"SGD(momentum=0.{number}, nesterov=True) " * 3)
    style.legend_below(ax, 4)
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert legend.width < ax.figure.bbox.width
    assert ax.bbox.width > 0.5 * ax.figure.bbox.width
    assert legend.y1 < ax.xaxis.label.get_window_extent().y0 + 1


# --- learning curves ----------------------------------------------------------------------------


def test_curves_have_names_and_axes_have_labels(ax):
    drawn = plots.learning_curve(history(loss=[3, 2, 1], val_loss=[3, 2.5, 2.75]), ax=ax)
    assert drawn is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    assert names_of(ax) == [
        "training", "validation (held out)", "lowest validation loss: 2.5, epoch 2"
    ]  # fmt: skip
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]


@pytest.mark.parametrize(("last", "scale"), [(0.5, "linear"), (0.01, "log"), (0.0, "linear")])
def test_scale(ax, last, scale):
    plots.learning_curve(history(loss=[1.0, last]), ax=ax)
    assert ax.get_yscale() == scale
    assert ("log" in ax.get_ylabel()) == (scale == "log")


def test_one_epoch_is_visible(ax):
    plots.learning_curve(history(loss=[1.0], val_loss=[2.0]), ax=ax)
    ax.figure.canvas.draw()
    assert [line.get_marker() for line in ax.lines] == ["o", "s"]
    assert [t for t in ax.get_xticks() if 0.9 < t < 1.1] == [1]


def test_not_a_number(ax):
    plots.learning_curve(history(loss=[1.0, math.nan], val_loss=[math.nan] * 2), ax=ax)
    ax.figure.canvas.draw()


def test_no_epoch(ax):
    for draw in (plots.learning_curve, plots.history):
        with pytest.raises(ValueError, match="no finished epoch"):
            draw(history(loss=[]), ax=ax)


# --- the history of a training ------------------------------------------------------------------


def test_history_has_a_panel_for_what_there_is():
    def panels(*names, rates=(0.1, 0.1)):
        made = fnn.History({name: [0.5, 0.25] for name in names}, [0, 1], "why", 1.0, list(rates))
        return [ax.get_ylabel() for ax in made.plot()]

    assert panels("loss") == ["loss"]
    assert panels("loss", "val_loss") == ["loss"]
    assert panels("loss", "accuracy") == ["loss", "accuracy"]
    assert panels("loss", "mae", "mse", "val_mae", "val_mse") == ["loss", "metrics"]
    assert panels("loss", rates=(0.1, 0.2)) == ["loss", "learning rate"]
    assert panels("loss", rates=(1.0, 0.01)) == ["loss", "learning rate (log scale)"]
    assert panels("loss", "accuracy", rates=(1.0, 0.9)) == ["loss", "accuracy", "learning rate"]
    assert panels("loss", rates=()) == ["loss"], "L-BFGS has none"


def test_history_names_metrics_and_says_why_it_ended():
    results = {name: [0.5, 0.25] for name in ("loss", "mae", "mse", "val_loss", "val_mae")}
    made = fnn.History(results, [0, 1], "completed 2 epochs", 1.0, [0.1, 0.1])
    first, second = made.plot()
    assert names_of(second) == ["mae", "mae, held out", "mse"]
    assert second.lines[0].get_linestyle() != second.lines[1].get_linestyle()
    assert first.get_title() == "Training\ncompleted 2 epochs"
    assert second.get_xlabel() == "epoch"


def test_the_title_says_when_and_why_a_training_ended():
    def title(reason, epochs):
        made = fnn.History({"loss": [1.0] * len(epochs)}, list(epochs), reason)
        return made.plot()[0].get_title().splitlines()[1:]

    assert title("completed 40 epochs", range(40)) == ["completed 40 epochs"]
    assert title("completed 2 epochs (4 to 5)", [3, 4]) == ["completed 2 epochs (4 to 5)"]
    assert title("interrupted", range(7)) == ["stopped after epoch 7: interrupted"]
    assert title("", range(7)) == ["7 epochs"]
    for words in range(6, 16):  # wherever the line ends, a number stays with its word
        lines = title("word " * words + "best in epoch 47, at -1.5e-05 of itself", range(60))
        assert " ".join(lines).endswith("best in epoch 47, at -1.5e-05 of itself")
        assert not any(line[0].isdigit() or line.endswith(("epoch", "-")) for line in lines)


def test_losses_of_single_outputs_have_a_panel_of_their_own():
    a, x = fnn.Input((3,)), np.random.default_rng(0).normal(size=(20, 3))
    model = fnn.Model(a, [fnn.Dense(1, name="left")(a), fnn.Dense(1, name="right")(a)], seed=0)
    model.compile("adam", "mse", ["mae"])
    history = model.fit(x, [x[:, :1], x[:, 1:2]], epochs=3, verbose=0, validation_split=0.25)
    assert history.loss_names == ["loss", "left_loss", "right_loss"]
    total, single, metrics = history.plot()
    labels = [ax.get_ylabel().removesuffix(" (log scale)") for ax in (total, single, metrics)]
    assert labels == ["loss", "loss of one output", "metrics"]
    assert names_of(single) == [
        "left_loss", "left_loss, held out", "right_loss", "right_loss, held out",
    ]  # fmt: skip
    assert names_of(metrics)[0] == "left_mae"


def test_a_metric_whose_name_ends_like_a_loss_is_a_metric():
    made = history(loss=[3.0, 2.0], my_loss=[1.0, 2.0])
    assert [ax.get_ylabel() for ax in made.plot()] == ["loss", "my_loss"]


def test_epochs_that_were_not_validated_leave_no_gap():
    made = history(loss=[4.0, 3.0, 2.0, 1.0], val_loss=[math.nan, 3.5, math.nan, 1.5],
                   mae=[4.0, 3.0, 2.0, 1.0], val_mae=[math.nan, 3.0, math.nan, 2.0])  # fmt: skip
    first, second = made.plot()
    for line in (first.lines[1], second.lines[1]):
        assert list(line.get_xdata()) == [2, 4]
    assert "epoch 4" in " ".join(names_of(first))


def test_a_long_reason_is_cut():
    made = fnn.History({"loss": [1.0]}, [0], "word " * 200)
    assert made.plot()[0].get_title().count("\n") == 3
    assert made.plot()[0].get_title().endswith("...")


def test_history_of_one_epoch_is_visible():
    made = fnn.History({"loss": [1.0], "accuracy": [0.5]}, [0], "why", 1.0, [0.1])
    assert [ax.lines[0].get_marker() for ax in made.plot()] == ["o", "o"]


def test_history_of_results_that_some_epochs_lack():
    """Validation, or a callback's result, may end before the training does."""
    made = history(loss=[3.0, 2.0, 1.0], val_loss=[3.0, 2.0], extra=[1.0], val_extra=[2.0, 3.0])
    first, second = made.plot()
    assert [len(line.get_xdata()) for line in first.lines[:2]] == [3, 2]
    assert [len(line.get_xdata()) for line in second.lines[:2]] == [1, 2]
    assert len(plots.comparison({"a": made}, result="extra").lines[0].get_xdata()) == 1


def test_history_leaves_out_what_is_no_number():
    made = history(loss=[1.0, 0.5], confusion_matrix=[np.eye(2)] * 2)
    assert len(made.plot()) == 1


def test_history_after_fit(rng):
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,), seed=0)
    model.compile(fnn.SGD(fnn.schedules.ExponentialDecay(0.1, 2, 0.5)), "crossentropy",
                  ["accuracy"])  # fmt: skip
    x, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    made = model.fit(x, y, epochs=5, verbose=0, validation_split=0.25)
    labels = [ax.get_ylabel().removesuffix(" (log scale)") for ax in made.plot()]
    assert labels == ["loss", "accuracy", "learning rate"]
    assert list(made.plot()[2].lines[0].get_ydata()) == made.learning_rates


def test_comparison():
    two = {"SGD": history(loss=[3.0, 2.0, 1.0]), "Adam": history(loss=[3.0, 1.0])}
    ax = plots.comparison(two)
    assert names_of(ax) == ["SGD", "Adam"]
    assert ax.get_title() == "loss of 2 runs"
    assert names_of(plots.comparison(list(two.values()))) == ["training 1", "training 2"]
    with pytest.raises(ValueError, match="at least one training"):
        plots.comparison({})
    with pytest.raises(ValueError, match="'val_loss' is not in the history of 'SGD'"):
        plots.comparison(two, result="val_loss")


def test_learning_rate_finder(ax):
    found = fnn.analysis.lr_finder.LearningRateFinder(
        np.array([0.1, 1.0, 10.0]), np.array([2.0, 1.0, 9.0]), np.array([2.0, 1.5, 3.0]), 1.0, ""
    )
    plots.learning_rate_finder(found, ax=ax)
    assert names_of(ax) == ["loss of a batch", "smoothed", "falls most steeply: 1"]
    assert ax.get_xscale() == "log"
    nothing = fnn.analysis.lr_finder.LearningRateFinder(*[np.array([])] * 3, None, "no step")
    with pytest.raises(ValueError, match="no step to draw: no step"):
        plots.learning_rate_finder(nothing, ax=ax)


# --- programs and models ------------------------------------------------------------------------


def test_profile(ax):
    made = profile()
    assert made.plot(ax=ax) is ax
    bars = {round(bar.get_y() + bar.get_height() / 2): bar for bar in ax.patches}
    assert [bars[place].get_width() for place in range(len(made.rows))] == [
        row.microseconds for row in made.rows
    ]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [f"{row.layer} {row.what}".strip() for row in made.rows]
    assert [text.get_text() for text in ax.texts] == [f"{row.share:.0%}" for row in made.rows]
    first, last = ax.get_ylim()
    assert first > last, "the first op is on top"
    limits = ax.lines[0].get_xdata()
    assert list(limits) == [row.microseconds * row.of_limit for row in made.rows]
    assert ax.get_xlim()[1] > max(limits)
    assert ax.get_xlabel() == "µs a step"
    assert "train, 32 rows" in ax.get_title()


def test_the_profile_of_a_model(ax):
    x, y = fnn.datasets.load_digits()
    model = fnn.Sequential(
        [fnn.Dense(8, "tanh"), fnn.Dropout(0.1), fnn.Dense(10)], input_shape=(64,)
    )
    model.compile("adam", "crossentropy", ["accuracy"])
    made = model.profile(x, y, steps=2)
    made.plot(ax=ax)
    assert len(ax.patches) == len(made.rows)


def test_groups_of_a_profile_differ_in_grayscale(ax):
    profile().plot(ax=ax)
    groups = programs._GROUPS
    assert names_of(ax)[1:] == list(groups)
    assert len({group["hatch"] for group in groups.values()}) == len(groups)
    assert {bar.get_hatch() or "" for bar in ax.patches} == {g["hatch"] for g in groups.values()}
    assert set(programs._GROUP_OF) <= set(OPS)


def arrows(ax):
    """The line of each arrow, without its head, in pixels."""
    ax.figure.canvas.draw()
    found = []
    for text in ax.texts:
        if getattr(text, "arrow_patch", None):
            path = text.arrow_patch.get_path()
            heads = np.flatnonzero(path.codes == path.MOVETO)[1:]
            found.append(path.vertices[: heads[0]])
    return found


def test_graph_names_layers_and_arrows_end_at_boxes():
    x = fnn.Input((4,), name="x")
    h = fnn.Dense(3, "relu", name="first")(x)
    h = fnn.Add(name="sum")([fnn.Dense(3, name="second")(h), h])
    ax = plots.graph(fnn.Model(x, fnn.Dense(1, name="last")(h)))
    boxes = [text for text in ax.texts if text.get_text()]
    assert [text.get_text() for text in boxes] == [
        "x\nInput (4)", "first\nDense (3), 15 parameters", "second\nDense (3), 12 parameters",
        "sum\nAdd (3)", "last\nDense (1), 4 parameters",
    ]  # fmt: skip
    drawn = arrows(ax)
    assert len(drawn) == 5
    extents = [text.get_bbox_patch().get_window_extent().padded(3) for text in boxes]
    for vertices in drawn:
        for end in (vertices[0], vertices[-1]):
            assert any(extent.contains(*end) for extent in extents)
    inside = extents[2].padded(-6)
    (around,) = [v for v in drawn if np.ptp(v[:, 0]) > 20]
    assert not any(inside.contains(*point) for point in around), "it goes around the second layer"
    assert around[:, 0].max() < ax.figure.bbox.x1


def test_arrows_of_a_graph_that_overlap_lie_side_by_side():
    x = fnn.Input((3,), name="x")
    first = fnn.Dense(3)(x)
    third = fnn.Add()([fnn.Dense(3)(first), x])
    ax = plots.graph(fnn.Model(x, fnn.Add()([third, first])))
    inner, outer = (v for v in arrows(ax) if np.ptp(v[:, 0]) > 20)
    assert inner[0, 1] > outer[0, 1] > inner[-1, 1] > outer[-1, 1], "from above"
    column = ax.transData.transform((0, 0))[0]
    across = [np.abs(v[:, 0] - column).max() * 72 / ax.figure.dpi for v in (inner, outer)]
    assert 0.9 < (across[1] - across[0]) / graphs._LANE_WIDTH < 1.5


def test_graph_counts_a_layer_used_twice_once():
    shared = fnn.Dense(3, name="shared")
    a, b = fnn.Input((4,)), fnn.Input((4,))
    ax = plots.graph(fnn.Model([a, b], fnn.Add()([shared(a), shared(b)])))
    assert sum("15 parameters" in text.get_text() for text in ax.texts) == 1
    places = [text.get_position() for text in ax.texts if text.get_text()]
    assert len(set(places)) == len(places), "no box on another"


def test_activations():
    axes = plots.activations(["relu", fnn.activations.get("tanh")], limit=2)
    assert [ax.get_title() for ax in axes] == ["relu", "tanh"]
    function, derivative = axes[1].lines[:2]
    x = function.get_xdata()
    assert (x[0], x[-1]) == (-2, 2)
    assert function.get_ydata() == pytest.approx(np.tanh(x), abs=1e-12)
    assert derivative.get_ydata() == pytest.approx(1 - np.tanh(x) ** 2, abs=1e-12)
    assert names_of(axes[0]) == ["function", "derivative"]
    (alone,) = plots.activations("gelu")
    assert alone.get_title() == "gelu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([],), "at least one activation"), ((["softmax"],), "softmax looks at whole rows"),
     ((["rellu"],), "did you mean 'relu'")],
)  # fmt: skip
def test_activations_that_have_no_curve(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.activations(*arguments)
    with pytest.raises(ValueError, match="limit must be a positive number"):
        plots.activations(limit=0)


def test_activations_of_ones_own():
    (ax,) = plots.activations([fnn.activations.Custom(np.square, lambda x: 2 * x)], limit=1)
    assert ax.get_title() == "custom"
    assert ax.lines[1].get_ydata()[[0, -1]].tolist() == [-2, 2]
