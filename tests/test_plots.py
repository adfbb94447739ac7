"""Pictures: what they say, and that they need neither a screen nor matplotlib at import."""

import math
import subprocess
import sys

import pytest

import fastnn as fnn

Figure = pytest.importorskip("matplotlib.figure").Figure

from fastnn import plots  # noqa: E402


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


def test_without_matplotlib(monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"fastnn\[plot\]"):
        plots.learning_curve(history(loss=[1.0]))


def test_import_is_lean():
    heavy = "pandas matplotlib tqdm safetensors fastnn.cli fastnn.commands fastnn.plots"
    code = f"import sys, fastnn; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() == "[]"
