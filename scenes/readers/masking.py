"""Masks in a folder of their own, as COLMAP and nerfstudio have them, and what masks leave of the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from scenes.base import Split
from scenes.files.locate import Finder
from scenes.files.values import Notes, bounded
from scenes.readers.transforms import Frame, Frames, MaskImage, mask_image
from taichi_rf.core.errors import UserError

FOLDER = "masks"
OF_IMAGES = ("images", "input")
"""How folders of images begin, in whose place ``masks`` has the same names."""


def with_folder_masks(every: Frames, finder: Finder) -> Frames:
    """``every``, each image without a mask with that of the folder ``masks``: ``NAME.jpg.png``, ``NAME.png``, or called
    as the image is.

    Raises:
        UserError: a mask is no image, or a link leads out of the scene's folder.
    """
    folder = finder.root / FOLDER
    if not folder.is_dir():
        return every
    frames = [frame if frame.mask else replace(frame, mask=_mask_of(frame, finder)) for frame in every.frames]
    found = sum(frame.mask is not None for frame in frames)
    if found:
        others = f"; the other {len(frames) - found} are learnt from as a whole" if found < len(frames) else ""
        text = f"'{folder}': masks of {found} images; what is black in them counts as background{others}"
    else:
        text = f"'{folder}': none of its files is called like an image, with .png behind it; no mask is used"
    finder.notes.add("masks", text)
    return replace(every, frames=frames)


def check_masks(part: Frames, split: Split, notes: Notes) -> None:
    """Note images of ``part``, decoded as ``split``, of which their masks leave nothing.

    Raises:
        UserError: nothing is left of any image.
    """
    masked = [(frame, frame.mask, index) for index, frame in enumerate(part.frames) if frame.mask is not None]
    empty = [(frame, mask) for frame, mask, index in masked if split.pixels.alpha_range(index)[1] == 0]
    if empty and len(empty) == len(part.frames):
        raise UserError(
            f"{_named(*empty[0])} leaves nothing of its image, nor do the masks of the other {len(empty) - 1} images: "
            "white is what is kept; invert the masks, or take them away to learn from whole images"
        )
    for frame, mask in empty:
        notes.add("empty mask", f"{_named(frame, mask)} is black throughout and leaves nothing of its image")


def _named(frame: Frame, mask: MaskImage) -> str:
    return f"{mask.where}: '{bounded(mask.path.name)}'"


def _mask_of(frame: Frame, finder: Finder) -> MaskImage | None:
    name = PurePosixPath(frame.name)
    if len(name.parts) > 1 and name.parts[0].startswith(OF_IMAGES):
        name = PurePosixPath(*name.parts[1:])
    for candidate in (f"{name}.png", name.with_suffix(".png"), name):
        path = finder.find(f"{FOLDER}/{candidate}", FOLDER, frame.where, ())
        if path is not None:
            return mask_image(finder, path, frame.size, frame.orientation, f"{frame.where}, its mask")
    return None
