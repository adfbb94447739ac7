"""Runs a built network: arenas, programs bound to them, teams, and a fast path for few rows."""

from fastnn.data.steps import Steps
from fastnn.program.objective import Objective
from fastnn.program.purpose import Purpose, Wrt
from fastnn.runtime.arenas import aligned
from fastnn.runtime.bound import Bound, Run
from fastnn.runtime.runtime import ROWS, Runtime

__all__ = ["ROWS", "Bound", "Objective", "Purpose", "Run", "Runtime", "Steps", "Wrt", "aligned"]
