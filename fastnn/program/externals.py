"""Numbers for the places of a program whose addresses each run supplies."""

from __future__ import annotations

from itertools import count

from fastnn.program.lower import Program


class Externals:
    """Numbers of the arrays that a run supplies, assigned once when a program is planned.

    Parameters
    ----------
    program : Program

    Attributes
    ----------
    order : int
        The array with the order of the rows.
    sources : list of int
        For each input, the data of all rows; for a sparse input, its `indptr`.
    batches : list of int
        For each input, the batch that ops read: either gathered or in the user's data.
    entries : dict of int to int
        For each sparse input, by its position, its entries (values and columns).
    outputs : dict of str to int
        Numbers by name, for the outputs that are written to arrays of all rows.
    results : dict of str to int
        Numbers by name, for the results.
    total : int
        How many numbers there are.

    Examples
    --------
    >>> from fastnn.program.externals import Externals
    >>> from fastnn.program.lower import Program
    >>> from fastnn.program.ops import Op, Value
    >>> from fastnn.program.purpose import Purpose
    >>> x = Value("x", (3,), storage="input")
    >>> numbers = Externals(Program(Purpose.PREDICT, [Op("gather", (), (x,))], [x]))
    >>> numbers.order, numbers.sources, numbers.batches, numbers.total
    (0, [1], [2], 3)
    """

    def __init__(self, program: Program) -> None:
        numbers = count()
        inputs = program.inputs
        self.order = next(numbers)
        self.sources = [next(numbers) for _ in inputs]
        self.batches = [next(numbers) for _ in inputs]
        self.entries = {i: next(numbers) for i, v in enumerate(inputs) if v.storage == "sparse"}
        arrays = [value.name for value in program.outputs if value.storage == "output"]
        self.outputs = {name: next(numbers) for name in arrays}
        self.results = {name: next(numbers) for name in program.results}
        self.total = next(numbers)
