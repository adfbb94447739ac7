"""Plots of classifiers, of the inside of a network, and of the loss landscape around it."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn

plt = pytest.importorskip("matplotlib.pyplot")

from matplotlib.colors import to_rgba  # noqa: E402
from model_helpers import unchanged  # noqa: E402
from picture_cases import matrix, trained  # noqa: E402

from fastnn import plots  # noqa: E402
from fastnn.plots import classifiers, landscapes, style  # noqa: E402


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def names_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def network(*layers, loss="crossentropy", inputs=2, **options):
    model = fnn.Sequential(list(layers), input_shape=(inputs,), seed=0, dtype="float64", **options)
    if loss:
        model.compile("adam", loss)
    return model


def points(classes=2, rows=40):
    return np.random.default_rng(0).normal(size=(rows, 2)), np.arange(rows) % classes


# --- decision boundaries --------------------------------------------------------------------------


def test_a_boundary_shows_data_and_classes():
    model, x, y, _ = trained()
    with unchanged(model):
        ax = plots.decision_boundary(model, x, y, names=("width", "height"))
    assert names_of(ax) == ["class 0", "class 1"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")
    drawn = [
        np.asarray(c.get_offsets()) for c in ax.collections if c.get_label().startswith("class")
    ]
    assert np.concatenate(drawn) == pytest.approx(np.concatenate([x[y == 0], x[y == 1]]))
    low, high = ax.get_xlim()
    assert low < x[:, 0].min() < x[:, 0].max() < high


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (fnn.Dense(1, "sigmoid"), "binary_crossentropy"),
        (fnn.Dense(1), "binary_crossentropy"),
        (fnn.Dense(1, "tanh"), "mse"),
        (fnn.Dense(1), "mse"),
        (fnn.Dense(1), "hinge"),
        (fnn.Dense(2, "softmax"), "crossentropy"),
        (fnn.Dense(2), "crossentropy"),
        (fnn.Dense(2, "log_softmax"), None),
        (fnn.Dense(2), None),
    ],
)
def test_the_line_is_where_the_model_changes_its_mind(last, loss):
    """Computed by hand: x[0] decides."""
    model = network(last, loss=loss)
    kernel = model.parameters["dense/kernel"]
    kernel[...] = 0
    kernel[0, -1] = 4.0
    model.parameters["dense/bias"][...] = 0
    if last.units == 1 and loss == "mse" and last.activation.name == "linear":
        model.parameters["dense/bias"][...] = 0.5  # the output is the class itself
    said = classifiers._probabilities(model, np.array([[-0.5, 1.0], [0.5, 1.0]]))
    of_class_1 = said[:, -1] if last.units == 1 or loss else said[:, 1] - said[:, 0] + 0.5
    assert of_class_1[0] < 0.5 < of_class_1[1]
    plots.decision_boundary(model, *points()).figure.draw_without_rendering()


def test_outputs_of_relu_are_probabilities_while_they_may_be():
    model = network(fnn.Dense(2, "relu"), loss="mse")
    kernel, bias = model.parameters["dense/kernel"], model.parameters["dense/bias"]
    kernel[...], bias[...] = [[0.5, 0.0], [0.0, 0.5]], [0.25, 0.0]
    said = classifiers._probabilities(model, np.array([[0.5, 1.0], [-1.0, 0.5]]))
    assert said == pytest.approx(np.array([[0.5, 0.5], [0.0, 0.25]]))


def test_classes_of_the_hinge_loss():
    x, y = points()
    ax = plots.decision_boundary(network(fnn.Dense(1), loss="hinge"), x, 2 * y - 1)
    assert names_of(ax) == ["class -1", "class 1"]
    colors = [tuple(c.get_facecolor()[0]) for c in ax.collections if c.get_label()[:5] == "class"]
    assert colors == [to_rgba(color) for color in style.COLORS[:2]]


@pytest.mark.parametrize("last", [fnn.Dense(1), fnn.Dense(2), fnn.Dense(3)])
def test_labels_may_be_columns_or_rows_of_probabilities(last):
    classes = max(2, last.units)
    x, y = points(classes)
    model = network(last)
    for labels in (y, y.tolist(), y[:, np.newaxis], np.eye(classes)[y], y.astype(float)):
        ax = plots.decision_boundary(model, x.tolist(), labels)
        assert names_of(ax) == [f"class {i}" for i in range(classes)]


def test_one_point_and_many_classes_and_what_is_not_finite():
    plots.decision_boundary(network(fnn.Dense(2)), [[1.0, 2.0]], [1])
    many = plots.decision_boundary(network(fnn.Dense(12)), *points(12))
    assert len(names_of(many)) == 12
    broken = network(fnn.Dense(2))
    broken.network.runtime.arenas["parameters"][...] = np.nan
    plots.decision_boundary(broken, *points()).figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": network(fnn.Dense(2), inputs=3)}, ValueError, r"one input of shape \(2,\), it"),
        ({"x": np.ones((40, 3))}, ValueError, r"x must have shape \(rows, 2\)"),
        ({"x": np.ones((39, 2))}, ValueError, "y as many rows"),
        ({"x": np.ones((0, 2)), "y": np.ones(0)}, ValueError, "y as many rows"),
        ({"x": np.full((40, 2), np.nan)}, ValueError, "x must hold finite numbers"),
        ({"y": np.array(["a"] * 40)}, TypeError, "y must hold real numbers"),
    ],
)
def test_what_has_no_boundary(change, error, message):
    x, y = points()
    with pytest.raises(error, match=message):
        plots.decision_boundary(**{"model": network(fnn.Dense(2)), "x": x, "y": y, **change})


def test_a_boundary_that_moves(tmp_path):
    model, x, y, recorder = trained()
    file = tmp_path / "learning.gif"
    with unchanged(model):
        assert plots.animate_decision_boundary(recorder, x, y, file, fps=4, frames=3) == file
    image = pytest.importorskip("PIL.Image")
    with image.open(file) as picture:
        assert (picture.n_frames, picture.info["duration"]) == (3, 250)
        first = np.asarray(picture.convert("RGB")).astype(int)
        picture.seek(2)
        assert np.abs(np.asarray(picture.convert("RGB")) - first).mean() > 1, "it has moved"
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match="must end in"):
        plots.animate_decision_boundary(recorder, x, y, tmp_path / "a.png")
    with pytest.raises(ValueError, match="recorder has seen no training"):
        plots.animate_decision_boundary(fnn.Recorder(), x, y, file)


# --- confusion and calibration --------------------------------------------------------------------


def test_confusion_matrix():
    counts = matrix()
    ax = plots.confusion_matrix(counts, labels=["cat", "dog", "eel", "fox"])
    shown = [str(n) for n in counts[counts > 0]]
    assert [text.get_text() for text in ax.texts] == shown, "zeros would hide the mistakes"
    assert 0 < len(shown) < counts.size
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog", "eel", "fox"]
    assert np.asarray(ax.images[0].get_array()) == pytest.approx(
        counts / counts.sum(axis=1, keepdims=True)
    )
    assert ax.get_title() == f"Confusion matrix: accuracy {np.trace(counts) / counts.sum():.2%}"
    assert ax.texts[shown.index(str(counts.max()))].get_color() == "white"
    assert ax.texts[shown.index(str(counts[counts > 0].min()))].get_color() != "white"


def test_confusion_matrices_of_other_sizes():
    for counts in ([[0, 0], [0, 0]], [[3]], np.eye(15, dtype=int) * 12345):
        plots.confusion_matrix(counts).figure.draw_without_rendering()
    long = plots.confusion_matrix(matrix(2), labels=["a long name", "another"])
    assert long.get_xticklabels()[0].get_rotation() == 90
    for bad in ([[1, 2, 3]], [], [1, 2]):
        with pytest.raises(ValueError, match=r"matrix must have shape \(classes, classes\)"):
            plots.confusion_matrix(bad)
    with pytest.raises(ValueError, match="labels must name 2 classes, got 3"):
        plots.confusion_matrix(matrix(2), labels="abc")


def test_the_confusion_matrix_of_evaluate():
    x, y = points(3)
    model = network(fnn.Dense(3))
    model.compile("adam", "crossentropy", ["confusion_matrix"])
    ax = plots.confusion_matrix(model.evaluate(x, y)["confusion_matrix"])
    assert sum(int(text.get_text()) for text in ax.texts) == len(x)


def test_calibration_by_hand():
    """In [0, 0.5): 0.2 and 0.4, one of two right; above: 0.6, 0.8, 1.0, two of three."""
    ax = plots.calibration([0, 1, 0, 1, 1], [0.2, 0.4, 0.6, 0.8, 1.0], bins=2)
    (curve,) = (line for line in ax.lines if line.get_label() == "classifier")
    assert curve.get_xdata() == pytest.approx([0.3, 0.8])
    assert curve.get_ydata() == pytest.approx([0.5, 2 / 3])
    error = 0.4 * 0.2 + 0.6 * (0.8 - 2 / 3)
    assert ax.get_title() == f"Calibration: expected error {error:.3f}"
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([0.4, 0.6])
    assert ax.get_xlabel() == "probability of class 1"


def test_calibration_of_several_classes():
    said = [[0.6, 0.4, 0.0], [0.2, 0.1, 0.7], [0.1, 0.9, 0.0]]
    ax = plots.calibration([0, 2, 2], said, bins=1)
    (curve,) = (line for line in ax.lines if line.get_label() == "classifier")
    assert (curve.get_xdata()[0], curve.get_ydata()[0]) == (pytest.approx(2.2 / 3), 2 / 3)
    assert ax.get_ylabel() == "share of correct predictions"
    column = plots.calibration([0, 1], [[0.2], [0.7]])
    assert column.get_xlabel() == "probability of class 1"


@pytest.mark.parametrize(
    ("y", "said", "message"),
    [
        ([0, 1], [0.5], "must have a row for each of y, of shape .2,."),
        ([], [], "must have a row for each of y, of shape .0,."),
        ([0], [1.5], r"probabilities must lie in \[0, 1\]"),
        ([0], [np.nan], "probabilities must lie"),
    ],
)
def test_what_cannot_be_calibrated(y, said, message):
    with pytest.raises(ValueError, match=message):
        plots.calibration(y, said)


# --- inside a network -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["activations", "gradients", "parameters"])
def test_histograms(what):
    model, _, _, recorder = trained()
    with unchanged(model):
        axes = plots.histograms(recorder, what)
    names = ["dense", "dense_1", "dense_2"] if what == "activations" else list(model.parameters)
    assert [ax.get_title().split(":")[0] for ax in axes] == names
    label = {"gradients": "log10 |gradient|"}.get(what, what.removesuffix("s"))
    assert axes[0].get_ylabel() == label
    assert names_of(axes[0]) == ["median"]
    for ax in axes:
        assert ax.get_xlim() == (0, 41)


def test_which_histograms_are_drawn():
    recorder = trained()[3]
    kernels = plots.histograms(recorder, "gradients", names="*/kernel")
    assert [ax.get_title().split(":")[0] for ax in kernels] == [
        "dense/kernel", "dense_1/kernel", "dense_2/kernel"
    ]  # fmt: skip
    chosen = plots.histograms(recorder, names=["dense_2", "dense"])
    assert [ax.get_title().split(":")[0] for ax in chosen] == ["dense", "dense_2"]
    with pytest.raises(ValueError, match=r"^names must fit some of dense, dense_1.*got 'kernel'$"):
        plots.histograms(recorder, names="kernel")


def test_gradients_have_one_scale_without_an_empty_half():
    panels = plots.histograms(trained()[3], "gradients")
    assert len({ax.get_ylim() for ax in panels}) == 1
    low, high = panels[0].get_ylim()
    assert low < min(line.get_ydata().min() for ax in panels for line in ax.lines)
    assert high - low < 8


def test_medians_are_the_numbers_medians():
    _, _, _, recorder = trained()
    (ax, *_) = plots.histograms(recorder, "parameters")
    got = ax.lines[0].get_ydata()[:-1]
    kernels = [flat[: 2 * 16] for flat in recorder.parameters]
    width = max(np.ptp(kernel) for kernel in kernels) / 64
    assert got == pytest.approx([np.median(kernel) for kernel in kernels], abs=3 * width)


def test_dead_units_are_told():
    model = network(fnn.Dense(4, "relu"), fnn.Dense(2))
    model.parameters["dense/bias"][...] = -100
    recorder = fnn.Recorder()
    model.fit(*points(), epochs=2, verbose=0, callbacks=[recorder])
    first, last = plots.histograms(recorder)
    assert first.get_title() == "dense: 100% zeros"
    gradient = plots.histograms(recorder, "gradients")[0]
    assert gradient.get_title() == "dense/kernel: 100% zeros"
    for ax in (first, last, gradient):
        ax.figure.draw_without_rendering()


def test_one_epoch_and_what_cannot_be_shown():
    model, recorder = network(fnn.Dense(2)), fnn.Recorder()
    with pytest.raises(ValueError, match="recorder has seen no training"):
        plots.histograms(recorder)
    model.fit(*points(), epochs=1, verbose=0, callbacks=[recorder])
    plots.histograms(recorder)[0].figure.draw_without_rendering()
    with pytest.raises(ValueError, match="what must be one of parameters, activations, gradients"):
        plots.histograms(recorder, "weights")
    with pytest.raises(ValueError, match="ax must be 1 axes, one for each of the layers' panels"):
        plots.histograms(recorder, ax=plt.subplots(2)[1])


# --- the loss landscape ---------------------------------------------------------------------------


def test_the_way_of_a_training():
    model, x, y, recorder = trained()
    with unchanged(model):
        ax = plots.landscape(model, x, y, recorder=recorder, points=3)
    assert names_of(ax) == ["training", "start", "now"]
    (way,) = (line.get_xydata() for line in ax.lines if line.get_label() == "training")
    assert len(way) == len(recorder.epochs)
    assert way[-1] == pytest.approx([0, 0], abs=1e-9)
    moves = np.array(recorder.parameters) - recorder.parameters[-1]
    lengths = np.linalg.norm(moves, axis=1)
    assert (np.linalg.norm(way, axis=1) <= lengths + 1e-9).all()
    assert ax.get_xlabel().startswith("principal direction 1 of the path (")


def test_the_middle_is_the_models_loss(monkeypatch):
    model, x, y, _ = trained()
    seen = []
    monkeypatch.setattr(style, "contours", lambda ax, a, b, losses, *_: seen.append(losses))
    plots.landscape(model, x, y, points=3, span=0.5)
    (losses,) = seen
    assert losses.shape == (3, 3)
    assert losses[1, 1] == pytest.approx(model.evaluate(x, y)["loss"])
    plots.landscape(model, x, y, points=3, span=0.5)
    plots.landscape(model, x, y, points=3, span=0.5, seed=1)
    assert (seen[1] == seen[0]).all()
    assert not (seen[2] == seen[0]).all()


def test_directions_are_as_long_as_the_parameters():
    model, *_ = trained()
    for direction in landscapes._random_directions(model, 0):
        for name, part in model.network.runtime.views_of(direction).items():
            length = np.linalg.norm(model.parameters[name])
            assert np.linalg.norm(part) == pytest.approx(length, rel=1e-6)


def test_rows_of_all_kinds(rng):
    """Arrays, lists, sparse matrices, frames, several inputs and outputs; some of many rows."""
    sparse, pandas = pytest.importorskip("scipy.sparse"), pytest.importorskip("pandas")
    x, y = rng.normal(size=(1500, 2)), rng.integers(0, 2, 1500)
    model = network(fnn.Dense(2))
    wanted = np.linspace(0, 1499, 1024).astype(int)
    for given in (x, x.tolist(), sparse.csr_array(x), pandas.DataFrame(x, columns=["a", "b"])):
        some, labels = landscapes._some_rows(model, given, y)
        some = some.toarray() if sparse.issparse(some) else some
        assert (some == x[wanted]).all()
        assert (labels == y[wanted]).all()
        plots.landscape(model, given, y, points=3)
    a, b = fnn.Input((2,)), fnn.Input((2,))
    h = fnn.Add()([a, b])
    model = fnn.Model([a, b], [fnn.Dense(2, name="kind")(h), fnn.Dense(1, name="size")(h)])
    model.compile("adam", {"kind": "crossentropy", "size": "mse"})
    for targets in ([y, x[:, 0]], {"size": x[:, 0], "kind": y}):
        plots.landscape(model, [x, x], targets, points=3)


def test_what_has_no_landscape():
    model, x, y, recorder = trained()
    with pytest.raises(TypeError, match="recorder must be a Recorder, got 'recorder'"):
        plots.landscape(model, x, y, recorder="recorder")
    with pytest.raises(ValueError, match="recorder has seen no training"):
        plots.landscape(model, x, y, recorder=fnn.Recorder())
    with pytest.raises(ValueError, match="recorder has watched another model"):
        plots.landscape(network(fnn.Dense(3)), x, y, recorder=recorder)
    with pytest.raises(RuntimeError, match="call compile"):
        plots.landscape(network(fnn.Dense(2), loss=None), x, y)
    for change in ({"points": 2}, {"span": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
            plots.landscape(model, x, y, **change)
    short = fnn.Recorder()
    other = network(fnn.Dense(2))
    other.fit(x, y, epochs=1, verbose=0, callbacks=[short])
    with pytest.raises(ValueError, match="has kept the parameters 2 times; a path takes three"):
        plots.landscape(other, x, y, recorder=short)
    with pytest.raises(ValueError, match="y"):
        plots.landscape(model, x, y[:-1])


def test_one_training_alone_is_compared_with_none():
    history = fnn.History({"loss": [2.0, 1.0]}, [0, 1])
    assert plots.comparison(history).get_legend().get_texts()[0].get_text() == "training"


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (1, np.array([1, 2, 1]), "y must hold 0 and 1"),
        (2, 3, "y as many rows"),
        ("two", np.array([0, 1, 0]), "must have one output"),
    ],
)
def test_boundaries_of_what_has_none(outputs, y, message):
    if outputs == "two":
        inputs = fnn.Input((2,))
        model = fnn.Model(inputs, [fnn.Dense(1)(inputs), fnn.Dense(1)(inputs)])
    else:
        model = fnn.Sequential([fnn.Dense(outputs, "sigmoid")], input_shape=(2,))
    with pytest.raises(ValueError, match=message):
        plots.decision_boundary(model, np.eye(3, 2), y)


def test_random_directions_leave_statistics_alone():
    layers = [fnn.Dense(4), fnn.BatchNormalization(), fnn.Dense(1)]
    model = fnn.Sequential(layers, input_shape=(3,), seed=0)
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(50, 3))
    ax = plots.landscape(model, x, x[:, 0], points=5)
    mesh = [collection for collection in ax.collections if collection.get_array() is not None]
    assert mesh, "contours, and no holes"
    for direction in landscapes._random_directions(model, 0):
        views = model.network.runtime.views_of(direction)
        assert {name for name, view in views.items() if not view.any()} >= {
            "batch_normalization/moving_mean", "batch_normalization/moving_variance",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(4, np.nan), "y must hold 0 and 1"),
        (np.full(4, 0.5), "y must hold 0 and 1"),
        ([0, 5, 0, 5], "y must hold 0 and 1"),
        (np.zeros((2, 2)), "a row for each of y"),
        (np.zeros((4, 2)), "y must have shape"),
    ],
)
def test_calibration_of_what_are_no_classes(y, message):
    with pytest.raises(ValueError, match=message):
        plots.calibration(y, np.full(4, 0.5))
    with pytest.raises(ValueError, match="y must hold classes from 0 to 2"):
        plots.calibration([0, 1, 3], np.full((3, 3), 1 / 3))
    with pytest.raises(ValueError, match="bins must be at most 1000"):
        plots.calibration([0, 1], [0.2, 0.8], bins=10**5)


@pytest.mark.parametrize("matrix", [[[np.nan]], [[-1]], [["a"]], [[1, 2], [3]]])
def test_confusion_of_what_are_no_counts(matrix):
    with pytest.raises((TypeError, ValueError), match="matrix"):
        plots.confusion_matrix(matrix)


@pytest.mark.parametrize("ax", [3, "ax", [1, 2], np.zeros(2)])
def test_axes_that_are_none(ax):
    history = fnn.History({"loss": [2.0, 1.0]}, [0, 1])
    with pytest.raises((TypeError, ValueError), match="ax must be"):
        plots.learning_curve(history, ax=ax)
    with pytest.raises((TypeError, ValueError), match="ax must be"):
        plots.history(history, ax=ax)


def test_boundaries_of_large_labels_do_not_hang():
    model = fnn.Sequential([fnn.Dense(1, "sigmoid")], input_shape=(2,))
    x = np.eye(4, 2)
    for y in ([0, 2**62, 0, 0], [0, 0.4, 0, 1], np.ones((4, 2, 2)), [0, 1e300, 0, 0]):
        with pytest.raises(ValueError, match=r"y must h|y as many rows"):
            plots.decision_boundary(model, x, y)
    with pytest.raises(ValueError, match="names must be two"):
        plots.decision_boundary(model, x, [0, 1, 0, 1], names=["a"])
    for recorder in (None, model):
        with pytest.raises(TypeError, match="recorder must be a Recorder"):
            plots.animate_decision_boundary(recorder, x, [0, 1, 0, 1], "a.gif")
        with pytest.raises(TypeError, match="recorder must be a Recorder"):
            plots.histograms(recorder)


def test_way_of_another_model_of_as_many_parameters():
    def made(*units):
        layers = [fnn.Dense(n, use_bias=False) for n in units]
        model = fnn.Sequential(layers, input_shape=(3,), seed=0)
        model.compile("sgd", "mse")
        return model

    x = np.ones((8, 3))
    recorder = fnn.Recorder()
    made(2, 3).fit(x, x, epochs=3, verbose=0, callbacks=[recorder])
    with pytest.raises(ValueError, match="recorder has watched another model"):
        plots.landscape(made(3, 1), x, x[:, :1], recorder=recorder, points=3)
