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


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# The VM field


# The octree field


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
