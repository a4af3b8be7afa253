"""Which pixels of all training images are learnt from, at a bit each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

BLOCK = 64
"""Bytes of a block: what comes before each block is counted once."""
COUNTED = 1 << 24
"""Bytes whose bits are counted at once."""

Indices = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_COUNTS = _OF_BYTE.sum(axis=1, dtype=np.uint8)
_PLACES = np.argsort(1 - _OF_BYTE, axis=1, kind="stable").astype(np.int64)
"""(256, 8): where a byte's first, second, ... bit that is set lies, the highest bit first, as numpy packs them."""


class PixelSet:
    """Some of ``total`` pixels, known by their numbers from 0 on; it is not changed.

    Args:
        total: of all pixels.
        bits: one a pixel, as ``np.packbits`` packs them, (ceil(total / 8),) uint8, which may be changed beyond the last
            pixel; None for all pixels, which then take no memory.
    """

    def __init__(self, total: int, bits: Bits | None = None) -> None:
        self.total = total
        self._bits, self._before = None, np.zeros(0, np.int64)
        self._count = total
        if bits is None:
            return
        padded = bits
        if len(bits) % BLOCK:
            padded = np.zeros(_room(total), np.uint8)
            padded[: len(bits)] = bits
        if total % 8:
            padded[total // 8] &= 0xFF << (8 - total % 8) & 0xFF
        starts = range(0, len(padded), COUNTED)
        counts = [
            _COUNTS[padded[first : first + COUNTED]].reshape(-1, BLOCK).sum(axis=1, dtype=np.int64) for first in starts
        ]
        ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]))
        self._bits, self._before, self._count = padded, ends[:-1], int(ends[-1])

    @classmethod
    def packed(cls, total: int, flags: Iterable[Flags]) -> PixelSet:
        """Those of ``total`` pixels for which ``flags``, which come in parts in the order of the pixels, hold True."""
        bits, rest, done, count = np.zeros(_room(total), np.uint8), np.zeros(0, bool), 0, 0
        for part in flags:
            count += int(np.count_nonzero(part))
            joined = np.concatenate([rest, part])
            whole = len(joined) // 8
            bits[done : done + whole] = np.packbits(joined[: 8 * whole])
            done, rest = done + whole, joined[8 * whole :]
        if len(rest):
            bits[done] = np.packbits(rest)[0]
        return cls(total, None if count == total else bits)

    def __len__(self) -> int:
        return self._count

    def at(self, ranks: Indices) -> Indices:
        """The pixels that come as number ``ranks`` (n,) of the set, from 0, in ascending order."""
        if self._bits is None:
            return ranks
        block = np.searchsorted(self._before, ranks, side="right") - 1
        left = ranks - self._before[block]
        rows = self._bits.reshape(-1, BLOCK)[block]
        ends = np.cumsum(_COUNTS[rows], axis=1, dtype=np.int64)
        byte = (ends <= left[:, None]).sum(axis=1)
        every = np.arange(len(ranks))
        left = left - (ends[every, byte] - _COUNTS[rows[every, byte]])
        found: Indices = block * (8 * BLOCK) + byte * 8 + _PLACES[rows[every, byte], left]
        return found

    def has(self, pixels: Indices) -> Flags:
        """Which of ``pixels`` (n,) are in the set."""
        if self._bits is None:
            return np.ones(len(pixels), bool)
        return (self._bits[pixels >> 3] >> (7 - (pixels & 7)) & 1).astype(bool)

    def flags(self, first: int, end: int) -> Flags:
        """Of the pixels from ``first`` to before ``end``, which are in the set."""
        if self._bits is None:
            return np.ones(end - first, bool)
        begin = first // 8
        flags = np.unpackbits(self._bits[begin : -(-end // 8)]).astype(bool)
        return flags[first - 8 * begin :][: end - first]

    def without(self, pixels: Indices) -> PixelSet:
        """The set without ``pixels`` (n,)."""
        bits = self.bits()
        np.bitwise_and.at(bits, pixels >> 3, (~(0x80 >> (pixels & 7))).astype(np.uint8))
        return PixelSet(self.total, bits)

    def bits(self) -> Bits:
        """A copy as ``np.packbits`` packs it, (ceil(total / 8),)."""
        size = -(-self.total // 8)
        if self._bits is not None:
            return self._bits[:size].copy()
        bits = np.full(size, 0xFF, np.uint8)
        if self.total % 8:
            bits[-1] = 0xFF << (8 - self.total % 8) & 0xFF
        return bits


def _room(total: int) -> int:
    """Bytes for a bit each of ``total`` pixels, in whole blocks."""
    return -(-total // (8 * BLOCK)) * BLOCK
