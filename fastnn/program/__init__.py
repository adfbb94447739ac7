"""From layers to a program: lower, differentiate, fuse, plan; and a plain executor of it.

ops.py        the op table: what each op computes with, and how it is differentiated
lower.py      layers, loss and metrics to a list of forward ops
autodiff.py   the backward ops, by walking that list in reverse
fuse.py       patterns of ops that one kernel does
plan.py       where every value lives, which barriers are needed; checks both
reference.py  the same program in plain NumPy: the oracle of the tests
"""
