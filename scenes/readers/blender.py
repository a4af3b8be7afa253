"""Scenes in the NeRF-synthetic (Blender) format: ``transforms_{train,test,val}.json`` beside their images.

Everything in the folder is untrusted; ``transforms.py`` reads the JSON, and the memory is known before it is taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenes.base import Scene, pick_views, spread
from scenes.files.locate import Finder
from scenes.files.values import Notes
from scenes.framing import HALF_BOX
from scenes.readers.assembling import Fit, Options, as_said, assembled, placed
from scenes.readers.transforms import Frames, read_json
from taichi_rf.core.errors import UserError

MARKER = "transforms_train.json"


def recognises(folder: Path) -> bool:
    """Whether ``folder`` looks like such a scene; nothing in it is opened."""
    return (folder / MARKER).exists()


def load(folder: Path, options: Options) -> Scene:
    """Read the scene in ``folder``.

    The test views are those of ``transforms_test.json`` whose images are there; if there are none, those of
    ``transforms_val.json``; if there are none either, there are no test views. The box is +-1.5. Near and far are the
    nearest and farthest distances at which a camera can meet the box, so that nothing in it is clipped. What is odd but
    usable is told in the scene's ``warnings``.

    Raises:
        UserError: anything missing, broken, hostile or too large; the message says which file, frame and key.
    """
    if options.world.space not in (None, "auto", "box"):
        raise UserError(f"--space {options.world.space}: '{folder}' is a Blender scene, which lies in a box")
    notes = Notes()
    finder = Finder(folder, notes, follow_links=options.follow_links)
    placement = as_said(options.world)
    parts = [placed(placement, part) for part in _headers(finder, options)]
    box = np.array([[-HALF_BOX] * 3, [HALF_BOX] * 3], np.float32)
    return assembled(finder.root, parts, Fit(box, placement), options, notes, "NeRF-synthetic (Blender)")


def _headers(finder: Finder, options: Options) -> list[Frames]:
    """The training views and, if there are any, the test views; of the images no more than the headers is read."""
    train = read_json(finder, MARKER, options.downscale, depth=options.depth)
    if train is None:
        raise UserError(f"'{finder.root / MARKER}' does not exist; a Blender scene has its training views there")
    parts = [train.chosen(pick_views(f"'{train.path}'", len(train.frames), options.views))]
    if options.max_test_views is None or options.max_test_views > 0:
        for split in ("test", "val"):
            test = read_json(finder, f"transforms_{split}.json", options.downscale, depth=options.depth, absent=True)
            if test is not None and test.frames:
                parts.append(test.chosen(spread(len(test.frames), options.max_test_views)))
                break
    return parts
