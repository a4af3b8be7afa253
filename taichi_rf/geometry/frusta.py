"""What the frusta of cameras say: a cell that hardly any camera sees is never told from fog, and is better empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.geometry.silhouettes import grid
from taichi_rf.geometry.visual_hull import CELLS, Hull

FEWEST = 2
"""Cameras that have to see a cell: what one sees alone may be at any distance."""
COARSE = 32
"""Cells a side that are looked at; a whole number of times fewer than ``CELLS``."""


def seen(cameras: Any, box: npt.NDArray[np.float32], world: Callable[[Any], Any], near: float) -> Hull | None:
    """The cells of ``box`` (2, 3) that :data:`FEWEST` cameras or more see, as a hull that limits what may be occupied;
    None where they see all.

    Args:
        cameras: those whose pictures are learnt from.
        box: of a field, in its own coordinates.
        world: from those coordinates (..., 3) to the world.
        near: depth at which a camera begins to see, in world units.
    """
    centres, _ = grid(box, COARSE)
    half = (np.asarray(box[1], np.float64) - box[0]) / COARSE / 2
    counts = np.zeros(len(centres), np.int32)
    corners = [centres + half * (x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    places = [world(points) for points in (centres, *corners)]
    for camera in cameras:
        counts += _touched(camera, places, near)
    cells = (counts >= FEWEST).reshape((COARSE,) * 3)
    if cells.all() or not cells.any():
        return None
    for axis in range(3):
        cells = np.repeat(cells, CELLS // COARSE, axis)
    return Hull(cells, cells, np.asarray(box, np.float32))


def _touched(camera: Any, places: list[npt.NDArray[np.float64]], near: float) -> npt.NDArray[np.bool_]:
    """Whether the camera sees the middle or a corner of each cell; of ``places`` each is (n, 3), in world units."""
    found = np.zeros(len(places[0]), bool)
    for points in places:
        left = np.flatnonzero(~found)
        pixels, depth = camera.project(points[left])
        with np.errstate(invalid="ignore"):
            inside = (pixels >= 0).all(axis=1) & (pixels[:, 0] <= camera.width) & (pixels[:, 1] <= camera.height)
            found[left] = inside & (depth >= near)
    return found
