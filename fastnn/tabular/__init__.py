"""Tables: how they are read, and how their columns become the numbers that a network takes.

read, of      a file, or a frame, array, dict or list, as a `Table` of named columns
Encoding      what each column is, and the inputs that it gives
Target        classes or numbers to predict, to what a network learns and back
TabularModel  a model with both: what `fastnn.load` returns for a file that has them
"""

from fastnn.tabular.encoding import Encoding
from fastnn.tabular.reading import read
from fastnn.tabular.table import Table, of
from fastnn.tabular.tabular_model import TabularModel
from fastnn.tabular.target import Target

__all__ = ["Encoding", "Table", "TabularModel", "Target", "of", "read"]
