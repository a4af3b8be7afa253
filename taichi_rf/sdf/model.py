"""A model that is a solid: a signed distance in a box of the world, whose surface is traced and shaded.

To the rest of the house it is a model like any other, a stack of levels with pictures, a file and a slider.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from taichi_rf.kernels.rays import Camera
from taichi_rf.rendering.model import Batch, Model
from taichi_rf.sdf.shading import shade
from taichi_rf.sdf.sphere_tracing import Surface, Tracer

CHUNK = 1 << 15
"""Rays at once."""


class SurfaceModel(Model):
    """A solid. The field's density is the signed distance in lengths of the box, which is a cube; it knows its space.

    Args: as :class:`Model`.
    """

    renders = "surface"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tracer = Tracer()

    def trace(self, origins: np.ndarray, directions: np.ndarray, *, normals: bool = True) -> Surface:
        """What rays (n, 3), (n, 3) meet at the field's level."""
        return self.tracer.trace(
            self.field, self.occupancy, origins, directions, box=self.box, near=self.near, far=self.far,
            normals=normals,
        )  # fmt: skip

    def colours(
        self, origins: np.ndarray, directions: np.ndarray, *, background: np.ndarray | None = None
    ) -> np.ndarray:
        """Colours (n, 3) of rays (n, 3), (n, 3) at the field's level; ``background`` (3,) is the model's by default."""
        found = self.trace(origins, directions)
        pixels = np.empty((len(origins), 3), np.float32)
        pixels[:] = self.background if background is None else background
        pixels[found.hit] = shade(found.normals[found.hit], directions[found.hit])
        return pixels

    def forward(self, *arguments: Any, **options: Any) -> Batch:
        raise TypeError("a surface has no samples along rays: it is traced")

    def prefixes(self) -> SurfacePrefixes:
        return SurfacePrefixes(self)


class SurfacePrefixes:
    """Renders pictures of all levels of one solid: level after level, for each has a surface of its own."""

    def __init__(self, model: SurfaceModel) -> None:
        self.model = model

    def render(self, camera: Camera) -> np.ndarray:
        """(levels, height, width, 3) float32 in [0, 1]: the picture at level 1, 2, ..., num_levels."""
        origins, directions = camera.rays()
        parts = [
            self.rays(origins[first : first + CHUNK], directions[first : first + CHUNK])
            for first in range(0, len(origins), CHUNK)
        ]
        return np.concatenate(parts, axis=1).reshape(-1, camera.height, camera.width, 3)

    def rays(self, origins: np.ndarray, directions: np.ndarray, *, levels: int | None = None) -> np.ndarray:
        """Colours of rays (n, 3), (n, 3) at level 1, 2, ..., ``levels``; of all levels by default.

        Returns:
            (levels, n, 3) float32. The field's level is left as it was.

        Raises:
            UserError: the model has not so many levels.
        """
        field = self.model.field
        before, field.level = field.level, field.num_levels if levels is None else levels
        last = field.level
        try:
            found = []
            for level in range(1, last + 1):
                field.level = level
                found.append(self.model.colours(origins, directions))
            return np.stack(found)
        finally:
            field.level = before
