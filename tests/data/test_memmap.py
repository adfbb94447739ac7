"""Large maps: the same results as from memory, checks on reading, and few pages resident."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_bits
from model_helpers import unchanged, weights_as_bytes
from scipy import sparse

import fastnn as fnn
from fastnn.data import pages

ROWS, COLUMNS = 997, 12


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    monkeypatch.setattr(pages, "MAPPED_FROM", 1)
    monkeypatch.setattr(pages, "WINDOW_BYTES", 8_000)
    monkeypatch.setattr(pages, "BLOCK_BYTES", 1_000)


def saved(path, array, mode="r"):
    np.save(path, array)
    return np.load(path, mmap_mode=mode)


@pytest.fixture
def xy(tmp_path, rng):
    x = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    return saved(tmp_path / "x.npy", x), rng.integers(0, 3, ROWS)


def small():
    layers = [fnn.Dense(7, activation="tanh"), fnn.Dropout(0.2), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(COLUMNS,), seed=0)
    model.compile(fnn.Adam(0.01), "crossentropy", ["accuracy"])
    return model


def in_memory(x):
    return np.array(x)


def at_odd_addresses(x):
    """The same numbers behind a header of 3 bytes, in a file of their own."""
    path = Path(x.filename).with_suffix(".odd")
    path.write_bytes(b"..." + x.tobytes())
    found = np.memmap(path, x.dtype, "r", offset=3, shape=x.shape)
    assert not found.flags.aligned
    return found


VIEWS = {
    "all": lambda x: x,
    "at odd addresses": at_odd_addresses,
    "asarray": np.asarray,
    "rows": lambda x: x[13:900],
    "every other row": lambda x: x[::2],
    "reversed": lambda x: x[::-1],  # read from memory
    "columns": lambda x: np.concatenate([x, x], axis=1)[:, :COLUMNS],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("batch", [1, 32, 300, 5000])
def test_same_bits_as_from_memory_in_order(view, batch, xy):
    x, y = VIEWS[view](xy[0]), xy[1]
    y = y[: len(x)]
    one, other = small(), small()
    a = one.fit(x, y, batch_size=batch, shuffle=False, epochs=2, verbose=0, validation_split=0.3)
    b = other.fit(
        in_memory(x), y, batch_size=batch, shuffle=False, epochs=2, verbose=0, validation_split=0.3
    )
    assert weights_as_bytes(one) == weights_as_bytes(other)
    assert a.history == b.history
    assert_same_bits(one.predict(x), one.predict(in_memory(x)))
    assert one.evaluate(x, y, batch_size=batch) == one.evaluate(in_memory(x), y, batch_size=batch)


@pytest.mark.parametrize("dtype", ["float64", "uint8", "int32", "bool", "float16"])
def test_other_dtypes_and_a_mapped_target(dtype, tmp_path, xy):
    x = saved(tmp_path / "other.npy", (10 * np.abs(xy[0])).astype(dtype))
    y = saved(tmp_path / "y.npy", xy[1].astype(np.uint8))
    one, other = small(), small()
    one.fit(x, y, shuffle=False, verbose=0)
    other.fit(in_memory(x), in_memory(y), shuffle=False, verbose=0)
    assert weights_as_bytes(one) == weights_as_bytes(other)
    regression = fnn.Sequential([fnn.Dense(COLUMNS)], input_shape=(COLUMNS,), seed=0)
    regression.compile("sgd", "mse")
    assert regression.evaluate(xy[0], xy[0]) == regression.evaluate(*map(in_memory, (xy[0],) * 2))


@pytest.mark.parametrize("batch", [1, 7, 64, 3000])
def test_windows_hold_every_row_once_and_whole_batches(batch, rng):
    for generator in (None, rng):
        seen = []
        made = list(pages.windows(ROWS, COLUMNS * 4, batch, generator))
        for ranges, order in made:
            rows = np.concatenate([np.arange(*pair) for pair in ranges])
            assert order is None or sorted(order) == sorted(rows)
            seen.append(rows if order is None else order)
        assert all(len(rows) % batch == 0 for rows in seen[:-1])
        assert sorted(np.concatenate(seen)) == list(range(ROWS))
    assert len(made) == 1 or len(seen[0]) * COLUMNS * 4 <= max(pages.WINDOW_BYTES, batch * 48)


def test_shuffled_epochs_take_every_row_in_another_order_each_time(xy):
    x, y = np.asarray(xy[0]), xy[1]
    taken = []

    class Watch(fnn.Callback):
        def on_train_batch_end(self, batch, logs):
            taken.append(batch)

    one, other = small(), small()
    history = one.fit(*xy, epochs=3, verbose=0, batch_size=10, callbacks=[Watch()])
    assert taken == [*range(100)] * 3
    again = other.fit(*xy, epochs=3, verbose=0, batch_size=10)
    assert weights_as_bytes(one) == weights_as_bytes(other)
    assert history.history == again.history
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert not np.array_equal(
        next(pages.windows(ROWS, 48, 10, one.network.generator))[1][:9], range(9)
    )
    assert one.evaluate(x, y)["loss"] < small().evaluate(x, y)["loss"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x, y: x.__setitem__((701, 5), np.nan), r"x must hold finite .*in row 701"),
        (lambda x, y: x.__setitem__((996, 0), -np.inf), r"x must hold finite .*in row 996"),
        (lambda x, y: y.__setitem__(500, 3), "y must hold class labels .*got 3 to 3, in row 500"),
    ],
)
def test_bad_number_is_found_before_a_step_on_its_window(change, match, tmp_path, xy):
    x = saved(tmp_path / "x2.npy", xy[0], "r+")
    y = saved(tmp_path / "y.npy", xy[1], "r+")
    change(x, y)
    model = small()
    with pytest.raises(ValueError, match=match):
        model.fit(x, y, shuffle=False, verbose=0)
    twin = small()
    good = model.network.runtime.step * 32
    assert 0 < good <= 996
    twin.fit(in_memory(x[:good]), in_memory(y[:good]), shuffle=False, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(twin)
    assert "in row" in model.history.stop_reason
    with pytest.raises(ValueError, match=match):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match=match):
        model.evaluate(x, y)


def test_too_large_for_float32_is_found(tmp_path, xy):
    x = xy[0].astype(np.float64)
    x[400, 3] = 1e39
    with pytest.raises(ValueError, match=r"x must hold numbers that float32 can hold.*in row 400"):
        small().predict(saved(tmp_path / "x2.npy", x))
    x[400, 3] = 3e38  # its square is too large for float32, the number is not
    assert small().predict(saved(tmp_path / "x3.npy", x)).shape == (ROWS, 3)


def test_quick_look_is_never_wrong(rng):
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal(10_000).astype(dtype)
        x.flags.writeable = False
        assert pages.is_surely_finite(x, "float32")
        for bad in (np.nan, np.inf, -np.inf):
            for place in (0, 5000, 9999):
                changed = x.copy()
                changed[place] = bad
                assert not pages.is_surely_finite(changed, "float64")
    assert not pages.is_surely_finite(np.array([1e39]), "float32")
    assert not pages.is_surely_finite(np.arange(3), "float32")


def test_wrong_shape_and_label_dtype_are_refused_at_once(tmp_path, xy):
    model = small()
    with unchanged(model), pytest.raises(ValueError, match="x must have shape"):
        model.fit(xy[0][:, :5], xy[1], verbose=0)
    y = saved(tmp_path / "y.npy", xy[1].astype(float))
    with unchanged(model), pytest.raises(TypeError, match="y must hold integer class labels"):
        model.fit(xy[0], y, verbose=0)


def test_copy_on_write_maps_keep_what_was_written(tmp_path, xy):
    x = saved(tmp_path / "x2.npy", xy[0], "c")
    x[:5] = 7
    assert pages.map_of(x) is None
    want = small().predict(in_memory(x))
    model = small()
    assert_same_bits(model.predict(x), want)
    model.fit(x, xy[1], verbose=0)
    assert (x[:5] == 7).all()


def test_written_pages_of_a_shared_map_stay(tmp_path, xy):
    x = saved(tmp_path / "x2.npy", xy[0], "r+")
    x[:5] = 7
    small().fit(x, xy[1], verbose=0)
    assert (x[:5] == 7).all()
    assert (np.load(tmp_path / "x2.npy")[:5] == 7).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_little_of_a_large_file_is_resident(tmp_path):
    """A hole in a file of 1 GB reads as zeros; its pages count like any others."""
    code = f"""if True:
        import numpy as np, fastnn as fnn, pathlib
        def peak():
            lines = pathlib.Path("/proc/self/status").read_text().splitlines()
            return next(int(l.split()[1]) for l in lines if l.startswith("VmHWM")) / 1024
        x = np.memmap({str(tmp_path / "big")!r}, np.float32, "w+", shape=(1 << 16, 1 << 12))
        model = fnn.Sequential([fnn.Dense(2)], input_shape=(1 << 12,), seed=0)
        model.compile("sgd", "mse")
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
        before = peak()
        model.fit(x, np.zeros((1 << 16, 2)), batch_size=512, verbose=0)
        model.predict(x)
        assert peak() - before < 400, (before, peak())
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_steps_per_epoch_is_not_for_a_map(xy):
    model = small()
    with unchanged(model), pytest.raises(ValueError, match="steps_per_epoch is for an x that yi"):
        model.fit(*xy, steps_per_epoch=3, verbose=0)


def test_sample_weights_in_a_map_are_used_and_checked(xy, tmp_path, rng):
    x, y = xy
    weight = rng.random(ROWS).astype(np.float32)
    model, other = small(), small()
    model.fit(x, y, sample_weight=saved(tmp_path / "w.npy", weight), shuffle=False, verbose=0)
    other.fit(in_memory(x), y, sample_weight=weight, shuffle=False, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(other)
    weight[900] = np.nan
    bad = saved(tmp_path / "bad.npy", weight)
    with pytest.raises(
        ValueError, match=r"sample_weight must hold finite numbers, got nan at \[900"
    ):
        small().fit(x, y, sample_weight=bad, shuffle=False, verbose=0)


def test_sparse_rows_with_targets_in_a_map(tmp_path, rng):
    x = sparse.random(ROWS, COLUMNS, 0.3, "csr", np.float32, rng)
    y = rng.standard_normal((ROWS, 3)).astype(np.float32)
    model, other = small(), small()
    for one in (model, other):
        one.compile("adam", "mse")
    model.fit(x, saved(tmp_path / "y.npy", y), epochs=2, shuffle=False, verbose=0)
    other.fit(x, y, epochs=2, shuffle=False, verbose=0)
    assert weights_as_bytes(model) == weights_as_bytes(other)
