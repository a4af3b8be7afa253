"""Cells as bits: a level of an octree is a byte of child bits for each cell of the level before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.fields.trees.morton import MortonCodes

MAX_CELLS = 1 << 24
"""Of a tree that is read: as many vertices are the most that a model file may have, and there are more of those."""
_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
Bytes = npt.NDArray[np.uint8]


def base_bytes(base_depth: int) -> int:
    """Bytes that the base layer takes, a bit for each place at ``base_depth``."""
    return -(-(1 << 3 * base_depth) // 8)


def set_bits(packed: Bytes) -> MortonCodes:
    """Which bits of ``packed`` are set, counted from the lowest of the first byte: ascending, uint32."""
    there = np.flatnonzero(packed)
    bits = np.unpackbits(packed[there, None], axis=1, bitorder="little")
    which, bit = np.nonzero(bits)
    return (there[which] << 3 | bit).astype(np.uint32)


def counted(packed: npt.NDArray[Any], level: int, most: int, told: int | None) -> int:
    """How many bits are set, which is how many cells ``level`` will have; UserError if not ``told``, or too many."""
    count = int(np.bincount(packed, minlength=256) @ _BITS_SET)
    if told is not None and count != told:
        raise UserError(f"octree, level {level}: its bits stand for {count:,} cells, but {told:,} are told of")
    if count > most:
        raise UserError(f"octree, level {level}: its bits stand for {count:,} cells; there is room for {most:,}")
    return count


def finer_cells(cells: MortonCodes, masks: npt.NDArray[Any], level: int, most: int, told: int | None) -> MortonCodes:
    """The cells of ``level``, at most ``most``, by the child bits of those of the level before, one byte for each."""
    if len(masks) != len(cells):
        raise UserError(
            f"octree, level {level}: {len(masks)} bytes of child bits; level {level - 1} has {len(cells)} "
            "cells, and each has one"
        )
    if not masks.all():
        raise UserError(f"octree, level {level}: cell {int(masks.argmin())} of the level before has no child")
    counted(masks, level, most, told)
    places = set_bits(masks)
    finer: MortonCodes = cells[places >> 3] << 3 | places & 7
    return finer
