"""Callbacks: what `fit` tells as it goes, with Keras' names and hooks.

One that asks for batches (has a batch hook) makes `fit` come back to Python after every batch;
one that asks for epochs costs nothing inside them.
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
