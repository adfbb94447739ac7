"""Every ISA of this build is correct; FASTNN_ISA selects one, or an error says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits
from kernel_cases import CASES

from fastnn.native import engine

HERE = Path(__file__).resolve().parent
SUPPORTED = engine.supported_isas()
UNSUPPORTED = [isa for isa in engine.compiled_isas() if isa not in SUPPORTED]

# Run in a child: every kernel case against the reference at one ragged size, then a short training.
# `.ci/run` runs the kernels' own tests under each ISA.
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastnn as fnn
from fastnn.native import engine
from helpers import DTYPES, TOLERANCE, as_tuple, assert_close
from kernel_cases import CASES, expected

rng = np.random.default_rng(0)
for name, case in CASES.items():
    for dtype in DTYPES:
        options = {"dtype": dtype} if case.kernel == "gather" else {}
        arrays = case.make(rng, dtype, 9, 67)
        results = as_tuple(case.call(**arrays, workers=1, **options))
        for result, want in zip(results, as_tuple(expected(case, arrays)), strict=True):
            assert_close(result, want, TOLERANCE[dtype], f"{name} {dtype}")

x = rng.standard_normal((70, 9))
y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
saved = {"cases": len(CASES)}
for dtype in DTYPES:
    layers = [fnn.Dense(33, activation="gelu"), fnn.Dense(17, activation="relu"), fnn.Dropout(0.2),
              fnn.Dense(3, activation="softmax")]
    model = fnn.Sequential(layers, input_shape=(9,), dtype=dtype, seed=1)
    model.compile("adam", "crossentropy")
    saved[dtype] = model.fit(x, y, epochs=5, batch_size=16, verbose=0).history["loss"]
np.savez(sys.argv[2], isa=engine.ISA, lanes=engine.LANES["float32"], **saved)
"""


def child(isa, *arguments):
    environment = {**os.environ, "FASTNN_ISA": isa}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", *arguments], env=environment, cwd="/", text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The arrays that each supported ISA's child saved."""
    folder = tmp_path_factory.mktemp("isa")
    made = {}
    for isa in SUPPORTED:
        path = folder / f"{isa}.npz"
        run = child(isa, CHILD, str(HERE.parent / "support"), str(path))
        assert run.returncode == 0, f"{isa}: {run.stderr[-2000:]}"
        made[isa] = dict(np.load(path))
    return made


@pytest.mark.parametrize("isa", SUPPORTED)
def test_isa_is_picked_and_agrees_with_the_reference(isa, trained):
    assert trained[isa]["isa"] == isa
    assert trained[isa]["cases"] == len(CASES)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_training_on_one_isa_is_training_on_another(isa, trained):
    best = trained[SUPPORTED[0]]
    assert best["float64"][-1] < best["float64"][0]
    assert_close(trained[isa]["float64"], best["float64"], 1e-10)
    assert_close(trained[isa]["float32"], best["float64"], 1e-3)


def test_lanes_differ_where_vectors_do(trained):
    lanes = {isa: int(made["lanes"]) for isa, made in trained.items()}
    assert lanes[engine.ISA if engine.ISA in lanes else SUPPORTED[0]] == engine.LANES["float32"]
    assert sorted(lanes.values(), reverse=True) == list(lanes.values()), "best first"


def test_default_is_the_best_supported_one():
    run = child("", "from fastnn.native import engine; print(engine.ISA)")
    assert run.stdout.strip() == SUPPORTED[0], run.stderr


def test_unknown_isa_is_refused_with_the_known_ones():
    run = child("avx9000", "import fastnn")
    assert run.returncode != 0
    assert "ImportError: FASTNN_ISA='avx9000' is unknown; this build has " in run.stderr
    for isa in engine.compiled_isas():
        assert isa in run.stderr


@pytest.mark.skipif(not UNSUPPORTED, reason="this machine runs every ISA of this build")
def test_unsupported_isa_is_refused_with_the_supported_ones():
    run = child(UNSUPPORTED[0], "import fastnn")
    assert run.returncode != 0
    assert "ImportError" in run.stderr
    assert "is not supported by this machine" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("isa", SUPPORTED[1:])
def test_kernel_tests_on_every_isa(isa):
    names = ("kernels", "products", "vmath", "optimizer_kernels", "random", "categorical_accuracy")
    files = [*(str(HERE / f"test_{name}.py") for name in names), str(HERE.parent / "program")]
    code = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    run = child(isa, code, "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *files)
    assert run.returncode == 0, run.stdout[-3000:]


def test_the_comparison_of_isas_can_fail(trained):
    with pytest.raises(AssertionError):
        assert_close(trained[SUPPORTED[0]]["float64"] * (1 + 1e-6),
                     trained[SUPPORTED[0]]["float64"], 1e-10)  # fmt: skip
    with pytest.raises(AssertionError):
        assert_same_bits(np.float32(1), np.float64(1))
