"""Bad input to the kernel entries: an error names the argument, and nothing is written."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers import DTYPES, as_tuple, assert_close, assert_same_bits
from kernel_cases import CASES, SIZES, expected, hyper_parameters

from fastnn.native import kernels

LAST_OF_EACH = {case.kernel: name for name, case in CASES.items()}
WITH_LABELS = ["softmax_crossentropy-labels", "categorical_accuracy-labels"]
ENTRIES = [CASES[name] for name in sorted([*LAST_OF_EACH.values(), *WITH_LABELS])]


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    return raw.view(array.dtype).reshape(array.shape)


def spread(array):
    """The same numbers, with a gap after each."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


BAD = {
    "None": (lambda a: None, TypeError),
    "list": (lambda a: a.tolist(), TypeError),
    "float16": (lambda a: a.astype(np.float16), TypeError),
    "complex": (lambda a: a.astype(complex), TypeError),
    "object": (lambda a: a.astype(object), TypeError),
    "other byte order": (lambda a: a.astype(a.dtype.newbyteorder()), (TypeError, ValueError)),
    "one dimension more": (lambda a: a[None], ValueError),
    "no dimension": (lambda a: a.reshape(-1)[:1].reshape(()), ValueError),
    "gaps": (spread, ValueError),
    "misaligned": (misaligned, ValueError),
}
ARGUMENTS = [
    pytest.param(case, argument, id=f"{case.kernel}-{argument}{' labels' * has_labels}")
    for case in ENTRIES
    for arrays in [case.make(np.random.default_rng(0), "float64", 3, 5)]
    for has_labels in ["target" in arrays and arrays["target"].dtype == np.int32]
    for argument in arrays
    if case.kernel != "gather"  # it takes more types; see test_gather.py
]


@pytest.mark.parametrize(("case", "argument"), ARGUMENTS)
@pytest.mark.parametrize("bad", BAD)
def test_bad_array_is_refused_by_name(case, argument, bad, rng):
    arrays = case.make(rng, "float64", 3, 5)
    if bad == "None" and argument in case.optional:
        results = as_tuple(case.call(**{**arrays, argument: None}))
        assert all(np.isfinite(result).all() for result in results)
        return
    if bad == "None" and argument in ("state", "bias"):
        pytest.skip("see test_update_needs_all_its_arrays")
    spoil, error = BAD[bad]
    shown = {"a": r"arrays\[0\]", "b": r"arrays\[1\]", "c": r"arrays\[2\]"}
    name = shown[argument] if case.kernel == "concatenate" else rf"\b{argument}\b"
    with pytest.raises(error, match=name):
        case.call(**{**arrays, argument: spoil(arrays[argument])})


@pytest.mark.parametrize(("case", "argument"), ARGUMENTS)
@pytest.mark.parametrize("change", ["row more", "column more", "other dtype"])
def test_arrays_that_do_not_fit_each_other_are_refused(case, argument, change, rng):
    """If arrays still fit after a change, the result must be right."""
    arrays = case.make(rng, "float64", 3, 5)
    array = arrays[argument]
    if change == "other dtype":
        arrays[argument] = array.astype(np.float32 if array.dtype == np.float64 else np.int64)
    else:
        axis = 0 if change == "row more" else array.ndim - 1
        arrays[argument] = np.concatenate([array, array.take([0], axis)], axis)
    message = ""
    try:
        results = as_tuple(case.call(**arrays))
    except (TypeError, ValueError) as error:
        message = str(error)
    if message:
        assert re.search("|".join([*arrays, r"arrays\[\d\]"]), message)
    else:
        for result, want in zip(results, as_tuple(expected(case, arrays)), strict=True):
            assert_close(result, want, 1e-6)


@pytest.mark.parametrize("case", [c for c in ENTRIES if c.has_out], ids=lambda case: case.kernel)
def test_bad_out_is_refused(case, rng):
    arrays = case.make(rng, "float64", 3, 5)
    right = case.call(**arrays)
    read_only = np.empty_like(right)
    read_only.flags.writeable = False
    wide = np.empty((right.shape[0], 2 * right.shape[-1])) if right.ndim == 2 else np.empty(99)
    for bad in (
        read_only, right.astype(np.float32), right.tolist(), right[None].copy(), right[:-1],
        misaligned(right), spread(right), wide,
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=r"\bout\b"):
            case.call(**arrays, out=bad)


# Each element is read before it is written, and only once: out may be the input itself.
IN_PLACE = {
    "activation", "activation_gradient", "add", "multiply", "dropout", "math", "softmax",
    "softmax_gradient", "log_softmax", "log_softmax_gradient",
}  # fmt: skip
WITH_OUT = [c for c in ENTRIES if c.has_out or c.kernel.endswith("accuracy")]


def overlapping(array, out, distance):
    """A copy of `array`, and an array like `out` that begins `distance` bytes after its start."""
    memory = np.zeros(16 + array.nbytes + out.nbytes, np.uint8)
    places = []
    for like, first in ((array, 8), (out, 8 + distance)):
        places.append(memory[first : first + like.nbytes].view(like.dtype).reshape(like.shape))
    places[0][...] = array
    return places


def shown_name(case, argument):
    return f"arrays[{'abc'.index(argument)}]" if case.kernel == "concatenate" else argument


@pytest.mark.parametrize("distance", [-8, 0, 8])
@pytest.mark.parametrize(
    ("case", "argument"),
    [
        pytest.param(case, argument, id=f"{case.kernel}-{argument}-{i}")
        for i, case in enumerate(WITH_OUT)
        for argument in case.make(np.random.default_rng(0), "float64", 3, 5)
    ],
)
def test_out_that_overlaps_an_input_is_right_or_refused(case, argument, distance, rng):
    arrays = case.make(rng, "float64", 3, 5)
    right = case.call(**arrays)
    array, out = overlapping(arrays[argument], right, distance)
    before = array.copy()
    if distance == 0 and case.kernel in IN_PLACE:
        assert case.call(**{**arrays, argument: array}, out=out) is out
        assert np.array_equal(out, right)
        return
    message = f"^out must not share memory with {re.escape(shown_name(case, argument))}"
    with pytest.raises(ValueError, match=message):
        case.call(**{**arrays, argument: array}, out=out)
    assert np.array_equal(array, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.kernel in IN_PLACE])
def test_out_may_be_an_input_at_every_size(name, dtype, rng):
    case = CASES[name]
    for rows, width in SIZES:
        arrays = case.make(rng, dtype, rows, width)
        expected = case.call(**arrays, workers=1)
        for argument, array in arrays.items():
            for workers in (1, 3):
                out = array.copy()
                case.call(**{**arrays, argument: out}, out=out, workers=workers)
                assert_same_bits(out, expected, f"{rows} x {width}, {argument}")


def test_out_next_to_an_input_is_taken(rng):
    memory = rng.normal(size=(6, 4))
    x, out = memory[:3], memory[3:]
    kernel = rng.normal(size=(4, 4))
    expected = kernels.affine(x, kernel)
    assert np.array_equal(kernels.affine(x, kernel, out=out), expected)
    assert np.array_equal(kernels.affine(out, kernel, out=x), kernels.affine(expected, kernel))
    # between the columns of a source whose rows are strided
    wide = rng.normal(size=(1, 8))
    source = np.lib.stride_tricks.as_strided(wide, (2, 2), (48, 8))
    expected = source.copy()
    out = wide[0, 2:6].reshape(2, 2)
    assert np.array_equal(kernels.gather(source, None, dtype="float64", out=out), expected)


def test_preactivation_has_memory_of_its_own(rng):
    x, kernel, bias = rng.normal(size=(3, 5)), rng.normal(size=(5, 5)), rng.normal(size=5)
    for name, array in (("x", x), ("kernel", kernel), ("bias", bias), ("out", np.empty((3, 5)))):
        array, preactivation = overlapping(array, np.empty((3, 5)), 0)
        given = {"x": x, "kernel": kernel, "bias": bias, "out": None, name: array}
        with pytest.raises(ValueError, match=f"^preactivation must not share memory with {name}"):
            kernels.affine(**given, preactivation=preactivation)


@pytest.mark.parametrize(
    ("written", "other"),
    [("parameters", "gradients"), ("state", "parameters"), ("state", "gradients")],
)
def test_update_refuses_arrays_that_overlap(written, other):
    arrays = {"parameters": P.copy(), "gradients": G.copy(), "state": np.ones((1, 3))}
    arrays[other], arrays[written] = overlapping(arrays[other], arrays[written], 8)
    with pytest.raises(ValueError, match=f"^{written} must not share memory with {other}"):
        kernels.update("momentum", **arrays, learning_rate=1, step=1, hyper_parameters=[0.9, 0])


def test_sum_of_squares_takes_plain_arrays_of_any_shape():
    array = np.arange(60000, dtype="f8").reshape(30, 1000, 2)
    assert kernels.sum_of_squares(array) == pytest.approx((array**2).sum(), rel=1e-14)
    assert kernels.sum_of_squares(array[:0]) == 0
    array[3, 7, 1] = np.nan
    assert np.isnan(kernels.sum_of_squares(array))
    for bad in (array[::2], array.T, array.astype(">f8")):
        with pytest.raises(ValueError, match="array must be C-contiguous"):
            kernels.sum_of_squares(bad)
    with pytest.raises(TypeError, match="array must be float32 or float64, got int64"):
        kernels.sum_of_squares(np.zeros(3, int))


def test_squared_norm_refuses_an_out_that_overlaps():
    gradients, out = overlapping(np.ones(9000), np.ones(3), 8)
    with pytest.raises(ValueError, match=r"^out must not share memory with gradients"):
        kernels.squared_norm(gradients, out=out)


@pytest.mark.parametrize("case", ENTRIES, ids=lambda case: case.kernel)
@pytest.mark.parametrize("workers", [0, -1, "two"])
def test_bad_workers_are_refused(case, workers, rng):
    with pytest.raises((TypeError, ValueError)):
        case.call(**case.make(rng, "float64", 3, 5), workers=workers)


X = np.ones((2, 3))
P, G = np.ones(3), np.ones(3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: kernels.activation(X, "rellu"),
        lambda: kernels.activation_gradient(X, X, "rellu"),
        lambda: kernels.affine(X, X.T.copy(), activation="rellu"),
        lambda: kernels.input_gradient(X, X, activation="rellu"),
        lambda: kernels.math(X, "rellu"),
        lambda: kernels.elementwise_loss(X, X, "rellu"),
        lambda: kernels.update("rellu", P, G, X, learning_rate=1, step=1),
    ],
)
def test_unknown_name_is_refused_with_the_known_ones(call):
    with pytest.raises(ValueError, match=r"'rellu'.*there are \w+"):
        call()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: kernels.dropout(X, 1.0), "rate"),
        (lambda: kernels.dropout(X, -0.1), "rate"),
        (lambda: kernels.dropout(X, float("nan")), "rate"),
        (lambda: kernels.softmax(np.ones((2, 0))), "x must have at least one column"),
        (lambda: kernels.softmax_crossentropy(np.ones((2, 0)), np.ones((2, 0))), "logits"),
        (lambda: kernels.concatenate([]), "arrays"),
        (lambda: kernels.concatenate([X] * 7), "arrays"),
        (lambda: kernels.slice_columns(X, -1, 2), "columns"),
        (lambda: kernels.slice_columns(X, 2, 2), "columns"),
        (lambda: kernels.slice_columns(X, 0, -1), "columns"),
        (lambda: kernels.multiply_add(X, times=-1), "times must be at least 0, got -1"),
        (lambda: kernels.stream(X, X.copy(), times=-1), "times must be at least 0, got -1"),
    ],
)
def test_bad_number_is_refused_by_name(call, match):
    with pytest.raises((ValueError, OverflowError), match=match):
        call()


@pytest.mark.parametrize("kernel", ["softmax_crossentropy", "categorical_accuracy"])
@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1, -(2**31)])
def test_label_outside_the_classes_is_refused(kernel, label):
    with pytest.raises(ValueError, match=r"target must lie in \[0, 3\)"):
        getattr(kernels, kernel)(X, np.array([0, label], np.int32))


def test_slice_columns_far_outside_is_refused():
    with pytest.raises((ValueError, OverflowError), match="columns"):
        kernels.slice_columns(X, 2**63 - 2, 2)


@pytest.mark.parametrize(
    "missing",
    [
        "parameters",
        "gradients",
        "state",
    ],
)
def test_update_needs_all_its_arrays(missing):
    arrays = {"parameters": P.copy(), "gradients": G, "state": np.zeros((2, 3)), missing: None}
    numbers = hyper_parameters("adam")
    with pytest.raises(TypeError, match=missing):
        kernels.update("adam", **arrays, learning_rate=1, step=1, hyper_parameters=numbers)


@pytest.mark.parametrize("read_only", ["parameters", "state"])
def test_update_refuses_to_write_to_read_only_arrays(read_only):
    arrays = {"parameters": P.copy(), "gradients": G, "state": np.zeros((1, 3))}
    arrays[read_only].flags.writeable = False
    with pytest.raises(ValueError, match=read_only):
        kernels.update("momentum", **arrays, learning_rate=1, step=1, hyper_parameters=[0.9, 0])
    assert (arrays["parameters"] == 1).all()


@pytest.mark.parametrize("numbers", [[], [0.9], [0.9, 0, 0]])
def test_update_names_the_hyper_parameters_it_wants(numbers):
    with pytest.raises(ValueError, match=r"hyper_parameters must be \(momentum, nesterov\)"):
        kernels.update(
            "momentum", P.copy(), G, np.zeros((1, 3)), learning_rate=1, step=1,
            hyper_parameters=numbers,
        )  # fmt: skip
