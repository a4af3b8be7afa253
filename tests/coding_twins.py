"""The entropy coder of model files, decoded by the book: one number at a time, in Python's own integers.

Asymmetric numeral systems with 64 bits of state, words of 32 and probabilities of 24. It is what a reader of the format
in another language would have to do.
"""

from __future__ import annotations

import numpy as np

PRECISION = 24


def class_bounds(largest: int) -> list[int]:
    """0..7, then four classes an octave."""
    bounds = list(range(8))
    octave = 8
    while octave <= largest:
        bounds += [octave + part * octave // 4 for part in range(4)]
        octave *= 2
    return [bound for bound in bounds if bound <= largest]


def cumulative(codes: list[int]) -> list[int]:
    """Where each symbol's share of 2^24 begins, by the classes of its weights: every symbol has one at least, and what
    remains is shared by weight, rounded down from the left."""
    bounds = class_bounds(1 << 24)
    weights = [float(bounds[code]) for code in codes]
    scale = float((1 << PRECISION) - len(weights)) / sum(weights)
    starts, running = [], 0.0
    for index, weight in enumerate(weights):
        starts.append(int(running * scale) + index)
        running += weight
    return [*starts, 1 << PRECISION]


class SlowDecoder:
    """Words of a stream and its table, read number by number."""

    def __init__(self, words: np.ndarray, table: np.ndarray) -> None:
        self.words = [int(word) for word in words]
        self.table = [cumulative(row.tolist()) if row.any() else None for row in table]
        self.bounds = [*class_bounds((1 << 15) - 1), 1 << 15]
        self.state = 0
        for _ in range(2):
            if self.words:
                self.state = self.state << 32 | self.words.pop()

    def share(self, bounds: list[int]) -> int:
        """Which share of 2^24 comes next."""
        place = self.state & ((1 << PRECISION) - 1)
        symbol = max(index for index, bound in enumerate(bounds[:-1]) if bound <= place)
        left, right = bounds[symbol], bounds[symbol + 1]
        self.state = (self.state >> PRECISION) * (right - left) + place - left
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return symbol

    def take(self, contexts: np.ndarray) -> np.ndarray:
        """The numbers of one call: first all symbols, context by context, then what their classes leave open."""
        symbols: dict[int, int] = {}
        for context in sorted(set(contexts.tolist())):
            bounds = self.table[context]
            assert bounds is not None
            for index in np.flatnonzero(contexts == context):
                symbols[int(index)] = self.share(bounds)
        order = list(symbols)
        numbers = {index: self.bounds[(symbol + 1) // 2] for index, symbol in symbols.items()}
        width = {
            index: self.bounds[(symbol + 1) // 2 + 1] - self.bounds[(symbol + 1) // 2]
            for index, symbol in symbols.items()
        }
        for size in sorted(set(width.values()) - {1}):
            for index in order:
                if width[index] == size:
                    numbers[index] += self.share([part * (1 << PRECISION) // size for part in range(size + 1)])
        return np.array([-numbers[i] if symbols[i] % 2 else numbers[i] for i in range(len(contexts))], np.int32)

    @property
    def empty(self) -> bool:
        return not self.words and self.state == 0
