"""Whole numbers in the fewest bits: asymmetric numeral systems (Duda 2013), with a table of weights for every context.

What a context is, is the caller's affair; both sides must know it before the number. The coder is constriction's. Its
distributions are made of whole weights that lie in the file, so nothing depends on how a platform computes logarithms.

Magnitudes and weights fall into classes, four an octave: 0, 1, ..., 7, 8-9, 10-11, ..., 14-15, 16-19, ... A number is a
symbol, its class and its sign, and then as many bits as its place in the class needs, which are stored as they are.

    stream  32-bit words, a stack: what is decoded first was encoded last. Of each call first the symbols, context by
            context, then the places, class by class
"""

from __future__ import annotations

from collections.abc import Iterator

import constriction
import numpy as np
from numpy.typing import NDArray

from taichi_rf.core.errors import UserError

Ints = NDArray[np.int32]

LARGEST = (1 << 15) - 1
"""Largest magnitude that can be coded."""


def octaves(parts: int, largest: int) -> NDArray[np.int32]:
    """The first number of every class, ``parts`` classes an octave, up to ``largest``: 0, 1, 2, 3, 4, 6, 8, 12, ... for
    two."""
    firsts = list(range(2 * parts))
    while (following := firsts[-parts] * 2) <= largest:
        firsts.append(following)
    return np.array(firsts, np.int32)


_FIRST = octaves(4, LARGEST)
_BITS = np.log2(np.diff([*_FIRST, LARGEST + 1])).round().astype(np.int32)
_CLASS = (np.searchsorted(_FIRST, np.arange(LARGEST + 1), side="right") - 1).astype(np.int32)
_WEIGHTS = octaves(4, 1 << 24)

SYMBOLS = 2 * len(_FIRST) - 1
"""Zero, then every other class with both signs."""


def symbols_of(numbers: Ints) -> Ints:
    """The symbol of each number: 0 for zero, 2c for a positive one of class c, 2c - 1 for a negative one."""
    return 2 * _CLASS[np.abs(numbers)] - (numbers < 0)


def weight_table(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """How often each symbol was seen in each context (contexts, symbols), as it is stored: the class of every count."""
    return (np.searchsorted(_WEIGHTS, np.minimum(counts, _WEIGHTS[-1]), side="right") - 1).astype(np.uint8)


class Models:
    """One distribution for every context.

    Args:
        table: (contexts, SYMBOLS), what :func:`weight_table` made.

    Raises:
        UserError: there are no such classes.
    """

    def __init__(self, table: NDArray[np.uint8]) -> None:
        if table.max(initial=0) >= len(_WEIGHTS):
            raise UserError("a table of frequencies is damaged")
        weights = _WEIGHTS[table].astype(np.float64)
        build = constriction.stream.model.Categorical
        self._models = [build(row, perfect=False) if row.any() else None for row in weights]

    def __getitem__(self, context: int) -> object:
        model = self._models[context]
        if model is None:
            raise UserError("a number is in a context that the table of frequencies lacks")
        return model


class Encoder:
    """Collects numbers with their contexts; what was added first is decoded first."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._calls: list[tuple[Ints, Ints]] = []

    def add(self, numbers: Ints, contexts: Ints) -> None:
        """Both (n,); magnitudes of ``LARGEST`` at most."""
        self._calls.append((numbers, contexts))

    def finish(self) -> NDArray[np.uint32]:
        """The words of the stream."""
        coder = constriction.stream.stack.AnsCoder()
        for numbers, contexts in reversed(self._calls):
            order, groups = _grouped(contexts)
            numbers = numbers[order]
            symbols = symbols_of(numbers)
            classes = _CLASS[np.abs(numbers)]
            places = np.abs(numbers) - _FIRST[classes]
            for bits, chosen in reversed(list(_wide(classes))):
                coder.encode_reverse(places[chosen], constriction.stream.model.Uniform(1 << bits))
            for context, first, last in reversed(groups):
                coder.encode_reverse(symbols[first:last], self._models[context])
        words: NDArray[np.uint32] = coder.get_compressed()
        return words


class Decoder:
    """Gives back what an :class:`Encoder` was given, call by call.

    Raises:
        UserError: no encoder writes such words.
    """

    def __init__(self, words: NDArray[np.uint32], models: Models) -> None:
        self._models = models
        try:
            self._coder = constriction.stream.stack.AnsCoder(words)
        except ValueError:
            raise UserError("a coded stream is damaged") from None

    def take(self, contexts: Ints) -> Ints:
        """The numbers (n,) of one call, by its contexts (n,). UserError for a context that the tables lack."""
        order, groups = _grouped(contexts)
        symbols = np.empty(len(order), np.int32)
        for context, first, last in groups:
            symbols[first:last] = self._coder.decode(self._models[context], last - first)
        classes = (symbols + 1) >> 1
        found = _FIRST[classes]
        for bits, chosen in _wide(classes):
            found[chosen] += self._coder.decode(constriction.stream.model.Uniform(1 << bits), len(chosen))
        numbers = np.empty_like(found)
        numbers[order] = np.where(symbols & 1, -found, found)
        return numbers

    def finish(self) -> None:
        """UserError if something is left."""
        if not self._coder.is_empty():
            raise UserError("a coded stream is longer than what it codes")


def _grouped(contexts: Ints) -> tuple[NDArray[np.int64], list[tuple[int, int, int]]]:
    """An order that puts numbers of the same context side by side, and (context, first, last) of each such run."""
    order = np.argsort(contexts.astype(np.uint16), kind="stable")  # of 16 bits: numpy sorts those by radix
    ends = [0, *np.cumsum(np.bincount(contexts)).tolist()]
    return order, [(context, a, b) for context, (a, b) in enumerate(zip(ends, ends[1:])) if a < b]


def _wide(classes: Ints) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(bits, which numbers) for every width of class above zero that occurs, narrow ones first."""
    wide = np.flatnonzero(_BITS[classes])
    bits = _BITS[classes[wide]]
    for width in np.unique(bits):
        yield int(width), wide[bits == width]
