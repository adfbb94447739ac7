"""Single columns of a table: classes, categories and numbers, and their cells as inputs."""

from __future__ import annotations

import numpy as np

from fastnn.tabular.table import Table, listed

MAX_CATEGORIES = 1000
MAX_CLASSES = 1000
FEW = 20  # up to this many different whole numbers in a table's target are taken for classes
TASKS = ("classification", "regression")


def task_of(table: Table, values: np.ndarray) -> str:
    """Return the task that a target sets; in arrays, whole numbers are labels by custom."""
    if values.dtype.kind in "Ob":
        return "classification"
    is_few = not table.has_names or len(np.unique(values)) <= FEW
    return "classification" if values.dtype.kind in "iu" and is_few else "regression"


def check_target(table: Table, target: str, values: np.ndarray, classes: list[str]) -> None:
    """Check the cells of a target; `classes` is empty for a regression.

    Raises
    ------
    ValueError
        The target is text that should be numbers, the same in every row, or has too many classes.
    """
    if not classes and values.dtype.kind == "O":
        raise ValueError(
            f"{table.source}: target {target!r} holds text such as {values[0]!r}; "
            "regression expects numbers"
        )
    distinct = len(classes) or len(np.unique(values))
    if distinct < 2:
        raise ValueError(
            f"{table.source}: target {target!r} is {str(values[0])!r} in every row; "
            "expected at least two different values"
        )
    if len(classes) > MAX_CLASSES:
        raise ValueError(
            f"{table.source}: target {target!r} has {len(classes):,} classes, the limit "
            f"is {MAX_CLASSES:,}; numbers can be learned with --task regression"
        )


def as_text(values: np.ndarray) -> np.ndarray:
    """Return cells as text: 1 and 1.0 are the same class."""
    if values.dtype.kind == "O":
        return values
    cells = values.tolist()
    if values.dtype.kind == "f":
        cells = [int(cell) if cell.is_integer() else cell for cell in cells]
    return np.array(list(map(str, cells)), object)


def distinct_texts(values: np.ndarray) -> list[str]:
    """Return the distinct cells as text; numbers in the order of numbers."""
    if values.dtype.kind == "O":
        return sorted(set(values.tolist()))
    return as_text(np.unique(values)).tolist()


def categories_of(table: Table, name: str, cells: np.ndarray) -> list[str]:
    """Return the categories of a column of text.

    Raises
    ------
    ValueError
        There are too many, or nearly all of them are numbers.
    """
    known = distinct_texts(cells)
    if len(known) > FEW:
        other = [text for text in known if not _is_number(text)]
        if len(other) < 0.1 * len(known):  # one "?" makes a column of numbers text
            row = int(np.argmax(cells == other[0])) + 1 if other else 1
            raise ValueError(
                f"{table.source}: column {name!r} holds numbers, but also {listed(other, 3)} "
                f"(row {row}); mend these, or leave the column out with --drop"
            )
    if len(known) > MAX_CATEGORIES:
        raise ValueError(
            f"{table.source}: column {name!r} holds {len(known):,} different texts, the limit is "
            f"{MAX_CATEGORIES:,}; leave it out with --drop"
        )
    return known


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def codes_of(table: Table, name: str, cells: np.ndarray, known: list[str]) -> np.ndarray:
    """Return the position of each cell in `known`, as int64.

    Raises
    ------
    ValueError
        A cell is not in `known`; the message names its row.
    """
    place = {text: i for i, text in enumerate(known)}
    codes = np.array([place.get(text, -1) for text in as_text(cells)], np.int64)
    if codes.size and codes.min() < 0:
        row = int(codes.argmin())
        raise ValueError(
            f"{table.source}: column {name!r} holds {str(cells[row])!r} in row {row + 1}; "
            f"the model knows only {listed(known)}"
        )
    return codes


def mean_and_scale(table: Table, name: str, cells: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of a column of numbers; scale 1 where all are equal.

    Raises
    ------
    ValueError
        The numbers are too large for that.
    """
    values = cells.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not np.isfinite([mean, scale]).all():
        raise ValueError(f"{table.source}: column {name!r} holds too large numbers")
    # A tiny deviation may be mere rounding; the comparison says exactly whether all are equal.
    return mean, scale if scale > 0 and values.min() < values.max() else 1.0


def standardised(
    table: Table, name: str, cells: np.ndarray, mean: float, scale: float
) -> np.ndarray:
    """Return the cells of a column as float32, (cell - mean) / scale.

    Raises
    ------
    ValueError
        A cell is text, or too large.
    """
    if cells.dtype.kind == "O":
        row = next((i for i, cell in enumerate(cells) if not _is_number(cell)), 0)
        raise ValueError(
            f"{table.source}: column {name!r} must hold numbers, as in training; "
            f"it holds {cells[row]!r} in row {row + 1}"
        )
    with np.errstate(over="ignore"):
        values = ((cells.astype(np.float64) - mean) / scale).astype(np.float32)
    is_bad = ~np.isfinite(values)
    if is_bad.any():
        row = int(is_bad.argmax())
        raise ValueError(
            f"{table.source}: column {name!r} holds {cells[row]:g} in row {row + 1}, "
            "which is too large compared with the training data"
        )
    return values
