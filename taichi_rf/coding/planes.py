"""Planes of whole numbers in few bits: each number's distribution follows from those around it that are known already.

Planes of one mode are coded together, level by level. Each is taken apart into four lattices of every other row and
column, which are coded one after the other: a number of the second has four coded neighbours at its corners, one of
the third four at its sides, one of the fourth all eight. Their magnitudes say how large it will be, their sum on which
side of zero. Numbers of the first lattice have the planes of earlier levels at the same place, and the plane's own
scale. All of it is arithmetic of whole numbers on whole lattices, so decoding is fast, and the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from taichi_rf.coding.entropy import SYMBOLS, Decoder, Ints, octaves, symbols_of, weight_table

SCALES = 16  # classes of a plane's mean magnitude, in half octaves
ACTIVITIES = 16  # classes of what earlier levels have at a place
MAGNITUDES = 18  # classes of what the neighbours have
LEANS = 6  # classes of how far the neighbours are on one side of zero
FIRST = SCALES * ACTIVITIES
CONTEXTS = FIRST + 3 * MAGNITUDES * LEANS

CAP = 255
"""Magnitudes above it count as it: contexts stay small numbers."""

LATTICES = ((0, 0), (1, 1), (0, 1), (1, 0))  # first row and column of each


_CLASS = (np.searchsorted(octaves(2, 1 << 12), np.arange(1 << 12), side="right") - 1).astype(np.int32)


def _class(values: Ints, classes: int) -> Ints:
    """Classes 0..classes - 1 of numbers that are not negative."""
    return np.minimum(_CLASS[np.minimum(values, len(_CLASS) - 1)], classes - 1)


class Activity:
    """What the levels so far have at each place of the planes of one mode."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.values = np.zeros(shape, np.int32)

    def context(self, scales: Ints) -> Ints:
        """Contexts (planes, h, w) of the first lattice."""
        around = np.pad(self.values, 1)
        sums = (
            2 * around[1:-1, 1:-1] + around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
        )[::2, ::2]  # fmt: skip
        return scales[:, None, None] * ACTIVITIES + _class(sums >> 2, ACTIVITIES)

    def add(self, planes: Ints) -> None:
        """Planes (n, h, w) of the next level. Earlier ones count half of what they did."""
        self.values = (self.values >> 1) + np.minimum(np.abs(planes), CAP).sum(axis=0, dtype=np.int32)


def scales_of(planes: Ints) -> NDArray[np.uint8]:
    """Class of each plane's mean magnitude in eighths: (n, h, w) -> (n,)."""
    means = np.minimum(np.abs(planes), CAP).mean(axis=(1, 2)) * 8
    return _class(means.astype(np.int32), SCALES).astype(np.uint8)


class _Walk:
    """Goes through the planes (n, h, w) of one level and mode lattice by lattice; ``padded`` is what is known."""

    def __init__(self, shape: tuple[int, int, int], scales: Ints, activity: Activity) -> None:
        n, h, w = shape
        self.padded = np.zeros((n, h + 2, w + 2), np.int32)
        self.scales, self.activity = scales, activity

    def lattice(self, row: int, column: int) -> Ints:
        """A view of one lattice of the planes."""
        return self.padded[:, 1:-1, 1:-1][:, row::2, column::2]

    def contexts(self) -> Iterator[tuple[int, int, Ints, Ints]]:
        """(row, column, contexts, signs) of one lattice after the other; numbers are coded times their signs."""
        first = self.activity.context(self.scales)
        yield 0, 0, first, np.ones_like(first)
        for index, (row, column) in enumerate(LATTICES[1:]):
            near, far = self._around(row, column)
            if index == 0:
                near, far = far, []
            elif index == 1:
                far = []
            lean = sum(near[1:], near[0]) * 2 + sum(far, np.int32(0))
            size = sum((np.abs(v) for v in near[1:]), np.abs(near[0])) * 2 + sum((np.abs(v) for v in far), np.int32(0))
            signs = np.where(lean < 0, -1, 1).astype(np.int32)
            base = FIRST + index * MAGNITUDES * LEANS
            yield row, column, base + _class(size, MAGNITUDES) * LEANS + _class(np.abs(lean) >> 2, LEANS), signs

    def _around(self, row: int, column: int) -> tuple[list[Ints], list[Ints]]:
        """What lies at the sides and at the corners of every number of a lattice, capped."""
        h, w = self.padded.shape[1] - 2, self.padded.shape[2] - 2

        def at(dy: int, dx: int) -> Ints:
            part = self.padded[:, 1 + row + dy : 1 + h + dy : 2, 1 + column + dx : 1 + w + dx : 2]
            return np.clip(part, -CAP, CAP)

        sides = [at(-1, 0), at(1, 0), at(0, -1), at(0, 1)]
        return sides, [at(-1, -1), at(-1, 1), at(1, -1), at(1, 1)]


def contexts_of(planes: Ints, scales: NDArray[np.uint8], activity: Activity) -> Iterator[tuple[Ints, Ints]]:
    """(numbers, contexts), both flat, of one lattice of planes (n, h, w) after another; the activity then has them."""
    walk = _Walk(planes.shape, scales.astype(np.int32), activity)  # type: ignore[arg-type]
    for row, column, contexts, signs in walk.contexts():
        numbers = planes[:, row::2, column::2]
        yield (numbers * signs).ravel(), contexts.ravel()
        walk.lattice(row, column)[:] = numbers
    activity.add(planes)


def decoded(shape: tuple[int, int, int], scales: NDArray[np.uint8], activity: Activity, decoder: Decoder) -> Ints:
    """The planes (n, h, w) whose numbers :func:`contexts_of` gave to an encoder. UserError where there are none."""
    walk = _Walk(shape, scales.astype(np.int32), activity)
    for row, column, contexts, signs in walk.contexts():
        walk.lattice(row, column)[:] = decoder.take(contexts.ravel()).reshape(contexts.shape) * signs
    planes = walk.padded[:, 1:-1, 1:-1]
    activity.add(planes)
    return planes


def table_of(counted: Iterator[tuple[Ints, Ints]]) -> NDArray[np.uint8]:
    """The table (CONTEXTS, SYMBOLS) of numbers and their contexts, for :class:`taichi_rf.coding.entropy.Models`."""
    counts = np.zeros(CONTEXTS * SYMBOLS, np.int64)
    for numbers, contexts in counted:
        counts += np.bincount(contexts * SYMBOLS + symbols_of(numbers), minlength=len(counts))
    return weight_table(counts.reshape(CONTEXTS, SYMBOLS))
