"""Scenes that come with a box: their world is moved and scaled until that box has the usual size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenes.files.values import Notes
from scenes.framing import HALF_BOX
from scenes.readers.assembling import MARGIN, Fit, fitted, placed, turned, upright
from scenes.readers.transforms import Frames
from taichi_rf.core.errors import UserError
from taichi_rf.storage.placement import Placement
from taichi_rf.storage.world import Up, World

LARGEST = 1e6
"""A corner's coordinates."""
THINNEST = 1e-6
"""A box's side."""
POSITIVE: tuple[Up, Up, Up] = ("x", "y", "z")
NEGATIVE: tuple[Up, Up, Up] = ("-x", "-y", "-z")


def checked_box(corners: npt.NDArray[np.float64], where: str) -> npt.NDArray[np.float64]:
    """``corners`` (2, 3), once they are known to be a box.

    Raises:
        UserError: they are not; ``where`` (file and key) opens the message.
    """
    if not (np.abs(corners) <= LARGEST).all() or not (corners[1] - corners[0] >= THINNEST).all():
        raise UserError(
            f"{where}: {corners[0].tolist()} to {corners[1].tolist()} is no box; the lowest and the highest corner are "
            "expected, each coordinate of the second above that of the first"
        )
    return corners


def fitted_to(every: Frames, box: npt.NDArray[np.float64], world: World, notes: Notes) -> tuple[Frames, Fit]:
    """Frames turned, moved and scaled so that ``box`` (2, 3), a tenth larger, has the usual size around the origin.

    What is up for the cameras comes to be z, to the next axis of the world, so that the box keeps its sides.

    Args:
        every: all frames, also those that are not learnt from.
        box: in the frames' world.
        world: what is up, and by how much more to scale what is in the box.
        notes: told what was done.
    """
    if world.space not in (None, "auto", "box"):
        return fitted(every, None, world, notes)
    rotation = turned(world.up, _next_axes(upright(np.stack([frame.pose for frame in every.frames]))))
    corners = np.sort(box @ rotation.T, axis=0)
    centre, half = corners.mean(axis=0), MARGIN * (corners[1] - corners[0]) / 2
    half = np.maximum(half, 0.2 * half.max())
    usual = HALF_BOX / float(half.max())
    placement = Placement(rotation, -centre, usual * (world.scale or 1.0))
    aside = "" if (rotation == np.eye(3)).all() else "turned upright, "
    notes.add(
        "box",
        f"'{every.path}': the box is the scene's own, a tenth larger: the scene is {aside}moved by "
        f"({', '.join(f'{value + 0.0:.4g}' for value in -centre)}) and scaled by {placement.scale:.4g}",
    )
    return placed(placement, every), Fit((np.stack([-half, half]) * usual).astype(np.float32), placement)


def _next_axes(rotation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rotation (3, 3) by quarter turns that brings the axis to z that ``rotation`` brings nearest to it."""
    axis = int(np.abs(rotation[2]).argmax())
    return turned(NEGATIVE[axis] if rotation[2, axis] < 0 else POSITIVE[axis], rotation)
