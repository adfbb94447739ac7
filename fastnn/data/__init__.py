"""What `fit`, `evaluate` and `predict` accept: checked once, up front, and made readable natively.

An error names the argument, what came and what was expected, and comes before anything has changed.
"""

from fastnn.data.arrays import (
    AnySource,
    Source,
    by_name,
    check_finite,
    checked_array,
    checked_rows,
    inputs,
    not_empty,
    target,
)
from fastnn.data.sparse import Sparse, is_sparse

__all__ = [
    "AnySource",
    "Source",
    "Sparse",
    "by_name",
    "check_finite",
    "checked_array",
    "checked_rows",
    "inputs",
    "is_sparse",
    "not_empty",
    "target",
]
