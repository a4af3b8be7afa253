"""How a VM field lies in memory, and what may happen to its grid.

All factors live in one arena of texels, each a block of 16 components. Block b occupies one unit of
nx ny + nx nz + ny nz + nz + ny + nx texels: planes xy, xz, yz, then lines z, y, x. Density blocks come first.
"""

from __future__ import annotations

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Arrays, GridField, Header
from taichi_rf.kernels.linear import blocks_of

APPEARANCE_PER_LEVEL = 3  # SlimmeRF-R is R density and 3R appearance components a mode
PLANE_AXES = ((0, 1), (0, 2), (1, 2))  # and the line runs along the axis left over: z, y, x
MAX_TEXELS = 1 << 27
MAX_RANKS = 64

Factors = list[tuple[list[np.ndarray], list[np.ndarray]]]
"""Of each block of 16 components, three planes (nj, ni, 16) and three lines (nk, 16)."""


def unit_texels(resolution: tuple[int, int, int]) -> int:
    """Texels of one block of 16 components on a grid of ``resolution`` nodes."""
    nx, ny, nz = resolution
    return nx * ny + nx * nz + ny * nz + nx + ny + nz


class VMLayout(GridField):
    """The arena of a VM field: values, gradients, and which components take part at each level.

    Args:
        ranks: number of levels R.
        resolution: nodes along x, y, z, each at least 2.
        capacity_texels: room for a finer grid later, texels a block.

    Raises:
        UserError: too many ranks, too few nodes, or more texels than there may be.
    """

    def __init__(self, ranks: int, resolution: tuple[int, int, int], capacity_texels: int | None) -> None:
        if min(resolution) < 2 or not 1 <= ranks <= MAX_RANKS:
            raise UserError(f"a VM field has 1 to {MAX_RANKS} ranks and 2 nodes an axis; got {ranks} and {resolution}")
        self.num_levels = ranks
        self.density_blocks = blocks_of(ranks)
        self.appearance_blocks = blocks_of(APPEARANCE_PER_LEVEL * ranks)
        self.total_blocks = self.density_blocks + self.appearance_blocks
        self._resolution = resolution
        self.unit = unit_texels(resolution)
        self.capacity = max(capacity_texels or 0, self.unit)
        texels = self.capacity * self.total_blocks
        if texels > MAX_TEXELS:
            raise UserError(f"a grid of {resolution} with {ranks} ranks needs {texels * 64 >> 20} MiB: too large")
        self.value = ti.Vector.field(BLOCK, ti.f32, texels)
        self.gradient = ti.Vector.field(BLOCK, ti.f32, texels)
        self.mask = ti.Vector.field(BLOCK, ti.f32, (ranks, self.total_blocks))
        """The hard rank limit: of level l + 1, 1 for each component of a block that takes part, else 0."""
        self.mask.from_numpy(np.stack([self._mask_of(level) for level in range(1, ranks + 1)]))

    def _mask_of(self, level: int) -> np.ndarray:
        """(total_blocks, 16): which components of each block take part at ``level``. Blocks that are all zero are not
        even looked at."""
        mask = np.zeros((self.total_blocks, BLOCK), np.float32)
        mask[: self.density_blocks].reshape(-1)[:level] = 1
        mask[self.density_blocks :].reshape(-1)[: APPEARANCE_PER_LEVEL * level] = 1
        return mask

    @property
    def resolution(self) -> tuple[int, int, int]:
        return self._resolution

    def factors(self) -> Factors:
        """Per block, three planes (nj, ni, 16) and three lines (nk, 16), as numpy copies."""
        return _split(self.value.to_numpy()[: self.unit * self.total_blocks], self._resolution, self.total_blocks)

    def set_factors(self, factors: Factors, resolution: tuple[int, int, int]) -> None:
        """Replace all factors by ones on another grid. Adam's moments are not touched: restart the optimiser.

        Raises:
            UserError: the grid does not fit the capacity that was reserved.
        """
        unit = unit_texels(resolution)
        if unit > self.capacity:
            raise UserError(f"a grid of {resolution} does not fit a field made for {self.capacity} texels a block")
        values = np.zeros((self.capacity * self.total_blocks, BLOCK), np.float32)
        flat = [a.reshape(-1, BLOCK) for planes, lines in factors for a in (*planes, *lines)]
        values[: unit * self.total_blocks] = np.concatenate(flat)
        self._resolution, self.unit = resolution, unit
        self.value.from_numpy(values)
        self.gradient.fill(0)

    def resample(self, resolution: tuple[int, int, int]) -> None:
        resampled: Factors = []
        for planes, lines in self.factors():
            new_planes = [
                resampled_along(resampled_along(plane, 0, resolution[b]), 1, resolution[a])
                for plane, (a, b) in zip(planes, PLANE_AXES, strict=True)
            ]
            new_lines = [resampled_along(line, 0, resolution[2 - m]) for m, line in enumerate(lines)]
            resampled.append((new_planes, new_lines))
        self.set_factors(resampled, resolution)

    def crop(self, low: tuple[int, int, int], high: tuple[int, int, int]) -> None:
        cut = [slice(a, b + 1) for a, b in zip(low, high, strict=True)]
        cropped = [
            (
                [plane[cut[b], cut[a]] for plane, (a, b) in zip(planes, PLANE_AXES, strict=True)],
                [line[cut[2 - m]] for m, line in enumerate(lines)],
            )
            for planes, lines in self.factors()
        ]
        nx, ny, nz = (b - a + 1 for a, b in zip(low, high, strict=True))
        self.set_factors(cropped, (nx, ny, nz))

    def structure(self) -> tuple[Arrays, Header]:
        return {}, {"resolution": list(self._resolution)}

    def set_structure(self, arrays: Arrays, state: Header) -> None:
        nx, ny, nz = state["resolution"]
        if self._resolution != (nx, ny, nz):
            self.resample((nx, ny, nz))  # lays the arena out; the values come next

    def level_factors(self, level: int, arena: np.ndarray) -> np.ndarray:
        """What an arena of texels (n, 16) has for one level: (components, texels)."""
        units = arena[: self.unit * self.total_blocks].reshape(self.total_blocks, self.unit, BLOCK)
        return np.stack([units[b, :, c] for b, c in self.components(level)])

    def components(self, level: int) -> list[tuple[int, int]]:
        """(block, component in it) of what ``level`` adds: one density component, then three of appearance."""
        a = APPEARANCE_PER_LEVEL * (level - 1)
        density = (level - 1) // BLOCK, (level - 1) % BLOCK
        return [density] + [(self.density_blocks + c // BLOCK, c % BLOCK) for c in range(a, a + APPEARANCE_PER_LEVEL)]


def _split(value: np.ndarray, resolution: tuple[int, int, int], blocks: int) -> Factors:
    """An arena (texels, 16) as planes (nj, ni, 16) and lines (nk, 16) of each block."""
    shapes = [(resolution[b], resolution[a], BLOCK) for a, b in PLANE_AXES]
    shapes += [(resolution[2 - m], BLOCK) for m in range(3)]  # type: ignore[misc]
    ends = np.cumsum([int(np.prod(s[:-1])) for s in shapes])[:-1]
    result = []
    for unit in value.reshape(blocks, -1, BLOCK):
        parts = [p.reshape(s) for p, s in zip(np.split(unit, ends), shapes, strict=True)]
        result.append((parts[:3], parts[3:]))
    return result


def resampled_along(values: np.ndarray, axis: int, nodes: int) -> np.ndarray:
    """Linear interpolation along one axis to ``nodes`` nodes, corners aligned."""
    old = values.shape[axis]
    place = np.linspace(0, old - 1, nodes)
    i = np.minimum(place.astype(int), old - 2)
    f = (place - i).astype(np.float32)
    f = f.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.take(values, i, axis) * (1 - f) + np.take(values, i + 1, axis) * f
