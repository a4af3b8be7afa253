"""Volume rendering of a model: samples along rays, their densities as weights, and colours where these are worth it.

The way of a ray is written down once, in :meth:`VolumeRenderer.forward`; :meth:`VolumeRenderer.backward` walks it back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Vec3, Vec3s, copy_rows, fill_rows
from taichi_rf.kernels.distortion import distortion_gradient
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.pixel_rays import copy_rays
from taichi_rf.kernels.spaces import BOX
from taichi_rf.kernels.volume import Compositor, Shaded
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.prefixes import PrefixRenderer
from taichi_rf.rendering.ray_parts import Rays
from taichi_rf.rendering.renderer import Renderer
from taichi_rf.rendering.settings import RenderSettings

# Of normals, tuned by eye on the demo's lantern, whose roof is a shell of one or two voxels
SURFACE = 0.1
"""Share of a ray's opacity that lies before its surface. At a half, or at the expected depth, thin shells and what
shines through them show their insides."""
REACH = 1.0
"""Voxels from the surface to the places where densities are compared."""
FAINTEST = 1e-6
"""Optical depth of a voxel that counts as nothing."""


@dataclass
class Batch:
    """A batch of rays on the device after the forward pass; valid until the model's next one."""

    settings: RenderSettings
    """What it was rendered with, which the way back has to know."""
    samples: Samples
    density: Any
    shaded: Shaded
    colours: Any
    background: Any
    pixels: Any
    opacity: Any
    depth: Any
    learning: bool = False
    """Whether the field kept what it found on the way there for the way back."""


class VolumeRenderer(Renderer):
    """Renders a radiance field."""

    def __init__(self, model: Model) -> None:
        self.model, self.compositor = model, Compositor()

    # Training: there and back

    def forward(
        self,
        origins: Rays,
        directions: Rays,
        settings: RenderSettings | None = None,
        *,
        background: NDArray[np.float32] | None = None,
        seed: int | None = None,
        learning: bool = False,
    ) -> Batch:
        """Render a batch of rays (Eqs. 1 to 3, Mildenhall et al. 2020).

        Args:
            origins, directions: (n, 3) world units, directions of unit length.
            settings: the model's own, at its highest level, by default.
            background: (3,) or (n, 3); the model's own by default.
            seed: of the jitter; None for none.
            learning: have the field keep what it finds on the way for :meth:`backward`, which has to be the next call.

        Raises:
            TooManySamples: there are more than the settings allow.
        """
        model = self.model
        settings = model.settings() if settings is None else settings
        samples, density, shaded, opacity, depth = self.weigh(
            origins, directions, settings, seed=seed, learning=learning
        )
        colours = model.scratch.get("colours", Vec3, shaded.count)
        for first, n in self._chunks(shaded.count):
            self._shade(first, n, shaded, samples, colours, settings.level, learning)
        behind = self._background(samples.rays, model.background if background is None else background)
        pixels = self.compositor.pixels(samples, shaded, colours, behind)
        return Batch(settings, samples, density, shaded, colours, behind, pixels, opacity, depth, learning)

    def weigh(
        self,
        origins: Rays,
        directions: Rays,
        settings: RenderSettings,
        *,
        seed: int | None = None,
        learning: bool = False,
    ) -> tuple[Samples, Any, Shaded, Any, Any]:
        """:meth:`forward` without its colours: samples, density (samples.count,), what is worth shading, opacity (n,)
        and depth times opacity (n,). The weights of all samples are the compositor's."""
        model = self.model
        samples = model.march(origins, directions, settings, seed=seed)
        density = model.scratch.get("density", ti.f32, samples.count)
        if learning:
            shares = settings.shares or ((settings.level, samples.rays),)
            model.field.density_learning(samples, shares, model.distance_scale, density)
        else:
            model.field.density_along(samples, model.distance_scale, density, settings.level)
        shaded, opacity, depth = self.compositor.weigh(
            samples, density, model.distance_scale, settings.weight_threshold
        )
        return samples, density, shaded, opacity, depth

    def backward(self, batch: Batch, d_pixels: Any, *, distortion: float = 0.0) -> None:
        """Add to the parameters' gradients what dL/d pixels (rays, 3) asks for, at the batch's own level.

        Args:
            distortion: weight of each ray's distortion loss, see :mod:`taichi_rf.kernels.distortion`.
        """
        model, samples, shaded, level = self.model, batch.samples, batch.shaded, batch.settings.level
        index = shaded.index if batch.learning else None
        d_weights = None
        if distortion:
            d_weights = model.scratch.get("d weights", ti.f32, samples.count)
            distortion_gradient(samples, self.compositor.weights, distortion, d_weights)
        d_colours, d_density = self.compositor.adjoint(
            samples, shaded, batch.density, batch.colours, batch.background, d_pixels, d_weights
        )
        chunks = self._chunks(shaded.count)
        for first, n in reversed(chunks):
            if (first, n) != chunks[-1]:  # the rows hold the last chunk only: others are computed again
                self._shade(first, n, shaded, samples, batch.colours, level, batch.learning)
            d_features = model.decoder.adjoint(
                n, first, self._features, shaded.rays, samples.directions, batch.colours, d_colours
            )
            model.field.features_adjoint(n, first, shaded.positions, d_features, level, index)
        model.field.density_adjoint(
            samples.count, samples.positions, batch.density, d_density, level, learning=batch.learning
        )

    def _chunks(self, count: int) -> list[tuple[int, int]]:
        rows = self.model.field.rows
        return [(first, min(rows, count - first)) for first in range(0, count, rows)]

    def _shade(
        self, first: int, n: int, shaded: Shaded, samples: Samples, colours: Any, level: int, learning: bool
    ) -> None:
        field = self.model.field
        field.lookup(n, first, shaded.positions, level, shaded.index if learning else None)
        self._features = field.features(n, level)
        self.model.decoder.forward(n, first, self._features, shaded.rays, samples.directions, colours)

    def _background(self, n: int, colour: Any) -> Any:
        behind = self.model.scratch.get("background", Vec3, n)
        colour = np.asarray(colour, np.float32)
        if colour.ndim == 1:
            fill_rows(n, ti.math.vec3(*map(float, colour)), behind)
        else:
            copy_rows(colour, behind)
        return behind

    # What pictures are made of

    def colours(
        self,
        origins: Rays,
        directions: Rays,
        settings: RenderSettings,
        *,
        background: NDArray[np.float32] | None = None,
    ) -> Rays:
        batch = self.forward(origins, directions, settings, background=background)
        pixels: Rays = batch.pixels.to_numpy()[: len(origins)]
        return pixels

    def depths(self, origins: Rays, directions: Rays, settings: RenderSettings) -> tuple[Rays, Rays]:
        n = len(origins)
        _, _, _, found, depth = self.weigh(origins, directions, settings)
        opacity = found.to_numpy()[:n]
        t = depth.to_numpy()[:n] / np.maximum(opacity, 1e-6)
        return self.model.space.distances(origins, directions, t), opacity

    def normals(self, origins: Rays, directions: Rays, settings: RenderSettings) -> tuple[Rays, Rays]:
        model, n, get = self.model, len(origins), self.model.scratch.get
        samples, _, _, opacity, _ = self.weigh(origins, directions, settings)
        if model.space is not BOX:
            return self._normals_in_space(origins, directions, settings, samples, opacity)
        o, d, around = (
            get(name, Vec3, m) for name, m in (("surface origins", n), ("surface directions", n), ("around", 6 * n))
        )
        density, normals = get("density around", ti.f32, 6 * n), get("normals", Vec3, n)
        copy_rays(origins, directions, model.box, o, d)
        voxel = model.step_size / model.step_ratio  # world units
        low, high = (ti.math.vec3(*map(float, corner)) for corner in model.box)
        _surround(
            n, low, high, samples.step, REACH * voxel, SURFACE, o, d, samples.offsets, samples.t,
            self.compositor.weights, opacity, around,
        )  # fmt: skip
        model.field.density(6 * n, around, density, settings.level)
        _normals(n, voxel * model.distance_scale, samples.directions, density, normals)
        return normals.to_numpy()[:n], opacity.to_numpy()[:n]

    def _normals_in_space(
        self, origins: Rays, directions: Rays, settings: RenderSettings, samples: Samples, opacity: Any
    ) -> tuple[Rays, Rays]:
        """:meth:`normals` of a model whose space is no box: densities are compared a voxel of that place apart."""
        model, n, get, space = self.model, len(origins), self.model.scratch.get, self.model.space
        t = get("surface t", ti.f32, n)
        _surface(n, SURFACE, samples.offsets, samples.t, self.compositor.weights, opacity, t)
        distances = space.distances(origins, directions, t.to_numpy()[:n])
        points = (origins + directions * distances[:, None]).astype(np.float64)
        voxel = model.step_size / model.step_ratio
        inside = space.field_points(points)
        nearer = space.world_points(inside * np.float64(1 - 1e-3))
        stretch = np.linalg.norm(points - nearer, axis=1) / np.maximum(1e-3 * np.linalg.norm(inside, axis=1), 1e-9)
        reach = REACH * voxel * np.clip(np.nan_to_num(stretch, nan=1.0), 1.0, 1e3)  # of a voxel, in the world
        sides = np.concatenate([side * axis[None] for axis in np.eye(3) for side in (-1, 1)])
        around = space.field_points(points[:, None] + reach[:, None, None] * sides)
        low, high = model.box.astype(np.float64)
        unit = np.clip(np.nan_to_num((around - low) / (high - low)), 0, 1).reshape(-1, 3).astype(np.float32)
        density, normals, places = (
            get("density around", ti.f32, 6 * n),
            get("normals", Vec3, n),
            get("around", Vec3, 6 * n),
        )
        copy_rows(unit, places)
        model.field.density(6 * n, places, density, settings.level)
        ahead = get("surface directions", Vec3, n)
        copy_rows(directions, ahead)
        _normals(n, voxel * model.distance_scale, ahead, density, normals)
        return normals.to_numpy()[:n], opacity.to_numpy()[:n]

    def samples(self, origins: Rays, directions: Rays, settings: RenderSettings) -> NDArray[np.int32]:
        samples = self.model.march(origins, directions, settings, count_only=True)
        counts: NDArray[np.int32] = np.diff(samples.offsets.to_numpy()[: len(origins) + 1])
        return counts

    def prefixes(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        return self._prefixes.rays(origins, directions, settings)

    @cached_property
    def _prefixes(self) -> PrefixRenderer:
        """Made when it is first asked for: it takes memory on the device."""
        return PrefixRenderer(self.model)

    def rehearsal(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Iterator[None]:
        model = self.model
        samples = model.march(origins, directions, settings)
        yield
        density = model.scratch.get("density", ti.f32, samples.count)
        model.field.density_along(samples, model.distance_scale, density, settings.level)
        yield
        self.colours(origins, directions, settings)


@ti.kernel
def _surround(
    n: int,
    low: ti.math.vec3,
    high: ti.math.vec3,
    step: float,
    reach: float,
    share: float,
    origins: Vec3s,
    directions: Vec3s,
    offsets: I32,
    ts: F32,
    weights: F32,
    opacity: F32,
    around: Vec3s,
):
    # six places (n * 6, unit box) around each ray's surface: -x, +x, -y, +y, -z, +z of the point before which ``share``
    # of the ray's weight lies, each sample's spread evenly over its step
    for r in range(n):
        wanted = share * opacity[r]
        before = 0.0
        t = 0.0
        for i in range(offsets[r], offsets[r + 1]):
            w = weights[i]
            if before < wanted <= before + w:
                t = ts[i] + ((wanted - before) / w - 0.5) * step
            before += w
        surface = origins[r] + directions[r] * t
        for a, side in ti.static(ti.ndrange(3, 2)):
            place = surface
            place[a] += (2 * side - 1) * reach
            around[6 * r + 2 * a + side] = (place - low) / (high - low)


@ti.kernel
def _surface(n: int, share: float, offsets: I32, ts: F32, weights: F32, opacity: F32, surface: F32):
    # the t of each ray before which ``share`` of its weight lies
    for r in range(n):
        wanted = share * opacity[r]
        before = 0.0
        surface[r] = 0.0
        for i in range(offsets[r], offsets[r + 1]):
            if before < wanted <= before + weights[i]:
                surface[r] = ts[i]
            before += weights[i]


@ti.kernel
def _normals(n: int, scale: float, directions: Vec3s, density: F32, normals: Vec3s):
    # minus the gradient of log density, to unit length; where there is none, towards the eye. The logarithm, because
    # densities rise a thousandfold within a voxel and then mean nothing: the highest alone would decide
    for r in range(n):
        slope = ti.Vector.zero(ti.f32, 3)
        for a in ti.static(range(3)):
            before, after = density[6 * r + 2 * a], density[6 * r + 2 * a + 1]
            slope[a] = ti.log((scale * before + FAINTEST) / (scale * after + FAINTEST))
        steepness = slope.norm()
        normals[r] = -directions[r]
        if steepness > 1e-4:
            normals[r] = slope / steepness
