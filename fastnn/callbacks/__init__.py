"""Callbacks: what `fit` calls as the training goes on, with Keras' names and hooks.

A callback that has a hook for batches makes `fit` return to Python after every batch; one that has
hooks for epochs alone costs nothing within them.
"""

from fastnn.callbacks.base import Callback
from fastnn.callbacks.diagnose import Diagnose
from fastnn.callbacks.lambdas import LambdaCallback
from fastnn.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
from fastnn.callbacks.recorder import Recorder
from fastnn.callbacks.records import CSVLogger, ModelCheckpoint
from fastnn.callbacks.stopping import (
    EarlyStopping,
    TerminateOnNaN,
    TerminateOnSmallGradient,
    TerminateOnSmallImprovement,
    TerminateOnValue,
)
from fastnn.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "Diagnose",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "Recorder",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "TerminateOnSmallGradient",
    "TerminateOnSmallImprovement",
    "TerminateOnValue",
]
