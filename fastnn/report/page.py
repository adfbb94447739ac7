"""The page of a report: what was understood, learned and found out, as text and pictures."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from importlib import resources
from typing import Any

import fastnn as fnn
from fastnn.core import extras
from fastnn.report.pictures import MOST_IMPORTANT, Picture, pictures
from fastnn.tabular import scores
from fastnn.tabular.evaluation import as_table
from fastnn.tabular.importance import Importance
from fastnn.tabular.progress import duration
from fastnn.tabular.study import Result

TEMPLATE = "page.html"
GROUPED = 3  # columns, the most important ones
NAMES = {
    "log_loss": "log loss", "accuracy": "accuracy", "roc_auc": "area under ROC curve",
    "average_precision": "average precision", "f1": "F1", "balanced_accuracy": "balanced accuracy",
    "rmse": "root mean square error", "mae": "mean absolute error", "r2": "R²",
    "pinball": "pinball loss", "coverage": "share within the outer quantiles",
}  # fmt: skip
OF_GROUPS = {"classification": ("accuracy", "log_loss"), "regression": ("rmse", "mae")}


@dataclass(frozen=True)
class Conditions:
    """Under which a model was trained.

    Attributes
    ----------
    command : str
        As one would type it again.
    seed : int
    seconds : float
        From reading the table to saving the model.
    """

    command: str
    seed: int
    seconds: float


def page(result: Result, conditions: Conditions) -> str:
    """Return the page of a report.

    Parameters
    ----------
    result : Result
    conditions : Conditions

    Raises
    ------
    ImportError
        jinja2 or matplotlib is missing; the message names the extra.
    """
    try:
        import jinja2
        import matplotlib  # noqa: F401
    except ImportError:
        raise extras.missing("a report page needs jinja2 and matplotlib", "table") from None
    source = resources.files("fastnn.report").joinpath(TEMPLATE).read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    found = result.importance(seed=conditions.seed)
    drawn = {picture.name: picture for picture in pictures(result, found)}
    return environment.from_string(source).render(
        **_facts(result), **_numbers(result, found), pictures=drawn, **_circumstances(conditions)
    )


def _facts(result: Result) -> dict[str, Any]:
    study, model = result.study, result.fitted.model
    target = study.target
    rows = len(study.held_out)
    source = os.path.basename(study.table.source) or "a table"
    classes = None
    if target.classes is not None and target.counts is not None:
        total = int(target.counts.sum())
        classes = [
            (str(one), f"{count:,}", f"{count / total:.1%}")
            for one, count in zip(target.classes.tolist(), target.counts.tolist(), strict=True)
        ]
    return {
        "title": f"{target.name}, predicted from {source}",
        "target": target,
        "classes": classes[:30] if classes else None,
        "more_classes": max(0, len(classes or []) - 30),
        "rows": study.table.rows,
        "train": len(study.train),
        "held_out": rows,
        "decisions": model.encoding.decisions,
        "left_out": study.table.left_out,
        "notes": study.table.notes,
        "low": text_of(target.low),
        "high": text_of(target.high),
    }


def _numbers(result: Result, found: Importance | None) -> dict[str, Any]:
    learned, study = result.fitted.learned, result.study
    held = result.evaluation.scores if result.has_held_out else {}
    names = [*held, *(name for name in learned.scores if name not in held)]
    table = [
        (
            NAMES.get(name, name),
            text_of(held.get(name)),
            text_of(learned.scores.get(name)),
            _better(name),
        )
        for name in names
    ]
    columns = [] if found is None else [c for c in found.columns if c in study.table.columns]
    groups = {}
    for name, rows in result.groups(columns[:GROUPED]).items():
        heads, cells = as_table(rows)
        kept = [0, 1, *(i for i, h in enumerate(heads) if h in OF_GROUPS[study.target.task])]
        groups[name] = (
            [heads[i].replace("_", " ") for i in kept],
            [[text_of(row[i]) for i in kept] for row in cells],
        )
    members = learned.members
    other = scores.fallback(study.target.task).name
    return {
        "scores": table,
        "metric": NAMES.get(learned.score.name, learned.score.name),
        "members": len(members),
        "epochs": max(len(member.curve) for member in members),
        "others": sum(member.score.name != learned.score.name for member in members),
        "other_metric": NAMES.get(other, other),
        "best_epochs": ", ".join(str(member.best_epoch + 1) for member in members),
        "stop_reason": learned.stop_reason,
        "parameters": learned.model.count_parameters(),
        "groups": groups,
        "importance": found,
        "most_important": MOST_IMPORTANT,
        "importance_metric": "" if found is None else NAMES.get(found.metric, found.metric),
        "importance_score": "" if found is None else text_of(found.score),
        "few": 0 < len(study.held_out) < 10,
    }


def _circumstances(conditions: Conditions) -> dict[str, Any]:
    config = fnn.show_config("dict") or {}
    versions = {"fastnn": fnn.__version__, "Python": platform.python_version()}
    for name in ("numpy", "pandas", "pyarrow", "matplotlib"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = f"{_processor()}, {config.get('isa', '?')}, {fnn.get_num_threads()} threads"
    return {
        "command": conditions.command,
        "seed": conditions.seed,
        "duration": duration(conditions.seconds),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "machine": f"{platform.system()} {platform.machine()}, {machine}",
    }


def _processor() -> str:
    """Return the name of the processor."""
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith("model name"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or "unknown processor"


def _better(name: str) -> str:
    if name in scores.SCORES:
        return "higher is better" if scores.SCORES[name].is_better_high else "lower is better"
    return "lower is better" if name == "pinball" else ""


def text_of(value: Any) -> str:
    """Return a number as people read it; a dash for none."""
    if value is None or value != value:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.4g}"
    return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.2f}"


__all__ = ["NAMES", "Conditions", "Picture", "page", "text_of"]
