"""Compare fastnn's estimators for tables with other libraries, all with their defaults.

    python -m pip install "fastnn-cpu[rivals]"
    python benchmarks/tables.py fetch                          # the tables, once
    python benchmarks/tables.py run --sides fastnn LightGBM --tables 'adult' 'wine'
    python benchmarks/tables.py report                         # a Markdown table

Each table is split at random five times into 80 % for training and 20 % for testing; classes keep
their shares. The error is 1 - AUC for two classes, 1 - accuracy for more, and the root of the mean
square (RMSE) for numbers. Every fit appends one line of JSON to the file of results, so that a run
can be stopped and continued, and sides can be added. Sides run in turns on each split, so that a
slow hour of the machine meets them all.

`run --sides 'trial=module:Classifier/Regressor' --options '{"n_members": 4}'` adds a variant under
the name `trial`; the module is looked up in the current folder as well. Its results may go to a
file of their own, `--results trial.jsonl`, and `report --results A B` reads several.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from table_data import TABLES, fetch, folder, load, split
from table_report import report
from table_rivals import AS_IT_IS, BASE, SIDES, Setting, Side, available, from_module

SPLITS = 5
# Read when a library is loaded, hence set before this program starts once more.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS")


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Share of pairs of a positive and a negative row that are in order; ties count one half."""
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[group]
    positive = int(truth.sum())
    pairs = positive * (len(truth) - positive)
    return float((rank[truth].sum() - positive * (positive + 1) / 2) / pairs)


def error(model: Any, X: pd.DataFrame, y: pd.Series, classes: np.ndarray | None) -> float:
    """The error of a fitted model; `classes` is None for numbers."""
    truth = y.to_numpy()
    if classes is None:
        found = np.asarray(model.predict(X), dtype=np.float64)
        return float(np.sqrt(np.mean((found - truth) ** 2)))
    if len(classes) > 2:
        return float(np.mean(np.asarray(model.predict(X)) != truth))
    score = np.asarray(model.predict_proba(X), dtype=np.float64)[:, 1]
    if not np.isfinite(score).all():
        raise ValueError("probabilities that are not finite")
    return 1 - auc(truth == classes[1], score)


def measure(name: str, side: Side, number: int, threads: int) -> dict[str, Any]:
    """Fit one side on one split of one table."""
    X, y = load(name)
    task = TABLES[name].task
    train, test = split(y, task, number)
    # Imports and the making of the estimator are not part of the time.
    model = side.make(Setting(task, number, threads))
    start = time.perf_counter()
    model.fit(X.iloc[train].reset_index(drop=True), y.iloc[train].reset_index(drop=True))
    fitted = time.perf_counter()
    held_out, truth = X.iloc[test].reset_index(drop=True), y.iloc[test].reset_index(drop=True)
    classes = np.unique(y.to_numpy()) if task == "classification" else None
    before = time.perf_counter()
    (model.predict if classes is None else model.predict_proba)(held_out)
    predicted = time.perf_counter()
    kind = "RMSE" if classes is None else "1 - AUC" if len(classes) == 2 else "1 - accuracy"
    return {
        "table": name,
        "split": number,
        "measure": kind,
        "error": error(model, held_out, truth, classes),
        "fit_seconds": fitted - start,
        "predict_seconds": predicted - before,
        "rows": len(X),
        "columns": X.shape[1],
        "data": fingerprint(X, y, test),
    }


def fingerprint(X: pd.DataFrame, y: pd.Series, test: np.ndarray) -> str:
    """The same for the same cells and split, so that only equal problems are compared."""
    digest = hashlib.sha256(",".join(map(str, X.columns)).encode())
    for frame in (X, y):
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    digest.update(test.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def machine(threads: int) -> dict[str, Any]:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "processors": len(os.sched_getaffinity(0)),
        "threads": threads,
        "python": platform.python_version(),
    }


def chosen_sides(specs: list[str], options: dict[str, Any]) -> dict[str, Side]:
    found = {}
    for spec in specs:
        if "=" in spec:
            name, _, path = spec.partition("=")
            found[name] = Side(from_module(path, options), ("fastnn-cpu",), AS_IT_IS)
        elif spec in SIDES:
            found[spec] = SIDES[spec]
        else:
            raise SystemExit(f"--sides {spec}: no such side; there are {', '.join(SIDES)}")
    return found


def chosen_tables(patterns: list[str]) -> list[str]:
    found = [name for name in TABLES if any(fnmatch.fnmatch(name, each) for each in patterns)]
    if not found:
        raise SystemExit(f"--tables {' '.join(patterns)}: no such table; see {', '.join(TABLES)}")
    return found


def run(arguments: argparse.Namespace) -> int:
    sides = chosen_sides(arguments.sides or available(), json.loads(arguments.options))
    path, threads = arguments.results, arguments.threads
    path.parent.mkdir(parents=True, exist_ok=True)
    # What was measured on a busy machine is measured again where times are wanted.
    done = {
        (each["table"], each["split"], each["side"])
        for each in read(path)
        if each["timed"] or arguments.untimed
    }
    failed = 0
    for name in chosen_tables(arguments.tables):
        for number in arguments.splits:
            for side_name, side in sides.items():
                if (name, number, side_name) in done and not arguments.again:
                    continue
                try:
                    record = measure(name, side, number, threads)
                except Exception as problem:  # one side's failure must not end a long run
                    failed += 1
                    print(f"{name}, split {number}, {side_name}: {problem!r}", file=sys.stderr)
                    continue
                record |= {
                    "side": side_name,
                    "timed": not arguments.untimed,
                    "versions": side.versions(),
                    "machine": machine(threads),
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                # A line is written at once, so that several processes may add to one file.
                with path.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(
                    f"{name:20} split {number}  {side_name:20} {record['measure']:12} "
                    f"{record['error']:<11.5g} fit {record['fit_seconds']:.2f} s",
                    flush=True,
                )
    return 1 if failed else 0


def numbers(text: str) -> list[int]:
    """The numbers of "0,2-4": 0, 2, 3 and 4."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = made.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="download the packages, and write their tables")
    fetching.add_argument("--tables", nargs="+", default=["*"], metavar="PATTERN")
    running = commands.add_parser("run", help="fit the sides, and append the results to a file")
    running.add_argument("--sides", nargs="+", metavar="SIDE", help="default: all that can run")
    running.add_argument("--options", default="{}", help="JSON; arguments of sides given by module")
    running.add_argument("--tables", nargs="+", default=["*"], metavar="PATTERN")
    running.add_argument("--splits", type=numbers, default=list(range(SPLITS)), help="like 0,2-4")
    running.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    running.add_argument("--again", action="store_true", help="repeat what the file already has")
    running.add_argument(
        "--untimed", action="store_true", help="errors only: the machine has other work to do"
    )
    reporting = commands.add_parser("report", help="print a Markdown table of the results")
    reporting.add_argument("--sides", nargs="+", metavar="SIDE")
    reporting.add_argument("--tables", nargs="+", default=["*"], metavar="PATTERN")
    reporting.add_argument("--base", default=BASE, help="the side that ratios are relative to")
    results = folder() / "results.jsonl"
    running.add_argument("--results", type=Path, default=results)
    reporting.add_argument(
        "--results", nargs="+", type=Path, default=[results], help="files that are read together"
    )
    return made


def main(arguments: argparse.Namespace) -> int:
    if arguments.command == "fetch":
        for path in fetch(chosen_tables(arguments.tables)):
            print(path)
        return 0
    if arguments.command == "run":
        return run(arguments)
    tables = chosen_tables(arguments.tables)
    results = [record for path in arguments.results for record in read(path)]
    records = [each for each in results if each["table"] in tables]
    sides = arguments.sides or [*SIDES, *dict.fromkeys(each["side"] for each in records)]
    print(report(records, tables, list(dict.fromkeys(sides)), arguments.base))
    return 0


if __name__ == "__main__":
    given = parser().parse_args()
    wanted = {name: str(given.threads) for name in THREADS} if given.command == "run" else {}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})
    sys.path.append(os.getcwd())
    raise SystemExit(main(given))
