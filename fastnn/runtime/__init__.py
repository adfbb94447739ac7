"""What a built network runs on: arenas, programs bound to them, teams, a fast path for few rows."""

from fastnn.runtime.runtime import ROWS, Bound, Objective, Runtime, Steps, aligned

__all__ = ["ROWS", "Bound", "Objective", "Runtime", "Steps", "aligned"]
