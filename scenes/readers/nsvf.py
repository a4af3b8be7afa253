"""Scenes of Neural Sparse Voxel Fields (Liu et al. 2020), in which Tanks and Temples is passed on, too.

``rgb/`` holds the images, ``pose/`` a camera-to-world matrix for each, ``intrinsics.txt`` the camera, ``bbox.txt`` the
box; names begin with 0_ for views to train with, 1_ and 2_ for views to test with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenes.base import Scene
from scenes.files.images import read_header
from scenes.files.locate import IMAGE_SUFFIXES, Finder
from scenes.files.numbers import read_numbers
from scenes.files.poses import checked_pose
from scenes.files.values import Notes, bounded
from scenes.readers.assembling import Options, assembled, fitted, split_frames
from scenes.readers.boxed import checked_box, fitted_to
from scenes.readers.posed import SAME_SHAPE, Inside, posed_frame
from scenes.readers.transforms import MAX_FRAMES, Frames
from taichi_rf.core.errors import UserError

MARKER, BOX = "intrinsics.txt", "bbox.txt"
IMAGES, POSES = ("rgb", "images", "image"), ("pose", "poses")
TRAINING, TESTING = "0_", ("2_", "1_")
"""How the names of views begin; where there are any with 2_, those with 1_ are neither learnt from nor judged by."""
TO_OPENCV = (1.0, -1.0, -1.0)
"""Signs of the columns of a pose: right, down and forward there, right, up and backward here."""


def recognises(folder: Path) -> bool:
    """Whether ``folder`` looks like such a scene; nothing in it is opened."""
    return (folder / MARKER).is_file() and _folder(folder, IMAGES) is not None and _folder(folder, POSES) is not None


def load(folder: Path, options: Options) -> Scene:
    """Read the scene in ``folder``. Without ``bbox.txt`` the box is made to fit what the cameras look at, and without
    prefixes every eighth image is to judge by.

    Raises:
        UserError: a file is missing, damaged, or says what cannot be.
    """
    notes = Notes()
    finder = Finder(folder, notes, follow_links=options.follow_links)
    every = read_views(finder, options.downscale, notes)
    if (finder.root / BOX).is_file():
        every, fit = fitted_to(every, read_box(finder.root / BOX), options.world, notes)
    else:
        every, fit = fitted(every, None, options.world, notes)
    training, testing = _split(every)
    parts = split_frames(every, options, training, testing)
    return assembled(finder.root, parts, fit, options, notes, "NSVF or Tanks and Temples")


def read_views(finder: Finder, downscale: int, notes: Notes) -> Frames:
    """All images that have a pose, in the order of their names.

    Raises:
        UserError: as :func:`load`.
    """
    path = finder.root / MARKER
    images, poses = _folder(finder.root, IMAGES), _folder(finder.root, POSES)
    if images is None or poses is None:
        raise UserError(f"'{finder.root}' lacks a folder: images are looked for in 'rgb', their poses in 'pose'")
    names = sorted(file.name for file in images.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if len(names) > MAX_FRAMES:
        raise UserError(f"'{images}' holds {len(names)} images; at most {MAX_FRAMES} are read")
    inside: Inside | None = None
    frames = []
    for name in names:
        where = f"'{images / bounded(name)}'"
        image = finder.find(f"{images.name}/{name}", "name", where)
        pose = finder.find(f"{poses.name}/{Path(name).stem}", "name", where, (".txt",))
        if image is None:
            continue
        if pose is None:
            notes.add("no pose", f"{where}: there is no '{poses.name}/{bounded(Path(name).stem)}.txt'; it is left out")
            continue
        if inside is None:
            header = read_header(image, where)
            inside = read_camera(path, header.width, header.height)
        matrix = read_numbers(pose, f"'{pose}'")
        if matrix.size not in (12, 16):
            raise UserError(f"'{pose}': {matrix.size} numbers; the 4 x 4 camera-to-world matrix is expected")
        matrix = checked_pose(matrix.reshape(-1, 4), f"'{pose}'", notes)
        matrix = np.concatenate([matrix[:, :3] * TO_OPENCV, matrix[:, 3:]], axis=1)
        frames.append(posed_frame(finder, image, inside, matrix, where, notes))
    if not frames:
        raise UserError(f"'{images}' holds no image with a pose of the same name in '{poses.name}'")
    return Frames(path, frames, None, downscale)


def read_camera(path: Path, width: int, height: int) -> Inside:
    """The camera in ``intrinsics.txt``: a matrix of 3 x 3 or 4 x 4, or a line with focal length and principal point.

    Args:
        width, height: of an image, to which the numbers belong unless the principal point is that of a larger or
            smaller copy, or the last line says another size, as files of the second kind do.

    Raises:
        UserError: it is damaged, or belongs to images of another shape.
    """
    lines = read_numbers(path, f"'{path}'", ragged=True)
    counts = [len(line) for line in lines]
    size: tuple[float, float] | None = None
    if counts in ([3] * 3, [4] * 4, [4] * 3):
        fx, fy, cx, cy = lines[0][0], lines[1][1], lines[0][2], lines[1][2]
    elif counts[0] in (3, 4):
        fx, cx, cy = lines[0][:3]
        fy = fx
        if len(counts) > 1 and counts[-1] == 2:
            size = float(lines[-1][1]), float(lines[-1][0])
    else:
        raise UserError(f"'{path}': a matrix of 4 x 4, or a line with focal length, cx and cy, is expected")
    if not (fx > 0 and fy > 0 and cx > 0 and cy > 0):
        raise UserError(f"'{path}': focal lengths {fx:g}, {fy:g} and a principal point {cx:g}, {cy:g} cannot be")
    scales = 2 * cx / width, 2 * cy / height
    copy = abs(scales[0] / scales[1] - 1) < SAME_SHAPE and not 0.8 < scales[0] < 1.25
    if size is None and copy:
        size = 2 * cx, 2 * cy
    if size is None:
        size = float(width), float(height)
    if not (1 <= min(size) and max(size) <= 1e6 and cx < size[0] and cy < size[1]):
        raise UserError(
            f"'{path}': the principal point {cx:g}, {cy:g} lies outside of images of {size[0]:g} x {size[1]:g} pixels: "
            "it belongs to others"
        )
    return Inside(round(size[0]), round(size[1]), float(fx), float(fy), float(cx), float(cy))


def read_box(path: Path) -> npt.NDArray[np.float64]:
    """The corners (2, 3) in ``bbox.txt``; what follows them, the size of a voxel, is not used.

    Raises:
        UserError: it is no box.
    """
    numbers = read_numbers(path, f"'{path}'").ravel()
    if numbers.size not in (6, 7):
        raise UserError(
            f"'{path}': {numbers.size} numbers; x, y, z of the lowest and of the highest corner are expected"
        )
    return checked_box(numbers[:6].reshape(2, 3), f"'{path}'")


def _folder(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _split(every: Frames) -> tuple[set[str] | None, set[str] | None]:
    """The names of the views to train and to test with, None where the names do not say it."""
    names = {frame.name: frame.name.rpartition("/")[2] for frame in every.frames}
    training = {name for name, last in names.items() if last.startswith(TRAINING)}
    if not training:
        return None, None
    testing = (({name for name, last in names.items() if last.startswith(prefix)}) for prefix in TESTING)
    return training, next(filter(None, testing), set())
