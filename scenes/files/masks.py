"""Masks: grey images beside photographs, white where there is something to learn and black where there is nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scenes.files.images import Header, decoded, turned
from scenes.files.values import bounded
from taichi_rf.core.errors import UserError

SHAPES_AGREE = 0.02
"""By which the shapes of an image and of its mask may differ where one of two turns is chosen."""


def mask_turn(mask: Header, size: tuple[int, int], orientation: int) -> int:
    """How a mask has to be turned to go with an image that is ``size`` (width, height) once it is turned by
    ``orientation``: as itself says, or else as the image, if only that brings it to the image's shape."""
    for turn in dict.fromkeys((mask.orientation, orientation)):
        width, height = mask.size(turn)
        if abs(width * size[1] / (height * size[0]) - 1) <= SHAPES_AGREE:
            return turn
    return mask.orientation


def read_mask(path: Path, header: Header, turn: int, size: tuple[int, int], where: str) -> npt.NDArray[np.uint8]:
    """The mask in ``path``, (height, width) from 0 to 255, brought to ``size`` (width, height).

    Where it has an alpha channel, what is transparent is black. A mask of nothing but 0 and 1 has 1 for white.

    Args:
        header: of the file, as it was read before.
        turn: see :func:`mask_turn`.
        size: of the upright image that it goes with.

    Raises:
        UserError: the file is broken, or has changed since its header was read.
    """
    with decoded(path, header, turn, where) as (image, left):
        if image.mode == "F" or image.mode.startswith("I"):
            deep = np.asarray(image).astype(np.float32)
            if not np.isfinite(deep).all() or deep.min() < 0 or deep.max() > 65535:
                raise UserError(f"{where}: '{bounded(path)}': a mask of 8 or 16 bits is expected")
            grey = (deep / (257 if deep.max() > 255 else 1)).astype(np.uint8)
        else:
            grey = np.array(image.convert("L"))
            if "A" in image.getbands() or "transparency" in image.info:
                alpha = np.asarray(image.convert("RGBA").getchannel("A"))
                grey = (grey.astype(np.uint16) * alpha // 255).astype(np.uint8)
        if grey.max(initial=0) == 1:
            grey = grey * np.uint8(255)
        upright = np.ascontiguousarray(turned(grey, left))
    if upright.shape != size[::-1]:
        upright = np.asarray(Image.fromarray(upright).resize(size, Image.Resampling.BOX))
    return upright
