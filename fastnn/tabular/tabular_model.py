"""A model together with the encoding of its table: columns in, answers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.core import files
from fastnn.model import Model
from fastnn.tabular.columns import row_number
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.table import Table, of
from fastnn.tabular.target import Target

ENTRY = "table"  # of the attachments in a model file


class TabularModel:
    """A model that takes the columns of a table, and answers in the target's unit and classes.

    Parameters
    ----------
    model : Model
        Takes the encoded inputs.
    encoding : Encoding
    target : Target
    attachments : dict, optional
        What else to keep in the file; JSON.

    Attributes
    ----------
    model, encoding, target, attachments
        As given.
    threshold : float
        The probability from which the second of two classes is predicted.

    Examples
    --------
    >>> import fastnn as fnn
    >>> from fastnn.tabular import Encoding, TabularModel, Target
    >>> table = {"age": [31, 45, 52, 28], "color": ["red", "blue", "red", "blue"]}
    >>> encoding, target = Encoding.fit(table), Target.fit([7.5, 9.25, 8.0, 6.5])
    >>> model = fnn.Sequential([fnn.Dense(1)], input_shape=(encoding.inputs,), seed=0)
    >>> TabularModel(model, encoding, target).predict(table).shape
    (4,)
    """

    def __init__(
        self,
        model: Model,
        encoding: Encoding,
        target: Target,
        attachments: dict[str, Any] | None = None,
    ) -> None:
        if model.input_shapes[0][1] != (encoding.inputs,):
            raise ValueError(
                f"columns and network do not fit each other: {encoding.inputs} inputs, and a "
                f"network for {model.input_shapes[0][1]}"
            )
        self.model = model
        self.encoding = encoding
        self.target = target
        self.attachments = dict(attachments or {})
        self.threshold = 0.5

    def __repr__(self) -> str:
        return (
            f"<TabularModel: {self.target.task} of {self.target.name!r} from "
            f"{len(self.encoding.groups)} columns>"
        )

    def outputs(self, data: Any) -> np.ndarray:
        """Return the outputs of the network: probabilities, or standardised numbers.

        Parameters
        ----------
        data : Table, frame, array, dict of columns, or list of dicts

        Raises
        ------
        ValueError
            A column is missing or does not fit, or a row gives no finite answer; it is named.
        """
        table = data if isinstance(data, Table) else of(data)
        outputs = np.asarray(self.model.predict(self.encoding.encode(table)))
        if not np.isfinite(outputs).all():
            place = int(np.argmin(np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)))
            row = row_number(place, table.numbers)
            raise ValueError(f"{table.where}the network gives no finite number for row {row:,}")
        return outputs

    def predict(self, data: Any) -> np.ndarray:
        """Return classes, or numbers in the target's unit.

        Parameters
        ----------
        data : Table, frame, array, dict of columns, or list of dicts
            Columns are found by name, in any order; more of them are ignored.

        Returns
        -------
        ndarray, shape (rows,)
        """
        return self.decode(self.outputs(data))

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return the answers for outputs of the network, numbers within the range of the training.

        Parameters
        ----------
        outputs : ndarray, shape (rows, outputs)

        Returns
        -------
        ndarray, shape (rows,), or (rows, quantiles)
        """
        target = self.target
        if target.classes is None:
            numbers = outputs.astype(np.float64) * target.scale + target.mean
            if target.low <= target.high:
                numbers = np.clip(numbers, target.low, target.high)
            return numbers[:, 0] if outputs.shape[1] == 1 else np.sort(numbers, axis=1)
        return target.classes[self.decisions(outputs)]

    def decisions(self, outputs: np.ndarray) -> np.ndarray:
        """Return the number of the class that is predicted for each row of probabilities.

        Parameters
        ----------
        outputs : ndarray, shape (rows, classes)

        Returns
        -------
        ndarray of int64, shape (rows,)
        """
        if outputs.shape[1] == 2 and self.threshold != 0.5:
            return (outputs[:, 1] >= self.threshold).astype(np.int64)
        return outputs.argmax(axis=1)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantiles that it predicts; none for a mean or classes."""
        found = self.attachments.get("quantiles")
        is_list = isinstance(found, Sequence) and not isinstance(found, str)
        return tuple(float(q) for q in found) if found and is_list else ()

    def middle(self, numbers: np.ndarray) -> np.ndarray:
        """Return one number a row: of quantiles, the one nearest to 1/2.

        Parameters
        ----------
        numbers : ndarray, shape (rows,) or (rows, quantiles)
            As `decode` returns them.

        Returns
        -------
        ndarray, shape (rows,)
        """
        if numbers.ndim == 1:
            return numbers
        levels, place = self.quantiles, numbers.shape[1] // 2
        if len(levels) == numbers.shape[1]:
            place = int(np.abs(np.array(levels) - 0.5).argmin())
        return numbers[:, place]

    def predict_proba(self, data: Any) -> np.ndarray:
        """Return the probability of each class of `target.classes`.

        Returns
        -------
        ndarray of float32, shape (rows, classes)

        Raises
        ------
        ValueError
            The model predicts numbers.
        """
        if self.target.classes is None:
            raise ValueError("the model predicts numbers; there are no classes")
        return self.outputs(data)

    def predict_one(self, row: Any) -> Any:
        """Return the class or number for one row, in microseconds.

        Parameters
        ----------
        row : dict, sequence, or row of a pandas frame
            See `Encoding.encode_one`.
        """
        output = np.asarray(self.model.predict_one(self.encoding.encode_one(row)))
        answer = self.decode(output.reshape(1, -1))[0]
        if isinstance(answer, (np.datetime64, np.timedelta64)):
            return answer  # as an object it may be a number of nanoseconds
        return answer.item() if isinstance(answer, np.generic) else answer

    def save(self, path: files.Target) -> None:
        """Save it as one file, for `fastnn.load`.

        Parameters
        ----------
        path : path-like or binary file object

        Raises
        ------
        OSError, TypeError, ValueError
            As `Model.save`.
        """
        from fastnn.exchange import model_file

        entries, tensors = self.encoding.to_file()
        table = {
            "encoding": entries, "target": self.target.to_file(), "threshold": self.threshold,
        }  # fmt: skip
        model_file.save(
            self.model.network,
            path,
            tensors=tensors,
            attachments={ENTRY: table, **self.attachments},
        )
