"""Scenes in the NeRF-synthetic (Blender) format: ``transforms_{train,test,val}.json`` beside their images.

Everything in the folder is untrusted; ``transforms.py`` reads the JSON, and the memory is known before it is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scenes.base import (
    Progress,
    Scene,
    Split,
    background_colour,
    check_memory,
    empty_split,
    pick_views,
    spread,
)
from scenes.framing import HALF_BOX, check_aim, check_framing, near_far
from scenes.readers.decoding import cameras_of, images_at_once, memory_needed, read_split
from scenes.readers.locate import Finder
from scenes.readers.transforms import Frames, read_json, with_sizes
from scenes.readers.values import Notes
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Cameras

MARKER = "transforms_train.json"


def load(
    folder: str | Path,
    *,
    downscale: int = 1,
    views: int | None = None,
    background: str = "white",
    max_test_views: int | None = None,
    progress: Progress | None = None,
    depth: bool = True,
    follow_links: bool = False,
    announce: Callable[[int], None] | None = None,
) -> Scene:
    """Read the scene in ``folder``.

    Args:
        downscale: average this many pixels a side into one, on premultiplied alpha.
        views: use this many training views, evenly spread over those there are (the first and the last among them).
        background: ``white`` or ``black``; goes where alpha is below 1 when a picture is composited.
        max_test_views: likewise for the test views; 0 for none.
        progress: called with (images done, images in all).
        depth: read depth images, where there are any; otherwise nothing about them matters.
        follow_links: read images to which links lead out of the folder.
        announce: called with the bytes of memory that reading the images of a folder will take at its peak, before any
            are taken.

    The test views are those of ``transforms_test.json`` whose images are there; if there are none, those of
    ``transforms_val.json``; if there are none either, there are no test views. The box is +-1.5. Near and far are the
    nearest and farthest distances at which a camera can meet the box, so that nothing in it is clipped. What is odd but
    usable is told in the scene's ``warnings``.

    Raises:
        UserError: anything missing, broken, hostile or too large; the message says which file, frame and key.
    """
    colour = background_colour(background)
    if downscale < 1:
        raise UserError(f"--downscale {downscale}: 1 (full size) or more is expected")
    notes = Notes()
    finder = Finder(Path(folder), notes, follow_links=follow_links)
    root = finder.root
    parts = _headers(finder, downscale, views, max_test_views, depth=depth)
    at_once = images_at_once(parts)
    needed = memory_needed(parts, at_once)
    check_memory(f"'{root}' at --downscale {downscale}", needed)
    if announce is not None:
        announce(needed)

    box = np.array([[-HALF_BOX] * 3, [HALF_BOX] * 3], np.float32)
    cameras = cameras_of(parts[0])
    check_aim(cameras, box, str(parts[0].path))
    total = sum(len(part.frames) for part in parts)
    splits: list[Split] = []
    for part in parts:
        splits.append(read_split(part, at_once, sum(len(split) for split in splits), total, progress))
    if len(splits) == 1:
        splits.append(empty_split(*parts[0].size))
    framing = check_framing(splits[0], box, str(parts[0].path))
    every = [split.cameras for split in splits]
    near, far = near_far(
        Cameras(
            np.concatenate([cameras.poses for cameras in every]),
            np.concatenate([cameras.intrinsics for cameras in every]),
            every[0].width,
            every[0].height,
        ),
        box,
    )
    return Scene(
        root.name, splits[0], splits[1], box, near, far, colour, str(root), warnings=(*notes.texts(), *framing)
    )


def _headers(
    finder: Finder, downscale: int, views: int | None, max_test_views: int | None, *, depth: bool
) -> list[Frames]:
    """The training views and, if there are any, the test views; of the images no more than the headers is read."""
    train = read_json(finder, "train", downscale, depth=depth)
    if train is None:
        raise UserError(f"'{finder.root / MARKER}' does not exist; a Blender scene has its training views there")
    parts = [train.chosen(pick_views(f"'{train.path}'", len(train.frames), views))]
    if max_test_views is None or max_test_views > 0:
        for split in ("test", "val"):
            test = read_json(finder, split, downscale, depth=depth, absent=True)
            if test is not None and test.frames:
                parts.append(test.chosen(spread(len(test.frames), max_test_views)))
                break
    return [with_sizes(part) for part in parts]
