"""From layers to a program: lower, differentiate, fuse, plan; and a plain executor for it.

ops.py            the op table: how each op is computed and how it is differentiated
purpose.py        what a program is for
graph.py          what lowering needs to know about layers
builder.py        collects the forward ops that layers emit
lower.py          turns layers, losses, metrics and the optimizer into an unfused program
objective.py      the losses and metrics of a program
optimizer_ops.py  the updates of a program, and the penalties of regularizers
autodiff.py       the backward ops, found by walking the forward ops in reverse
fuse.py           a pass over a program: patterns of ops that one kernel can compute
externals.py      numbers the arrays that each run supplies
plan.py           decides where every value lives and which barriers are needed; checks both
python_ops.py     ops written by the user
reference/        runs the same program in plain NumPy: the oracle of the tests
"""
