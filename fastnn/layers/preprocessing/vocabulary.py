"""The base class of lookups, and the vocabulary that it keeps.

Numbers are given as in Keras: first that of the mask token, if there is one, then those of tokens
that are not in the vocabulary, then the vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from fastnn.core import checks
from fastnn.core.declare import checked, choice, integer
from fastnn.layers.base import LayerUser, Shape, only
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


def listed(name: str, value: object) -> list[Any]:
    """Return a list of tokens, those of NumPy's types as Python's; raise TypeError for a text."""
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of tokens, got {value!r}")
    return [one.item() if isinstance(one, np.generic) else one for one in value]


class Lookup(Measuring):
    """Base class of layers that replace tokens by their numbers in a vocabulary."""

    is_lookup: ClassVar[bool] = True
    takes_any_scale: ClassVar[bool] = True
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
        is_other = self._built_for not in (None, len(tokens) + self._special)
        if is_other and self.users:  # without one, a model was tried that could not be built
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
