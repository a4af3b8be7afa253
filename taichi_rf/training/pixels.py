"""Which pixels of a scene's images can teach anything."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError


def pixels_in_box(cameras: Any, model: Any, left_out: Collection[int] = ()) -> npt.NDArray[np.int64]:
    """Indices, over all images, of the pixels whose rays cross the model's box, without those of images ``left_out``.

    Raises:
        UserError: there are none.
    """
    low, high = model.box
    kept = [np.zeros(0, np.int64)]
    for i in range(len(cameras)):
        if i in left_out:
            continue
        origins, directions = cameras[i].rays()
        safe = np.where(np.abs(directions) < 1e-9, np.float32(1e-9), directions)
        a, b = (low - origins) / safe, (high - origins) / safe
        entry = np.maximum(np.minimum(a, b).max(1), model.near)
        leave = np.minimum(np.maximum(a, b).min(1), model.far)
        kept.append(np.flatnonzero(entry < leave) + i * len(origins))
    pixels = np.concatenate(kept)
    if len(pixels) == 0:
        raise UserError(
            f"no training camera sees the box {low.tolist()} to {high.tolist()} between near {model.near:g} and far "
            f"{model.far:g}: check the poses' scale and convention (camera to world, looking down -z)"
        )
    return pixels
