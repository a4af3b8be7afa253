"""Finds the density at which a radiance field becomes solid: that at which its surface looks like its pictures.

A ray's light is half gone at some place. A surface of one density is met at the first sample that is as dense. The
threshold is that for which the two are nearest to each other on rays from all around, where a ray that meets only one
of them counts as far off: so silhouettes are those of the pictures, and so is what is in front. No photograph is
needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera
from taichi_rf.kernels.spaces import BOX
from taichi_rf.motion.orbit import Orbit
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.ray_parts import Rays, in_parts
from taichi_rf.rendering.settings import RenderSettings

SIDE = 96
"""Pixels of each picture that is looked at."""
TURNS = 12
"""Pictures, once around; up and down three times."""
LIFT, SWAY = 35.0, 25.0
"""Degrees above the horizon from which an object is looked at, and by how much they change: few objects were ever seen
from below."""
CANDIDATES = 33
THINNEST, THICKEST = 0.02, 8.0
"""Optical depths of a voxel between which thresholds are tried."""
FAR_OFF = 8.0
"""Steps along a ray: farther apart than that is as bad as not being there."""
HALF = math.log(2.0)
"""The optical depth at which half of the light is gone."""


def choosing(model: Model, level: int) -> Iterator[tuple[float, float]]:
    """The threshold at which a model's surface looks like its pictures at a level, better from picture to picture.

    Yields:
        What share of the pictures was looked at, and the threshold by these: a density per unit of the field's
        coordinates.
    """
    voxel = model.step_size / model.step_ratio
    tried = np.geomspace(THINNEST, THICKEST, CANDIDATES) / voxel
    cost = np.zeros(CANDIDATES)
    cameras = _cameras(model)
    for done, camera in enumerate(cameras, 1):
        near, far = model.space.depth_range(model.box, camera.position)
        settings = model.settings(level, near=near, far=far)

        def misses(origins: Rays, directions: Rays, settings: RenderSettings) -> npt.NDArray[np.float32]:
            return _misses(model, origins, directions, settings, tried)

        origins, directions = camera.rays()
        for part in in_parts(misses, origins, directions, settings):
            cost += part.sum(axis=0, dtype=np.float64)
        yield done / len(cameras), float(tried[_middle_of_best(cost)])


def _middle_of_best(cost: npt.NDArray[np.float64]) -> int:
    """Of those that cost about as little as the cheapest, the middle one: costs are flat where surfaces are sharp."""
    good = np.flatnonzero(cost <= cost.min() * 1.02 + 1e-9)
    return int(good[len(good) // 2])


def _misses(
    model: Model, origins: Rays, directions: Rays, settings: RenderSettings, tried: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """(n, candidates) how far, of ``FAR_OFF``, each threshold's surface is from where a ray's light is half gone."""
    samples, density, _, _, _ = model.renderer.weigh(origins, directions, settings)  # type: ignore[attr-defined]
    n, count = len(origins), samples.count
    misses = np.zeros((n, len(tried)), np.float32)
    if not count:
        return misses
    sigma = density.to_numpy()[:count].astype(np.float64) * model.distance_scale
    steps = samples.t.to_numpy()[:count].astype(np.float64) / samples.step
    offsets = samples.offsets.to_numpy()[: n + 1]
    some = np.flatnonzero(np.diff(offsets))
    starts = offsets[some]
    ray = np.repeat(np.arange(len(some)), np.diff(offsets)[some])
    depth = np.cumsum(sigma * samples.step)
    depth -= (depth[starts] - sigma[starts] * samples.step)[ray]
    never = steps.max() + 2 * FAR_OFF

    def first(where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = np.minimum.reduceat(np.where(where, steps, never), starts)
        return found

    half = first(depth >= HALF)
    for index, threshold in enumerate(tried):
        misses[some, index] = np.minimum(np.abs(first(sigma >= threshold) - half), FAR_OFF) / FAR_OFF
    return misses


def _cameras(model: Model) -> list[Camera]:
    """From where a model is looked at: from around its box, from around its own view, or, where rays only ever go
    ahead, from there alone."""
    view = Orbit.from_state(model.metadata.get("view"), model.world_box)
    if model.space.ahead_only:
        return [view.camera(2 * SIDE, 2 * SIDE)]
    cameras = []
    for turn in range(TURNS):
        angle = 360.0 * turn / TURNS
        one = Orbit.around(model.world_box) if model.space is BOX else view.copy()
        lift = LIFT + SWAY * math.sin(math.radians(3 * angle))
        one.change(azimuth=angle, elevation=lift if model.space is BOX else None)
        cameras.append(one.camera(SIDE, SIDE))
    return cameras
