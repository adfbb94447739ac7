"""Trains by a team of two workers that never wait for each other; for `make races`.

A check that finds nothing must be seen to find something: ThreadSanitizer has to report this.
"""

import numpy as np

import fastnn as fnn
from fastnn.core import threads
from fastnn.program.plan import Call

threads.WORK_PER_WORKER = 1
fnn.set_num_threads(2)
make = Call.__init__


def without_barrier(self, *arguments, **options):
    """Make a call that no barrier follows."""
    make(self, *arguments, **options)
    object.__setattr__(self, "barrier", False)


Call.__init__ = without_barrier
model = fnn.Sequential([fnn.Dense(64, "relu"), fnn.Dense(1)], input_shape=(32,), seed=0)
model.compile("sgd", "mse")
x = np.random.default_rng(0).normal(size=(1000, 32)).astype("float32")
model.fit(x, x.sum(axis=1), epochs=3, verbose=0)
