"""Pictures: what they say, and that they need neither a screen nor matplotlib at import."""

import math
import subprocess
import sys

import pytest

import fastnn as fnn

Figure = pytest.importorskip("matplotlib.figure").Figure

from fastnn import plots  # noqa: E402
from fastnn.program.ops import OPS  # noqa: E402


@pytest.fixture
def ax():
    return Figure().subplots()


def history(**losses):
    return fnn.History(losses, list(range(len(losses["loss"]))))


def test_curves_have_names_and_axes_have_labels(ax):
    drawn = plots.learning_curve(history(loss=[3, 2, 1], val_loss=[3, 2.5, 2.75]), ax=ax)
    assert drawn is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["training", "validation (held out)", "least validation loss: 2.5, epoch 2"]
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]


def test_curves_differ_in_greyscale(ax):
    plots.learning_curve(history(loss=[3, 2], val_loss=[3, 2.5]), ax=ax)
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


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
    with pytest.raises(ValueError, match="no finished epoch"):
        plots.learning_curve(history(loss=[]), ax=ax)


def test_own_figure_without_a_screen(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.delenv("DISPLAY", raising=False)
    drawn = plots.learning_curve(history(loss=[2.0, 1.0]))
    assert drawn.figure.get_layout_engine() is not None
    plt.close(drawn.figure)


def profile():
    x, y = fnn.datasets.load_digits()
    model = fnn.Sequential(
        [fnn.Dense(8, "tanh"), fnn.Dropout(0.1), fnn.Dense(10)], input_shape=(64,)
    )
    model.compile("adam", "crossentropy", ["accuracy"])
    return model.profile(x, y, steps=2)


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


def test_groups_of_a_profile_differ_in_greyscale(ax):
    profile().plot(ax=ax)
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named[1:] == list(plots._GROUPS)
    assert len({(group["hatch"]) for group in plots._GROUPS.values()}) == len(plots._GROUPS)
    assert {bar.get_hatch() or "" for bar in ax.patches} == {
        group["hatch"] for group in plots._GROUPS.values()
    }
    assert set(plots._GROUP_OF) <= set(OPS)


def test_profile_on_a_figure_of_its_own(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.delenv("DISPLAY", raising=False)
    drawn = profile().plot()
    drawn.figure.canvas.draw()
    plt.close(drawn.figure)


def test_without_matplotlib(monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"fastnn\[plot\]"):
        plots.learning_curve(history(loss=[1.0]))


def test_import_is_lean():
    heavy = (
        "pandas matplotlib tqdm safetensors fastnn.cli fastnn.commands fastnn.plots "
        "fastnn.profiling fastnn.limits fastnn.diagnosis fastnn.range_test tensorboardX"
    )
    code = f"import sys, fastnn; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() == "[]"
