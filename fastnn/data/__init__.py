"""What `fit`, `evaluate` and `predict` accept, checked and made readable for the kernels.

adapter.py        the only place that decides which kind of source came; returns its adapter
base.py           the base class of adapters
in_memory.py, memmap.py, batches.py   one adapter each
specification.py  what a network requires of its data
samples.py        inputs, targets and weights, checked against the specification
targets.py, sample_weight.py   what it checks them with
arrays.py, frames.py, sparse.py, objects.py   single arrays, from whatever type they were
lookups.py        text and ids, looked up where they come in; data for layers that measure them
labels.py, names.py   class labels that are not numbers, and what a network remembers of its data
"""

from fastnn.data.arrays import (
    AnySource,
    Source,
    check_finite,
    checked_array,
    checked_rows,
    sliceable,
)
from fastnn.data.lookups import measured_parts, read
from fastnn.data.names import Names
from fastnn.data.samples import Samples, by_name, inputs, not_empty
from fastnn.data.sparse import Sparse, is_sparse
from fastnn.data.specification import DataSpecification, InputSpecification, TargetSpecification
from fastnn.data.steps import Steps

__all__ = [
    "AnySource",
    "DataSpecification",
    "InputSpecification",
    "Names",
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
    "measured_parts",
    "not_empty",
    "read",
    "sliceable",
]
