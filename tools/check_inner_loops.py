"""Check in the built kernels that the inner loops of products keep their sums in registers.

If a compiler leaves a loop of ``tile`` (``src_c/tile.h``) rolled, or runs out of registers, it
keeps accumulators on the stack: the results are right but take three times as long.
Therefore every tile of every ISA and dtype is disassembled, and each loop in it that multiplies
and adds must

- contain at least as many multiply-adds of whole vectors as the tile has accumulators: fused
  ones, except on v2, which has none and uses a multiplication and an addition;
- not access the stack, and store nothing anywhere: a tile reads A and B in this loop, and
  writes C after it.

The plain build is left out because it has no vectors.

Run it with ``python tools/check_inner_loops.py FOLDER``, where FOLDER is Meson's build folder
(``make check-loops``). It fails if objdump, of binutils, is not installed.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Patterns for the output of objdump: for x86-64 in AT&T syntax, and for aarch64.
LIBRARY = re.compile(r"libfastnn_(?P<isa>v4|v3|v2|neon)_(?P<dtype>float32|float64)\.a")
FUNCTION = re.compile(r"[0-9a-f]+ <(?P<name>[^>]+)>:")
TILE = re.compile(r"(?:\w+_)?tile_(?P<rows>\d+)x(?P<vectors>\d+)(?!.*\.cold)")
INSTRUCTION = re.compile(r"\s*(?P<address>[0-9a-f]+):\t(?P<text>.+?)(?:\s+(?:# |//).*)?")
JUMP = re.compile(r"(?:j\w+|b(?:\.\w+)?|cbn?z|tbn?z)\s.*?(?P<target>[0-9a-f]+) <")
WITHOUT_NEXT = re.compile(r"(?:jmpq?|retq?|b|br)\b(?!\.)")
FUSED = re.compile(r"vfmadd\d+p[sd]\s|vdpbf16ps\s|fmla\s+v")
PRODUCT, SUM = re.compile(r"v?mulp[sd]\s"), re.compile(r"v?addp[sd]\s")
STACK = re.compile(r"%rsp\b|\bsp\b|^(?:push|pop|call|bl)\b")
FRAME_IS_MADE = re.compile(r"mov\s+%rsp,%rbp|(?:mov|add)\s+x29, sp")
FRAME = re.compile(r"%rbp\b|\bx29\b")
READS_ONLY = r".*nop|prefetch|v?u?comi|cmp|test|jmp|call"
STORE = re.compile(rf"st\w+ .*\[|(?!{READS_ONLY}).*\([^()]*\)[^,]*$")  # last operand in memory


class Loop(NamedTuple):
    """The properties of a loop that the check examines."""

    multiply_adds: int
    stack: list[str]
    stores: list[str]


class Tile(NamedTuple):
    """A tile of ``rows`` times ``vectors`` accumulators, and its loops that multiply and add."""

    name: str
    accumulators: int
    loops: list[Loop]

    def faults(self) -> list[str]:
        """The faults of the tile, in words."""
        faults = [] if self.loops else ["no loop with multiply-adds"]
        for loop in self.loops:
            if loop.multiply_adds < self.accumulators:
                faults.append(
                    f"{loop.multiply_adds} multiply-adds for {self.accumulators} accumulators"
                )
            faults += [f"on the stack: {text}" for text in loop.stack]
            faults += [f"store: {text}" for text in loop.stores]
        return faults


def disassemble(path: Path) -> str:
    """Return the output of objdump for an object or static library."""
    objdump = shutil.which("objdump")
    if objdump is None:
        sys.exit("objdump, of binutils, is needed to check the inner loops, and is not installed")
    arguments = [objdump, "--disassemble", "--no-show-raw-insn", "--wide", str(path)]
    return subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout


def functions(listing: str) -> Iterator[tuple[str, dict[int, str]]]:
    """Return the name and the instructions, by address, of each function."""
    name, body = "", dict[int, str]()
    for line in listing.splitlines():
        if begin := FUNCTION.match(line):
            yield name, body
            name, body = begin["name"], {}
        elif instruction := INSTRUCTION.fullmatch(line):
            body[int(instruction["address"], 16)] = " ".join(instruction["text"].split())
    yield name, body


def reach(start: int, edges: dict[int, set[int]]) -> set[int]:
    """Return all nodes that can be reached from `start` by at least one edge."""
    reached, ahead = set[int](), [start]
    while ahead:
        fresh = edges[ahead.pop()] - reached
        reached |= fresh
        ahead += fresh
    return reached


def loops_through(body: dict[int, str], seeds: list[int]) -> Iterator[list[str]]:
    """Return the loops that contain a seed: with each, every node on a cycle through it."""
    after, before = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    addresses = list(body)
    for address, following in zip(addresses, [*addresses[1:], None], strict=True):
        targets = set() if WITHOUT_NEXT.match(body[address]) else {following}
        if jump := JUMP.match(body[address]):
            targets.add(int(jump["target"], 16))
        for target in targets & body.keys():
            after[address].add(target)
            before[target].add(address)
    left = set(seeds)
    while left:
        seed = min(left)
        loop = reach(seed, after) & reach(seed, before)
        left -= loop | {seed}
        if loop:
            yield [body[address] for address in sorted(loop)]


def check_tile(name: str, body: dict[int, str], is_fused: bool) -> Tile:
    """Return the loops of one tile.

    Parameters
    ----------
    name : str
        ``tile_`` rows ``x`` vectors; tiles of bfloat16 have a word before it.
    body : dict
        The tile's instructions by address.
    is_fused : bool
        Whether a multiply-add is a single instruction, or a product and a sum.
    """
    shape = TILE.match(name)
    assert shape is not None
    has_frame = any(FRAME_IS_MADE.match(text) for text in body.values())
    parts = [FUSED] if is_fused else [PRODUCT, SUM]
    seeds = [address for address, text in body.items() if parts[0].match(text)]
    loops = []
    for loop in loops_through(body, seeds):
        count = min(len([text for text in loop if part.match(text)]) for part in parts)
        if not count:  # only products, as in a derivative
            continue
        stack = [t for t in loop if STACK.search(t) or (has_frame and FRAME.search(t))]
        loops.append(Loop(count, stack, [text for text in loop if STORE.match(text)]))
    return Tile(name, int(shape["rows"]) * int(shape["vectors"]), loops)


def check(listing: str, is_fused: bool) -> list[Tile]:
    """Return the tiles among the functions that objdump has printed."""
    return [
        check_tile(name, body, is_fused) for name, body in functions(listing) if TILE.match(name)
    ]


def main() -> None:
    """Print the faults and exit with status 1, or report that there are none."""
    parser = argparse.ArgumentParser(description="Check the inner loops of the built products.")
    parser.add_argument("folder", type=Path, help="Meson's build folder")
    parser.add_argument("-v", "--verbose", action="store_true", help="also print the good tiles")
    arguments = parser.parse_args()
    builds, wrong = [], 0
    for path in sorted(arguments.folder.rglob("libfastnn_*.a")):
        library = LIBRARY.fullmatch(path.name)
        if library is None:
            continue
        build = f"{library['isa']} {library['dtype']}"
        tiles = check(disassemble(path), is_fused=library["isa"] != "v2")
        if not tiles:
            sys.exit(f"{build}: no tiles in {path}")
        builds.append(f"{build} ({len(tiles)} tiles)")
        for tile in tiles:
            faults = tile.faults()
            wrong += bool(faults)
            if faults or arguments.verbose:
                counts = " and ".join(str(loop.multiply_adds) for loop in tile.loops) or "no"
                stack = sum(len(loop.stack) for loop in tile.loops)
                stores = sum(len(loop.stores) for loop in tile.loops)
                print(
                    f"{build} {tile.name}: {counts} multiply-adds, {stack} on the stack, ", end=""
                )
                print(f"{stores} stores", *faults, sep="\n    ")
    if not builds:
        sys.exit(f"{arguments.folder} holds no kernels: libfastnn_ISA_DTYPE.a")
    if wrong:
        sys.exit(f"{wrong} tiles keep more than registers in their inner loops")
    print("inner loops keep their sums in registers:", ", ".join(builds))


if __name__ == "__main__":
    main()
