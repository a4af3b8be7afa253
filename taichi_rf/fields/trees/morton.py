"""Morton codes of cells and lattice points: the bits of x, y and z interleaved, x in the lowest bit.

The children of cell c are 8 c to 8 c + 7, and ascending codes keep neighbours close.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BITS = 10  # of a coordinate
AXES = (0x09249249, 0x12492492, 0x24924924)
"""The bits of a code that belong to x, y and z."""
MortonCodes = npt.NDArray[np.uint32]


def morton(places: npt.ArrayLike) -> MortonCodes:
    """The codes (n,) uint32 of whole coordinates (n, 3): x, y, z from 0 to 1023.

    Raises:
        ValueError: a coordinate is out of that range, or the shape is another.
    """
    whole = np.asarray(places)
    if whole.ndim != 2 or whole.shape[1] != 3:
        raise ValueError(f"coordinates are (n, 3); got {whole.shape}")
    if whole.size and not (whole.min() >= 0 and whole.max() < 1 << BITS):
        raise ValueError(f"coordinates are 0 to {(1 << BITS) - 1}; got {whole.min()} to {whole.max()}")
    codes = np.zeros(len(whole), np.uint32)
    for axis in range(3):
        bits = whole[:, axis].astype(np.uint32)
        for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, AXES[0])):
            bits = (bits | bits << np.uint32(shift)) & np.uint32(mask)
        codes |= bits << np.uint32(axis)
    return codes


def coordinates(codes: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """The inverse of :func:`morton`: (n,) codes to (n, 3) int32."""
    whole = np.asarray(codes, np.uint32)
    result = np.empty((len(whole), 3), np.int32)
    for axis in range(3):
        bits = whole >> np.uint32(axis) & np.uint32(AXES[0])
        for shift, mask in ((2, 0x030C30C3), (4, 0x0300F00F), (8, 0x030000FF), (16, 0x000003FF)):
            bits = (bits | bits >> np.uint32(shift)) & np.uint32(mask)
        result[:, axis] = bits
    return result


def neighbourhood(codes: npt.ArrayLike, depth: int) -> MortonCodes:
    """Cells (n,) of ``depth`` and all their 26 neighbours that lie in the box: codes, ascending, each once."""
    grown = unique(np.asarray(codes, np.uint32))
    for axis in range(3):
        last = AXES[axis] & ((1 << 3 * depth) - 1)
        below = grown[grown & AXES[axis] != 0]
        above = grown[grown & AXES[axis] != last]
        grown = unique(np.concatenate([grown, before(below, axis), after(above, axis)]))
    return grown


def after(codes: MortonCodes, axis: int) -> MortonCodes:
    """The next place along ``axis``: the other axes' bits are set, so that a carry runs through them."""
    mask = np.uint32(AXES[axis])
    return ((codes | ~mask) + np.uint32(1)) & mask | codes & ~mask


def before(codes: MortonCodes, axis: int) -> MortonCodes:
    """The place before along ``axis``, which must not be 0 there: a borrow runs through the other axes' bits."""
    mask = np.uint32(AXES[axis])
    return ((codes & mask) - np.uint32(1 << axis)) & mask | codes & ~mask


def unique(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Ascending, each once. Sorting whole arrays is several times faster here than np.unique."""
    values = np.sort(values)
    return values[np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]])]
