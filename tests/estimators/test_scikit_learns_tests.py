"""scikit-learn's own tests of its perceptrons, run on fastnn's.

The module of tests that is installed with scikit-learn is executed with its names for the two
classes bound to fastnn's; nothing of it is copied. A test that looks into scikit-learn's
implementation is in `INTERNALS`, with what it needs that fastnn does not have.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

from sklearn import neural_network

import fastnn as fnn

INTERNALS = {
    "test_gradient": "calls _loss_grad_lbfgs, the private function that their solver minimizes",
    "test_learning_rate_warmstart": "reads the learning rate of their private _optimizer; see "
    "test_mlp.py::test_invscaling_continues_with_warm_start",
    "test_adaptive_learning_rate": "reads the learning rate of their private _optimizer; see "
    "test_mlp.py::test_adaptive_learning_rate_becomes_small",
}

pytestmark = pytest.mark.filterwarnings("default")  # as scikit-learn runs them


def _loaded() -> ModuleType:
    """Return scikit-learn's module of tests, which imports fastnn's classes."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLPClassifier", "MLPRegressor"):
            patch.setattr(neural_network, name, getattr(fnn, name))
        spec.loader.exec_module(module)
    return module


_module = _loaded()
_tests = {name: test for name, test in vars(_module).items() if name.startswith("test_")}
for _name, _reason in INTERNALS.items():
    # The only thing that may be missing is what is private.
    _tests[_name] = pytest.mark.xfail(raises=AttributeError, strict=True, reason=_reason)(
        _tests[_name]
    )
globals().update(_tests)


@pytest.fixture
def global_random_seed():
    """What scikit-learn's conftest.py provides, with its default."""
    return 42


def test_the_tests_run_on_these_classes():
    assert _module.MLPClassifier is fnn.MLPClassifier
    assert _module.MLPRegressor is fnn.MLPRegressor
    assert len(_tests) >= 40
    assert neural_network.MLPClassifier is not fnn.MLPClassifier
