"""Numpy twins of the fields, slow and obvious, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.twins import BLOCK

APPEARANCE = 3  # appearance components a level


def interpolate(values: np.ndarray, *coordinates: np.ndarray) -> np.ndarray:
    """Multilinear interpolation, corners aligned: ``values`` (a, b, ..., *rest) at coordinates in [0, 1], each (n,)."""
    axes = len(coordinates)
    total = np.zeros((len(coordinates[0]), *values.shape[axes:]))
    cells, fractions = [], []
    for axis, u in enumerate(coordinates):
        place = np.clip(np.asarray(u, np.float64), 0, 1) * (values.shape[axis] - 1)
        cell = np.clip(np.floor(place).astype(int), 0, values.shape[axis] - 2)
        cells.append(cell)
        fractions.append(place - cell)
    for corner in np.ndindex(*(2,) * axes):
        weight = np.ones(len(total))
        for bit, fraction in zip(corner, fractions):
            weight = weight * (fraction if bit else 1 - fraction)
        node = values[tuple(cell + bit for cell, bit in zip(cells, corner))]
        total += weight.reshape(-1, *(1,) * (node.ndim - 1)) * node
    return total


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


class VMTwin:
    """A VM field from its arena, (texels, 16), and its basis.

    Attributes:
        arena: (blocks, unit, 16): what the twin computes from; move its entries for differences.
        basis: (3 modes, padded components, 27), likewise.
    """

    def __init__(
        self,
        arena: np.ndarray,
        basis: np.ndarray,
        *,
        ranks: int,
        resolution: tuple[int, int, int],
        shift: float = -10.0,
        relu: bool = False,
    ) -> None:
        nx, ny, nz = resolution
        self.ranks, self.resolution, self.shift, self.relu = ranks, resolution, shift, relu
        self.unit = nx * ny + nx * nz + ny * nz + nz + ny + nx
        self.density_blocks = -(-ranks // BLOCK)
        self.appearance_blocks = -(-APPEARANCE * ranks // BLOCK)
        blocks = self.density_blocks + self.appearance_blocks
        self.arena = arena[: blocks * self.unit].reshape(blocks, self.unit, BLOCK).astype(np.float64)
        self.basis = basis.reshape(3, self.appearance_blocks * BLOCK, 27).astype(np.float64)

    def factors(self, first: int, blocks: int, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Planes (nj, ni, count) over xy, xz, yz and lines (nk, count) along z, y, x of some blocks' components."""
        nx, ny, nz = self.resolution
        # (unit, all components of these blocks)
        flat = np.concatenate([self.arena[first + b] for b in range(blocks)], axis=1)[:, :count]
        shapes = [(ny, nx), (nz, nx), (nz, ny), (nz,), (ny,), (nx,)]
        parts, begin = [], 0
        for shape in shapes:
            size = int(np.prod(shape))
            parts.append(flat[begin : begin + size].reshape(*shape, count))
            begin += size
        assert begin == self.unit
        return parts[:3], parts[3:]

    def density_factors(self, level: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return self.factors(0, self.density_blocks, level)

    def appearance_factors(self, level: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return self.factors(self.density_blocks, self.appearance_blocks, APPEARANCE * level)

    @staticmethod
    def products(factors: tuple[list[np.ndarray], list[np.ndarray]], positions: np.ndarray) -> list[np.ndarray]:
        """Plane times line for each of three modes, (n, components)."""
        x, y, z = np.asarray(positions, np.float64).T
        (xy, xz, yz), (along_z, along_y, along_x) = factors
        return [
            interpolate(xy, y, x) * interpolate(along_z, z),
            interpolate(xz, z, x) * interpolate(along_y, y),
            interpolate(yz, z, y) * interpolate(along_x, x),
        ]

    def feature(self, positions: np.ndarray, level: int) -> np.ndarray:
        """The density feature, before the activation."""
        return sum(p.sum(axis=1) for p in self.products(self.density_factors(level), positions))

    def density(self, positions: np.ndarray, level: int) -> np.ndarray:
        feature = self.feature(positions, level)
        return np.maximum(feature, 0) if self.relu else softplus(feature + self.shift)

    def features(self, positions: np.ndarray, level: int) -> np.ndarray:
        """(n, 27)"""
        products = self.products(self.appearance_factors(level), positions)
        return sum(p @ b[: APPEARANCE * level] for p, b in zip(products, self.basis))

    def active(self, level: int) -> np.ndarray:
        """Mask of the arena: which entries belong to components of the first ``level`` levels."""
        mask = np.zeros((len(self.arena), BLOCK), bool)
        mask[: self.density_blocks].reshape(-1)[:level] = True
        mask[self.density_blocks :].reshape(-1)[: APPEARANCE * level] = True
        return np.broadcast_to(mask[:, None, :], self.arena.shape)

    def active_basis(self, level: int) -> np.ndarray:
        """Likewise of the basis."""
        mask = np.zeros(self.basis.shape, bool)
        mask[:, : APPEARANCE * level] = True
        return mask

    # Regularisers: means over all R components, of which those beyond the level are masked to zero (SlimmeRF, code)

    def l1(self, level: int) -> float:
        planes, lines = self.density_factors(level)
        return sum(np.abs(f).sum() / (f[..., 0].size * self.ranks) for f in (*planes, *lines))

    def total_variation(self, factors: tuple[list[np.ndarray], list[np.ndarray]], components: int) -> float:
        """2 (mean of squared differences down + mean of those across), planes only, times TensoRF's 1e-2."""
        total = 0.0
        for plane in factors[0]:
            rows, columns, _ = plane.shape
            down = (np.diff(plane, axis=0) ** 2).sum() / ((rows - 1) * columns * components)
            across = (np.diff(plane, axis=1) ** 2).sum() / (rows * (columns - 1) * components)
            total += 2 * (down + across)
        return 1e-2 * total

    def tv_density(self, level: int) -> float:
        return self.total_variation(self.density_factors(level), self.ranks)

    def tv_appearance(self, level: int) -> float:
        return self.total_variation(self.appearance_factors(level), APPEARANCE * self.ranks)

    def orthogonality(self, level: int) -> float:
        """Mean over pairs of different components of |line . line|, summed over modes and both groups."""
        total = 0.0
        groups = ((self.density_factors(level), self.ranks), (self.appearance_factors(level), APPEARANCE * self.ranks))
        for (_, lines), components in groups:
            for line in lines:
                gram = np.abs(line.T @ line)
                total += (gram.sum() - np.trace(gram)) / (components * (components - 1))
        return total


class OctreeTwin:
    """An octree field from the codes of its cells and the features of its vertices, level by level.

    Attributes:
        vertices: of each level, lattice point (x, y, z) to its row of ``rows``.
        rows: (vertices of all levels, 16): what the twin computes from; move its entries for differences.
    """

    def __init__(self, tree: Any, rows: np.ndarray, *, shift: float = -5.0, signed: bool = False) -> None:
        self.shift, self.signed = shift, signed
        self.rows = rows.astype(np.float64)
        self.depths = [layer.depth for layer in tree.layers]
        self.cells = [{unwoven(int(code)) for code in layer.cells} for layer in tree.layers]
        self.vertices, first = [], 0
        for layer in tree.layers:
            self.vertices.append({unwoven(int(code)): first + i for i, code in enumerate(layer.vertices)})
            first += len(layer.vertices)
        assert self.rows.shape == (first, BLOCK)
        self._weights: dict[tuple[bytes, int], np.ndarray] = {}

    def inside(self, positions: np.ndarray, level: int) -> np.ndarray:
        """(n,) whether the level has a cell there."""
        side = 2 ** self.depths[level - 1]
        places = np.minimum(np.asarray(positions, np.float64) * side, side - 1).astype(int)
        return np.array([tuple(place) in self.cells[level - 1] for place in places.tolist()])

    def weights(self, positions: np.ndarray, level: int) -> np.ndarray:
        """(n, vertices of all levels): trilinear weights on the corners of the cells of the first ``level`` levels."""
        key = (np.asarray(positions).tobytes(), level)
        if key not in self._weights:
            self._weights[key] = self._weigh(positions, level)
        return self._weights[key]

    def _weigh(self, positions: np.ndarray, level: int) -> np.ndarray:
        matrix = np.zeros((len(positions), len(self.rows)))
        for depth, cells, vertices in zip(self.depths[:level], self.cells, self.vertices):
            for i, position in enumerate(np.asarray(positions, np.float64) * 2**depth):
                cell = tuple(np.minimum(position, 2**depth - 1).astype(int).tolist())
                if cell in cells:
                    for corner in np.ndindex(2, 2, 2):
                        point = tuple(c + o for c, o in zip(cell, corner))
                        matrix[i, vertices[point]] += np.prod([1 - abs(x - c) for x, c in zip(position, point)])
        return matrix

    def features(self, positions: np.ndarray, level: int) -> np.ndarray:
        """(n, 16)"""
        return self.weights(positions, level) @ self.rows

    def density(self, positions: np.ndarray, level: int) -> np.ndarray:
        feature = self.features(positions, level)[:, 0]
        there = feature if self.signed else softplus(feature + self.shift)
        return np.where(self.inside(positions, level), there, 1.0 if self.signed else 0.0)

    def active(self, level: int) -> np.ndarray:
        """Mask of ``rows``: the vertices of the first ``level`` levels."""
        mask = np.zeros(self.rows.shape, bool)
        mask[: sum(len(vertices) for vertices in self.vertices[:level])] = True
        return mask


def unwoven(code: int) -> tuple[int, int, int]:
    """x, y, z of a Morton code, bit by bit."""
    x, y, z = (sum((code >> 3 * bit + axis & 1) << bit for bit in range(11)) for axis in range(3))
    return x, y, z
