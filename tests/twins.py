"""The forward passes once more in plain float64 numpy: slow, obvious, and written from the formulas alone.

Kernels are compared with these, and their adjoints with central differences of these. Nothing here knows a block of
sixteen components, a chunk of rows or a packed word; layouts are undone where arrays come in (:class:`VMTwin`,
:class:`MLPTwin`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Vec3, empty, upload
from taichi_rf.kernels.march import Samples

BLOCK = 16
APPEARANCE = 3  # appearance components a level


# Finite differences


def central_difference(f: Callable[[], float], x: np.ndarray, at: Any, h: float = 1e-5) -> float:
    """df/dx[at] by moving that one entry of ``x`` (which f reads) to either side."""
    before = x[at]
    x[at] = before + h
    above = f()
    x[at] = before - h
    below = f()
    x[at] = before
    return (above - below) / (2 * h)


def directional_difference(f: Callable[[], float], x: np.ndarray, direction: np.ndarray, h: float = 1e-5) -> float:
    """d/ds f(x + s direction) at s = 0."""
    before = x.copy()
    x[...] = before + h * direction
    above = f()
    x[...] = before - h * direction
    below = f()
    x[...] = before
    return (above - below) / (2 * h)


def assert_gradient(
    f: Callable[[], float],
    x: np.ndarray,
    gradient: np.ndarray,
    rng: np.random.Generator,
    *,
    entries: int = 12,
    directions: int = 3,
    tolerance: float = 1e-3,
    only: np.ndarray | None = None,
) -> None:
    """``gradient`` is df/dx: along random directions, at random entries and at the entries where it is largest.

    Args:
        f: reads ``x``.
        x: float64 parameters, changed and put back.
        gradient: of the same shape, from the kernel.
        entries, directions: how many of each are tried.
        tolerance: of the largest entry, or of the norm times that of a direction.
        only: mask of the entries that may be moved; all by default.
    """
    assert gradient.shape == x.shape
    gradient = gradient.astype(np.float64)
    movable = np.ones(x.shape, bool) if only is None else np.broadcast_to(only, x.shape)
    largest = np.abs(gradient[movable]).max()
    assert largest > 0, "a gradient of nothing proves nothing"
    norm = np.linalg.norm(gradient[movable])
    for _ in range(directions):
        direction = rng.standard_normal(x.shape) * movable
        direction /= np.linalg.norm(direction)
        expected = directional_difference(f, x, direction)
        assert abs(np.vdot(gradient, direction) - expected) <= tolerance * norm
    # along the gradient itself the slope is its norm: nothing cancels
    along = gradient * movable / norm
    assert abs(directional_difference(f, x, along) / norm - 1) <= tolerance
    places = np.flatnonzero(movable)
    tried = np.concatenate(
        [
            rng.choice(places, min(entries, len(places)), replace=False),
            places[np.argsort(np.abs(gradient.reshape(-1)[places]))[-entries:]],
        ]
    )
    for place in tried:
        at = np.unravel_index(place, x.shape)
        assert abs(gradient[at] - central_difference(f, x, at)) <= tolerance * largest


# Interpolation


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


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# The VM field


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


# The octree field


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


# Decoders


def harmonics(directions: np.ndarray) -> np.ndarray:
    """Real spherical harmonics of degree 0, 1, 2 at unit directions (n, 3), with the Condon-Shortley phase: (n, 9)."""
    x, y, z = np.asarray(directions, np.float64).T
    c1, c2 = np.sqrt(3 / (4 * np.pi)), np.sqrt(15 / np.pi) / 2
    return np.stack(
        [
            np.full_like(x, np.sqrt(1 / np.pi) / 2),
            -c1 * y, c1 * z, -c1 * x,
            c2 * x * y, -c2 * y * z, np.sqrt(5 / np.pi) / 4 * (3 * z**2 - 1), -c2 * x * z, c2 / 2 * (x**2 - y**2),
        ],
        axis=1,
    )  # fmt: skip


def sh_colours(features: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(n, 3) from features (n, 27), nine a channel."""
    return sigmoid(np.einsum("nck,nk->nc", features.reshape(-1, 3, 9), harmonics(directions)))


def positional_encoding(x: np.ndarray, frequencies: int) -> np.ndarray:
    """TensoRF's: every number at frequencies 1, 2, 4, ... side by side; all sines, then all cosines."""
    scaled = (x[:, :, None] * 2.0 ** np.arange(frequencies)).reshape(len(x), -1)
    return np.concatenate([np.sin(scaled), np.cos(scaled)], axis=1)


class PerceptronTwin:
    """inputs -> hidden -> hidden -> 3 from the flat parameters: of each layer W (inputs x outputs) row by row, then the
    bias."""

    SHAPES: tuple[tuple[int, int], ...]

    def __init__(self, values: np.ndarray) -> None:
        self.values = values.astype(np.float64)
        assert self.values.shape == (sum((i + 1) * o for i, o in self.SHAPES),)

    @staticmethod
    def inputs(features: np.ndarray, directions: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def colours(self, features: np.ndarray, directions: np.ndarray) -> np.ndarray:
        h = self.inputs(features, np.asarray(directions, np.float64))
        begin = 0
        for inputs, outputs in self.SHAPES:
            w = self.values[begin : begin + inputs * outputs].reshape(inputs, outputs)
            b = self.values[begin + inputs * outputs : begin + (inputs + 1) * outputs]
            begin += (inputs + 1) * outputs
            h = h @ w + b
            h = np.maximum(h, 0) if outputs != 3 else sigmoid(h)
        return h


class MLPTwin(PerceptronTwin):
    """Features (n, 27), direction, and sines and cosines of both."""

    SHAPES = ((150, 128), (128, 128), (128, 3))

    @staticmethod
    def inputs(features: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [features, directions, positional_encoding(features, 2), positional_encoding(directions, 2)], axis=1
        )


class SmallTwin(PerceptronTwin):
    """Features (n, 16) but for the first, which is the density's, and the harmonics of the direction."""

    SHAPES = ((24, 64), (64, 64), (64, 3))

    @staticmethod
    def inputs(features: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return np.concatenate([features[:, 1:], harmonics(directions)], axis=1)


# Volume rendering


@dataclass
class Weighed:
    """What :func:`weigh` returns: per sample ``weights`` and ``reached``; per ray ``opacity`` and ``depth``."""

    weights: np.ndarray
    reached: np.ndarray
    opacity: np.ndarray
    depth: np.ndarray


def weigh(
    offsets: np.ndarray,
    t: np.ndarray,
    density: np.ndarray,
    delta: float,
    *,
    stop: float = 1e-4,
    reached: np.ndarray | None = None,
) -> Weighed:
    """Weights along each ray, which ends at a transmittance of ``stop`` or less; ``reached`` fixes where instead."""
    weights, met = np.zeros(len(density)), np.zeros(len(density), bool)
    opacity, depth = np.zeros(len(offsets) - 1), np.zeros(len(offsets) - 1)
    for ray in range(len(offsets) - 1):
        part = slice(offsets[ray], offsets[ray + 1])
        alpha = 1 - np.exp(-density[part] * delta)
        before = np.cumprod(np.append(1, 1 - alpha))[:-1]  # transmittance up to each sample
        met[part] = before > stop if reached is None else reached[part]
        weights[part] = np.where(met[part], before * alpha, 0)
        opacity[ray] = weights[part].sum()
        depth[ray] = weights[part] @ t[part]
    return Weighed(weights, met, opacity, depth)


def assert_density_along(field: Any, twin: Any, positions: np.ndarray, opacity: float, level: int) -> None:
    """``field.density_along`` of rays of ten samples, and of one without any, is the twin's until no light is left.

    Args:
        opacity: optical depth of a sample of mean density.
    """
    density = twin.density(positions, level)
    offsets = np.array([0, *range(0, len(positions), 10), len(positions)])
    delta = opacity / density.mean()
    reached = weigh(offsets, np.zeros(len(positions)), density, delta).reached
    assert 0.1 < reached.mean() < 0.9
    step, scale = 0.25, 4 * delta
    samples = Samples(
        len(offsets) - 1, len(positions), upload(offsets, ti.i32), upload(positions, Vec3), None, None, step
    )
    got = empty(ti.f32, len(positions))
    before = field.owner
    try:
        for field.owner in (True, False):  # by rays, and by samples
            got.fill(7)
            field.density_along(samples, scale, got, level)
            expected = np.where(reached, density, 0) if field.owner else density
            np.testing.assert_allclose(got.to_numpy(), expected, rtol=1e-4, atol=2e-5)
    finally:
        field.owner = before


def composite(
    offsets: np.ndarray, weighed: Weighed, shaded: np.ndarray, colours: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """Pixels (rays, 3); ``colours`` (samples, 3) count where ``shaded`` (samples,)."""
    pixels = (1 - weighed.opacity)[:, None] * background
    for ray in range(len(offsets) - 1):
        part = slice(offsets[ray], offsets[ray + 1])
        pixels[ray] += (weighed.weights[part] * shaded[part]) @ colours[part]
    return pixels


# Marching


def jitter(seed: int, rays: int) -> np.ndarray:
    """One number in [0, 1) a ray: the PCG hash of ray and seed, its upper 24 bits."""
    mask = (1 << 32) - 1
    result = np.empty(rays)
    for index in range(rays):
        state = (index * 747796405 + seed * 2891336453 + 1) & mask
        word = (((state >> ((state >> 28) + 4)) ^ state) * 277803737) & mask
        word = ((word >> 22) ^ word) & mask
        result[index] = (word >> 8) / 16777216
    return result


@dataclass
class Step:
    """One step along one ray: its place, and how sure rounding leaves us of whether it counts."""

    t: float
    u: np.ndarray
    occupied: bool
    margin: float
    """Cells to the nearest face of the cell, or to the end of the ray."""


def march(
    origin: np.ndarray,
    direction: np.ndarray,
    *,
    box: np.ndarray,
    near: float,
    far: float,
    step: float,
    cells: np.ndarray,
    jitter: float = 0.5,
) -> list[Step]:
    """Every step of one ray inside the box, each looked up in ``cells`` (z, y, x) by itself: nothing is skipped."""
    origin, direction, box = (np.asarray(a, np.float64) for a in (origin, direction, box))
    entry, leave = near, far
    for axis in range(3):
        if direction[axis] == 0:
            if not box[0, axis] <= origin[axis] <= box[1, axis]:
                return []
            continue
        a, b = sorted((box[:, axis] - origin[axis]) / direction[axis])
        entry, leave = max(entry, a), min(leave, b)
    counts = np.array(cells.shape[::-1])
    steps = []
    k = 0
    while (t := entry + (k + jitter) * step) < leave + 1e-3 * step:
        u = (origin + direction * t - box[0]) / (box[1] - box[0])
        place = u * counts
        cell = np.clip(np.floor(place).astype(int), 0, counts - 1)
        end = abs(leave - t) / step
        margin = min(np.abs(place - np.round(place)).min(), end)
        steps.append(Step(t, u, bool(cells[tuple(cell[::-1])]) and t < leave, float(margin)))
        k += 1
    return steps


# Adam


class AdamTwin:
    """Kingma and Ba 2015, Algorithm 1, with TensoRF's betas."""

    def __init__(self, x: np.ndarray, *, beta1: float = 0.9, beta2: float = 0.99, epsilon: float = 1e-8) -> None:
        self.x = x.astype(np.float64)
        self.m, self.v, self.t = np.zeros_like(self.x), np.zeros_like(self.x), 0
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def step(self, gradient: np.ndarray, rate: float) -> None:
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * gradient
        self.v = self.beta2 * self.v + (1 - self.beta2) * gradient**2
        m_hat = self.m / (1 - self.beta1**self.t)
        v_hat = self.v / (1 - self.beta2**self.t)
        self.x = self.x - rate * m_hat / (np.sqrt(v_hat) + self.epsilon)
