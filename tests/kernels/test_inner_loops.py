"""tools/check_inner_loops.py accepts sums in registers, and reports each kind of failure."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import check_inner_loops
import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src_c"
IS_X86 = platform.machine() == "x86_64"
ISAS = ["v2", "v3", "v4"] if IS_X86 else ["neon"] if platform.machine() == "aarch64" else []
# The flags of src_c/meson.build.
FLAGS = [
    "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi",
    "-Wno-unknown-pragmas",
]  # fmt: skip
needs_tools = pytest.mark.skipif(
    not (shutil.which("cc") and shutil.which("objdump")), reason="needs a C compiler and objdump"
)

SAMPLE = """
void NAME(ptrdiff_t k, const real *a, const real *b, real *c);
void NAME(ptrdiff_t k, const real *a, const real *b, real *c)
{
    KIND vec first = vbroadcast(0), second = vbroadcast(0);
    for (ptrdiff_t step = 0; step < k; step++) {
        vec row = vload(b + step * LANES);
        first = vfma(vbroadcast(a[2 * step]), row, first);
        second = vfma(vbroadcast(a[2 * step + 1]), row, second);
        BESIDE;
    }
    vstore(c, first);
    vstore(c + LANES, second);
}
"""
# name of a tile: (kind of its sums, code around them); they are compiled together, because most
# of the time goes into the headers.
SAMPLES = {
    "tile_2x1": ("", ""),
    "tile_2x1_on_the_stack": ("volatile", ""),
    "tile_2x1_in_memory": ("", "vstore(c, first)"),
    "tile_8x4_of_two": ("", ""),
    "tile_2x1_without_a_loop": ("", "break"),
}
GEMM = """
#include "fastnn.h"
#include "simd.h"
#include "vmath.h"
#include "elementwise.c"
#include "update.c"
#include "gemm.c"
#include "dense.c"
extern const fastnn_kernel kept;
const fastnn_kernel kept = kernel_affine;
"""
# The output of objdump for a good loop on aarch64; nothing else here can be tested without one.
NEON = """
0000000000000000 <tile_2x1>:
   0:\tstp\tx29, x30, [sp, #-16]!
   4:\tldr\tq2, [x2], #16
   8:\tldp\ts3, s4, [x1], #8
   c:\tfmla\tv0.4s, v2.4s, v3.s[0]
  10:\tfmla\tv1.4s, v2.4s, v4.s[0]
  14:\tsubs\tx0, x0, #0x1
  18:\tb.ne\t4 <tile_2x1+0x4>  // b.any
  1c:\tstp\tq0, q1, [x3]
  20:\tldp\tx29, x30, [sp], #16
  24:\tret
"""


def check(folder, source, isa, *defines):
    """The tiles, by name, of a source compiled the way Meson compiles it."""
    flags = [f"-march=x86-64-{isa}", "-mprefer-vector-width=512"] if IS_X86 else []
    command = ["cc", "-xc", "-", "-c", "-o", str(folder / "made.o"), "-std=c11", f"-I{SOURCES}"]
    subprocess.run(
        [*command, *FLAGS, *flags, *(f"-D{define}" for define in defines)],
        input=source, text=True, check=True, timeout=100,
    )  # fmt: skip
    made = check_inner_loops.check(check_inner_loops.disassemble(folder / "made.o"), isa != "v2")
    return {tile.name: tile for tile in made}


@pytest.fixture(scope="module", params=ISAS)
def tiles(request, tmp_path_factory):
    """The tiles of the samples, by name, for each ISA."""
    source = '#include "simd.h"\n'
    for name, (kind, beside) in SAMPLES.items():
        parts = {"NAME": name, "KIND": kind, "BESIDE": beside}
        sample = SAMPLE
        for part, text in parts.items():
            sample = sample.replace(part, text)
        source += sample
    made = check(tmp_path_factory.mktemp(request.param), source, request.param)
    assert set(made) == set(SAMPLES)
    return made


@needs_tools
def test_sums_in_registers_pass(tiles):
    tile = tiles["tile_2x1"]
    assert tile.loops
    assert tile.accumulators == 2
    assert tile.faults() == []


@needs_tools
def test_sums_on_the_stack_are_seen(tiles):
    tile = tiles["tile_2x1_on_the_stack"]
    assert any(loop.stack for loop in tile.loops)
    assert any(loop.stores for loop in tile.loops)
    assert any(fault.startswith("on the stack: ") for fault in tile.faults())


@needs_tools
def test_sums_in_other_memory_are_seen(tiles):
    tile = tiles["tile_2x1_in_memory"]
    assert any(fault.startswith("store: ") for fault in tile.faults())


@needs_tools
def test_too_few_multiply_adds_are_seen(tiles):
    faults = tiles["tile_8x4_of_two"].faults()
    assert any(fault.endswith("multiply-adds for 32 accumulators") for fault in faults)


@needs_tools
def test_a_tile_without_a_loop_is_seen(tiles):
    assert tiles["tile_2x1_without_a_loop"].faults() == ["no loop with multiply-adds"]


@needs_tools
@pytest.mark.skipif(not IS_X86, reason="where GCC unrolls too little is known for v4")
def test_gemm_without_unroll_is_seen(tmp_path):
    compiler = subprocess.run(["cc", "-v"], capture_output=True, text=True, check=True).stderr
    if "gcc version" not in compiler:
        pytest.skip("other compilers unroll by themselves")
    tiles = check(tmp_path, GEMM, "v4", "UNROLL=")
    assert any(fault.startswith("on the stack: ") for fault in tiles["tile_6x4"].faults())


def test_neon_is_read():
    def faults(listing):
        (tile,) = check_inner_loops.check(listing, is_fused=True)
        return tile.faults()

    assert faults(NEON) == []
    spilled = NEON.replace("ldr\tq2, [x2], #16", "ldr\tq2, [sp, #32]")
    assert faults(spilled) == ["on the stack: ldr q2, [sp, #32]"]
    stored = NEON.replace("subs\tx0, x0, #0x1", "str\tq0, [x3]")
    assert faults(stored) == ["store: str q0, [x3]"]
    fewer = NEON.replace("fmla\tv1.4s, v2.4s", "fadd\tv1.4s, v2.4s")
    assert faults(fewer) == ["1 multiply-adds for 2 accumulators"]
    assert faults(NEON.replace("b.ne\t4", "b.ne\t1c")) == ["no loop with multiply-adds"]


def test_it_fails_without_objdump_and_without_kernels(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["check_inner_loops.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no kernels"):
        check_inner_loops.main()
    (tmp_path / "libfastnn_v3_float32.a").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="objdump"):
        check_inner_loops.main()
