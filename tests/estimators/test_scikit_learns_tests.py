"""scikit-learn's own tests of its perceptrons, run on fastnn's.

The module of tests that is installed with scikit-learn is loaded, and the names of its classes are
bound to fastnn's; nothing of it is copied. A test that looks into scikit-learn's implementation is
in `INTERNALS`, with what it needs that fastnn does not have.
"""

from __future__ import annotations

import importlib.util

import pytest

import fastnn as fnn

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
from sklearn import neural_network

INTERNALS = {
    "test_gradient": "calls _loss_grad_lbfgs, the private loss function of their solver",
    "test_learning_rate_warmstart": "reads the learning rate of _optimizer, their private class",
    "test_adaptive_learning_rate": "reads the learning rate of _optimizer, their private class",
}
