"""Surface rendering of a model: rays are traced to where they meet a solid, and that place is shaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_rf.core.backend import ti
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.ray_parts import Rays
from taichi_rf.rendering.renderer import Renderer
from taichi_rf.rendering.settings import RenderSettings
from taichi_rf.sdf.shading import shade
from taichi_rf.sdf.sphere_tracing import Distance, Surface, Tracer


class SurfaceRenderer(Renderer):
    """Renders a solid, whose surface is where its field's distance is zero."""

    def __init__(self, model: Model) -> None:
        self.model, self.tracer = model, Tracer()

    def trace(self, origins: Rays, directions: Rays, settings: RenderSettings, *, normals: bool = True) -> Surface:
        """What rays (n, 3), (n, 3) meet; the normals are zero where they are not asked for."""
        return self._trace(
            partial(self.model.field.density, level=settings.level), origins, directions, settings, normals
        )

    def _trace(
        self, distance: Distance, origins: Rays, directions: Rays, settings: RenderSettings, normals: bool = True
    ) -> Surface:
        model = self.model
        return self.tracer.trace(
            distance, model.occupancy_at(settings.level), origins, directions, box=model.box, near=settings.near,
            far=settings.far, normals=normals,
        )  # fmt: skip

    def colours(
        self,
        origins: Rays,
        directions: Rays,
        settings: RenderSettings,
        *,
        background: NDArray[np.float32] | None = None,
    ) -> Rays:
        found = self.trace(origins, directions, settings)
        pixels = np.empty((len(origins), 3), np.float32)
        pixels[:] = self.model.background if background is None else background
        pixels[found.hit] = shade(found.normals[found.hit], directions[found.hit])
        return pixels

    def depths(self, origins: Rays, directions: Rays, settings: RenderSettings) -> tuple[Rays, Rays]:
        found = self.trace(origins, directions, settings, normals=False)
        return found.t, found.hit.astype(np.float32)

    def normals(self, origins: Rays, directions: Rays, settings: RenderSettings) -> tuple[Rays, Rays]:
        found = self.trace(origins, directions, settings)
        return found.normals, found.hit.astype(np.float32)

    def samples(self, origins: Rays, directions: Rays, settings: RenderSettings) -> NDArray[np.int32]:
        steps: NDArray[np.int32] = self.trace(origins, directions, settings, normals=False).steps
        return steps

    def prefixes(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        """Level after level, for each has a surface of its own."""
        levels = (replace(settings, level=level) for level in range(1, settings.level + 1))
        return np.stack([self.colours(origins, directions, one) for one in levels])

    def rehearsal(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Iterator[None]:
        model = self.model
        samples = model.march(origins, directions, settings)
        yield
        density = model.scratch.get("density", ti.f32, samples.count)
        model.field.density(samples.count, samples.positions, density, settings.level)
        yield
        origins = origins.copy()
        origins[::2] -= directions[::2] * settings.far / 2  # some meet the surface, others begin inside
        self._trace(partial(self._ball, settings.level), origins, directions, settings)

    def _ball(self, level: int, n: int, positions: Any, distances: Any) -> None:
        """The field is asked, and the distance to a ball is answered: else nothing would be met."""
        self.model.field.density(n, positions, distances, level)
        values = distances.to_numpy()
        values[:n] = np.linalg.norm(positions.to_numpy()[:n] - 0.5, axis=1) - 0.25
        distances.from_numpy(values)
