"""Scenes of instant-ngp and nerfstudio: all views in one ``transforms.json``, or in a file for each split."""

from __future__ import annotations

import json
from dataclasses import replace
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
SPLITS = ("transforms_train.json", "transforms_test.json", "transforms_val.json")
"""Of scenes with a file for each split; of the last two the first that lists an image that is there."""
TRAINING, TESTING = "train_filenames", ("test_filenames", "val_filenames")


def recognises(folder: Path) -> bool:
    """Whether ``folder`` looks like such a scene; nothing in it is opened."""
    return (folder / MARKER).is_file()


def load(folder: Path, options: Options) -> Scene:
    """Read the scene in ``folder``, from ``transforms.json`` or else from the files of :data:`SPLITS`: those are a
    NeRF-synthetic scene, too, which fits its box by itself, unless a person says that they are to be read here.

    The views of ``test_filenames`` or ``val_filenames`` are to judge by; without them every eighth view is. The world
    is moved and scaled so that what the cameras look at lies in a box of the usual size.

    Raises:
        UserError: as :func:`scenes.readers.blender.load`.
    """
    notes = Notes()
    finder = Finder(folder, notes, follow_links=options.follow_links)
    training: set[str] | None
    testing: set[str] | None
    if (every := _read(finder, MARKER, options)) is not None:
        training, testing = _lists(every, finder)
    else:
        every, training, testing = _splits(finder, options)
    if not every.frames:
        raise UserError(f"'{every.path}' lists no image that is there")
    every = with_folder_masks(every, finder)
    every, fit = fitted(every, None, options.world, notes)
    parts = split_frames(every, options, training, testing)
    return assembled(finder.root, parts, fit, options, notes, "instant-ngp or nerfstudio")


def _read(finder: Finder, name: str, options: Options) -> Frames | None:
    return read_json(finder, name, options.downscale, depth=options.depth, absent=True, fitted=True)


def _splits(finder: Finder, options: Options) -> tuple[Frames, set[str], set[str]]:
    """The frames of a scene with a file for each split, and the names of those to train and to test with."""
    training = _read(finder, SPLITS[0], options)
    if training is None:
        raise UserError(f"'{finder.root}' has neither '{MARKER}' nor '{SPLITS[0]}'")
    read = (_read(finder, name, options) for name in SPLITS[1:])
    testing = next((part for part in read if part is not None and part.frames), None)
    if testing is None:
        return training, {frame.name for frame in training.frames}, set()
    names = {frame.name for frame in training.frames}, {frame.name for frame in testing.frames}
    return replace(training, frames=[*training.frames, *testing.frames]), *names


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
