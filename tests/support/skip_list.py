"""`--no-unexpected-skips`: a run fails if a test is skipped that `tests/skips.toml` does not list.

A check that is skipped everywhere is not a check. Even where everything that tests may use is
installed, a skipped test must be on that list, with the reason; an entry that matches no
test, or whose tests were not skipped though `always` says so, fails the run as well.
"""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """An entry: tests that may be skipped.

    Attributes
    ----------
    tests : str
        Pattern of their node ids, as in `fnmatch`; brackets are literal.
    skipped : str
        Pattern of the reason that pytest prints.
    because : str
        Why the skip is justified.
    always : bool
        Whether these tests are skipped on every machine.
    """

    tests: str
    skipped: str
    because: str
    always: bool = False

    def matches(self, test: str, reason: str | None = None) -> bool:
        """Return whether the entry matches a test and, if a reason is given, its skip."""
        return _matches(test, self.tests) and (reason is None or _matches(reason, self.skipped))


def _matches(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def read(path: Path) -> list[Entry]:
    """Return the entries of a list, each of which gives a reason.

    Raises
    ------
    ValueError
        An entry lacks `tests`, `skipped` or `because`.
    """
    entries = []
    for table in tomllib.loads(path.read_text())["skip"]:
        for name in ("tests", "skipped", "because"):
            if not str(table.get(name, "")).strip():
                raise ValueError(f"{path}: {name} is missing in {table}")
        entries.append(Entry(**table))
    return entries


@dataclass(eq=False)  # pytest requires plugins to be hashable
class SkipRecord:
    """A pytest plugin that records skips, and fails the run on unexpected ones.

    Parameters
    ----------
    entries : list of Entry
    """

    entries: list[Entry]
    tests: set[str] = field(default_factory=set)
    skips: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Record a test; an expected failure is not a skip."""
        self.tests.add(report.nodeid)
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skips[report.nodeid] = _reason(report)

    def pytest_collectreport(self, report: Any) -> None:
        """Record a file that is skipped as a whole."""
        if report.skipped:
            self.skips[report.nodeid] = _reason(report)

    def faults(self) -> list[str]:
        """Return one line for each skip that is not on the list, and for each unused entry."""
        lines = [
            f"skipped, but not on the list: {test}: {reason}"
            for test, reason in sorted(self.skips.items())
            if not any(entry.matches(test, reason) for entry in self.entries)
        ]
        for entry in self.entries:
            if not any(entry.matches(test) for test in self.tests | set(self.skips)):
                lines.append(f"the list names tests that do not exist: {entry.tests}")
            elif entry.always and not any(entry.matches(*skip) for skip in self.skips.items()):
                lines.append(f"the list names a skip that did not happen: {entry.tests}")
        return lines

    def pytest_sessionfinish(self, session: Any) -> None:
        """Fail a run that would have passed."""
        if self.faults() and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the faults."""
        faults = self.faults()
        if faults:
            terminalreporter.section("unexpected skips (tests/skips.toml)", red=True)
            for line in faults:
                terminalreporter.line(line)


def _reason(report: Any) -> str:
    """Return the reason of a skip, without the prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
