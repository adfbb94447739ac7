"""What a built network runs on: arenas, programs bound to them, teams, a fast path for few rows."""

from fastnn.runtime.runtime import ROWS, Bound, Runtime, Steps, Training, aligned

__all__ = ["ROWS", "Bound", "Runtime", "Steps", "Training", "aligned"]
