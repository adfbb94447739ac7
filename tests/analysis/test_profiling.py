"""Profiles: what they count, what they compare it with, and that they do not change the model."""

from __future__ import annotations

import numpy as np
import pytest
from model_helpers import unchanged, weights_as_bytes

import fastnn as fnn
from fastnn.analysis import machine_limits, profiling
from fastnn.analysis.machine_limits import Limits


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Limits in round numbers, which saves half a second of measuring."""
    found = Limits(
        "processor", "isa", "0", 4, {"float32": (100.0, 400.0), "float64": (50.0, 200.0)},
        {"L1": 1000, "L2": 100_000}, {"L1": (200.0, 800.0), "L2": (80.0, 160.0),
                                      "memory": (10.0, 15.0)}, 1e-7,
    )  # fmt: skip
    monkeypatch.setattr(machine_limits, "current", lambda: found)
    return found


@pytest.fixture
def one_microsecond(monkeypatch):
    """Every op takes exactly that time."""
    run = profiling._seconds
    monkeypatch.setattr(profiling, "_seconds", lambda *a: np.full_like(run(*a), 1e-6))


def compiled(optimizer="adam", loss="mse", *, dtype="float32", metrics=(), inputs=4):
    model = fnn.Sequential(
        [fnn.Dense(8, "tanh", name="hidden"), fnn.Dropout(0.2, name="drop"),
         fnn.Dense(3, name="last")],
        input_shape=(inputs,), dtype=dtype, seed=0,
    )  # fmt: skip
    model.compile(optimizer, loss, metrics)
    return model


X = np.random.default_rng(0).normal(size=(50, 4)).astype("f")
Y = X[:, :3].copy()


def by_name(profile):
    return {f"{row.layer} {row.what}".strip(): row for row in profile.rows}


# --- what is timed --------------------------------------------------------------------------------


def test_every_op_of_a_step_has_a_row(capsys):
    profile = compiled(metrics=["mae"]).profile(X, Y, steps=40)
    assert [f"{row.layer} {row.what}".strip() for row in profile.rows] == [
        "gather", "gather", "hidden affine[tanh]", "drop dropout", "last affine",
        "loss elementwise_loss", "loss mean", "loss elementwise_loss", "loss mean",
        "last input_gradient", "last kernel_gradient", "drop dropout",
        "hidden activation_gradient[tanh]", "hidden kernel_gradient",
        "update",
    ]  # fmt: skip
    assert all(row.microseconds > 0 for row in profile.rows)
    assert sum(row.share for row in profile.rows) == pytest.approx(1)
    assert profile.microseconds == sum(row.microseconds for row in profile.rows)
    facts = profile.program, profile.dtype, profile.batch_size, profile.workers, profile.steps
    assert facts == ("train", "float32", 32, 1, 40)
    assert capsys.readouterr().out == f"{profile}\n"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_prediction_reads_in_place_what_needs_no_conversion(dtype):
    profile = compiled(dtype=dtype).profile(X)
    gathers = ["gather"] * (dtype == "float64")
    assert [row.op for row in profile.rows] == [*gathers, "affine", "affine"]
    assert (profile.program, profile.batch_size) == ("predict", 50)
    assert compiled().profile(X, batch_size=7).batch_size == 7


def test_a_slow_op_takes_the_most_time(threads):
    threads(1)
    x = np.zeros((64, 300), "f")
    model = fnn.Sequential(
        [fnn.Dense(500, name="wide"), fnn.Dense(2, name="narrow")], input_shape=(300,), seed=0
    )
    rows = by_name(model.profile(x, steps=40))
    assert rows["wide affine"].microseconds > 5 * rows["narrow affine"].microseconds


def test_team(team):
    team(2)
    assert compiled().profile(X, Y, steps=10).workers == 2


@pytest.mark.parametrize("rows", [1, 3, 32, 33])
@pytest.mark.parametrize("steps", [1, 19, 45])
def test_any_number_of_rows_and_steps(rows, steps):
    model = compiled()
    profile = model.profile(X[:rows], Y[:rows], steps=steps)
    assert (profile.batch_size, profile.steps) == (min(rows, 32), steps)
    assert model.profile(X[:rows], steps=steps, batch_size=2).batch_size == min(rows, 2)


# --- what is counted ------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_microsecond")
def test_work_and_bytes_of_ops():
    rows = by_name(compiled().profile(X, Y, batch_size=10))
    # 2 flops per multiply-add; x, kernel, bias, and the tanh that it writes
    affine = rows["hidden affine[tanh]"]
    assert affine.gflops == pytest.approx(2 * 10 * 4 * 8 / 1e3)
    assert affine.gigabytes == pytest.approx(4 * (10 * 4 + 4 * 8 + 8 + 10 * 8) / 1e3)
    # parameters and two slots are read and written, the gradients are read; each parameter is
    # padded to 16 elements
    count = 4 * 8 + 16 + 32 + 16
    assert rows["update"].gigabytes == pytest.approx(4 * count * 7 / 1e3)
    # the batch, read from 50 rows and written where the program reads it
    assert rows["gather"].gigabytes == pytest.approx(2 * 4 * 10 * 3 / 1e3)
    assert affine.share == pytest.approx(1 / 13)


@pytest.mark.usefixtures("one_microsecond")
def test_labels_and_doubles_have_their_own_size():
    model = compiled("sgd", "crossentropy", dtype="float64")
    rows = by_name(model.profile(X, np.zeros(50, np.int64), batch_size=10))
    assert rows["gather"].gigabytes == pytest.approx(10 * (8 + 4) / 1e3)  # the labels
    loss = rows["loss softmax_crossentropy"]
    assert loss.gigabytes == pytest.approx((8 * 10 * (3 + 3 + 1) + 4 * 10) / 1e3)


@pytest.mark.usefixtures("one_microsecond")
def test_limit_is_the_nearer_one():
    rows = by_name(compiled().profile(X, Y, batch_size=10))
    # The whole step is more than L1 (1000 bytes) and fits L2, but the output of the previous op
    # and the bias are near.
    loss = rows["loss mean"]
    assert (loss.limit, loss.of_limit) == ("arithmetic", pytest.approx(0.02 / 100 * 2))
    update = rows["update"]
    count = 4 * 8 + 16 + 32 + 16
    assert update.limit == "L2"
    assert update.of_limit == pytest.approx(4 * 7 * count / 1e3 / 80)
    assert update.of_limit > 32 * count / 1e3 / 100
    wide = compiled(inputs=900).profile(np.zeros((9, 900), "f"), np.zeros((9, 3)), batch_size=1)
    assert by_name(wide)["update"].limit == "memory"
    assert by_name(wide)["update"].of_limit > 1, "no machine is that fast"


@pytest.mark.usefixtures("one_microsecond")
def test_operand_of_another_step_comes_from_further_away():
    """The kernel is small, but between two uses of it the whole step passes through the cache."""
    model = fnn.Sequential([fnn.Dense(2, name="a"), fnn.Dense(6000, name="b")], input_shape=(2,))
    rows = by_name(model.profile(np.zeros((8, 2), "f"), batch_size=4))
    far, near = 4 * (4 * 2 + 2 * 2 + 2), 4 * 4 * 2  # x, kernel and bias; what b has just read
    assert rows["a affine"].of_limit == pytest.approx((far / 10 + near / 200) / 1e3)
    assert rows["a affine"].limit == "memory"


@pytest.mark.usefixtures("one_microsecond")
def test_bytes_that_are_accessed_twice_in_between_are_in_the_cache_once():
    """Parameters, gradients and state of 400 inputs fit L2; each byte moved would not."""
    profile = compiled(inputs=400).profile(np.zeros((9, 400), "f"), np.zeros((9, 3)), batch_size=1)
    update = by_name(profile)["update"]
    resident = 4 * update.gigabytes * 1e3 / 7  # of 7 streams, four are distinct
    assert resident < 100_000 < 1e3 * sum(row.gigabytes for row in profile.rows)
    assert update.limit == "L2"


@pytest.mark.usefixtures("one_microsecond")
@pytest.mark.parametrize(("rows", "nbytes"), [(127, 0), (128, 4 * 5 * (64 * 64 + 64))])
def test_a_batch_that_is_not_split_has_no_second_half_to_add(rows, nbytes):
    """Gradients and the second half are read, and gradients written: not a batch of outputs."""
    model = fnn.Sequential([fnn.Dense(64), fnn.Dense(1)], input_shape=(64,), seed=0)
    model.compile("sgd", "mse")
    table = by_name(model.profile(np.zeros((rows, 64), "f"), np.zeros((rows, 1)), batch_size=rows))
    added = table["dense add_gradient_half"]
    assert added.gigabytes == pytest.approx(nbytes * 3 / 5 / 1e3)
    assert added.of_limit < 1


@pytest.mark.usefixtures("one_microsecond")
def test_of_a_table_only_the_rows_that_are_picked_count():
    model = fnn.Sequential([fnn.Embedding(9000, 8), fnn.Flatten()], input_shape=(3,), seed=0)
    row = by_name(model.profile(np.zeros((5, 3), np.int64)))["embedding embedding"]
    assert row.gigabytes == pytest.approx(4 * 5 * 3 * (1 + 8 + 8) / 1e3)
    sparse = pytest.importorskip("scipy.sparse")
    model = fnn.Sequential([fnn.Dense(8)], input_shape=(9000,), seed=0)
    x = sparse.csr_array((np.ones(10, "f"), np.arange(10), np.arange(0, 11, 2)), shape=(5, 9000))
    row = by_name(model.profile(x))["dense sparse_affine"]
    entries = 10 * (4 + 4) + 6 * 8
    assert row.gigabytes == pytest.approx((entries + 4 * (10 * 8 + 8 + 5 * 8)) / 1e3)


@pytest.mark.usefixtures("one_microsecond")
@pytest.mark.parametrize(
    ("optimizer", "work"), [(fnn.SGD(), 1), (fnn.SGD(momentum=0.9), 2), ("adam", 16)]
)
def test_an_update_counts_the_work_of_its_optimizer(optimizer, work):
    count = 4 * 8 + 16 + 32 + 16  # padded
    row = by_name(compiled(optimizer).profile(X, Y))["update"]
    assert row.gflops == pytest.approx(2 * work * count / 1e3)


# --- nothing is changed ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", fnn.SGD(0.1, momentum=0.9), fnn.Adagrad(0.1)])
@pytest.mark.parametrize("y", [Y, None])
def test_model_is_as_before(optimizer, y):
    model, twin = compiled(optimizer), compiled(optimizer)
    for each in (model, twin):
        each.fit(X, Y, verbose=0)
        each.learn_one(X[0], Y[0])
    with unchanged(model):
        model.profile(X, y, steps=7)
    for each in (model, twin):
        each.learn_one(X[1], Y[1])
        each.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(twin)


def test_loss_that_is_not_finite():
    model = compiled()
    model.fit(X, Y, verbose=0)
    model.parameters["last/bias"][0] = np.inf
    with unchanged(model), pytest.raises(fnn.NonFiniteLossError, match=r"^the loss is inf, and"):
        model.profile(X, Y)


def test_steps_do_not_diverge():
    model = compiled(fnn.SGD(1e9))
    with unchanged(model):
        model.profile(X, Y, steps=100)


def test_gradients_of_your_own_loop_survive():
    model = compiled()
    y_hat = model.forward(X, training=True)
    model.backward(y_hat - Y)
    with unchanged(model):
        model.profile(X, Y, steps=3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.profile(X, Y, steps=0), ValueError, "steps must be a positive integer, got 0"),
        (lambda m: m.profile(X, Y, batch_size=1.5), ValueError, "batch_size must be a positive"),
        (lambda m: m.profile(X[:0], Y[:0]), ValueError, "x must have at least one row, got none"),
        (lambda m: m.profile(X[:, :3]), ValueError, r"x must have shape \(rows, 4\), got"),
        (lambda m: m.profile(X, Y[:9]), ValueError, "y must have as many rows as x, 50, got 9"),
        (lambda m: m.profile(X * np.nan), ValueError, "x must hold finite numbers, got nan"),
    ],
)
def test_bad_arguments(call, error, message):
    model = compiled()
    model.fit(X, Y, verbose=0)
    with unchanged(model), pytest.raises(error, match=f"^{message}"):
        call(model)


def test_training_needs_compile():
    model = fnn.Sequential([fnn.Dense(3)], input_shape=(4,))
    assert len(model.profile(X).rows) == 1
    with pytest.raises(RuntimeError, match="call compile"):
        model.profile(X, Y)


# --- display --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_microsecond")
def test_table():
    lines = str(compiled().profile(X, Y, batch_size=10)).splitlines()
    assert lines[0] == ("train, float32, 10 rows a step, 1 worker, ISA isa: median of 200 steps")
    assert lines[1].split() == ["layer", "op", "µs", "share", "GFLOP/s", "GB/s", "limit"]
    assert lines[4].split() == [
        "hidden", "affine[tanh]", "1.00", "7.7%", "0.64", "0.64", "1%", "of", "L2",
    ]  # fmt: skip
    assert lines[-1].split()[:4] == ["step", "13.00", "100.0%", "1.13"]
    assert len(lines) == 2 + 13 + 1
    assert len({line.index(" of ") for line in lines[2:]}) == 1, "columns are aligned"


def test_a_share_above_the_limit_is_explained(monkeypatch):
    run = profiling._seconds
    monkeypatch.setattr(profiling, "_seconds", lambda *a: np.full_like(run(*a), 1e-6))
    assert "above 100%" not in str(compiled().profile(X, Y))
    monkeypatch.setattr(profiling, "_seconds", lambda *a: np.full_like(run(*a), 1e-9))
    assert "above 100%: what does not fit L2 may come from" in str(compiled().profile(X, Y))


@pytest.mark.usefixtures("one_microsecond")
def test_repr_is_short():
    assert repr(compiled().profile(X, Y)) == (
        "<Profile of train: 13 µs a step of 32 rows; most in gather, 8%>"
    )
