"""The command `fastnn`: `parser` has the entry point, and each command a module of its own."""

from fastnn.cli.parser import main

__all__ = ["main"]
