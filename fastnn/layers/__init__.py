"""Layers: their parameters, the shape of their output, and the forward ops they emit."""

from fastnn.layers.base import Input, Layer, Shape, Tensor, registry
from fastnn.layers.core import Activation, Dense, Dropout, Flatten
from fastnn.layers.merge import Add, Concatenate

__all__ = [
    "Activation",
    "Add",
    "Concatenate",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "Shape",
    "Tensor",
    "registry",
]
