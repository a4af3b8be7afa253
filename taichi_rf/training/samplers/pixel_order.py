"""The random order of a training's pixels."""

from __future__ import annotations

import numpy as np


class PixelOrder:
    """All pixels in a random order without replacement, epoch after epoch, at no memory and from any position.

    A Feistel network over the next power of four permutes; numbers beyond ``count`` walk on until they fall inside
    (cycle walking, Black and Rogaway 2002).
    """

    ROUNDS = 4

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.half_bits = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
        self.seed = seed

    def batch(self, start: int, size: int) -> np.ndarray:
        """Pixels number start .. start + size of the endless sequence, int64 in [0, count)."""
        positions = np.arange(start, start + size, dtype=np.int64)
        epochs, places = positions // self.count, positions % self.count
        result = self._permute(places, epochs)
        while (outside := result >= self.count).any():
            result[outside] = self._permute(result[outside], epochs[outside])
        return result

    def _permute(self, values: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        mask = (1 << self.half_bits) - 1
        left, right = values >> self.half_bits, values & mask
        seed = np.uint64((self.seed * 0x9E3779B97F4A7C15) % (1 << 64))
        for r in range(self.ROUNDS):
            key = (epochs * self.ROUNDS + r).astype(np.uint64) + seed
            mixed = right.astype(np.uint64) ^ (key * np.uint64(0xD1B54A32D192ED03))
            mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xC4CEB9FE1A85EC53)
            left, right = right, left ^ ((mixed >> np.uint64(32)).astype(np.int64) & mask)
        return (left << self.half_bits) | right
