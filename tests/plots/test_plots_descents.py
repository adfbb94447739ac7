"""Plots of descents: markers, logarithmic axes, diverging descents, gifs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn.descent import functions, minimize

plt = pytest.importorskip("matplotlib.pyplot")

from picture_cases import walk, walks  # noqa: E402

from fastnn import plots  # noqa: E402


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def names_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, name):
    (found,) = (one for one in ax.lines if one.get_label() == name)
    return found


# --- on curves, contours, surfaces ----------------------------------------------------------------


def test_on_a_curve():
    found = walk(functions.square, fnn.SGD(0.1), 10)
    ax = found.plot()
    curve = ax.lines[0]
    assert curve.get_ydata() == pytest.approx(curve.get_xdata() ** 2)
    assert names_of(ax) == ["start", "steps", "minimum"]
    assert line(ax, "steps").get_xdata() == pytest.approx(found.path)
    assert line(ax, "steps").get_ydata() == pytest.approx(found.values)
    assert (line(ax, "start").get_xdata()[0], line(ax, "minimum").get_xdata()[0]) == (3.0, 0.0)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "f(x)")
    assert ax.get_title() == "$f = x^2$\nSGD(learning_rate=0.1), 10 steps"


def test_on_contours():
    found = walk(steps=5)
    ax = found.plot()
    assert names_of(ax) == ["start", "steps", "minimum"]
    assert line(ax, "steps").get_xydata() == pytest.approx(found.path)
    assert (ax.get_xlim(), ax.get_ylim()) == functions.ravine.limits
    assert ax.figure.axes[1].get_ylabel() == "f(x, y)", "the colors have a scale"


def test_contours_of_what_spans_decades_are_logarithmic():
    ax = walk(functions.rosenbrock, fnn.Adam(0.1), 10).plot()
    assert ax.figure.axes[1].get_ylabel() == "f(x, y) (log scale)"
    ax = walk(functions.saddle, fnn.SGD(0.1), 10).plot()
    assert ax.figure.axes[1].get_ylabel() == "f(x, y)", "there are negative values"


def test_of_more_variables_over_the_steps():
    found = minimize(functions.rastrigin, [0.1, 0.2, 0.3], optimizer=fnn.SGD(0.001), steps=10)
    ax = found.plot()
    assert ax.get_xlabel() == "step"
    assert ax.get_ylabel() == "f - min f (log scale)"
    assert ax.lines[0].get_ydata() == pytest.approx(found.values)


def test_on_a_surface():
    ax = plots.surface(walks())
    assert names_of(ax) == ["start", *walks(), "minimum"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("x", "y", "f(x, y)")
    assert ax.name == "3d"
    with pytest.raises(ValueError, match="two variables, this has 1"):
        walk(functions.square).plot_surface()
    with pytest.raises(ValueError, match="three dimensions"):
        walk().plot_surface(ax=plt.subplots()[1])


def test_several_walks_are_told_apart_and_look_the_same_in_all_pictures():
    def looks(ax):
        return {name: (line(ax, name).get_color(), line(ax, name).get_linestyle())
                for name in walks()}  # fmt: skip

    ax = plots.descent(walks())
    assert names_of(ax) == ["start", *walks(), "minimum"]
    assert len(set(looks(ax).values())) == len(walks())
    assert len({line(ax, name).get_marker() for name in walks()}) == len(walks())
    upper, lower = plots.convergence(walks())
    assert looks(ax) == looks(upper) == looks(lower) == looks(plots.surface(walks()))
    assert upper.get_legend() is None
    assert names_of(lower) == list(walks())


def test_names():
    sgd, adam = walk(optimizer=fnn.SGD(0.1)), walk(optimizer=fnn.Adam(0.3))

    def names(given):
        return names_of(plots.descent(given))[1:-1]

    assert names([sgd, adam]) == ["SGD(learning_rate=0.1)", "Adam(learning_rate=0.3)"]
    assert names(iter([sgd, sgd, sgd])) == [
        "SGD(learning_rate=0.1)", "SGD(learning_rate=0.1) (2)", "SGD(learning_rate=0.1) (3)"
    ]  # fmt: skip
    assert names({"slow": sgd, 7: adam}) == ["slow", "7"]


@pytest.mark.parametrize("given", ["walk", [1, 2], {"a": None}, [functions.square]], ids=str)
@pytest.mark.parametrize("draw", [plots.descent, plots.surface, plots.convergence])
def test_what_is_no_walk(given, draw):
    with pytest.raises(TypeError, match="descents must be what minimize returned, got"):
        draw(given)


@pytest.mark.parametrize("draw", [plots.descent, plots.surface, plots.convergence])
def test_no_walk_or_some_of_other_functions(draw):
    for given in ([], {}, [walk(), walk(functions.square)]):
        with pytest.raises(ValueError, match="at least one, all of as many variables"):
            draw(given)


def test_local_functions_are_drawn_around_the_walk():
    found = minimize(lambda x: math.log(x) ** 2, 2.0, grad=lambda x: 2 * math.log(x) / x,
                     optimizer=fnn.SGD(0.1), steps=50)  # fmt: skip
    ax = found.plot()
    assert names_of(ax) == ["start", "steps"]
    assert ax.get_title().startswith("Descent\n")
    low, high = ax.get_xlim()
    assert low < found.path.min() < found.path.max() < high


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("f", "x0"),
    [
        (lambda x: 1.0, 2.0),
        (lambda x: 1.0, [2.0, 1.0]),
        (lambda x: 0.0, [2.0, 1.0]),
        (lambda x: x @ x, [3.0]),
        (lambda x: np.array([x @ x]), [3.0, 1.0]),
        (lambda x: math.sqrt(x[0] - 2) + x[1], [2.0, 1.0]),
        (lambda x: x @ x if (abs(x - [2, 1]) < 0.1).all() else math.nan, [2.0, 1.0]),
        (lambda x: 1 / 0 if x != 2 else 1.0, 2.0),
    ],
    ids=["constant", "constant of two", "zero", "array of one", "value of one", "domain",
         "islands", "one point"],
)  # fmt: skip
def test_odd_functions_that_stand_still(f, x0):
    found = minimize(f, x0, grad=np.zeros_like, steps=3)
    for ax in (found.plot(), found.plot_convergence()[0]):
        ax.figure.draw_without_rendering()
    if found.variables == 2:
        found.plot_surface().figure.draw_without_rendering()


@pytest.mark.filterwarnings("error")
def test_walks_that_run_away_leave_the_picture():
    ax = walk(functions.square, fnn.SGD(3.0), 1000).plot()
    assert (ax.get_xlim(), ax.get_ylim()[1] < 100) == ((-8.0, 8.0), True)
    found = walk(functions.bowl, fnn.SGD(3.0), 1000)
    ax = found.plot()
    assert (ax.get_xlim(), ax.get_ylim()) == ((-20, 20), (-20, 20))
    ax.figure.draw_without_rendering()
    solid = found.plot_surface()
    assert max(np.abs(solid.get_zlim())) < 1000
    solid.figure.draw_without_rendering()


@pytest.mark.filterwarnings("error")
def test_convergence_of_the_huge_and_the_tiny():
    for rate in (3.0, 0.4, 0.5):
        for ax in walk(functions.bowl, fnn.SGD(rate), 1000).plot_convergence():
            ax.figure.draw_without_rendering()


def test_convergence():
    found = walk(functions.parabola, fnn.SGD(0.1), 20)
    upper, lower = found.plot_convergence()
    assert upper.get_ylabel() == "f - min f (log scale)"
    assert upper.lines[0].get_ydata() == pytest.approx(found.values - 2)
    assert lower.get_ylabel() == "|gradient| (log scale)"
    assert lower.lines[0].get_ydata() == pytest.approx(found.gradient_norms)
    assert (upper.get_xlabel(), lower.get_xlabel()) == ("", "step")


def test_convergence_below_zero_or_within_a_decade_is_linear():
    upper, lower = walk(functions.saddle, fnn.SGD(0.1), 30).plot_convergence()
    assert (upper.get_ylabel(), upper.get_yscale()) == ("f", "linear")
    found = minimize(lambda x: x * x, 3.0, grad=lambda x: 2 * x, steps=3)
    upper, lower = found.plot_convergence()
    assert upper.lines[0].get_ydata() == pytest.approx(found.values)
    assert [ax.get_yscale() for ax in (upper, lower)] == ["linear", "linear"]
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("f", "|gradient|")


def test_convergence_takes_two_axes():
    with pytest.raises(ValueError, match="ax must be 2 axes, one for each of the value and the no"):
        walk().plot_convergence(ax=plt.subplots()[1])


# --- animations ---------------------------------------------------------------------------------


def frames_of(path):
    """The number of frames, and the milliseconds of each."""
    image = pytest.importorskip("PIL.Image")
    with image.open(path) as picture:
        durations = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            durations.append(picture.info["duration"])
    return durations


@pytest.mark.parametrize(
    ("steps", "options", "durations"),
    [
        (2, {}, [100] * 3),
        (9, {"frames": 3, "fps": 5}, [200] * 3),
        (9, {"frames": 1}, [100]),
        (1, {"fps": 0.5}, [2000] * 2),
        (1, {"fps": 200}, [20] * 2),
    ],
)
def test_gifs(tmp_path, steps, options, durations):
    file = tmp_path / "walk.gif"
    found = walk(functions.square, fnn.SGD(0.1), steps)
    assert found.animate(str(file), **options) == file
    assert frames_of(file) == durations
    assert not plt.get_fignums(), "its figure is closed"


def test_frames_show_what_they_say(tmp_path, monkeypatch):
    seen = []

    def shown(figure, draw, frames, file, fps):
        for frame in frames:
            draw(frame)
            (ax, *_) = figure.axes
            (way,) = (one for one in ax.lines if one.get_gid() == "way")
            seen.append((ax.get_title().split("\n")[-1], len(way.get_xdata())))
        return file

    monkeypatch.setattr(plots.descents.style, "animate", shown)
    walk(functions.square, fnn.SGD(0.1), 4).animate("a.gif", frames=3)
    assert seen == [("step 0: f = 9", 1), ("step 2: f = 3.6864", 3), ("step 4: f = 1.50995", 5)]


@pytest.mark.parametrize(
    ("file", "options", "error", "message"),
    [
        ("walk.png", {}, ValueError, r"must end in \.gif or \.mp4, got 'walk\.png'"),
        ("walk", {}, ValueError, "must end in"),
        ("walk.gif", {"fps": 0}, ValueError, "fps must be a finite number of at least 0.01"),
        ("walk.gif", {"frames": 0}, ValueError, "frames must be a positive integer"),
        ("walk.mp4", {}, RuntimeError, "mp4 needs ffmpeg.*save a .gif"),
        ("no/walk.gif", {}, FileNotFoundError, "no"),
        ("folder.gif", {}, ValueError, r"file must not be a folder, got 'folder\.gif'"),
    ],
)
def test_gifs_that_cannot_be(tmp_path, monkeypatch, file, options, error, message):
    from matplotlib import animation

    monkeypatch.setattr(animation.writers, "is_available", lambda name: False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(error, match=message):
        walk(functions.square, fnn.SGD(0.1), 2).animate(file, **options)
    assert not plt.get_fignums()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.gif"]


def test_what_is_no_walk_does_not_move(tmp_path):
    with pytest.raises(TypeError, match="walk must be what minimize returned, got 3"):
        plots.animate_descent(3, tmp_path / "walk.gif")


def test_walks_of_three_variables_cannot_move(tmp_path):
    found = minimize(functions.rastrigin, [0.1, 0.2, 0.3], steps=2)
    with pytest.raises(ValueError, match="one or two variables can move, this has 3"):
        found.animate(tmp_path / "walk.gif")


def test_gaps_where_a_function_is_infinite():
    found = fnn.descent.minimize(
        lambda p: float(p @ p) if p[0] > -0.1 else float("inf"), [1.0, 1.0],
        grad=lambda p: 2 * p, optimizer=fnn.SGD(0.1), steps=5,
    )  # fmt: skip
    for draw in (plots.descent, plots.surface):
        draw(found).figure.draw_without_rendering()


def test_walks_down_two_functions():
    two = [walk(functions.bowl, steps=9), walk(functions.saddle, steps=9)]
    for draw in (plots.descent, plots.surface):
        with pytest.raises(ValueError, match="walks down one function"):
            draw(two)
    upper, _ = plots.convergence([walk(functions.bowl, steps=9), walk(functions.ravine, steps=9)])
    assert upper.get_ylabel() == "f - min f (log scale)", "each has its own"
    for what in (None, 3, fnn.History()):
        with pytest.raises(TypeError, match="descents must be what minimize returned"):
            plots.descent(what)


@pytest.mark.parametrize("file", [None, 3, b"a.gif", "", "a.png"])
def test_files_that_cannot_be_saved(file):
    with pytest.raises((TypeError, ValueError), match="file must"):
        walk(steps=2).animate(file)
    with pytest.raises(ValueError, match="fps must be"):
        walk(steps=2).animate("a.gif", fps=1e-3)


def test_a_function_without_a_value_around_its_walk_has_no_picture():
    values = iter([3.0, 2.0, 1.0])
    found = minimize(
        lambda p: next(values, math.nan), [1.0, 1.0], grad=lambda p: p, optimizer="sgd", steps=2
    )
    assert found.values == pytest.approx([3.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="the function has no finite value in the picture"):
        found.plot()
