"""The command `fastnn`: `parser` has its arguments, exit status and errors; a module a command."""

from fastnn.cli.parser import main

__all__ = ["main"]
