"""Callbacks, which `fit` calls during training, with Keras' names and hooks.

A callback with a batch hook makes `fit` return to Python after every batch; one with only epoch
hooks costs nothing within an epoch.
"""

from typing import TYPE_CHECKING

from fastnn.callbacks.averages import SwapEMAWeights
from fastnn.callbacks.backup import BackupAndRestore
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
from fastnn.core import hints

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "Diagnose",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "Recorder",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
    "TerminateOnSmallGradient",
    "TerminateOnSmallImprovement",
    "TerminateOnValue",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, __all__)
