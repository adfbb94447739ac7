"""Lookups: text or whole numbers become the numbers of tokens in a vocabulary.

They are applied where data come in, once a call (`fastnn.data.lookups`); what a program reads are
numbers of tokens. So a step stays native, and text never reaches it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from itertools import repeat
from typing import Any, ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import checked
from fastnn.layers.base import registry
from fastnn.layers.preprocessing.vocabulary import Lookup, Tokens, is_missing, listed


def _texts(name: str, value: object) -> Tokens:
    for position, token in enumerate(found := listed(name, value)):
        if not isinstance(token, str):
            raise TypeError(f"{name}[{position}] must be a string, got {token!r}")
    return Tokens(found)


def _integers(name: str, value: object) -> Tokens:
    return Tokens(
        checks.sized_integer(f"{name}[{i}]", token, least=None)
        for i, token in enumerate(listed(name, value))
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    return value


def _whole(name: str, value: object) -> int:
    return checks.sized_integer(name, value, least=None)


@registry.add
class StringLookup(Lookup):
    """Replaces text by its number in a vocabulary, as in Keras.

    It reads an input of the model, which then takes text: arrays of NumPy's text dtypes or of
    objects, columns of pandas, Polars and Arrow. The vocabulary is given, or found by `adapt` or,
    if it is still missing, when `fit` begins, in the rows to train on: the most frequent tokens
    come first. It is saved with the model. Call `adapt`, or give `vocabulary`, before the model is
    made if its shape depends on the vocabulary: for an `Embedding` of `vocabulary_size()`, and for
    every output mode other than "int".

    Parameters
    ----------
    max_tokens : int, optional
        Largest size of a vocabulary that is found in data, special tokens included.
    num_oov_indices : int, default 1
        How many numbers there are for text that is not in the vocabulary; which one is decided by
        a checksum of the text (CRC-32 of its UTF-8 form). 0: such text is an error.
    mask_token : str, optional
        Stands for missing text. For output_mode "int", its number is 0; for others it is left out
        of the encoding.
    oov_token : str, default "[UNK]"
        What `get_vocabulary` returns in place of text that is not in the vocabulary.
    vocabulary : list of str, optional
        May begin with the special tokens, as `get_vocabulary` returns it.
    output_mode : {"int", "one_hot", "multi_hot", "count"}, default "int"
        "int": the numbers themselves, for an `Embedding`. The others are encoded as
        `CategoryEncoding` does.
    name : str, optional
    trainable : bool, default True

    Notes
    -----
    Numbers of tokens: the mask token's, if there is one (only for "int"), then those for other
    text, then the vocabulary's. None, NaN and pandas.NA are missing: they become the mask token,
    and are refused where there is none. "", "NA" and "None" are text like any other.

    Examples
    --------
    >>> import fastnn as fnn, numpy as np
    >>> layer = fnn.StringLookup()
    >>> layer.adapt([["b"], ["a"], ["b"]])
    >>> layer.get_vocabulary()
    ['[UNK]', 'b', 'a']
    >>> chain = [layer, fnn.Embedding(layer.vocabulary_size(), 4), fnn.Flatten(), fnn.Dense(1)]
    >>> model = fnn.Sequential(chain, input_shape=(1,))
    >>> model.predict(np.array([["a"], ["something else"]])).shape
    (2, 1)
    """

    kind = "string_lookup"
    takes_text: ClassVar[bool] = True
    of_what: ClassVar[str] = "text"

    mask_token: str | None = checked(_text, default=None, is_optional=True)
    oov_token: str = checked(_text, default="[UNK]")
    vocabulary: Any = checked(_texts, default=None, is_optional=True)

    def _tokens_of(self, part: np.ndarray, first_row: int) -> Counter[str]:
        tokens = part.ravel().tolist()
        try:
            counts = Counter(tokens)
        except TypeError:  # something that has no hash
            counts = Counter([None])
        if all(isinstance(token, str) for token in counts):
            return counts
        width = max(1, part[:1].size)
        texts = []
        for position, token in enumerate(tokens):
            if isinstance(token, str):
                texts.append(token)
            elif not (is_missing(token) and self.mask_token is not None):
                raise self._not_text("data", token, first_row + position // width)
        return Counter(texts)

    def indices(self, label: str, rows: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the numbers of the tokens in rows of text; see `Lookup`."""
        self.require_adapted()
        if self._table is None:
            table = {token: i for i, token in enumerate(self._tokens, self._special)}
            if self.mask_token is not None:
                table[self.mask_token] = self._masked
            self._table = table  # when it is whole: other threads may read it
        tokens = rows.ravel().tolist()
        try:
            found = np.fromiter(map(self._table.get, tokens, repeat(-1)), np.int32, len(tokens))
        except TypeError:  # something that has no hash
            found = np.full(len(tokens), -1, np.int32)
        width = max(1, rows[:1].size)
        for position in np.flatnonzero(found < 0).tolist():
            row = first_row + position // width
            found[position] = self._number(label, tokens[position], row)
        return found.reshape(rows.shape)

    def _number(self, label: str, token: object, row: int) -> int:
        """Return the number of what is not in the table."""
        if isinstance(token, str):
            if token in self._table:
                return int(self._table[token])
            if not self.num_oov_indices:
                raise self._unknown(label, token, row)
            which = zlib.crc32(token.encode("utf-8", "surrogatepass")) % self.num_oov_indices
            return self._first_oov + which
        if is_missing(token) and self.mask_token is not None:
            return self._masked
        raise self._not_text(label, token, row)

    def _not_text(self, label: str, token: object, row: int) -> Exception:
        if is_missing(token):
            return ValueError(
                f"{label} has a missing value, {token!r}, in row {row}: fill it, or give layer "
                f"{self.name!r} a mask_token"
            )
        return TypeError(
            f"{label} must hold text, which layer {self.name!r} looks up, got {token!r} "
            f"({type(token).__name__}) in row {row}; for whole numbers there is IntegerLookup"
        )


@registry.add
class IntegerLookup(Lookup):
    """Replaces whole numbers, such as codes and ids, by their number in a vocabulary, as in Keras.

    It reads an input of the model, and looks up the numbers before they are converted to the
    model's dtype, so that large ones keep all digits. All else is as for `StringLookup`.

    Parameters
    ----------
    max_tokens : int, optional
    num_oov_indices : int, default 1
        How many numbers there are for integers that are not in the vocabulary: an integer i gets
        the one that is i modulo this. 0: such integers are an error.
    mask_token : int, optional
    oov_token : int, default -1
    vocabulary : list of int, optional
    output_mode : {"int", "one_hot", "multi_hot", "count"}, default "int"
    name : str, optional
    trainable : bool, default True

    Examples
    --------
    >>> import fastnn as fnn
    >>> layer = fnn.IntegerLookup(vocabulary=[90210, 10001], output_mode="one_hot")
    >>> model = fnn.Sequential([layer], input_shape=(1,))
    >>> model.predict([[10001], [7]])
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """

    kind = "integer_lookup"
    of_what: ClassVar[str] = "integers"

    mask_token: int | None = checked(_whole, default=None, is_optional=True)
    oov_token: int = checked(_whole, default=-1)
    vocabulary: Any = checked(_integers, default=None, is_optional=True)

    def _tokens_of(self, part: np.ndarray, first_row: int) -> dict[int, int]:
        tokens, counts = np.unique(self._whole_numbers("data", part, first_row), return_counts=True)
        return dict(zip(tokens.tolist(), counts.tolist(), strict=True))

    def _whole_numbers(self, label: str, rows: np.ndarray, first_row: int) -> np.ndarray:
        """Return the rows as int64."""
        with np.errstate(invalid="ignore"):
            whole = rows.astype(np.int64)
            bad = whole != rows
        if rows.dtype == np.uint64:
            bad |= rows > np.iinfo(np.int64).max
        if bad.any():
            position = int(np.argmax(bad))
            row = first_row + position // max(1, rows[:1].size)
            raise ValueError(
                f"{label} must hold whole numbers, which layer {self.name!r} looks up, got "
                f"{rows.ravel()[position].item()!r} in row {row}"
            )
        return whole

    def indices(self, label: str, rows: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the numbers of the tokens in rows of integers; see `Lookup`."""
        self.require_adapted()
        whole = self._whole_numbers(label, rows, first_row)
        if self._table is None:
            known = np.array(self._tokens, np.int64)
            order = np.argsort(known, kind="stable")
            self._table = known[order], (order + self._special).astype(np.int32)
        known, numbers = self._table
        places = np.minimum(np.searchsorted(known, whole), len(known) - 1)
        is_known = known[places] == whole
        found = numbers[places]
        if not is_known.all():
            if self.mask_token is not None:
                is_masked = whole == self.mask_token
                found[is_masked] = self._masked
                is_known |= is_masked
            if not is_known.all():
                found = self._with_unknown(label, whole, found, is_known, first_row)
        return found

    def _with_unknown(
        self,
        label: str,
        whole: np.ndarray,
        found: np.ndarray,
        is_known: np.ndarray,
        first_row: int,
    ) -> np.ndarray:
        if not self.num_oov_indices:
            position = int(np.argmin(is_known))
            row = first_row + position // max(1, whole[:1].size)
            raise self._unknown(label, whole.ravel()[position].item(), row)
        return np.where(is_known, found, self._first_oov + whole % self.num_oov_indices).astype(
            np.int32
        )
