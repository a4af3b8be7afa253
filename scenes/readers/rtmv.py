"""Scenes of RTMV, the ray-traced multi-view dataset (Tremblay et al. 2022), on which VQAD was measured.

For each view there is ``00000.json`` with its camera, ``00000.exr`` with linear colours and alpha, and
``00000.depth.exr`` with distances along the rays.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenes.base import MIN_TRAIN_VIEWS, Scene
from scenes.files.depth_images import check_shape, depth_header
from scenes.files.locate import Finder
from scenes.files.poses import checked_pose
from scenes.files.values import Notes, bounded, kind, number
from scenes.readers.assembling import Options, assembled, fitted, split_frames
from scenes.readers.boxed import checked_box, fitted_to
from scenes.readers.posed import Inside, posed_frame
from scenes.readers.transforms import MAX_FRAMES, DepthImage, Frame, Frames
from taichi_rf.core.errors import UserError

VIEW = re.compile(r"\d{5}\.json")
FIRST = "00000.json"
IMAGE_SUFFIXES, DEPTH_SUFFIXES = (".exr", ".png", ".jpg", ".jpeg"), (".depth.exr",)
MAX_BYTES = 16 << 20
"""Of a json, which also lists the objects of the scene."""
TRAINING, BETWEEN = 2 / 3, 1 / 30
"""Shares of the views, in their order: those to train with, and those between them and the test views, which are left
out; as the authors of VQAD have it."""


def recognises(folder: Path) -> bool:
    """Whether ``folder`` looks like such a scene; nothing in it is opened."""
    return (folder / FIRST).is_file() and any((folder / f"00000{suffix}").is_file() for suffix in IMAGE_SUFFIXES)


def load(folder: Path, options: Options) -> Scene:
    """Read the scene in ``folder``. The box is the scene's own; where it has none, it is made to fit.

    Raises:
        UserError: a file is missing, damaged, or says what cannot be.
    """
    notes = Notes()
    finder = Finder(folder, notes, follow_links=options.follow_links)
    every, box = read_views(finder, options, notes)
    if box is not None:
        every, fit = fitted_to(every, box, options.world, notes)
    else:
        every, fit = fitted(every, None, options.world, notes)
    training, testing = _split(every)
    return assembled(
        finder.root, split_frames(every, options, training, testing), fit, options, notes, "RTMV"
    )  # fmt: skip


def read_views(finder: Finder, options: Options, notes: Notes) -> tuple[Frames, npt.NDArray[np.float64] | None]:
    """All views in the order of their numbers, and the box (2, 3) of the scene, where the first says one.

    Raises:
        UserError: as :func:`load`.
    """
    names = sorted(path.name for path in finder.root.glob("*.json") if VIEW.fullmatch(path.name))
    if not names:
        raise UserError(f"'{finder.root}' holds no view: '{FIRST}' and so on are expected")
    if len(names) > MAX_FRAMES:
        raise UserError(f"'{finder.root}' holds {len(names)} views; at most {MAX_FRAMES} are read")
    frames: list[Frame] = []
    box = None
    for name in names:
        path = finder.root / name
        where = f"'{path}'"
        data = _camera(path)
        if box is None and data.get("scene_min_3d_box") is not None:
            corners = [_vector(data, f"scene_{end}_3d_box", where) for end in ("min", "max")]
            box = checked_box(np.array(corners), f"{where}, key 'scene_min_3d_box'")
        image = finder.find(path.stem, "name", where, IMAGE_SUFFIXES)
        if image is None:
            notes.add("absent", f"{where}: there is no '{path.stem}.exr'; the view is left out")
            continue
        frame = posed_frame(finder, image, _inside(data, where), _pose(data, where, notes), where, notes, straight=True)
        depth = finder.find(f"{path.stem}.depth.exr", "name", where, ()) if options.depth else None
        if depth is not None:
            frame = _with_depth(frame, depth)
        frames.append(frame)
    if not frames:
        raise UserError(f"'{finder.root}': none of the {len(names)} views has its image beside it")
    return Frames(finder.root / FIRST, frames, None, options.downscale), box


def _with_depth(frame: Frame, path: Path) -> Frame:
    header = depth_header(path, frame.where)
    turn = check_shape(header, frame.size, 1, path.name, frame.where)
    return replace(frame, depth=DepthImage(path, header, turn, along_rays=True))


def _camera(path: Path) -> dict[str, Any]:
    """What the file says of the camera."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"'{path}' is larger than {MAX_BYTES >> 20} MiB; that is no view")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is not valid JSON ({bounded(error)})") from error
    found = data.get("camera_data") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise UserError(f"'{path}', key 'camera_data': an object is expected, not {kind(found)}")
    return found


def _inside(data: dict[str, Any], where: str) -> Inside:
    keys = data.get("intrinsics")
    if not isinstance(keys, dict):
        raise UserError(f"{where}, key 'intrinsics': an object with fx, fy, cx and cy is expected, not {kind(keys)}")
    width, height = (number(data, key, where, low=0) for key in ("width", "height"))
    fx, fy = (number(keys, key, where, low=0) for key in ("fx", "fy"))
    cx, cy = (number(keys, key, where) for key in ("cx", "cy"))
    if not (1 <= min(width, height) and max(width, height) <= 1e6 and 0 < cx < width and 0 < cy < height):
        raise UserError(f"{where}: a principal point {cx:g}, {cy:g} in an image of {width:g} x {height:g} cannot be")
    return Inside(round(width), round(height), fx, fy, cx, cy)


def _pose(data: dict[str, Any], where: str, notes: Notes) -> npt.NDArray[np.float64]:
    """(3, 4) camera to world; the file has its columns as rows."""
    where = f"{where}, key 'cam2world'"
    try:
        matrix = np.array(data.get("cam2world"), dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{where}: 4 columns of 4 numbers are expected ({bounded(error)})") from error
    if matrix.shape != (4, 4):
        raise UserError(f"{where}: 4 columns of 4 numbers are expected, not an array of shape {bounded(matrix.shape)}")
    return checked_pose(matrix.T, where, notes)


def _vector(data: dict[str, Any], key: str, where: str) -> list[float]:
    values = data.get(key)
    if not isinstance(values, list) or len(values) != 3:
        raise UserError(f"{where}, key '{key}': three numbers are expected, not {kind(values)}")
    return [number({key: value}, key, where) for value in values]


def _split(every: Frames) -> tuple[set[str], set[str]]:
    """The names of the views to train and to test with."""
    names = [frame.name for frame in every.frames]
    first = max(int(TRAINING * len(names)), min(MIN_TRAIN_VIEWS, len(names)))
    return set(names[:first]), set(names[first + int(BETWEEN * len(names)) :])
