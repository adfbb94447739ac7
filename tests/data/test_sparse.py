"""Sparse matrices: the same results as with dense copies, and errors for bad ones."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits
from model_helpers import unchanged
from program_cases import random_model
from scipy import sparse

import fastnn as fnn
from fastnn.program.purpose import Purpose


def small(width=30, **options):
    layers = [fnn.Dense(7, activation="tanh"), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(width,), seed=0, **options)
    model.compile(fnn.Adam(0.01), "crossentropy", ["accuracy"])
    return model


def matrix(rng, rows=50, width=30, density=0.2, dtype=np.float64):
    return sparse.random_array((rows, width), density=density, rng=rng, dtype=dtype).tocsr()


def sparse_inputs(rng, x):
    """x with zeros, and the same with sparse matrices where the input has one dimension.

    What is looked up, text and the integers behind it, stays as it is.
    """
    listed = x if isinstance(x, list) else [x]
    texts = [i for i, a in enumerate(listed) if a.dtype.kind == "U"]
    kept = {*texts, *(i + 1 for i in texts)}
    arrays = [a if i in kept else a * (rng.random(a.shape) < 0.4) for i, a in enumerate(listed)]
    given = [
        sparse.csr_array(a) if a.ndim == 2 and i not in kept else a for i, a in enumerate(arrays)
    ]
    return (arrays, given) if isinstance(x, list) else (arrays[0], given[0])


@pytest.mark.filterwarnings("ignore:.* one row, of which BatchNormalization")
@pytest.mark.parametrize("seed", range(24))
def test_random_models_compute_the_same_as_with_a_dense_copy(seed, rng):
    """fit, evaluate, predict, one step, and a custom loop."""
    one, x, y = random_model(seed)
    other, _, _ = random_model(seed)
    dense, given = sparse_inputs(rng, x)
    results = []
    for model, data in ((one, given), (other, dense)):
        history = model.fit(data, y, epochs=2, batch_size=5, verbose=0)
        losses = [*history.history.values(), [model.train_on_batch(data, y)]]
        grad = model.forward(data, training=True)
        gradients = model.backward(grad)
        model.apply_gradients()
        made = [np.concatenate(losses), grad, model.predict(data), *model.get_weights()]
        results.append(
            [*made[:3], *made[3], *gradients.values(), *model.evaluate(data, y).values()]
        )
    for a, b in zip(*results, strict=True):
        assert_close(a, b, 1e-12)


@pytest.mark.parametrize("size", [(3, 40), (40_000, 8)], ids=["small", "updates in the gradient"])
def test_fit_has_the_same_bits_for_any_number_of_workers(size, team, rng):
    width, units = size
    x, y = matrix(rng, 64, width, 0.02), rng.integers(0, 3, 64)
    made = []
    for workers in (1, 2, 3):
        team(workers)
        model = fnn.Sequential([fnn.Dense(units, "relu"), fnn.Dense(3)], seed=0)
        model.compile("adam", "crossentropy")
        model.fit(x, y, verbose=0, batch_size=10)
        made.append(model.network.runtime.arenas["parameters"].copy())
    assert_same_bits(made[1], made[0])
    assert_same_bits(made[2], made[0])


def test_program_reads_the_matrix_and_never_makes_it_dense(capsys, rng):
    x, y = matrix(rng, width=20_000, density=0.001), rng.integers(0, 3, 50)
    model = fnn.Sequential([fnn.Dense(16), fnn.Dense(3)], input_shape=(20_000,))
    model.compile("adam", "crossentropy")
    model.fit(x, y, verbose=0)
    plan = next(
        b.plan for key, b in model.network.runtime.programs.items() if key[0] is Purpose.TRAIN
    )
    kinds = [op.name for op in plan.program.ops]
    assert {"sparse_affine", "sparse_kernel_gradient_update"} <= set(kinds)
    assert "csr_gather" not in kinds
    assert plan.workspace_bytes < 20_000
    model.profile(x, y, steps=3)
    assert "sparse_affine" in capsys.readouterr().out
    assert fnn.gradcheck(model, x[:5], y[:5], samples=3)


@pytest.mark.parametrize(
    "form", ["csc", "coo", "bsr", "dia", "lil", "dok", "csr_matrix", "int8", "bool", "float16"]
)
def test_every_format_and_dtype_is_taken(form, rng):
    x = matrix(rng)
    if form in ("int8", "bool", "float16"):
        x = (10 * x).astype("float32" if form == "float16" else form)
        x.data = x.data.astype(form)
    elif form == "csr_matrix":
        x = sparse.csr_matrix(x)
    else:
        x = x.asformat(form)
    model = small(dtype="float64")
    dense = x.toarray() if form != "float16" else x.astype("float32").toarray()
    assert_same_bits(model.predict(x), model.predict(dense.astype(np.float64)))


def test_data_of_the_models_dtype_is_not_copied(rng):
    x = matrix(rng)
    sources = small(dtype="float64").network.checked_inputs(x).sources
    assert np.shares_memory(sources[0].values, x.data)
    assert np.shares_memory(sources[0].columns, x.indices)


def test_unsorted_and_double_entries_are_summed_as_scipy_does(rng):
    columns = np.array([5, 2, 2, 29, 0, 0, 0])
    x = sparse.csr_array((np.arange(1.0, 8), columns, [0, 4, 4, 7]), shape=(3, 30))
    x.has_canonical_format = True  # a false claim
    want = np.zeros((3, 30))
    want[0, [2, 5, 29]], want[2, 0] = [5, 1, 4], 18
    kept = x.data.copy(), x.indices.copy()
    model = small(dtype="float64")
    assert_same_bits(model.predict(x), model.predict(want))
    assert_same_bits(x.data, kept[0])
    assert_same_bits(x.indices, kept[1])


def test_rows_without_entries_and_explicit_zeros(rng):
    x = sparse.csr_array((np.zeros(2), [1, 4], [0, 0, 2, 2]), shape=(3, 30))
    model = small()
    assert_same_bits(model.predict(x), model.predict(np.zeros((3, 30))))
    assert model.predict(x[:0]).shape == (0, 3)


def test_validation_split_and_data(rng):
    x, y = matrix(rng), rng.integers(0, 3, 50)
    kept = []
    for data in (x, x.toarray()):
        model = small(dtype="float64")
        history = model.fit(data, y, validation_split=0.3, verbose=0, epochs=2)
        again = model.fit(data, y, validation_data=(data[:9], y[:9]), verbose=0)
        kept.append([*history.history.values(), *again.history.values()])
    for a, b in zip(*kept, strict=True):
        assert_close(a, b, 1e-12)


def test_backward_uses_the_data_of_forward(rng):
    """The user may change the arrays in between."""
    x = matrix(rng)
    one, other = small(dtype="float64"), small(dtype="float64")
    grad = one.forward(x.copy(), training=True)
    want = one.backward(grad)
    other.forward(x, training=True)
    x.data[:] = 7
    for name, gradient in other.backward(grad).items():
        assert_same_bits(gradient, want[name])


def test_a_loss_that_is_not_finite_names_the_layer(rng):
    x, y = matrix(rng), rng.integers(0, 3, 50)
    model = small()
    model.parameters["dense/kernel"][:] = np.inf
    with pytest.raises(fnn.NonFiniteLossError, match="layer 'dense' is the first"):
        model.fit(x, y, verbose=0)
    with pytest.raises(fnn.NonFiniteLossError, match="layer 'dense' is the first"):
        model.train_on_batch(x, y)


def spoiled(name, rng):
    """A matrix with one fault, introduced without SciPy's checks."""
    x = matrix(rng)
    if name == "nan":
        x.data[7] = np.nan
    elif name == "too large":
        x.data[7] = 1e39
    elif name == "column":
        x.indices[11] = 30
    elif name == "negative":
        x.indices[3] = -1
    elif name == "indptr end":
        x.indptr[-1] += 1
    elif name == "indptr start":
        x.indptr[0] = 1
    elif name == "indptr short":
        x.indptr = x.indptr[:-1]
    elif name == "indptr falls":
        x.indptr[4] = x.indptr[6] + 1
    elif name == "csc":
        x = x.tocsc()
        x.indices[0] = 50
    elif name == "complex":
        x = x.astype(complex)
    elif name == "width":
        x = matrix(rng, width=29)
    elif name == "one dimension":
        x = sparse.coo_array(np.ones(30))
    elif name == "object":
        x.data = x.data.astype(object)
    return x


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("nan", r"x must hold finite numbers, got nan at \[\d+, \d+\]"),
        ("too large", r"x must hold numbers that float32 can hold, got 1e\+39 at"),
        ("column", r"x.indices must lie in \[0, 30\), got 30 at 11; the shape is \(50, 30\)"),
        ("negative", r"x.indices must lie in \[0, 30\), got -1 at 3"),
        ("indptr end", "x.indptr must ascend from 0 to at most"),
        ("indptr start", "x.indptr must ascend from 0 to at most"),
        ("indptr short", r"x.indptr must have 51 entries, got shape \(50,\)"),
        ("indptr falls", "x.indptr must ascend from 0 to at most"),
        ("csc", r"x.indices must lie in \[0, 50\), got 50 at 0"),
        ("complex", "x must hold real numbers, got dtype complex128"),
        ("width", r"x must have shape \(rows, 30\), got \(50, 29\)"),
        ("one dimension", r"x must have shape \(rows, columns\), got a sparse \(30,\)"),
        ("object", "x must hold real numbers, got dtype object"),
    ],
)
def test_bad_matrix_is_refused_before_anything_has_changed(name, match, rng):
    x, y = spoiled(name, rng), rng.integers(0, 3, 50)
    model = small()
    for call in (
        lambda: model.fit(x, y, verbose=0), lambda: model.evaluate(x, y),
        lambda: model.train_on_batch(x, y), lambda: model.predict(x),
        lambda: model.fit(matrix(np.random.default_rng(1)), y, validation_data=(x, y), verbose=0),
    ):  # fmt: skip
        with unchanged(model), pytest.raises((TypeError, ValueError), match=match):
            call()


def test_position_of_a_nan_is_its_row_and_column(rng):
    x = matrix(rng)
    x.data[20] = np.nan
    row, column = np.argwhere(np.isnan(x.toarray()))[0]
    with pytest.raises(ValueError, match=rf"nan at \[{row}, {column}\]"):
        small().predict(x)


def test_sparse_y_and_samples_are_refused(rng):
    x = matrix(rng)
    with pytest.raises(TypeError, match=r"y must be a dense array, got a sparse one; use y.toarr"):
        small().fit(x, sparse.csr_array(np.eye(50)[:, :3]), verbose=0)
    with pytest.raises(TypeError, match="x must be a dense array"):
        small().predict_one(x[[0]])


def test_input_of_more_dimensions_is_refused_for_its_shape(rng):
    model = fnn.Sequential([fnn.Flatten(), fnn.Dense(3)], input_shape=(5, 6))
    with pytest.raises(ValueError, match=r"x must have shape \(rows, 5, 6\), got \(50, 30\)"):
        model.predict(matrix(rng))


def test_fastnn_does_not_import_scipy():
    code = """if True:
        import sys, fastnn as fnn, numpy as np
        model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,))
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
        assert not any(name.split(".")[0] == "scipy" for name in sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


@pytest.mark.parametrize("column", [-1, -(2**31), 30, 2**31 - 1])
@pytest.mark.parametrize("width", [30, 40_000], ids=["small", "updates in the gradient"])
@pytest.mark.parametrize("made_dense", [False, True])
def test_index_arrays_that_change_during_fit_are_refused(rng, column, width, made_dense):
    """A callback corrupts them between two epochs: out-of-bounds memory must not be accessed."""
    x, y = matrix(rng, 50, width, 0.1), rng.integers(0, 3, 50)
    x.indices, x.indptr = x.indices.astype(np.int32), x.indptr.astype(np.int64)
    layers = [fnn.Activation("tanh")] * made_dense + [fnn.Dense(9), fnn.Dense(3)]
    model = fnn.Sequential(layers, input_shape=(width,), dtype="float64", seed=0)
    model.compile("adam", "crossentropy")

    def spoil(epoch, logs):
        x.indices[:] = column if column != 30 else width
        x.indptr[:] = 2**40

    with pytest.raises(ValueError, match="index arrays have been changed since they were checked"):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[fnn.LambdaCallback(on_epoch_end=spoil)])
    assert all(np.isfinite(array).all() for array in model.get_weights())
