"""Render every prefix of a model at once: one march and one lookup serve all levels, for what a sample looks up is a
sum over levels, of which every prefix is a partial sum.

Sixteen ranks would otherwise cost sixteen renders. Each level keeps its own transmittance, and its own choice of
samples worth shading; what is shared is everything that touches the factors.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, F32, I32, Scratch, Vec3, Vec3s
from taichi_rf.kernels.march import STOP
from taichi_rf.kernels.scan import SCAN, prefix_sum
from taichi_rf.kernels.volume import attenuate
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.ray_parts import in_parts
from taichi_rf.rendering.settings import RenderSettings

MOST = 1 << 24
"""Samples at once, times levels."""


class PrefixRenderer:
    """Renders rays at all levels of one model."""

    def __init__(self, model: Model) -> None:
        self.model, self.scratch = model, Scratch()
        self.picked = ti.Vector.field(BLOCK, ti.f32, (model.field.rows, -(-model.field.feature_width // BLOCK)))

    def rays(self, origins: np.ndarray, directions: np.ndarray, settings: RenderSettings) -> np.ndarray:
        """Colours (levels, n, 3) float32, not clipped, of rays (n, 3), (n, 3) at level 1, 2, ..., the settings'."""
        most = max(MOST // self.model.field.num_levels, 1)
        parts = in_parts(self._rays, origins, directions, settings, most=most)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _rays(self, origins: np.ndarray, directions: np.ndarray, settings: RenderSettings) -> np.ndarray:
        model, field, get, levels = self.model, self.model.field, self.scratch.get, settings.level
        n, stride = len(origins), self.model.field.num_levels
        samples = model.march(origins, directions, replace(settings, level=1))  # wherever any level may be occupied
        density = get("density", ti.f32, samples.count * stride)
        field.density_levels(samples.count, samples.positions, density)
        weights = get("weights", ti.f32, samples.count * levels)
        opacity = get("opacity", ti.f32, n * levels)
        counts, offsets = get("counts", ti.i32, n), get("offsets", ti.i32, n + 1)
        delta, threshold = samples.step * model.distance_scale, settings.weight_threshold
        _weights(n, levels, stride, delta, threshold, samples.offsets, density, weights, opacity, counts)
        count = prefix_sum(n, counts, offsets, get("sums", ti.i32, n // SCAN + 2))
        index, rays = get("index", ti.i32, count), get("rays", ti.i32, count)
        positions = get("positions", Vec3, count)
        _gather(n, levels, threshold, samples.offsets, weights, offsets, samples.positions, positions, rays, index)
        colours = get("colours", Vec3, count * levels)
        for first in range(0, count, field.rows):
            part = (first, min(field.rows, count - first), count, levels, threshold)
            self._shade(*part, samples.directions, weights, positions, rays, index, colours)
        pixels = get("pixels", Vec3, n * levels)
        background = ti.math.vec3(*model.background)
        _pixels(n, levels, count, background, offsets, index, weights, opacity, colours, pixels)
        return pixels.to_numpy()[: n * levels].reshape(levels, n, 3)

    def _shade(
        self, first: int, n: int, count: int, levels: int, threshold: float, directions: Any, weights: Any,
        positions: Any, rays: Any, index: Any, colours: Any,
    ) -> None:  # fmt: skip
        """Colours of shaded samples [first, first + n) at the first ``levels`` levels, of which each decodes only what
        it needs, and as many together as the decoder has rows for."""
        model, get = self.model, self.scratch.get
        field, rows = model.field, model.field.rows
        flags, slots = get("flags", ti.i32, levels * n), get("slots", ti.i32, levels * n + 1)
        _flag(n, first, levels, threshold, index, weights, flags)
        prefix_sum(levels * n, flags, slots, get("flag sums", ti.i32, levels * n // SCAN + 2))
        ends = get("ends", ti.i32, levels + 1)
        _every(levels + 1, n, slots, ends)
        begin = ends.to_numpy()[: levels + 1]  # where in the slots each level begins
        picked_rays, picked_colours = get("picked rays", ti.i32, rows), get("picked colours", Vec3, rows)
        field.lookup(n, first, positions, levels)
        level = 0
        while level < levels:
            base, start = int(begin[level]), level
            while level < levels and begin[level + 1] - base <= rows:
                features = field.next_features(n, level + 1)
                _pick(n, first, level * n, base, flags, slots, rays, features, self.picked, picked_rays)
                level += 1
            model.decoder.forward(int(begin[level]) - base, 0, self.picked, picked_rays, directions, picked_colours)
            _unpick(n, first, start, level, base, count, flags, slots, picked_colours, colours)


@ti.kernel
def _weights(
    n: int,
    levels: int,
    stride: int,
    delta: float,
    threshold: float,
    offsets: I32,
    density: F32,
    weights: F32,
    opacity: F32,
    counts: I32,
):
    # volume._weights for the first ``levels`` of the ``stride`` levels that the densities have; counts samples that
    # any level shades
    for r in range(n):
        for level in range(levels):
            transmittance = 1.0
            for i in range(offsets[r], offsets[r + 1]):
                w = 0.0
                if transmittance > STOP:
                    w, transmittance = attenuate(transmittance, density[i * stride + level], delta)
                weights[i * levels + level] = w
            opacity[r * levels + level] = 1.0 - transmittance
        shaded = 0
        for i in range(offsets[r], offsets[r + 1]):
            largest = 0.0
            for level in range(levels):
                largest = ti.max(largest, weights[i * levels + level])
            if largest > threshold:
                shaded += 1
        counts[r] = shaded


@ti.kernel
def _gather(
    n: int,
    levels: int,
    threshold: float,
    offsets: I32,
    weights: F32,
    shaded_offsets: I32,
    positions: Vec3s,
    shaded_positions: Vec3s,
    rays: I32,
    index: I32,
):
    for r in range(n):
        out = shaded_offsets[r]
        for i in range(offsets[r], offsets[r + 1]):
            largest = 0.0
            for level in range(levels):
                largest = ti.max(largest, weights[i * levels + level])
            if largest > threshold:
                shaded_positions[out] = positions[i]
                rays[out] = r
                index[out] = i
                out += 1


@ti.kernel
def _flag(n: int, first: int, levels: int, threshold: float, index: I32, weights: F32, flags: I32):
    # flags[level * n + i]: does that level shade sample first + i
    for i in range(n):
        for level in range(levels):
            flags[level * n + i] = ti.cast(weights[index[first + i] * levels + level] > threshold, ti.i32)


@ti.kernel
def _every(n: int, stride: int, source: I32, target: I32):
    for i in range(n):
        target[i] = source[i * stride]


@ti.kernel
def _pick(
    n: int,
    first: int,
    start: int,
    base: int,
    flags: I32,
    slots: I32,
    rays: I32,
    features: ti.template(),
    picked: ti.template(),
    picked_rays: I32,
):
    # rows of features whose flag start + i is set, side by side; slot ``base`` comes first
    for i in range(n):
        if flags[start + i] != 0:
            slot = slots[start + i] - base
            for b in ti.static(range(picked.shape[1])):
                picked[slot, b] = features[i, b]
            picked_rays[slot] = rays[first + i]


@ti.kernel
def _unpick(
    n: int,
    first: int,
    start: int,
    stop: int,
    base: int,
    count: int,
    flags: I32,
    slots: I32,
    picked_colours: Vec3s,
    colours: Vec3s,
):
    # the way back, for levels start..stop - 1: colours[level * count + first + i]
    for k in range(start * n, stop * n):
        colour = ti.Vector.zero(ti.f32, 3)
        if flags[k] != 0:
            colour = picked_colours[slots[k] - base]
        colours[k // n * count + first + k % n] = colour


@ti.kernel
def _pixels(
    n: int,
    levels: int,
    count: int,
    background: ti.math.vec3,
    offsets: I32,
    index: I32,
    weights: F32,
    opacity: F32,
    colours: Vec3s,
    pixels: Vec3s,
):
    for r in range(n):
        for level in range(levels):
            total = (1.0 - opacity[r * levels + level]) * background
            for s in range(offsets[r], offsets[r + 1]):
                total += weights[index[s] * levels + level] * colours[level * count + s]
            pixels[level * n + r] = total
