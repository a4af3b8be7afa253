"""Forward-facing scenes of LLFF (Mildenhall et al. 2019): ``poses_bounds.npy`` beside folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenes.base import Scene
from scenes.files.locate import IMAGE_SUFFIXES, Finder
from scenes.files.poses import checked_pose
from scenes.files.values import Notes, bounded
from scenes.readers.assembling import Options, assembled, fitted, split_frames
from scenes.readers.posed import Inside, posed_frame
from scenes.readers.transforms import Frames
from taichi_rf.core.errors import UserError

MARKER = "poses_bounds.npy"
IMAGES = ("images", "images_2", "images_4", "images_8")
"""Where the images lie, the largest first."""
MAX_BYTES = 64 << 20
NUMBERS = 17
"""Of an image: a matrix of 3 x 5, and the nearest and farthest depth."""


def recognises(folder: Path) -> bool:
    """Whether ``folder`` looks like such a scene; nothing in it is opened."""
    return (folder / MARKER).is_file()


def load(folder: Path, options: Options) -> Scene:
    """Read the scene in ``folder``; every eighth image is to judge by.

    Raises:
        UserError: the file of poses is damaged, or the images are not as many.
    """
    notes = Notes()
    finder = Finder(folder, notes, follow_links=options.follow_links)
    every, bounds = read_views(finder, options.downscale, notes)
    every, fit = fitted(every, seen_between(every, bounds), options.world, notes, float(bounds[:, 0].min()))
    parts = split_frames(every, options)
    return assembled(finder.root, parts, fit, options, notes, "LLFF")


def read_views(finder: Finder, downscale: int, notes: Notes) -> tuple[Frames, npt.NDArray[np.float64]]:
    """The frames, and the nearest and farthest depth of each, (n, 2).

    Raises:
        UserError: as :func:`load`.
    """
    path = finder.root / MARKER
    values = _read(path)
    matrices, bounds = values[:, :15].reshape(-1, 3, 5), values[:, 15:]
    folder, files = _images(finder, path)
    if len(files) != len(values):
        raise UserError(
            f"'{path}' has the poses of {len(values)} images, but '{folder}' holds {len(files)}: which belongs to "
            "which cannot be known; put those there that were posed"
        )
    frames = []
    for index, (matrix, file) in enumerate(zip(matrices, files, strict=True)):
        where = f"'{path}', image {index}"
        height, width, focal = matrix[:, 4]
        if not (width >= 1 and height >= 1 and focal > 0):
            raise UserError(f"{where}: a size of {width:g} x {height:g} and a focal length of {focal:g} cannot be")
        # Columns are down, right and backward; here they are right, up and backward.
        pose = np.stack([matrix[:, 1], -matrix[:, 0], matrix[:, 2], matrix[:, 3]], axis=1)
        pose = checked_pose(pose, where, notes)
        inside = Inside(round(width), round(height), focal, focal, width / 2, height / 2)
        frames.append(posed_frame(finder, file, inside, pose, where, notes))
    return Frames(path, frames, None, downscale), bounds


def seen_between(every: Frames, bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points (m, 3) in the corners and the middle of each camera's picture, at its nearest and its farthest depth."""
    points = []
    for frame, depths in zip(every.frames, bounds, strict=True):
        fx, fy, cx, cy = frame.intrinsics
        width, height = frame.size
        for u, v in ((0, 0), (width, 0), (0, height), (width, height), (cx, cy)):
            direction = frame.pose[:, :3] @ np.array([(u - cx) / fx, -(v - cy) / fy, -1.0])
            points += [frame.pose[:, 3] + depth * direction for depth in depths]
    return np.array(points)


def _read(path: Path) -> npt.NDArray[np.float64]:
    """The numbers in ``poses_bounds.npy``, (n, 17) and finite."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"'{path}' is larger than {MAX_BYTES >> 20} MiB; that is no list of poses")
        values = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or error})") from error
    except UserError:
        raise
    except Exception as error:  # numpy reads headers by Python's tokenizer, which raises errors of its own
        raise UserError(f"'{path}' is no array of numpy's ({bounded(error)})") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != NUMBERS or values.dtype.kind != "f":
        raise UserError(f"'{path}': an array of n x {NUMBERS} numbers is expected")
    if not np.isfinite(values).all():
        raise UserError(f"'{path}' holds NaN or infinity; finite numbers are expected")
    if not (0 < values[:, 15]).all() or not (values[:, 15] < values[:, 16]).all():
        raise UserError(f"'{path}': the last two columns are the nearest and farthest depth, 0 < nearest < farthest")
    found: npt.NDArray[np.float64] = values.astype(np.float64)
    return found


def _images(finder: Finder, poses: Path) -> tuple[Path, list[Path]]:
    """The folder of the largest images, and its images by name."""
    for name in IMAGES:
        folder = finder.root / name
        names = sorted(path.name for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        found = [finder.find(f"{name}/{file}", "images", f"'{poses}'") for file in names]
        if files := [path for path in found if path is not None]:
            return folder, files
    raise UserError(f"'{finder.root}' has no images: they are looked for in {', '.join(IMAGES)}")
