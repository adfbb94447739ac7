"""Networks for tables that need no tuning: their layers, optimizer, schedules and initial weights.

A recipe is a declaration of hyper-parameters. It makes a compiled network for encoded inputs
(`Recipe.network`) and sets initial weights that fit the data (`Recipe.initialize`); `learning.py`
trains it.
"""

from fastnn.tabular.recipes.base import Recipe, Task, get, registry
from fastnn.tabular.recipes.realmlp import RealMLP
from fastnn.tabular.recipes.tabm import TabM

AUTO = RealMLP.name  # what "auto" stands for

__all__ = ["AUTO", "RealMLP", "Recipe", "TabM", "Task", "get", "registry"]
