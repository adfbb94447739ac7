"""Lookups: text or whole numbers become the numbers of tokens in a vocabulary.

They are applied where data come in, once a call (`fastnn.data.lookups`); what a program reads are
numbers of tokens. So a step stays native, and text never reaches it.

Numbers are given as in Keras: first that of the mask token, if there is one, then those of tokens
that are not in the vocabulary, then the vocabulary.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any, ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import checked, choice, integer
from fastnn.layers.base import LayerUser, Shape, only, registry
from fastnn.layers.embedding import MOST_CATEGORIES
from fastnn.layers.preprocessing.base import Measuring, Parts
from fastnn.layers.preprocessing.categories import encoded_shape
from fastnn.program.builder import Builder
from fastnn.program.ops import ENCODINGS, Value

SHOWN_TOKENS = 5
# What pandas has in place of a missing cell.
MISSING_TYPES = ("NAType", "NaTType")


class Tokens(tuple):
    """A vocabulary, which may be long: only its beginning is shown."""

    def __repr__(self) -> str:
        shown = [repr(token) for token in self[:SHOWN_TOKENS]]
        if len(self) > SHOWN_TOKENS:
            shown.append(f"... {len(self):,} tokens")
        return f"[{', '.join(shown)}]"


def is_missing(value: object) -> bool:
    """Whether a cell of an array of objects is empty: None, NaN, pandas.NA or NaT."""
    if value is None or type(value).__name__ in MISSING_TYPES:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _listed(name: str, value: object) -> list[Any]:
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of tokens, got {value!r}")
    return [one.item() if isinstance(one, np.generic) else one for one in value]


def _texts(name: str, value: object) -> Tokens:
    for position, token in enumerate(found := _listed(name, value)):
        if not isinstance(token, str):
            raise TypeError(f"{name}[{position}] must be a string, got {token!r}")
    return Tokens(found)


def _integers(name: str, value: object) -> Tokens:
    return Tokens(
        checks.integer(f"{name}[{i}]", token, least=None)
        for i, token in enumerate(_listed(name, value))
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    return value


def _whole(name: str, value: object) -> int:
    return checks.integer(name, value, least=None)


class _Lookup(Measuring):
    """Base class of both lookups."""

    is_lookup: ClassVar[bool] = True
    of_what: ClassVar[str] = ""

    max_tokens: int | None = checked(checks.integer, default=None, is_optional=True)
    num_oov_indices: int = integer(default=1, least=0)
    mask_token: Any = None
    oov_token: Any = None
    vocabulary: Any = None
    output_mode: str = choice("int", *ENCODINGS, default="int", kw_only=True)

    def _set_up(self) -> None:
        """Take the vocabulary that was given."""
        super()._set_up()
        given = self.vocabulary
        self._built_for: int | None = None  # the size of the encoding in a model
        self._take(None if given is None else self._without_special(given))

    def check_together(self) -> None:
        """Raise ValueError if the vocabulary has tokens twice, or too many."""
        if self.mask_token is not None and self.mask_token == self.oov_token:
            raise ValueError(f"mask_token and oov_token must differ, got {self.mask_token!r}")
        if self.max_tokens is not None and self.max_tokens <= self._special:
            raise ValueError(
                f"max_tokens must be at least {self._special + 1}, one more than there are special "
                f"tokens, got {self.max_tokens}"
            )
        if self.vocabulary is not None:
            self._check_tokens(self._without_special(self.vocabulary))

    def _check_tokens(self, tokens: Tokens) -> None:
        if not tokens:
            raise ValueError("vocabulary must have at least one token, got none")
        if len(set(tokens)) < len(tokens):
            token, count = Counter(tokens).most_common(1)[0]
            raise ValueError(f"vocabulary must have each token once, got {token!r} {count} times")
        for name in ("mask_token", "oov_token"):
            token = getattr(self, name)
            if token is not None and token in tokens:
                raise ValueError(
                    f"vocabulary must not have the {name}, {token!r}, among its tokens, unless it "
                    "begins with all special tokens as get_vocabulary() returns them"
                )
        most = MOST_CATEGORIES if self.max_tokens is None else self.max_tokens
        if self._special + len(tokens) > most:
            raise ValueError(
                f"vocabulary must have at most {most - self._special:,} tokens besides special "
                f"ones, got {len(tokens):,}"
            )

    # --- numbers of tokens --------------------------------------------------------------------

    @property
    def _first_oov(self) -> int:
        """Number of the first token that is not in the vocabulary, as in Keras."""
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _special(self) -> int:
        """How many numbers precede those of the vocabulary."""
        return self._first_oov + self.num_oov_indices

    def _special_tokens(self) -> list[Any]:
        return [self.mask_token] * self._first_oov + [self.oov_token] * self.num_oov_indices

    def _without_special(self, given: Tokens) -> Tokens:
        special = self._special_tokens()
        begins = bool(special) and list(given[: len(special)]) == special
        return Tokens(given[len(special) :]) if begins else given

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the tokens in the order of their numbers.

        Parameters
        ----------
        include_special_tokens : bool, default True
            Whether the mask token, if it has a number, and the token for others come first.

        Returns
        -------
        list of str or int

        Raises
        ------
        RuntimeError
            There is no vocabulary yet.
        """
        self.require_adapted()
        return (self._special_tokens() if include_special_tokens else []) + list(self._tokens)

    def vocabulary_size(self) -> int:
        """Return the number of tokens, special ones included: what `Embedding` takes."""
        return len(self.get_vocabulary())

    # --- measuring ----------------------------------------------------------------------------

    @property
    def is_adapted(self) -> bool:
        """Whether there is a vocabulary."""
        return self._tokens is not None

    def measure(self, parts: Parts) -> None:
        """Find the vocabulary: the most frequent tokens first, and the larger of two equal ones."""
        counts: Counter[Any] = Counter()
        first = 0
        for part in parts:
            counts.update(self._tokens_of(part, first))
            first += len(part)
        counts.pop(self.mask_token, None)
        counts.pop(self.oov_token, None)
        if not counts:
            raise ValueError(f"layer {self.name!r} found no {self.of_what} to measure")
        ordered = sorted(counts, key=lambda token: (counts[token], token), reverse=True)
        most = None if self.max_tokens is None else self.max_tokens - self._special
        tokens = Tokens(ordered[:most])
        self._check_tokens(tokens)
        if self._built_for is not None and self._built_for != len(tokens) + self._special:
            raise ValueError(
                f"layer {self.name!r} was built for {self._built_for} tokens, the size of its "
                f"output, and found {len(tokens) + self._special}: make another model"
            )
        self._take(tokens)

    def _take(self, tokens: Tokens | None) -> None:
        self._tokens: Any = tokens  # the vocabulary in use, or None
        self._table: Any = None  # made of it when it is first needed

    def forget(self) -> None:
        """Forget the vocabulary."""
        self._take(None)
        self._built_for = None

    def _tokens_of(self, part: np.ndarray, first_row: int) -> Mapping[Any, int]:
        """Return the tokens of rows, without missing ones, and how often each occurs."""
        raise NotImplementedError

    def indices(self, label: str, rows: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the numbers of the tokens in rows of data.

        Parameters
        ----------
        label : str
            Name of the data in messages.
        rows : ndarray, shape (rows, columns)
            Of objects for text, else of integers.
        first_row : int, default 0
            Number of the first of these rows.

        Returns
        -------
        ndarray of int32, of the same shape
            For an `output_mode` other than "int", masked tokens have the number behind all
            others, and leave no trace in the encoding.

        Raises
        ------
        TypeError, ValueError
            Something is not a token.
        """
        raise NotImplementedError

    @property
    def _masked(self) -> int:
        return 0 if self.output_mode == "int" else self._special + len(self._tokens)

    def _unknown(self, label: str, token: object, row: int) -> ValueError:
        return ValueError(
            f"{label} must hold tokens of the vocabulary of layer {self.name!r}, which has "
            f"num_oov_indices=0, got {token!r} in row {row}"
        )

    # --- building -----------------------------------------------------------------------------

    def left_by(self, user: LayerUser) -> None:
        """Take note of a network that the layer has left; without any, it may have any size."""
        super().left_by(user)
        if not self.users:
            self._built_for = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_built_for": None})

    def output_shape(self, *inputs: Shape) -> Shape:
        """Return the input's shape, or that of the encoding."""
        cls = type(self).__name__
        shape = only(cls, inputs)
        if self.output_mode == "int":
            return shape
        if not self.is_adapted:
            raise ValueError(
                f"with output_mode={self.output_mode!r} the size of the output is that of the "
                "vocabulary: give vocabulary=, or call adapt before the model is made"
            )
        self._built_for = self.vocabulary_size()
        return encoded_shape(cls, self.output_mode, shape, self._built_for)

    def emit(self, builder: Builder, *inputs: Value) -> Value:
        """Append the encoding, if there is one: the numbers of tokens are what comes in."""
        x = inputs[0]
        if self.output_mode == "int":
            return x
        size = self.vocabulary_size()
        return builder.emit(
            "encode_categories",
            inputs,
            self.output_shape(x.shape),
            tokens=size,
            categories=size + (self.mask_token is not None),
            mode=self.output_mode,
        )

    def config(self) -> dict[str, Any]:
        """Return the arguments, with the vocabulary that is in use."""
        tokens = None if self._tokens is None else list(self._tokens)
        return {**super().config(), "vocabulary": tokens}


@registry.add
class StringLookup(_Lookup):
    """Replaces text by its number in a vocabulary, as in Keras.

    It reads an input of the model, which then takes text: arrays of NumPy's text dtypes or of
    objects, columns of pandas, Polars and Arrow. The vocabulary is given, or found by `adapt` or,
    if it is still missing, when `fit` begins, in the rows to train on: the most frequent tokens
    come first. It is saved with the model.

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
        """Return the numbers of the tokens in rows of text; see `_Lookup`."""
        self.require_adapted()
        if self._table is None:
            self._table = {token: i for i, token in enumerate(self._tokens, self._special)}
            if self.mask_token is not None:
                self._table[self.mask_token] = self._masked
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
class IntegerLookup(_Lookup):
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
        """Return the numbers of the tokens in rows of integers; see `_Lookup`."""
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
