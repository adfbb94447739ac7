"""Change random places of an installed fastnn, one at a time, and see whether its tests notice.

Usage: python -P tools/mutate.py --number 50 --seed 0, with the Python of an environment that
nothing else uses: `make mutate N=50 SEED=0` makes one. The suite first runs once to learn which
tests run which lines (kept in the output folder until the package or the tests change). Then, for
each place: its source is changed in site-packages, the tests that run its line are run until one
fails, and the source is put back. What no test notices has survived: either a check is missing, or
the change has no effect. The exit status is 0 whatever survives.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import hashlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"

COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitXor, ast.BitXor: ast.BitAnd,
}  # fmt: skip
QUICK_TESTS = 200  # of those that run the line; the others follow where none of these notices
LEAST_SECONDS = 60.0
NOTHING_COLLECTED = 5  # an exit status of pytest: no test is marked, or every one is


@dataclass(frozen=True)
class Site:
    """A place that can be changed.

    Attributes
    ----------
    file : str
        Relative to the package.
    line, statement : int
        Where it begins, and where the statement begins that it belongs to.
    first, last : int
        Bytes of the source that are replaced.
    kind : {"comparison", "operator", "constant", "flag", "not", "condition"}
    before, after : str
    """

    file: str
    line: int
    statement: int
    first: int
    last: int
    kind: str
    before: str
    after: str


# --- where, and what instead ----------------------------------------------------------------------


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield each kind of change of an expression with the changed expression."""
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[i] = COMPARISONS[type(operator)]()
            yield "comparison", changed
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        changed = copy.deepcopy(node)
        changed.op = OPERATORS[type(node.op)]()
        yield "operator", changed
    elif isinstance(node, ast.BoolOp):
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "operator", changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", node.operand
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "operator", node.operand
    elif isinstance(node, ast.IfExp):
        changed = copy.deepcopy(node)
        changed.test = ast.UnaryOp(ast.Not(), node.test)
        yield "condition", changed
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "flag", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        # Doubling what is not 0 or 1 also moves a tolerance, which adding 1 would drown.
        small = node.value in (0, 1)
        yield "constant", ast.Constant(node.value + 1 if small else node.value * 2)


def _expressions(tree: ast.AST, statement: int = 1) -> Iterator[tuple[ast.AST, int]]:
    """Walk what runs, each node with the line of its statement.

    Annotations do not run, nor does what stands under TYPE_CHECKING; assert is left alone.
    """
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "type_comment", "decorator_list"):
            continue
        if isinstance(tree, ast.JoinedStr):  # positions in f-strings differ between Pythons
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Assert):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            begins = child.lineno if isinstance(child, ast.stmt) else statement
            yield child, begins
            yield from _expressions(child, begins)


def sites(source: bytes, file: str) -> list[Site]:
    """Return every place of a source that can be changed, in its order.

    Parameters
    ----------
    source : bytes
    file : str
        What the places say they are in.

    Returns
    -------
    list of Site
    """
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, statement in _expressions(ast.parse(source)):
        if not isinstance(node, ast.expr):
            continue
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[node.end_lineno - 1] + node.end_col_offset
        for kind, changed in _changes(node):
            before = source[first:last].decode()
            # In brackets, for what stands around it may bind more strongly.
            after = f"({ast.unparse(ast.fix_missing_locations(changed))})"
            found.append(Site(file, node.lineno, statement, first, last, kind, before, after))
    return sorted(found, key=lambda site: (site.first, site.last, site.after))


def changed(source: bytes, site: Site) -> bytes:
    """Return the source with one place changed and no line moved."""
    lines = source[site.first : site.last].count(b"\n")
    after = site.after.replace("\n", " ")[:-1] + "\n" * lines + ")"
    return source[: site.first] + after.encode() + source[site.last :]


@contextlib.contextmanager
def replaced(path: Path, text: bytes) -> Iterator[None]:
    """Have another text in a file for a while, whatever happens meanwhile."""
    before = path.read_bytes()
    compiled = Path(importlib.util.cache_from_source(str(path)))
    try:
        compiled.unlink(missing_ok=True)
        path.write_bytes(text)
        yield
    finally:
        path.write_bytes(before)
        compiled.unlink(missing_ok=True)


# --- which tests ----------------------------------------------------------------------------------


def run_tests(arguments: list[str], seconds: float, folder: Path) -> tuple[int | None, str]:
    """Return pytest's exit status, None where it took longer, and what it printed."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    ) as child:  # fmt: skip
        try:
            printed, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # tests start processes of their own
            printed, _ = child.communicate()
            return None, printed
    return child.returncode, printed


def fingerprint(package: Path, tests: list[str]) -> str:
    """Return a digest of all that the map of lines depends on."""
    digest = hashlib.sha256(repr(sorted(tests)).encode())
    for root in (package, TESTS):
        for path in sorted(root.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def test_of(context: str) -> str:
    """Return the test of a context of pytest-cov, which names its phase, too."""
    return context.rpartition("|")[0]


def tests_by_line(package: Path, folder: Path, tests: list[str]) -> dict[str, dict[int, list[str]]]:
    """Return the tests that run each line of each file; made once, then read.

    Parameters
    ----------
    package, folder : Path
        The installed package; where the map is kept.
    tests : list of str
        Files and folders of tests.

    Returns
    -------
    dict
        By file, relative to the package, and line: node ids.

    Raises
    ------
    SystemExit
        If the tests do not pass before anything has been changed.
    """
    import coverage

    kept, state = folder / "lines.json", fingerprint(package, tests)
    if not kept.exists() or json.loads(kept.read_text())["state"] != state:
        coverage_of = ["--cov=fastnn", "--cov-report=", "--cov-context=test"]
        for which in (["-n", "2", "--dist", "loadfile", "-m", "not alone"],
                      ["--cov-append", "-m", "alone"]):  # fmt: skip
            status, printed = run_tests([*tests, *coverage_of, *which], 3600, folder)
            if status not in (0, NOTHING_COLLECTED):
                raise SystemExit(
                    f"the tests must pass before anything is changed:\n{printed[-3000:]}"
                )
        data = coverage.CoverageData(str(folder / ".coverage"))
        data.read()
        lines: dict[str, dict[int, list[str]]] = {}
        for name in data.measured_files():
            path = Path(name)
            if path.is_relative_to(package):
                by_line = data.contexts_by_lineno(name)
                lines[str(path.relative_to(package))] = {
                    line: sorted({test_of(context) for context in contexts if context})
                    for line, contexts in by_line.items()
                }
        kept.write_text(json.dumps({"state": state, "lines": lines}))
    found = json.loads(kept.read_text())["lines"]
    return {file: {int(n): ids for n, ids in by.items()} for file, by in found.items()}


def outcome(
    site: Site, lines: dict[int, list[str]], run: Callable[[list[str], float], Any], rng: Any
) -> dict[str, Any]:
    """Run the tests of a line until one fails.

    A line that runs while the package is imported belongs to no test: then it is those that run
    any line of its file. A line of constants alone does not run, but its statement does.

    Parameters
    ----------
    site : Site
    lines : dict
        Of its file: the tests of each line.
    run : callable
        `run(node_ids, seconds)` returns status and output.
    rng : random.Random

    Returns
    -------
    dict
        "outcome" ("noticed", "timeout", "survived", "not run"), "by", the test, and "tests",
        how many were run.
    """
    line = site.line if site.line in lines else site.statement
    if line not in lines:
        return {"outcome": "not run", "by": "", "tests": 0}
    ids = lines[line] or sorted({test for tests in lines.values() for test in tests})
    quick = rng.sample(ids, min(QUICK_TESTS, len(ids)))
    rest = sorted(set(ids) - set(quick))
    for part in filter(None, (quick, rest)):
        status, printed = run(part, LEAST_SECONDS + 0.2 * len(part))
        if status is None:
            return {"outcome": "timeout", "by": "", "tests": len(part)}
        if status != 0:
            return {"outcome": "noticed", "by": _first_failure(printed), "tests": len(part)}
    return {"outcome": "survived", "by": "", "tests": len(ids)}


def _first_failure(printed: str) -> str:
    for line in printed.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split(" - ")[0].split(" ", 1)[1]
    return "pytest does not start"  # conftest.py imports fastnn


# --- the command ----------------------------------------------------------------------------------


def package_folder() -> Path:
    """Return where fastnn is installed; only an installed one is changed."""
    specification = importlib.util.find_spec("fastnn")
    if specification is None or specification.origin is None:
        raise SystemExit("fastnn is not installed for this Python")
    folder = Path(specification.origin).parent
    if "site-packages" not in folder.parts:
        raise SystemExit(f"only an installed fastnn may be changed, but this Python has {folder}")
    return folder


def main(arguments: argparse.Namespace) -> None:
    """Change, test, put back; report."""
    package, folder = package_folder(), Path(arguments.output).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lines = tests_by_line(package, folder, [str(Path(path).resolve()) for path in arguments.tests])
    everywhere = [
        site
        for path in sorted(package.rglob("*.py"))
        for site in sites(path.read_bytes(), str(path.relative_to(package)))
        if not arguments.file or any(part in site.file for part in arguments.file)
    ]
    rng = random.Random(arguments.seed)
    sample = rng.sample(everywhere, min(arguments.number, len(everywhere)))
    print(f"{len(sample)} of {len(everywhere)} places, seed {arguments.seed}", flush=True)
    names = folder / "tests.txt"

    def run(ids: list[str], seconds: float) -> tuple[int | None, str]:
        names.write_text("".join(f"{TESTS.parent / test}\n" for test in ids))
        return run_tests(["-x", "--no-header", f"@{names}"], seconds, folder)

    results = []
    for number, site in enumerate(sample, 1):
        began, path = time.perf_counter(), package / site.file
        with replaced(path, changed(path.read_bytes(), site)):
            found = outcome(site, lines.get(site.file, {}), run, rng)
        results.append({**asdict(site), **found})
        took = time.perf_counter() - began
        what = "  ->  ".join(" ".join(text.split()) for text in (site.before, site.after))
        where = f"[{number}/{len(sample)}] {found['outcome']:8} {took:4.0f} s  {site.file}"
        print(f"{where}:{site.line}  {what}  {found['by']}", flush=True)
        (folder / "mutants.json").write_text(json.dumps(results, indent=1))
    counts = {
        kind: sum(result["outcome"] == kind for result in results)
        for kind in ("noticed", "timeout", "survived", "not run")
    }
    print(", ".join(f"{kind}: {count}" for kind, count in counts.items()))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--number", type=int, default=50, help="of places; default: 50")
    made.add_argument("--seed", type=int, default=0, help="of the sample; default: 0")
    made.add_argument("--file", action="append", help="only files whose path contains this")
    made.add_argument("--tests", nargs="+", default=[str(TESTS)], help="default: all of them")
    made.add_argument("--output", default="out/mutants", help="default: out/mutants")
    return made


if __name__ == "__main__":
    # An end from outside puts the source back, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main(parser().parse_args())
