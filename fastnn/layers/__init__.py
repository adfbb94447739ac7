"""Layers: their parameters, output shapes, and the forward ops that they emit."""

from typing import TYPE_CHECKING

from fastnn.core import hints
from fastnn.layers.base import Input, Layer, Shape, Tensor, registry
from fastnn.layers.columns import Columns, ParametricActivation, Scale
from fastnn.layers.core import Activation, Dense, Dropout, Flatten, PReLU, Reshape
from fastnn.layers.embedding import Embedding
from fastnn.layers.members import MemberDense, MemberScale
from fastnn.layers.merge import Add, Average, Concatenate, Multiply
from fastnn.layers.normalization import BatchNormalization, LayerNormalization
from fastnn.layers.number_embedding import PeriodicEmbedding, PiecewiseLinearEmbedding
from fastnn.layers.preprocessing import (
    CategoryEncoding,
    IntegerLookup,
    Normalization,
    Rescaling,
    StringLookup,
)
from fastnn.layers.residual import Residual

__all__ = [
    "Activation",
    "Add",
    "Average",
    "BatchNormalization",
    "CategoryEncoding",
    "Columns",
    "Concatenate",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Input",
    "IntegerLookup",
    "Layer",
    "LayerNormalization",
    "MemberDense",
    "MemberScale",
    "Multiply",
    "Normalization",
    "PReLU",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "Rescaling",
    "Reshape",
    "Residual",
    "Scale",
    "Shape",
    "StringLookup",
    "Tensor",
    "registry",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = hints.of_module(__name__, __all__)
