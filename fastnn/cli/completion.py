"""`fastnn --print-completion SHELL`: what lets a shell complete commands, options and files."""

from __future__ import annotations

import argparse
from typing import Any

from fastnn.cli.output import write_data
from fastnn.core import extras

SHELLS = ("bash", "zsh", "tcsh")
_FILES = ("DATA", "MODEL", "FILE.csv")


class PrintCompletion(argparse.Action):
    """Prints the completion for a shell, and exits."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, shell: Any, option: Any = None
    ) -> None:
        """Print it."""
        try:
            import shtab
        except ImportError:
            parser.error(str(extras.missing("completion needs shtab", "table")))
        for one in _parsers(parser):
            for action in one._actions:
                if action.metavar in _FILES:
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
                elif action.metavar == "FOLDER":
                    action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        write_data(shtab.complete(parser, shell))
        parser.exit(0)


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    made = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            made += action.choices.values()
    return made
