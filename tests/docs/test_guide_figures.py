"""The guide's code runs; what its pages say about their figures is true, by number, and is seen."""

import numpy as np
import pytest
from guide_pages import ENGLISH, guide, ran

import fastnn as fnn
from fastnn.descent import functions, minimize

pytest.importorskip("matplotlib")

from layout import faults


def curves(page, figure, panel=0):
    """Return x and y of the curves of a panel, by their names in the legend."""
    ax = ran(page).figures[figure].axes[panel]
    return {
        line.get_label(): (np.ravel(line.get_xdata()), np.ravel(line.get_ydata()))
        for line in ax.lines
    }


def ends(page, figure, panel=0):
    """Return the last number of each curve."""
    return {name: y[-1] for name, (_, y) in curves(page, figure, panel).items()}


def walks_of(page, text):
    """Return the walks that the block with this text has made."""
    codes = [code for code, _ in guide.blocks(ENGLISH[page])]
    (number,) = (i for i, code in enumerate(codes) if text in code)
    return ran(page).names[number]["walks"]


@pytest.mark.parametrize("name", ENGLISH)
def test_a_page_runs_prints_what_it_says_and_makes_its_figures(name):
    page = ENGLISH[name]
    for (code, said), output in zip(guide.blocks(page), ran(name).printed, strict=True):
        assert output == said, code
    assert ran(name).saved == set(guide.images(page))


@pytest.mark.slow  # `make test-full`, and so CI, runs it
@pytest.mark.parametrize("name", ENGLISH)
def test_figures_can_be_read(name):
    figures = ran(name).figures
    wrong = {file: faults(figure, guide.LOOK["savefig.dpi"]) for file, figure in figures.items()}
    assert {file: found for file, found in wrong.items() if found} == {}


# --- index and page 1: learning -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "figure", "least"), [("index", "first.png", 0.95), ("1_learning", "digits.png", 0.955)]
)
def test_more_digits_than_that_are_right(page, figure, least):
    assert ends(page, figure, 1)["accuracy, held out"] > least
    losses = curves(page, figure)["training"][1]
    assert losses[-1] < 0.05 * losses[0]


def test_the_first_of_ten_digits_is_mistaken():
    titles = [ax.get_title() for ax in ran("index").figures["ten_digits.png"].axes]
    assert titles[0] == "9 (is 5)"
    assert all(title[0] == title[-2] for title in titles[1:])


def test_the_line_settles():
    lines = curves("1_learning", "line.png")
    at_ten = {name: np.interp(10, *lines[name]) for name in lines if name.startswith("steps")}
    assert at_ten["steps: 0"] == 0
    assert at_ten["steps: 1"] == pytest.approx(14.1, abs=0.1), "between and above the points"
    assert abs(at_ten["steps: 1,000"] - at_ten["steps: 100"]) < 0.3


def test_each_corner_has_its_color():
    names = next(n for n in ran("1_learning").names if "recorder" in n)
    found = names["model"].evaluate(names["points"], names["classes"])
    assert found["accuracy"] > 0.95
    for corner in ([0.7, 0.7], [-0.7, 0.7], [-0.7, -0.7], [0.7, -0.7]):
        assert (names["model"].predict([corner]).item() > 0) == (np.prod(corner) < 0)


# --- page 2: activations ------------------------------------------------------------------------


def test_only_relu_closes_the_ring():
    """In the left panel the boundary is one straight line, in the right one it is closed."""
    names = ran("2_activations").names[1]
    rings, inner = names["rings"], names["inner"]
    assert ((names["model"].predict(rings)[:, 0] > 0) == inner).mean() > 0.97
    for ax, is_closed in zip(
        ran("2_activations").figures["rings.png"].axes, (False, True), strict=True
    ):
        (boundary,) = (
            one for one in ax.collections if one.get_linewidth()[0] == pytest.approx(1.4)
        )
        (path,) = (p for p in boundary.get_paths() if len(p.vertices))
        points = path.vertices
        assert np.allclose(points[0], points[-1]) == is_closed
        bend = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        assert (bend[1] < 1e-3 * bend[0]) == (not is_closed)


def test_more_units_follow_more_of_the_wave():
    lines = curves("2_activations", "kinks.png")
    wave = lines["to be learned"][1]
    errors = [np.sqrt(np.mean((lines[f"{units} units"][1] - wave) ** 2)) for units in (2, 8, 40)]
    assert errors[0] > 0.5 > errors[1] > 0.2 > 0.1 > errors[2]


def test_the_gradient_of_the_sigmoid_vanishes():
    lines = curves("2_activations", "vanishing.png")
    spread = {name: y.max() / y.min() for name, (_, y) in lines.items()}
    assert spread["sigmoid"] > 1e6
    assert np.all(np.diff(lines["sigmoid"][1]) > 0)
    assert max(spread["tanh"], spread["relu"]) < 5


# --- page 3: losses -----------------------------------------------------------------------------


def test_losses_of_errors():
    lines = curves("3_losses", "errors.png")
    error, mse = lines["mse"]
    assert np.interp(2, error, mse) == pytest.approx(4 * np.interp(1, error, mse), rel=1e-3)
    error, mae = lines["mae"]
    assert np.interp(2, error, mae) == pytest.approx(2 * np.interp(1, error, mae))
    error, huber = lines["huber"]
    assert np.allclose(np.diff(huber[error > 1], 2), 0)


def test_the_line_of_mse_leans_towards_five_outliers():
    lines = curves("3_losses", "outliers.png")
    x, y = lines["data"]
    assert (y < 2 * x + 3 - 9).sum() == 5
    slopes = {name: np.diff(lines[name][1]).item() / 10 for name in ("mse", "mae", "huber")}
    assert slopes["mse"] < 1.4
    assert slopes["mae"] == pytest.approx(2, abs=0.1)
    assert slopes["huber"] == pytest.approx(2, abs=0.1)


def test_the_band_widens_like_the_noise():
    """Its width is 2 * 1.2816 times the standard deviation of the noise, 0.3 + 0.25 x."""
    lines = curves("3_losses", "quantiles.png")
    x, low = lines["10%"]
    width = lines["90%"][1] - low
    for at, wanted in ((-0.75, 0.288), (-0.33, 0.557), (0.33, 0.980), (0.75, 1.249)):
        assert np.interp(at, x, width) == pytest.approx(wanted, abs=0.15)
    assert np.all(np.diff(np.interp((-0.9, -0.4, 0.1, 0.5, 0.9), x, width)) > 0.05)
    # the data, which have no name in the legend
    points = ran("3_losses").figures["quantiles.png"].axes[0].lines[0].get_xydata()
    below = {name: np.mean(points[:, 1] < np.interp(points[:, 0], *lines[name]))
             for name in ("10%", "50%", "90%")}  # fmt: skip
    assert below == {"10%": pytest.approx(0.1, abs=0.03), "50%": pytest.approx(0.5, abs=0.03),
                     "90%": pytest.approx(0.9, abs=0.03)}  # fmt: skip


def test_mse_hardly_pulls_where_it_is_needed():
    lines = curves("3_losses", "pull.png")
    assert np.interp(-6, *lines["binary_crossentropy"]) > 0.99
    assert np.interp(-6, *lines["mse of the sigmoid"]) < 0.01


def test_nearly_all_counts_are_on_the_diagonal():
    matrix = next(n for n in ran("3_losses").names if "results" in n)["results"]["confusion_matrix"]
    assert 0.95 < np.trace(matrix) / matrix.sum() < 1


def test_most_rows_are_said_with_more_than_ninety_percent():
    ax = ran("3_losses").figures["calibration.png"].axes[0]
    (line,) = (line for line in ax.lines if line.get_label() == "classifier")
    assert ax.patches[-1].get_height() > 0.8
    assert line.get_ydata()[-1] == pytest.approx(line.get_xdata()[-1], abs=0.02)


# --- page 4: optimizers -------------------------------------------------------------------------


def test_four_learning_rates():
    """0.01 creeps, 0.3 arrives, 0.95 jumps from side to side, 1.02 climbs."""
    ways = [minimize(functions.square, 3.0, optimizer=fnn.SGD(rate), steps=12).path
            for rate in (0.01, 0.3, 0.95, 1.02)]  # fmt: skip
    drawn = [
        next(line for line in ax.lines if line.get_gid() == "way").get_xdata()
        for ax in ran("4_optimizers").figures["rates.png"].axes
    ]
    assert all(np.array_equal(a, b) for a, b in zip(ways, drawn, strict=True))
    creeping, arriving, jumping, climbing = drawn
    assert creeping[-1] > 2
    assert abs(arriving[-1]) < 1e-3
    assert np.all(np.diff(np.sign(jumping)) != 0)
    assert abs(jumping[-1]) < 3
    assert np.all(np.diff(np.abs(climbing)) > 0)


def test_four_ways_through_the_ravine():
    walks = walks_of("4_optimizers", "functions.ravine")
    turns = {name: int(np.sum(np.diff(np.sign(walk.path[:20, 1])) != 0))
             for name, walk in walks.items()}  # fmt: skip
    assert turns["SGD"] == 19, "from side to side in every step"
    assert 2 <= turns["momentum"] < 19
    assert max(turns["RMSprop"], turns["Adam"]) <= 4
    assert all(walk.values[-1] < 0.01 for walk in walks.values())


def test_who_arrives_in_the_bent_ravine():
    walks = walks_of("4_optimizers", "functions.rosenbrock")
    far = {name: np.linalg.norm(walk.path[-1] - [1, 1]) for name, walk in walks.items()}
    assert far["SGD"] > 2
    assert max(far["momentum"], far["Adam"]) < 0.3
    thrown = minimize(functions.rosenbrock, [-1.5, 2], optimizer=fnn.SGD(0.003), steps=500)
    assert not np.abs(thrown.path[-1]).max() < 10


def test_only_momentum_leaves_the_shallow_valley():
    plain, ball = walks_of("4_optimizers", "functions.double_well")
    assert plain.path[-1] == pytest.approx(-1.93, abs=0.02)
    assert ball.path[-1] == pytest.approx(2.06, abs=0.02)
    assert ball.values[-1] < plain.values[-1] - 1


def test_who_leaves_the_saddle():
    walks = walks_of("4_optimizers", "functions.saddle")
    assert np.linalg.norm(walks["SGD"].path[-1]) < 0.1
    assert walks["momentum"].values[-1] < -1
    assert walks["Adam"].values[-1] < -3


def test_the_height_falls_on_if_the_rate_decays():
    (panel,) = (
        number
        for number, ax in enumerate(ran("4_optimizers").figures["tipsy.png"].axes)
        if ax.get_xlabel() == "step"
    )
    lines = curves("4_optimizers", "tipsy.png", panel)
    always, decays = lines["always 0.15"][1], lines["decays"][1]
    assert always[50:].mean() > 0.9 * always[15:25].mean()
    assert decays[-1] < 0.3 * decays[15:25].mean()


def test_schedules():
    lines = {name: y for name, (_, y) in curves("4_optimizers", "schedules.png").items()}
    assert len(np.unique(lines["StepDecay"])) == 4
    ratios = lines["ExponentialDecay"][1:] / lines["ExponentialDecay"][:-1]
    assert np.allclose(ratios, ratios[0])
    assert 0 < lines["OneCycle"].argmax() < 500
    assert lines["CosineDecay"][500] == pytest.approx(0.05)


def test_which_optimizer_is_slowest_and_which_ends_lowest():
    losses = ends("4_optimizers", "optimizers.png")
    assert max(losses, key=losses.get) == "SGD"
    assert min(losses, key=losses.get) == "Adam, decays"


# --- page 5: troubles ---------------------------------------------------------------------------


def test_three_learning_rates():
    losses = {name: y for name, (_, y) in curves("5_troubles", "rates_of_digits.png").items()}
    assert losses["too low: 1e-5"][-1] > 0.9 * losses["too low: 1e-5"][0]
    assert losses["good: 3e-3"][-1] < 0.1
    high = losses["too high: 1"]
    assert high[0] > 5
    assert high.min() > np.log(10), "it knows nothing"


def test_the_range_test_falls_and_explodes():
    lines = curves("5_troubles", "range.png")
    rates, smoothed = lines["smoothed"]
    assert smoothed[rates < 1e-5].std() < 0.1
    assert smoothed.min() < 0.2 * smoothed[0]
    assert smoothed[-1] > 3 * smoothed.min()
    ((rate, _),) = (line for name, line in lines.items() if name.startswith("falls most steeply"))
    assert rates[smoothed.argmin()] > rate.item() > 1e-4


def test_gradients_of_the_first_layer_are_small_and_come_late():
    axes = ran("5_troubles").figures["vanishing_gradients.png"].axes
    medians = [ax.lines[0].get_ydata() for ax in axes]
    assert len(medians) == 6
    at_first = [median[0] for median in medians]
    assert at_first == sorted(at_first)
    assert np.round(at_first[::5]).tolist() == [-5, -2]
    assert at_first[5] - at_first[0] > 3, "a thousand times"
    assert medians[0][:6].max() < -4.5
    assert medians[0][10:].min() > -4
    low, high = axes[0].get_ylim()
    assert high - low < 9, "no half of the panels is empty"


def test_most_units_are_dead_after_the_first_epoch():
    names = next(n for n in ran("5_troubles").names if "dying" in n)
    after = names["recorder"].activations[1]
    assert min(after["dense"].zeros, after["dense_1"].zeros) > 0.9


def test_the_loss_of_held_out_data_rises_again():
    losses = {name: y for name, (_, y) in curves("5_troubles", "overfitting.png").items()}
    assert losses["training"][-1] < 1e-3
    held_out = losses["validation (held out)"]
    assert held_out.argmin() < 10
    assert held_out[-1] > 1.3 * held_out.min()


def test_training_stops_a_few_epochs_after_the_least_loss():
    held_out = curves("5_troubles", "early_stopping.png")["validation (held out)"][1]
    assert len(held_out) - 1 - held_out.argmin() == 5
    assert len(held_out) < 60


def test_the_path_leads_down():
    names = ran("5_troubles").names[-1]
    model, x, y, recorder = (names[name] for name in ("model", "x", "y", "recorder"))
    kept = model.get_weights()
    heights = []
    for flat in recorder.parameters[::10]:
        model.network.runtime.arenas["parameters"][...] = flat
        heights.append(model.evaluate(x, y)["loss"])
    model.set_weights(kept)
    assert heights == sorted(heights, reverse=True)


# --- page 6: tables -------------------------------------------------------------------------------


def test_rents_are_predicted_and_intervals_hold_them():
    names = ran("6_tables").names[-1]
    assert names["model"].scores_["r2"] > 0.9
    assert 0.85 < names["inside"] <= 1
    assert names["order"] == ["size", "built", "town", "balcony"]
    assert abs(names["answer"] - 70 * 12.5 * 1.3) < 120
