"""Scenes of instant-ngp and nerfstudio: all views in one ``transforms.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scenes.base import Scene
from scenes.files.locate import Finder
from scenes.files.values import Notes, kind
from scenes.readers.assembling import Options, assembled, fitted, split_frames
from scenes.readers.masking import with_folder_masks
from scenes.readers.transforms import Frames, read_json
from taichi_rf.core.errors import UserError

MARKER = "transforms.json"
TRAINING, TESTING = "train_filenames", ("test_filenames", "val_filenames")


def recognises(folder: Path) -> bool:
    """Whether ``folder`` looks like such a scene; nothing in it is opened."""
    return (folder / MARKER).is_file()


def load(folder: Path, options: Options) -> Scene:
    """Read the scene in ``folder``.

    The views of ``test_filenames`` or ``val_filenames`` are to judge by; without them every eighth view is. The world
    is moved and scaled so that what the cameras look at lies in a box of the usual size.

    Raises:
        UserError: as :func:`scenes.readers.blender.load`.
    """
    notes = Notes()
    finder = Finder(folder, notes, follow_links=options.follow_links)
    every = read_json(finder, MARKER, options.downscale, depth=options.depth, absent=True, fitted=True)
    if every is None or not every.frames:
        raise UserError(f"'{finder.root / MARKER}' lists no image that is there")
    every = with_folder_masks(every, finder)
    training, testing = _lists(every, finder)
    every, fit = fitted(every, None, options.world, notes)
    parts = split_frames(every, options, training, testing)
    return assembled(finder.root, parts, fit, options, notes, "instant-ngp or nerfstudio")


def _lists(every: Frames, finder: Finder) -> tuple[set[str] | None, set[str] | None]:
    """The names of the views to train and to test with, None where the file does not say it."""
    data = json.loads(every.path.read_bytes())  # read_json has found it good
    training = _names(data, TRAINING, every, finder)
    for key in TESTING:
        testing = _names(data, key, every, finder)
        if testing:
            return training, testing
    return training, None


def _names(data: dict[str, Any], key: str, every: Frames, finder: Finder) -> set[str] | None:
    listed = data.get(key)
    if listed is None:
        return None
    if not isinstance(listed, list):
        raise UserError(f"'{every.path}', key '{key}': a list of images is expected, not {kind(listed)}")
    found = set()
    for value in listed:
        if (path := finder.find(value, key, f"'{every.path}'")) is not None:
            found.add(finder.name(path))
    return found
