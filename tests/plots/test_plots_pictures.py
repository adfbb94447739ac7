"""Pictures are unchanged: each case, without its text, is compared with `pictures/NAME.png`.

The size of text changes with each release of FreeType, and moves everything else; its contents
are tested elsewhere. After an intended change, `make pictures` redraws them: look at them before
you commit them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

matplotlib = pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.testing.compare import compare_images  # noqa: E402
from picture_cases import CASES, history  # noqa: E402

from fastnn import plots  # noqa: E402

PICTURES = Path(__file__).parent / "pictures"
IS_ANEW = os.environ.get("FASTNN_NEW_PICTURES") == "1"
DPI = 50
TOLERANCE = 1.0  # root mean square of the differences, out of 255; see below


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def save(ax, path):
    """Save a picture without its text."""
    from matplotlib.legend import Legend
    from matplotlib.text import Annotation, Text
    from matplotlib.ticker import NullFormatter

    figure = ax.figure
    for panel in figure.axes:
        for axis in (getattr(panel, f"{name}axis", None) for name in "xyz"):
            if axis is not None:
                axis.set_major_formatter(NullFormatter())
                axis.set_minor_formatter(NullFormatter())
    for legend in figure.findobj(Legend):
        legend.set_visible(False)
    for text in figure.findobj(Text):
        if not isinstance(text, Annotation) or text.get_text():  # without text it is an arrow
            text.set_visible(False)
    figure.savefig(path, dpi=DPI, pil_kwargs={"optimize": True})


def stored(name):
    """Return a picture's path, if this release of matplotlib has the same layout as that one."""
    from PIL import Image

    path = PICTURES / f"{name}.png"
    with Image.open(path) as image:
        drawn_with = re.search(r"version ?(\d+\.\d+)", image.info["Software"])[1]
    if not f"{matplotlib.__version__}.".startswith(f"{drawn_with}."):
        pytest.skip(f"drawn with matplotlib {drawn_with}, which sets axes elsewhere")
    return path


@pytest.mark.parametrize("name", list(CASES))
def test_pictures_are_as_they_were(name, tmp_path):
    axes = CASES[name][1](None)
    first = axes[0] if isinstance(axes, list) else axes
    if IS_ANEW:
        save(first, PICTURES / f"{name}.png")
        return
    save(first, tmp_path / f"{name}.png")
    difference = compare_images(stored(name), tmp_path / f"{name}.png", TOLERANCE)
    assert difference is None, difference


def test_a_picture_for_each_case_and_none_beside():
    assert {path.stem for path in PICTURES.glob("*.png")} == set(CASES)
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 600_000


def test_a_missing_curve_is_seen(tmp_path):
    """The difference that the tolerance permits is smaller than the thinnest of the curves."""
    got = tmp_path / "curve.png"
    for number in range(3):
        ax = plots.learning_curve(history())
        save(ax, got)
        assert compare_images(stored("learning_curve"), got, TOLERANCE) is None
        ax.lines[number].remove()
        save(ax, got)
        assert compare_images(stored("learning_curve"), got, TOLERANCE)


def test_letters_of_another_size_are_not_seen(tmp_path):
    with plt.rc_context({"text.hinting": "none", "font.family": "serif"}):
        save(plots.learning_curve(history()), tmp_path / "curve.png")
    assert not compare_images(stored("learning_curve"), tmp_path / "curve.png", TOLERANCE)


def test_other_data_are_seen(tmp_path):
    made = history(val_loss=[1.5 - 0.02 * epoch for epoch in range(20)])
    save(plots.learning_curve(made), tmp_path / "curve.png")
    assert compare_images(stored("learning_curve"), tmp_path / "curve.png", TOLERANCE)
