"""One image with its camera, for readers whose cameras come from another file than their images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenes.files.images import read_header
from scenes.files.locate import Finder
from scenes.files.values import Notes, bounded
from scenes.readers.transforms import Frame
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.lenses import Lens

SAME_SHAPE = 0.02
"""Share by which an image's sides may be scaled unevenly: whole pixels of small copies."""


@dataclass(frozen=True)
class Inside:
    """A camera's own numbers, in pixels of an image of ``width`` x ``height``."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    lens: Lens | None = None


def posed_frame(
    finder: Finder, path: Path, inside: Inside, pose: npt.NDArray[np.float64], where: str, notes: Notes,
    *, upright: bool = False, straight: bool = False,
) -> Frame:  # fmt: skip
    """The frame of an image that may be a smaller or larger copy of the one that the camera was found with.

    The pixels are taken as they are stored, for other programs that find cameras look at no EXIF orientation, unless
    the camera is known to be that of the ``upright`` image.

    Args:
        pose: (3, 4) camera to world.
        straight: as in :class:`~scenes.readers.transforms.Frame`.
        where: file and image, the opening of every message.

    Raises:
        UserError: it is no image, or of another shape.
    """
    header = read_header(path, where)
    orientation = header.orientation if upright else 1
    width, height = header.size(orientation)
    across, down = width / inside.width, height / inside.height
    if abs(across / down - 1) > SAME_SHAPE:
        turned = abs(height / inside.width / (width / inside.height) - 1) < SAME_SHAPE
        raise UserError(
            f"{where}: '{bounded(finder.name(path))}' is {width} x {height} pixels, but its camera's "
            f"image is {inside.width} x {inside.height}" + ("; it has been turned since" if turned else "")
        )
    if (width, height) != (inside.width, inside.height):
        notes.add(
            "copies",
            f"{where}: the image is {width} x {height} pixels and its camera's {inside.width} x "
            f"{inside.height}; the focal length is scaled to it",
        )
    intrinsics = inside.fx * across, inside.fy * down, inside.cx * across, inside.cy * down
    return Frame(where, finder.name(path), path, header, orientation, None, pose, intrinsics, inside.lens, straight)
