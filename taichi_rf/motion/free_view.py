"""A picture of a model from anywhere: the ends of rays follow the camera instead of the cameras of the training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera
from taichi_rf.rendering.pictures import render

_SOLID = 0.5  # of the light has to be stopped, for a surface to be there


def render_from_anywhere(model: Any, camera: Camera, *, level: int, mode: str) -> npt.NDArray[np.float32]:
    """:func:`taichi_rf.rendering.pictures.render` with near and far fitted to the model's box as seen from the camera.

    A model's own near and far fit the cameras it was trained with: someone who steps back would see it vanish, and
    someone who comes close would lose its front.

    Args:
        model: to be rendered.
        camera: anywhere, in world units.
        level: how many levels to use.
        mode: one of ``taichi_rf.rendering.pictures.MODES``.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    near, far = model.space.depth_range(model.box, camera.position)
    return render(model, camera, level=level, mode=cast(Any, mode), near=near, far=far)


def surface_at(model: Any, camera: Camera, x: float, y: float, level: int) -> npt.NDArray[np.float64] | None:
    """Where the surface is that a pixel shows: (3,) in world units; None where there is none.

    Args:
        model: as :func:`render_from_anywhere` takes it; one that has no depths has no surface.
        camera: of the picture.
        x, y: the pixel, from the top left corner.
        level: how many levels to use.
    """
    if not hasattr(model, "renderer"):
        return None
    near, far = model.space.depth_range(model.box, camera.position)
    pixel = replace(camera, cx=camera.cx - int(x), cy=camera.cy - int(y), width=1, height=1)
    origins, directions = pixel.rays()
    distances, opacity = model.renderer.depths(origins, directions, model.settings(level, near=near, far=far))
    if not opacity[0] > _SOLID:
        return None
    return (origins[0] + distances[0] * directions[0]).astype(np.float64)
