"""From layers to a program: lower, differentiate, fuse, plan; and a plain executor of it.

ops.py            the op table: what each op computes with, and how it is differentiated
purpose.py        what a program is for
graph.py          what lowering needs to know of layers
builder.py        what layers emit their forward ops into
lower.py          layers, losses, metrics and the optimizer to a program, unfused
objective.py      its losses and metrics
optimizer_ops.py  its updates, and the penalties of regularizers
autodiff.py       its backward ops, by walking the forward ops in reverse
fuse.py           a pass over it: patterns of ops that one kernel does
externals.py      numbers of the arrays that each run brings
plan.py           where every value lives, which barriers are needed; checks both
python_ops.py     ops that the user has written
reference/        the same program in plain NumPy: the oracle of the tests
"""
