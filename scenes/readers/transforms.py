"""Parsing ``transforms_SPLIT.json`` and ``transforms.json``: images, where their cameras stand, and what they see.

Everything in it is untrusted: numbers must be finite, rotations right-handed, files inside the folder. Every complaint
names the file, the frame and the key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenes.base import check_memory
from scenes.files.depth_images import WITHOUT, check_shape, depth_header
from scenes.files.images import Header, read_header
from scenes.files.lens_keys import read_lens
from scenes.files.locate import DEPTH_SUFFIXES, Finder
from scenes.files.masks import mask_turn
from scenes.files.poses import checked_pose
from scenes.files.shrinking import smaller_size
from scenes.files.unsupported import check_keys, check_still
from scenes.files.values import Notes, bounded, kind, number
from scenes.readers.intrinsics import choose_orientation, read_intrinsics, with_matrix
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.lenses import Lens

MAX_JSON_BYTES = 64 * 2**20
MEMORY_PER_BYTE = 32
"""Bytes of memory that parsing can take for a byte of JSON: "[]," becomes a list."""
MAX_FRAMES = 20_000
SAME_PLACE = 1e-6  # by which the cells of two equal poses differ at most
DEPTH_UNITS = (1e-12, 1e6)  # beyond these no depth is a number that single precision can reckon with


@dataclass(frozen=True)
class DepthImage:
    """A depth image, before it is decoded."""

    path: Path
    header: Header
    orientation: int  # by which it is turned
    along_rays: bool = False  # distances from the camera, and not along the view axis


@dataclass(frozen=True)
class MaskImage:
    """A mask, before it is decoded."""

    path: Path
    header: Header
    orientation: int  # by which it is turned
    where: str  # the opening of messages


@dataclass(frozen=True)
class Frame:
    """One image and its camera, before anything is decoded."""

    where: str  # file and frame number, the opening of every error message
    name: str
    image: Path
    header: Header
    orientation: int  # by which the image is turned: 1, or its header's
    depth: DepthImage | None
    pose: npt.NDArray[np.float64]  # (3, 4)
    intrinsics: tuple[float, float, float, float]  # fx, fy, cx, cy in pixels of the upright image
    lens: Lens | None = None
    straight: bool = False  # an OpenEXR image whose colours are not multiplied by alpha, as its standard has them
    mask: MaskImage | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright image."""
        return self.header.size(self.orientation)


@dataclass(frozen=True)
class Frames:
    """What one json says, before any image is decoded."""

    path: Path
    frames: list[Frame]
    depth_unit: float | None  # world units for each step of a depth image, where the json says it
    downscale: int
    depth_scale: float = 1.0  # by which the world was scaled since

    def size(self, frame: Frame) -> tuple[int, int]:
        """(width, height) of the image of ``frame`` once it is made smaller."""
        return smaller_size(*frame.size, self.downscale)

    def chosen(self, indices: list[int]) -> Frames:
        """The frames at ``indices`` alone."""
        return replace(self, frames=[self.frames[index] for index in indices])

    @property
    def pixels(self) -> int:
        """Of all images, once they are made smaller."""
        return sum(width * height for width, height in map(self.size, self.frames))


def read_json(
    finder: Finder, name: str, downscale: int, *, depth: bool, absent: bool = False, fitted: bool = False
) -> Frames | None:
    """The frames of the file called ``name`` in the scene's folder, or None where there is no such file.

    Args:
        depth: whether depth images are wanted; else nothing is wrong with any.
        absent: leave out frames whose images are not there, and note it.
        fitted: the box is made to fit, so that keys which say where it lies change nothing.

    Raises:
        UserError: the file or what it says cannot be used.
    """
    path = finder.root / name
    try:
        if not path.is_file():
            return None
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise UserError(f"'{path}' is larger than {MAX_JSON_BYTES // 2**20} MiB; that is no list of camera poses")
        check_memory(f"parsing '{path}'", MEMORY_PER_BYTE * size)
        data = json.loads(path.read_bytes())  # UTF-8, 16 or 32, with or without a mark
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is not valid JSON ({bounded(error)})") from error
    if not isinstance(data, dict):
        raise UserError(f"'{path}': an object with the key 'frames' is expected, not {kind(data)}")
    frames = data.pop("frames", None)
    if not isinstance(frames, list):
        raise UserError(f"'{path}', key 'frames': a list of camera frames is expected, not {kind(frames)}")
    if len(frames) > MAX_FRAMES:
        raise UserError(f"'{path}', key 'frames': {len(frames)} frames; at most {MAX_FRAMES} are read")
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise UserError(
                f"'{path}', frame {index}: an object with 'file_path' and 'transform_matrix' is expected, not "
                f"{kind(frame)}"
            )
    read_lens(data, {}, f"'{path}'")
    check_keys(data, f"'{path}'", finder.notes, depth=depth, fitted=fitted)
    check_still(frames, f"'{path}'")
    data = with_matrix(data, f"'{path}'")
    unit = _depth_unit(data, path) if depth else None
    parsed = []
    for index, frame in enumerate(frames):
        where = f"'{path}', frame {index}"
        image = finder.find(frame.get("file_path"), "file_path", where)
        if image is not None:
            parsed.append(_frame(finder, data, frame, image, where, depth=depth))
            continue
        missing = f"{where}, key 'file_path': there is no image '{bounded(finder.root / frame['file_path'])}'"
        if not absent:
            raise UserError(f"{missing} (nor with .png or .jpg added)")
        finder.notes.add(f"absent {name}", f"{missing}; the view is left out")
    _note_doubles(parsed, finder)
    return Frames(path, parsed, unit, downscale)


def check_sizes(part: Frames) -> None:
    """UserError where an image of ``part`` is too small to be made smaller."""
    for frame in part.frames:
        if part.downscale > min(frame.size):
            raise UserError(
                f"{frame.where}: --downscale {part.downscale} leaves nothing of '{bounded(frame.name)}' of "
                f"{frame.size[0]} x {frame.size[1]} pixels"
            )


def _frame(
    finder: Finder, data: dict[str, Any], frame: dict[str, Any], image: Path, where: str, *, depth: bool
) -> Frame:
    """One entry of ``frames``, whose image is ``image``."""
    lens = read_lens(data, frame, where)
    frame = with_matrix(frame, where)
    check_keys(frame, where, finder.notes, depth=depth)
    pose = _pose(frame, where, finder.notes)
    header = read_header(image, where)
    orientation = choose_orientation(data, frame, header, where, finder.notes)
    size = header.size(orientation)
    intrinsics = read_intrinsics(data, frame, size, where, finder.notes)
    found = _depth_image(finder, frame, size, orientation, where) if depth else None
    mask = _mask(finder, frame, size, orientation, where)
    return Frame(where, finder.name(image), image, header, orientation, found, pose, intrinsics, lens, mask=mask)


def _note_doubles(frames: list[Frame], finder: Finder) -> None:
    """Note an image that is listed as seen from two places."""
    first: dict[Path, Frame] = {}
    for frame in frames:
        other = first.setdefault(frame.image, frame)
        if np.abs(other.pose - frame.pose).max() > SAME_PLACE:
            finder.notes.add(
                "double",
                f"{frame.where}: '{bounded(frame.name)}' is listed before, with another 'transform_matrix'; one of "
                "them is wrong",
            )


def _depth_image(
    finder: Finder, frame: dict[str, Any], size: tuple[int, int], orientation: int, where: str
) -> DepthImage | None:
    value = frame.get("depth_file_path")
    if value is None or value == "":
        return None
    key = "depth_file_path"
    path = finder.find(value, key, where, DEPTH_SUFFIXES)
    where = f"{where}, key '{key}'"
    if path is None:
        raise UserError(
            f"{where}: there is no depth image '{bounded(finder.root / value)}'; take the key out, {WITHOUT}"
        )
    header = depth_header(path, where)
    return DepthImage(path, header, check_shape(header, size, orientation, path.name, where))


def _mask(
    finder: Finder, frame: dict[str, Any], size: tuple[int, int], orientation: int, where: str
) -> MaskImage | None:
    key, value = "mask_path", frame.get("mask_path")
    if value is None or value == "":
        return None
    path = finder.find(value, key, where)
    place = f"{where}, key '{key}'"
    if path is None:
        raise UserError(
            f"{place}: there is no mask '{bounded(finder.root / value)}'; take the key out to learn from whole images"
        )
    return mask_image(finder, path, size, orientation, place)


def mask_image(finder: Finder, path: Path, size: tuple[int, int], orientation: int, where: str) -> MaskImage:
    """The mask in ``path`` of an image that is ``size`` once it is turned by ``orientation``; ``where`` opens messages.

    Raises:
        UserError: it is no image.
    """
    header = read_header(path, where)
    turn = mask_turn(header, size, orientation)
    if header.size(turn) != size:
        finder.notes.add(
            "mask size",
            f"{where}: '{bounded(finder.name(path))}' is {header.width} x {header.height} pixels and its image "
            f"{size[0]} x {size[1]}; the mask is resized to it",
        )
    return MaskImage(path, header, turn, where)


def _depth_unit(data: dict[str, Any], path: Path) -> float | None:
    key = "depth_unit_scale_factor"
    if data.get(key) is None:
        return None
    unit = number(data, key, f"'{path}'", low=0.0)
    if not DEPTH_UNITS[0] <= unit <= DEPTH_UNITS[1]:
        raise UserError(
            f"'{path}', key '{key}': {unit:g}; world units for each step of a depth image are expected, "
            f"{DEPTH_UNITS[0]:g} to {DEPTH_UNITS[1]:g} (0.001 for millimetres)"
        )
    return unit


def _pose(frame: dict[str, Any], where: str, notes: Notes) -> npt.NDArray[np.float64]:
    """(3, 4) camera to world, checked to be a rotation and a place."""
    where = f"{where}, key 'transform_matrix'"
    value = frame.get("transform_matrix")
    if value is None:
        raise UserError(f"{where} is missing: the 4 x 4 camera-to-world matrix is expected")
    try:
        matrix = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{where}: 4 rows of 4 numbers are expected ({bounded(error)})") from error
    if matrix.shape not in ((4, 4), (3, 4)):
        raise UserError(f"{where}: 4 rows of 4 numbers are expected, not an array of shape {bounded(matrix.shape)}")
    return checked_pose(matrix, where, notes)
