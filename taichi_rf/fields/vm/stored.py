"""Levels of a VM field as a file holds them, changed without a device: cut to some nodes, or brought to another grid.

Factors are (components, texels): of each component planes xy, xz, yz, then lines z, y, x, as in ``layout.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_rf.fields.base import COMPACT, Arrays, Header, Nodes
from taichi_rf.fields.vm import factor_coding
from taichi_rf.fields.vm.layout import PLANE_AXES, resampled_along

Floats = NDArray[np.floating]


def cut(header: Header, arrays: list[Arrays], low: Nodes, high: Nodes) -> tuple[Header, list[Arrays]]:
    """As :meth:`taichi_rf.fields.base.GridField.cut`; of coded levels the same whole numbers stay, coded anew."""
    grid: Nodes = tuple(header["resolution"])
    nx, ny, nz = (b - a + 1 for a, b in zip(low, high, strict=True))
    after = {**header, "resolution": [nx, ny, nz], "num_levels": len(arrays)}
    kept = _texels(grid, low, high)
    if header.get("coding") != COMPACT:
        return after, [{**level, "factors": level["factors"][:, kept]} for level in arrays]
    reader = factor_coding.Reader(arrays[0]["table"], grid)
    numbers = np.stack([reader.numbers(level)[:, kept] for level in arrays])
    levels = factor_coding.pack(numbers, np.stack([level["steps"] for level in arrays]), (nx, ny, nz))
    return after, [{**own, "basis": level["basis"]} for own, level in zip(levels, arrays, strict=True)]


def factors(header: Header, arrays: list[Arrays]) -> list[Floats]:
    """The factors (components, texels) of every stored level, whatever way they are coded.

    Raises:
        UserError: what is coded is damaged.
    """
    if header.get("coding") != COMPACT:
        return [level["factors"] for level in arrays]
    return list(factor_coding.read(arrays, tuple(header["resolution"])))


def resampled(values: Floats, before: Nodes, after: Nodes) -> Floats:
    """Factors (components, texels) on a grid of other nodes over the same box, by linear interpolation."""
    parts: list[Any] = []
    slices = factor_coding.part_slices(before)
    for part, (a, b) in zip(slices[:3], PLANE_AXES, strict=True):
        plane = values[:, part].astype(np.float32).reshape(len(values), before[b], before[a])
        parts.append(resampled_along(resampled_along(plane, 1, after[b]), 2, after[a]).reshape(len(values), -1))
    for m, part in enumerate(slices[3:]):
        parts.append(resampled_along(values[:, part].astype(np.float32), 1, after[2 - m]))
    return np.concatenate(parts, axis=1)


def without_planes(values: Floats, grid: Nodes) -> Floats:
    """Factors (components, texels) whose planes are zero: they add nothing, and learn from their first step on, for a
    plane's gradient is its line's values."""
    silent = values.copy()
    silent[:, : factor_coding.part_slices(grid)[2].stop] = 0
    return silent


def _texels(grid: Nodes, low: Nodes, high: Nodes) -> NDArray[np.intp]:
    """Which texels of a component stay where nodes low..high do, in their order."""
    nx, ny, nz = grid
    places = np.arange(nx * ny + nx * nz + ny * nz + nz + ny + nx)
    nodes = [slice(a, b + 1) for a, b in zip(low, high, strict=True)]
    slices = factor_coding.part_slices(grid)
    found = [
        places[part].reshape(grid[b], grid[a])[nodes[b], nodes[a]].reshape(-1)
        for part, (a, b) in zip(slices[:3], PLANE_AXES, strict=True)
    ]
    return np.concatenate([*found, *(places[part][nodes[2 - m]] for m, part in enumerate(slices[3:]))])
