"""What `fit`, `evaluate` and `predict` accept: checked, and made readable natively.

adapter.py        the one place that decides what came, and gives the adapter for it
base.py           what adapters have in common
in_memory.py, memmap.py, batches.py   one adapter each
specification.py  what a network says of its data
samples.py        inputs, targets and weights checked against that
arrays.py, frames.py, sparse.py       single arrays, whatever they were
"""

from fastnn.data.arrays import (
    AnySource,
    Source,
    check_finite,
    checked_array,
    checked_rows,
)
from fastnn.data.samples import Samples, by_name, inputs, not_empty
from fastnn.data.sparse import Sparse, is_sparse
from fastnn.data.specification import DataSpecification, InputSpecification, TargetSpecification
from fastnn.data.steps import Steps

__all__ = [
    "AnySource",
    "DataSpecification",
    "InputSpecification",
    "Samples",
    "Source",
    "Sparse",
    "Steps",
    "TargetSpecification",
    "by_name",
    "check_finite",
    "checked_array",
    "checked_rows",
    "inputs",
    "is_sparse",
    "not_empty",
]
