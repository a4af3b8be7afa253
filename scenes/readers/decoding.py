"""From frames to the arrays of a split: as many images at once as fit the memory that was announced."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from scenes.base import Depths, Progress, Split
from scenes.files.depth_images import read_depth
from scenes.files.images import BAND_COST, read_pixels
from scenes.files.masks import read_mask
from scenes.files.shrinking import BAND_PIXELS
from scenes.readers.storing import Storage, memory_of
from scenes.readers.transforms import Frame, Frames
from taichi_rf.core.memory import available_memory
from taichi_rf.kernels.rays import Cameras

MOST_AT_ONCE = 4
"""Images."""
SHARE = 1 << 28
"""Bytes that are spent on decoding several images at once; one is decoded whatever it takes."""


def bytes_to_decode(part: Frames, storage: Storage) -> int:
    """What decoding the most demanding image of ``part`` takes beside the arrays."""
    return max(_cost(frame, part, storage) for frame in part.frames)


def images_at_once(parts: list[Frames], kept: list[Storage]) -> int:
    """How many images are decoded at once: more than one only where that costs little, or fits easily."""
    cost = max(bytes_to_decode(part, storage) for part, storage in zip(parts, kept, strict=True))
    free = available_memory()
    room = SHARE if free is None else min(SHARE, (free - memory_of(parts, kept)) // 2)
    return max(1, min(MOST_AT_ONCE, os.cpu_count() or 1, room // cost))


def memory_needed(parts: list[Frames], kept: list[Storage], at_once: int) -> int:
    """Bytes that reading ``parts`` takes at its peak, from the headers alone."""
    decoding = max(bytes_to_decode(part, storage) for part, storage in zip(parts, kept, strict=True))
    return memory_of(parts, kept) + at_once * decoding


def cameras_of(part: Frames) -> Cameras:
    """The cameras of the images as they will be, made smaller."""
    full, sizes = np.array([frame.size for frame in part.frames]), np.array([part.size(frame) for frame in part.frames])
    intrinsics = np.array([frame.intrinsics for frame in part.frames]) * np.tile(sizes / full, 2)
    poses = np.stack([frame.pose for frame in part.frames])
    lenses = tuple(frame.lens for frame in part.frames)
    return Cameras(
        poses.astype(np.float32), intrinsics.astype(np.float32), sizes[:, 0], sizes[:, 1], lenses if any(lenses) else ()
    )


def read_split(part: Frames, storage: Storage, at_once: int, done: int, total: int, progress: Progress | None) -> Split:
    """Decode the images of ``part`` and keep them as ``storage`` says, ``at_once`` at a time; ``done`` of ``total``
    images came before.

    Raises:
        UserError: an image is broken.
    """
    cameras = cameras_of(part)
    pixels = storage.pool(cameras)
    depths: Depths | None = None
    if any(frame.depth for frame in part.frames):
        sizes = [(camera.height, camera.width) for camera in cameras]
        one = len(set(sizes)) == 1
        depths = np.zeros((len(sizes), *sizes[0]), np.float32) if one else [np.zeros(s, np.float32) for s in sizes]

    def read(index: int) -> None:
        frame = part.frames[index]
        mask = None
        if (beside := frame.mask) is not None:
            mask = read_mask(beside.path, beside.header, beside.orientation, frame.size, beside.where)
        image = pixels.blank(index)
        read_pixels(frame.image, frame.header, frame.orientation, image, frame.where, mask, straight=frame.straight)
        pixels.put(index, image)
        if depths is not None and (depth := frame.depth) is not None:
            where = f"{frame.where}, key 'depth_file_path'"
            found = depths[index]
            read_depth(depth.path, depth.header, depth.orientation, part.depth_unit, frame.size, found, where)
            found *= part.depth_scale
            if depth.along_rays:
                found *= _along_axis(cameras, index)

    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about odd files that it reads all the same
            for count, _ in enumerate(pool.map(read, range(len(part.frames))), start=1):
                if progress is not None:
                    progress(done + count, total)
    finally:
        pool.shutdown(cancel_futures=True)  # an error or Ctrl-C does not wait for the rest
    return Split(pixels, cameras, tuple(frame.name for frame in part.frames), depths)


def _along_axis(cameras: Cameras, index: int) -> npt.NDArray[np.float32]:
    """(height, width) by which a distance along a pixel's ray is to be multiplied to be one along the view axis."""
    _, directions = cameras[index].rays()
    cosines: npt.NDArray[np.float32] = -(directions @ cameras.poses[index, :, 2])
    return cosines.reshape(cameras[index].height, cameras[index].width)


def _cost(frame: Frame, part: Frames, storage: Storage) -> int:
    """Bytes that decoding the image of ``frame``, and then its depth image, takes beside the arrays."""
    width, height = frame.size
    small = part.size(frame)
    merged = max(width * -(-height // small[1]), height * -(-width // small[0]))  # of the lines that make one new line
    band = min(width * height, max(BAND_PIXELS, merged)) * BAND_COST
    beside = 0
    if frame.mask is not None:
        beside = width * height
        band += frame.mask.header.decoding + 8 * frame.mask.header.width * frame.mask.header.height
    if storage.folder is not None:
        beside += storage.width * small[0] * small[1]  # the image before it goes to the disk
    return band + beside + max(frame.header.decoding, 0 if frame.depth is None else frame.depth.header.decoding)
