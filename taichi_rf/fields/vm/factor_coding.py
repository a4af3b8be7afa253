"""Factors of a VM field as whole numbers: what step each plane and line has, and how a file holds them.

An error e of a texel changes pixels by w e^2 in all, w the sum of squared derivatives
(:mod:`taichi_rf.storage.sensitivity`). At a given rate the sum over texels is least where all errors weigh the same, so
the step of a plane or a line is the noise allowed over the square root of its mean w. That balances planes against the
lines that they are multiplied by, density against appearance, and one component against another, whatever their scales:
of s times a plane and 1 / s times its line come the same whole numbers. Where no occupied cell reads a texel, it
becomes zero.

Planes are coded by :mod:`taichi_rf.coding.planes`, one stream a level; lines are a thirtieth of it all, and deflated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from taichi_rf.coding.entropy import LARGEST, SYMBOLS, Decoder, Encoder, Ints, Models
from taichi_rf.coding.planes import CONTEXTS, SCALES, Activity, contexts_of, decoded, scales_of, table_of
from taichi_rf.coding.weight_coding import signed, step_for, zigzag
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Arrays, Schema

Grid = tuple[int, int, int]

COMPRESSED = frozenset({"table", "scales", "lines", "steps"})
"""Arrays of :func:`schema` that are worth deflating. Planes are not."""

PLANES = 3
PARTS = 6  # of a component: planes xy, xz, yz, lines z, y, x

MAX_NUMBERS = 1 << 26
"""Of all levels that are read: 590^3 at rank 16. Numbers that are all alike take no room in a file, only in memory."""

DEAD_ZONE = 0.1
"""By how much of a step appearance is rounded towards zero, as video coders do: worth 3 % on lego. Density is rounded
to nearest, because what it loses everywhere adds up along a ray."""

FLOOR = 0.01
"""Least weight of a texel that may be read, over its part's mean: rays that are drawn at random miss some."""


def part_slices(grid: Grid) -> list[slice]:
    """Where the parts of a component lie among its texels."""
    nx, ny, nz = grid
    ends = np.cumsum([0, nx * ny, nx * nz, ny * nz, nz, ny, nx]).tolist()
    return [slice(a, b) for a, b in zip(ends, ends[1:])]


def plane_shapes(grid: Grid) -> list[tuple[int, int]]:
    """Rows and columns of the three planes."""
    nx, ny, nz = grid
    return [(ny, nx), (nz, nx), (nz, ny)]


def readable(occupied: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which texels of a component (texels,) are read in occupied cells (z, y, x).

    Samples lie in occupied cells only. One in cell i lies between nodes i and i + 1 and reads both. Normals are taken
    from densities up to one cell further on, so the texels around are kept as well.
    """
    nodes = np.zeros([n + 1 for n in occupied.shape], bool)
    for z, y, x in np.ndindex(2, 2, 2):
        nodes[z : z + occupied.shape[0], y : y + occupied.shape[1], x : x + occupied.shape[2]] |= occupied
    # planes xy, xz, yz, then lines z, y, x: what is left when the other axes are looked along
    along = ((0,), (1,), (2,), (1, 2), (0, 2), (0, 1))
    return np.concatenate([_dilated(np.asarray(nodes.any(axis=axes))).ravel() for axes in along])


def _dilated(nodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Nodes and their neighbours along every axis, diagonals too."""
    for axis in range(nodes.ndim):
        last = nodes.shape[axis] - 1
        below, above = (np.take(nodes, np.clip(np.arange(last + 1) + d, 0, last), axis) for d in (-1, 1))
        nodes = nodes | below | above
    return nodes


def quantised(
    factors: NDArray[np.float32], weights: NDArray[np.float32], grid: Grid, noise: float
) -> tuple[Ints, NDArray[np.float16]]:
    """Factors as whole numbers of steps, and the steps in half precision, as they are stored.

    Args:
        factors: (levels, components, texels); component 0 is the density's.
        weights: of the same shape, what a squared error costs; zero where a texel is never read.
        noise: the step of a texel of weight one.

    Returns:
        Numbers (levels, components, texels) and steps (levels, components, 6).
    """
    numbers = np.zeros(factors.shape, np.int32)
    steps = np.ones((*factors.shape[:2], PARTS), np.float16)
    for level, component in np.ndindex(*factors.shape[:2]):
        for p, part in enumerate(part_slices(grid)):
            x, w = factors[level, component, part], weights[level, component, part]
            if w.any():
                steps[level, component, p] = step_for(noise, w, x)
                size = np.abs(x) / np.float32(steps[level, component, p])
                size = np.floor(np.minimum(size, LARGEST) + (0.5 if component == 0 else 0.5 - DEAD_ZONE))
                numbers[level, component, part] = np.copysign(size, x) * (w > 0)
    return numbers, steps


def factors_of(numbers: Ints, steps: NDArray[np.float16], grid: Grid) -> NDArray[np.float32]:
    """What whole numbers of steps stand for, both as :func:`quantised` returns them."""
    sizes = [part.stop - part.start for part in part_slices(grid)]
    return numbers.astype(np.float32) * np.repeat(steps.astype(np.float32), sizes, axis=2)


def coded(
    factors: NDArray[np.float32],
    squares: NDArray[np.float32],
    grid: Grid,
    occupied: NDArray[np.bool_],
    noise: float,
) -> tuple[Ints, NDArray[np.float16], NDArray[np.float64]]:
    """Whole numbers and steps of all levels, and what each level is expected to lose: the sum of w e^2 over its texels.

    Args:
        factors: (levels, components, texels); component 0 is the density's.
        squares: w, of the same shape.
        occupied: cells (z, y, x).
        noise: as in :func:`quantised`.
    """
    weights = np.empty_like(squares)
    kept = readable(occupied)
    for part in part_slices(grid):
        w = squares[..., part]
        weights[..., part] = np.maximum(w, FLOOR * w.mean(axis=-1, keepdims=True)) * kept[part]
    numbers, steps = quantised(factors, weights, grid, noise)
    errors = (squares * (factors_of(numbers, steps, grid) - factors) ** 2).sum(axis=(1, 2), dtype=np.float64)
    return numbers, steps, errors


def pack(numbers: Ints, steps: NDArray[np.float16], grid: Grid) -> list[Arrays]:
    """Whole numbers and their steps as the arrays of :func:`schema`, level by level."""
    activities = [Activity(shape) for shape in plane_shapes(grid)]
    levels: list[Arrays] = []
    calls: list[list[tuple[Ints, Ints]]] = []
    for own, own_steps in zip(numbers, steps):
        lines = own[:, part_slices(grid)[PLANES].start :]
        scales = np.zeros((len(own), PLANES), np.uint8)
        calls.append([])
        for p, planes in enumerate(_planes(own, grid)):
            scales[:, p] = scales_of(planes)
            calls[-1] += contexts_of(planes, scales[:, p], activities[p])
        levels.append({"steps": own_steps, "scales": scales, "lines": zigzag(lines)})
    table = table_of(call for level in calls for call in level)
    models = Models(table)
    for arrays, level in zip(levels, calls):
        encoder = Encoder(models)
        for call in level:
            encoder.add(*call)
        arrays["planes"] = encoder.finish()
    levels[0]["table"] = table
    return levels


def read(levels: list[Arrays], grid: Grid) -> NDArray[np.float32]:
    """Factors (levels, components, texels) of what :func:`pack` made.

    Raises:
        UserError: nothing that it made.
    """
    reader = Reader(levels[0]["table"], grid)
    return np.stack([reader.level(arrays) for arrays in levels])


class Reader:
    """Reads what :func:`pack` made, level after level; each needs what those before it were.

    Raises:
        UserError: the table is none.
    """

    def __init__(self, table: NDArray[np.uint8], grid: Grid) -> None:
        self._models, self._grid = Models(table), grid
        self._activities = [Activity(shape) for shape in plane_shapes(grid)]

    def level(self, arrays: Arrays) -> NDArray[np.float32]:
        """Factors (components, texels) of the next level. UserError where :func:`pack` made nothing such."""
        return factors_of(self.numbers(arrays)[None], arrays["steps"][None], self._grid)[0]

    def numbers(self, arrays: Arrays) -> Ints:
        """The whole numbers (components, texels) of the next level. UserError where :func:`pack` made nothing such."""
        if arrays["scales"].max() >= SCALES:
            raise UserError("the scale of a plane is damaged")
        components, parts = len(arrays["steps"]), part_slices(self._grid)
        numbers = np.empty((components, parts[-1].stop), np.int32)
        decoder = Decoder(arrays["planes"], self._models)
        for p, shape in enumerate(plane_shapes(self._grid)):
            planes = decoded((components, *shape), arrays["scales"][:, p], self._activities[p], decoder)
            numbers[:, parts[p]] = planes.reshape(components, -1)
        decoder.finish()
        numbers[:, parts[PLANES].start :] = signed(arrays["lines"])
        return numbers


def schema(grid: Grid, components: int, level: int) -> Schema:
    """Arrays of one level (1, 2, ...). The table is that of all; of planes there are as many words as it takes."""
    arrays: Schema = {
        "steps": ("f2", (components, PARTS)),
        "scales": ("u1", (components, PLANES)),
        "lines": ("u2", (components, sum(grid))),
        "planes": ("u4", (-1,)),
    }
    return arrays if level > 1 else {"table": ("u1", (CONTEXTS, SYMBOLS)), **arrays}


def _planes(numbers: Ints, grid: Grid) -> Iterator[Ints]:
    """The planes (components, rows, columns) of one level, mode by mode."""
    for shape, part in zip(plane_shapes(grid), part_slices(grid)):
        yield numbers[:, part].reshape(-1, *shape)
