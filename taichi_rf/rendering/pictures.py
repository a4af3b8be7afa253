"""Render pictures of a model in every mode (colour, depth, normals, ...), a chunk of rays at a time.

Every pixel is made from its own ray alone. So a picture may be rendered in bands, at any resolution, and the bands join
without a seam; nothing is scaled to what happens to be in the picture.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import numpy as np

from taichi_rf.core.device import Scratch
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.pixel_rays import camera_rays
from taichi_rf.kernels.rays import Camera
from taichi_rf.kernels.spaces import Space
from taichi_rf.rendering import colormaps
from taichi_rf.rendering.occupancy_view import shade_bent_cubes, shade_cubes
from taichi_rf.rendering.ray_parts import Rays, bands, in_parts
from taichi_rf.rendering.renderer import Renderer
from taichi_rf.rendering.settings import RenderSettings

Mode = Literal["colour", "depth", "normals", "opacity", "occupancy", "samples"]
MODES: tuple[Mode, ...] = get_args(Mode)
CHUNK = 1 << 16
"""Rays rendered at once: enough to keep a device busy; fewer where their samples are too many."""
PREFIX_CHUNK = 1 << 13
"""Rays at once where all levels are rendered: what is kept per sample and level must stay small."""

SAMPLES_AT_TOP = 255
"""Samples along a ray that get the brightest colour; 0 gets the darkest, and between them the scale is log2(1 + n)."""

CUBE_COLOUR = np.array([0.93, 0.93, 0.97], np.float32)
CUBE_FADE = 0.5
"""How much darker than the nearest the farthest cubes are."""

Colour = tuple[float, float, float]


class Pictured(Protocol):
    """What a picture needs of a model: see :class:`taichi_rf.rendering.model.Model`, which has all of it."""

    box: np.ndarray
    space: Space
    background: tuple[float, ...]
    scratch: Scratch
    renderer: Renderer

    def settings(
        self, level: int | None = None, *, near: float | None = None, far: float | None = None
    ) -> RenderSettings:
        """See :meth:`taichi_rf.rendering.model.Model.settings`."""

    def march(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Samples:
        """See :meth:`taichi_rf.rendering.model.Model.march`."""

    def occupancy_at(self, level: int) -> Any:
        """See :meth:`taichi_rf.rendering.model.Model.occupancy_at`."""


def render(
    model: Pictured,
    camera: Camera,
    *,
    level: int | None = None,
    mode: Mode = "colour",
    background: Colour | None = None,
    near: float | None = None,
    far: float | None = None,
) -> np.ndarray:
    """Render one picture, (height, width, 3) float32 in [0, 1].

    Args:
        level: how many levels of the field to use; all that it has by default.
        mode: one of :data:`MODES`. "depth": from bright and near to dark and far, black where nothing is. "normals":
            of the density's surfaces, x, y and z of the world as red, green and blue, 0.5 is none of it. "opacity":
            in grey. "occupancy": the grid of what may be solid, as cubes. "samples": how many samples each ray takes,
            or steps to a solid's surface, by :data:`SAMPLES_AT_TOP`. The last two are those of the whole model,
            whatever the level, where the field does not know its own space.
        background: the model's own by default. Depth, opacity and samples have none.
        near, far: world units along a ray, between which it is looked at; the model's own by default.

    Raises:
        UserError: a level outside the model, or an unknown mode.
    """
    if mode not in MODES:
        raise UserError(f"unknown mode '{mode}': choose one of {', '.join(MODES)}")
    settings = model.settings(level, near=near, far=far)
    origins, directions = camera_rays(camera)
    pixels = _Pixels(model, camera, np.asarray(model.background if background is None else background, np.float32))
    make: Callable[[Rays, Rays, RenderSettings], Rays] = getattr(pixels, mode)
    rows = []
    for part in bands(len(origins), CHUNK):
        rows += in_parts(make, origins[part], directions[part], settings)
    return np.clip(np.concatenate(rows), 0, 1).reshape(camera.height, camera.width, 3).astype(np.float32, copy=False)


def render_prefixes(model: Pictured, camera: Camera) -> np.ndarray:
    """(levels, height, width, 3) float32 in [0, 1]: the picture at level 1, 2, ..., num_levels."""
    origins, directions = camera_rays(camera)
    settings, renderer = model.settings(), model.renderer
    picture = np.empty((settings.level, len(origins), 3), np.float32)
    for part in bands(len(origins), PREFIX_CHUNK):
        picture[:, part] = renderer.prefixes(origins[part], directions[part], settings)
    return np.clip(picture, 0, 1).reshape(settings.level, camera.height, camera.width, 3)


class _Pixels:
    """One method a mode: pixels (n, 3) of rays (n, 3), (n, 3)."""

    def __init__(self, model: Pictured, camera: Camera, background: np.ndarray) -> None:
        self.model, self.background = model, background
        self.radians = 1 / max(camera.fx, camera.fy)  # that a pixel covers
        self.eye = camera.position

    def colour(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        return self.model.renderer.colours(origins, directions, settings, background=self.background)

    def depth(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        distances, opacity = self.model.renderer.depths(origins, directions, settings)
        return colormaps.apply("turbo", self._closeness(distances)) * opacity[:, None]

    def normals(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        normals, opacity = self.model.renderer.normals(origins, directions, settings)
        cover = opacity[:, None]
        return cover * (0.5 + 0.5 * normals) + (1 - cover) * self.background

    def opacity(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        _, opacity = self.model.renderer.depths(origins, directions, settings)
        return np.repeat(opacity[:, None], 3, axis=1)

    def occupancy(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        model, space = self.model, self.model.space
        if space.straight:
            near, far = space.interval(settings.near, settings.far)
            shades, distances = shade_cubes(
                model.scratch, *space.rays(origins, directions), box=model.box, near=near, far=far,
                occupancy=model.occupancy_at(settings.level), radians=self.radians,
            )  # fmt: skip
            met = distances >= 0
            distances[met] = space.distances(origins[met], directions[met], distances[met])
        else:
            samples = model.march(origins, directions, settings)
            shades, distances = shade_bent_cubes(samples, model.occupancy_at(settings.level).cells)
        shades *= 1 - CUBE_FADE * (1 - self._closeness(distances))
        return np.where(distances[:, None] >= 0, shades[:, None] * CUBE_COLOUR, self.background)

    def samples(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        counts = self.model.renderer.samples(origins, directions, settings)
        return colormaps.apply("viridis", np.log2(1 + counts) / np.log2(1 + SAMPLES_AT_TOP))

    def _closeness(self, distances: np.ndarray) -> np.ndarray:
        return self.model.space.closeness(distances, self.model.box, self.eye)
