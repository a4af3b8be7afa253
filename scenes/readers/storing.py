"""How the pixels of a scene are kept: as bytes where that is exact, in half precision, or on the disk if need be."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scenes.files.values import Notes
from scenes.readers.transforms import Frames
from taichi_rf.core.memory import available_memory
from taichi_rf.core.pixel_file import PixelFile, check_disk
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.core.user_folders import cache_folder
from taichi_rf.kernels.rays import Cameras

COMFORTABLE = 0.6
"""Of the free memory, what pixels may take; training needs the rest."""
SMALLEST = 64
"""Pixels of a side below which no image is made smaller by itself."""
BYTES, HALF = 3, 8
"""Of a pixel, as RGB bytes and as RGBA in half precision."""


@dataclass(frozen=True)
class Storage:
    """``width``: bytes of a pixel, :data:`BYTES` or :data:`HALF`. ``folder``: where the file lies that holds the
    pixels, None in memory."""

    width: int = HALF
    folder: Path | None = None

    def pool(self, cameras: Cameras) -> PixelPool:
        """Room for the pixels of the images of ``cameras``.

        Raises:
            UserError: the disk has not the room.
        """
        count, channels = int(cameras.offsets[-1]), 3 if self.width == BYTES else 4
        kind = np.dtype(np.uint8 if self.width == BYTES else np.float16)
        if self.folder is None:
            return PixelPool(np.empty((count, channels), kind), cameras.widths, cameras.heights)
        return PixelPool(PixelFile(self.folder, count, channels, kind), cameras.widths, cameras.heights)


def storages(parts: list[Frames], notes: Notes) -> list[Storage]:
    """How each of ``parts`` is kept. Opaque images of 8 bits are kept as bytes unless they are made smaller, which
    leaves fractions of bytes; where half precision does not fit the memory, also then. What does not fit even so is
    kept in a file; ``notes`` is told what that costs.

    Raises:
        UserError: the disk has not the room.
    """
    free = available_memory()
    exact = [Storage(BYTES if opaque(part) and part.downscale == 1 else HALF) for part in parts]
    if free is None or _size(parts, exact) <= COMFORTABLE * free:
        return exact
    small = _smallest(parts)
    needed = _size(parts, small)
    if needed <= COMFORTABLE * free:
        return small
    folder = cache_folder() or Path(tempfile.gettempdir())
    check_disk(folder, needed)
    fits = fitting_downscale(parts)
    notes.add(
        "on disk",
        f"'{parts[0].path}': the pixels of its images, {needed / 2**30:.2g} GiB, are too many for the memory, of which "
        f"{free / 2**30:.2g} GiB are free: they are kept in a file in '{folder}' while the program runs, and every "
        "batch is read from there, which takes 10 to 60 milliseconds; "
        + (f"--downscale {fits} would fit the memory" if fits else "use fewer with --views"),
    )
    return [replace(storage, folder=folder) for storage in small]


def fitting_downscale(parts: list[Frames]) -> int | None:
    """The smallest whole factor by which images can be made smaller so that they fit the memory comfortably; None where
    there is none."""
    free = available_memory()
    shortest = min(min(frame.size) for part in parts for frame in part.frames)
    for factor in range(1, max(1, shortest // SMALLEST) + 1):
        smaller = [replace(part, downscale=factor) for part in parts]
        if free is None or _size(smaller, _smallest(smaller)) <= COMFORTABLE * free:
            return factor
    return None


def opaque(part: Frames) -> bool:
    """Whether no image of ``part`` has alpha, a mask, or more than 8 bits."""
    return not any(frame.header.deep or frame.header.alpha or frame.mask for frame in part.frames)


def memory_of(parts: list[Frames], kept: list[Storage]) -> int:
    """Bytes of memory that the images take once they are read, their depth included."""
    pixels = [part.pixels * storage.width for part, storage in zip(parts, kept, strict=True) if storage.folder is None]
    depth = [4 * part.pixels for part in parts if any(frame.depth for frame in part.frames)]
    return sum(pixels) + sum(depth)


def _smallest(parts: list[Frames]) -> list[Storage]:
    return [Storage(BYTES if opaque(part) else HALF) for part in parts]


def _size(parts: list[Frames], kept: list[Storage]) -> int:
    return sum(part.pixels * storage.width for part, storage in zip(parts, kept, strict=True))
