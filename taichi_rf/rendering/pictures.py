"""Pictures from a model: its colours, and what lies behind them, a chunk of rays at a time.

Every pixel is made from its own ray alone. So a picture may be rendered in bands, at any resolution, and the bands join
without a seam; nothing is scaled to what happens to be in the picture.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Vec3, Vec3s
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.ray_arrays import copy_rays
from taichi_rf.kernels.rays import Camera
from taichi_rf.rendering import colormaps
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.occupancy_view import shade_cubes
from taichi_rf.rendering.ray_parts import in_parts
from taichi_rf.sdf.model import SurfaceModel

Mode = Literal["colour", "depth", "normals", "opacity", "occupancy", "samples"]
MODES: tuple[Mode, ...] = get_args(Mode)
CHUNK = 1 << 15
"""Rays rendered at once: enough to keep a device busy; fewer where their samples are too many."""

SAMPLES_AT_TOP = 255
"""Samples along a ray that get the brightest colour; 0 gets the darkest, and between them the scale is log2(1 + n)."""

# Of normals, tuned by eye on the demo's lantern, whose roof is a shell of one or two voxels
SURFACE = 0.1
"""Share of a ray's opacity that lies before its surface. At a half, or at the expected depth, thin shells and what
shines through them show their insides."""
REACH = 1.0
"""Voxels from the surface to the places where densities are compared."""
FAINTEST = 1e-6
"""Optical depth of a voxel that counts as nothing."""

DEPTH_RADII = 0.65
"""Of the box's half diagonal, what the scale of depth spans to either side of its centre: corners need not count."""
CUBE_COLOUR = np.array([0.93, 0.93, 0.97], np.float32)
CUBE_FADE = 0.5
"""How much darker than the nearest the farthest cubes are."""

Colour = tuple[float, float, float]


def render(
    model: Model,
    camera: Camera,
    *,
    level: int | None = None,
    mode: Mode = "colour",
    background: Colour | None = None,
) -> np.ndarray:
    """Render one picture, (height, width, 3) float32 in [0, 1].

    Args:
        level: how many levels of the field to use; all that it has by default. The field's own level is left as it was.
        mode: one of :data:`MODES`. "depth": from bright and near to dark and far, black where nothing is. "normals":
            of the density's surfaces, x, y and z of the world as red, green and blue, 0.5 is none of it. "opacity":
            in grey. "occupancy": the grid of what may be solid, as cubes. "samples": how many samples each ray takes,
            or steps to a solid's surface, by :data:`SAMPLES_AT_TOP`. The last two are those of the whole model,
            whatever the level, where the field does not know its own space.
        background: the model's own by default. Depth, opacity and samples have none.

    Raises:
        UserError: a level outside the model, or an unknown mode.
    """
    if mode not in MODES:
        raise UserError(f"unknown mode '{mode}': choose one of {', '.join(MODES)}")
    origins, directions = camera.rays()
    kind = _SolidPixels if isinstance(model, SurfaceModel) else _Pixels
    pixels = kind(model, camera, np.asarray(model.background if background is None else background, np.float32))
    before = model.field.level
    model.field.level = model.field.num_levels if level is None else level
    try:
        make: Callable[[np.ndarray, np.ndarray], np.ndarray] = getattr(pixels, mode)
        rows = []
        for first in range(0, len(origins), CHUNK):
            part = slice(first, first + CHUNK)
            rows += in_parts(make, model.marcher, origins[part], directions[part])
    finally:
        model.field.level = before
    return np.clip(np.concatenate(rows), 0, 1).reshape(camera.height, camera.width, 3).astype(np.float32, copy=False)


class _Pixels:
    """One method a mode: pixels (n, 3) of rays (n, 3), (n, 3), at the field's level."""

    def __init__(self, model: Model, camera: Camera, background: np.ndarray) -> None:
        self.model, self.background = model, background
        self.radians = 1 / max(camera.fx, camera.fy)  # that a pixel covers
        low, high = model.box.astype(np.float64)
        away = float(np.linalg.norm(np.nan_to_num(camera.position) - (low + high) / 2))
        radius = DEPTH_RADII * float(np.linalg.norm(high - low)) / 2
        self.farthest, self.span = away + radius, min(away, radius) + radius  # of the scale of depth

    def colour(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return self.model.forward(origins, directions, background=self.background).pixels.to_numpy()[: len(origins)]

    def depth(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        n = len(origins)
        _, opacity, depth = self._weigh(origins, directions)
        opacity = opacity.to_numpy()[:n]
        distance = depth.to_numpy()[:n] / np.maximum(opacity, 1e-6)
        return colormaps.apply("turbo", self._closeness(distance)) * opacity[:, None]

    def normals(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        model, n, get = self.model, len(origins), self.model.scratch.get
        samples, opacity, _ = self._weigh(origins, directions)
        o, d, around = (
            get(name, Vec3, m) for name, m in (("surface origins", n), ("surface directions", n), ("around", 6 * n))
        )
        density, normals = get("density around", ti.f32, 6 * n), get("normals", Vec3, n)
        copy_rays(origins, directions, model.box, o, d)
        voxel = model.step_size / model.step_ratio  # world units
        low, high = (ti.math.vec3(*map(float, corner)) for corner in model.box)
        _surround(
            n, low, high, samples.step, REACH * voxel, SURFACE, o, d, samples.offsets, samples.t,
            model.compositor.weights, opacity, around,
        )  # fmt: skip
        model.field.density(6 * n, around, density)
        _normals(n, voxel * model.distance_scale, samples.directions, density, normals)
        cover = opacity.to_numpy()[:n, None]
        return cover * (0.5 + 0.5 * normals.to_numpy()[:n]) + (1 - cover) * self.background

    def opacity(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        _, opacity, _ = self._weigh(origins, directions)
        return np.repeat(opacity.to_numpy()[: len(origins), None], 3, axis=1)

    def occupancy(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        model = self.model
        shades, distances = shade_cubes(
            model.scratch, origins, directions, box=model.box, near=model.near, far=model.far,
            occupancy=model.occupancy, radians=self.radians,
        )  # fmt: skip
        shades *= 1 - CUBE_FADE * (1 - self._closeness(distances))
        return np.where(distances[:, None] >= 0, shades[:, None] * CUBE_COLOUR, self.background)

    def samples(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        samples = self.model.march(origins, directions, count_only=True)
        counts = np.diff(samples.offsets.to_numpy()[: len(origins) + 1])
        return colormaps.apply("viridis", np.log2(1 + counts) / np.log2(1 + SAMPLES_AT_TOP))

    def _weigh(self, origins: np.ndarray, directions: np.ndarray) -> tuple[Samples, Any, Any]:
        """Samples, opacity (n,) and depth times opacity (n,): :meth:`Model.forward` without its colours."""
        model = self.model
        samples = model.march(origins, directions)
        density = model.scratch.get("density", ti.f32, samples.count)
        model.field.density_along(samples, model.distance_scale, density)
        _, opacity, depth = model.compositor.weigh(samples, density, model.distance_scale)
        return samples, opacity, depth

    def _closeness(self, distances: np.ndarray) -> np.ndarray:
        """1 for the near end of the scale of depth, which knows the eye and the box only, 0 for the far end."""
        return np.clip((self.farthest - distances) / self.span, 0, 1)


class _SolidPixels(_Pixels):
    """The modes of a solid, whose surface is where it is."""

    model: SurfaceModel

    def colour(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return self.model.colours(origins, directions, background=self.background)

    def depth(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        found = self.model.trace(origins, directions, normals=False)
        return colormaps.apply("turbo", self._closeness(found.t)) * found.hit[:, None]

    def normals(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        found = self.model.trace(origins, directions)
        return np.where(found.hit[:, None], 0.5 + 0.5 * found.normals, self.background)

    def opacity(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        found = self.model.trace(origins, directions, normals=False)
        return np.repeat(found.hit[:, None].astype(np.float32), 3, axis=1)

    def samples(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        found = self.model.trace(origins, directions, normals=False)
        return colormaps.apply("viridis", np.log2(1 + found.steps) / np.log2(1 + SAMPLES_AT_TOP))


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
