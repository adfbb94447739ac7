"""Layers that prepare data: they measure or look up, and nothing in them is learned by gradients.

base.py        what layers have in common that measure data, in `adapt` or when `fit` begins
numbers.py     Normalization and Rescaling
moments.py     means and variances of rows that come in parts
categories.py  CategoryEncoding
vocabulary.py  what lookups have in common
lookups.py     StringLookup and IntegerLookup, which are applied where data come in
"""

from fastnn.layers.preprocessing.base import Measuring
from fastnn.layers.preprocessing.categories import CategoryEncoding
from fastnn.layers.preprocessing.lookups import IntegerLookup, StringLookup
from fastnn.layers.preprocessing.numbers import Normalization, Rescaling

__all__ = [
    "CategoryEncoding",
    "IntegerLookup",
    "Measuring",
    "Normalization",
    "Rescaling",
    "StringLookup",
]
