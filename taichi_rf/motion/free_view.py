"""A picture of a model from anywhere: the ends of rays follow the camera instead of the cameras of the training."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera
from taichi_rf.rendering.pictures import render


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
