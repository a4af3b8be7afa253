"""Frames of a video: of every stretch the sharpest, written as images.

ffmpeg, which imageio brings along, decodes in a process of its own. A file has to begin as a video does, and ffmpeg may
open local files only, because it also takes lists of addresses for videos.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import numpy.typing as npt
from PIL import Image

from scenes.base import Progress, check_memory
from scenes.files.images import MAX_SIDE
from scenes.files.values import bounded
from taichi_rf.core.errors import UserError

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mts", ".3gp")
FRAMES = 100
"""How many are chosen, unless there are fewer."""
STAGE = "choosing frames"
INSTALL = "videos are read by ffmpeg, which is not here: pip install 'taichi-rf[video]'"
MOST_FRAMES = 1_000_000
"""In a video: nine hours."""
LOOKED_AT = 640
"""Pixels of the longer side of the picture whose sharpness is measured."""
QUALITY = 95
"""Of the JPEGs."""
BEGINNINGS = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"),  # MP4, QuickTime, 3GP
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "), (0, b"\x47"), (4, b"\x47"),  # AVI; transport streams, of cameras with a time before each packet
)  # fmt: skip
"""Bytes that videos hold, and where."""
LOCAL = ["-protocol_whitelist", "file,pipe"]

logging.getLogger("imageio_ffmpeg").addHandler(logging.NullHandler())  # else it says that a video is turned


def is_video(path: Path) -> bool:
    """Whether ``path`` is a file that is called like a video; it is not opened."""
    try:
        return path.suffix.lower() in SUFFIXES and path.is_file()
    except (OSError, ValueError):
        return False


def write_frames(
    video: Path, folder: Path, progress: Progress | None, stage: Callable[[str], None] | None, wanted: int = FRAMES
) -> list[Path]:
    """Write the sharpest frame of each of ``wanted`` stretches of ``video`` into ``folder``, and return the files.

    Args:
        progress: called with (frames looked at, frames in all).
        stage: called with what is being done.

    Raises:
        UserError: it does not decode, is too large, or ffmpeg is not installed.
    """
    if stage is not None:
        stage(STAGE)
    _check_beginning(video)
    written: list[Path] = []
    with _opened(video) as reader:
        told = reader.get_meta_data()
        width, height = told["size"]
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise UserError(f"'{video}': frames of {width} x {height} pixels; up to {MAX_SIDE} a side are read")
        check_memory(f"decoding '{video}'", 12 * width * height)
        count = round(told.get("duration", 0) * told["fps"]) or reader.count_frames()  # which decodes all of it
        if not 0 < count <= MOST_FRAMES:
            raise UserError(f"'{video}' has {count} frames; 1 to {MOST_FRAMES} are read")
        best: tuple[float, int, npt.NDArray[np.uint8]] | None = None
        stretch = 0
        for index, frame in enumerate(reader.iter_data()):
            if min(index * wanted // count, wanted - 1) != stretch and best is not None:
                written.append(_write(best[2], folder / f"frame_{best[1]:06}.jpg"))
                best = None
            stretch = min(index * wanted // count, wanted - 1)
            sharp = sharpness(frame)
            if best is None or sharp > best[0]:
                best = sharp, index, np.asarray(frame)
            if progress is not None:
                progress(min(index + 1, count), count)
        if best is not None:
            written.append(_write(best[2], folder / f"frame_{best[1]:06}.jpg"))
    if not written:
        raise UserError(f"'{video}': no frame of it decodes; it is cut off, or no video")
    return written


def sharpness(frame: npt.NDArray[np.uint8]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of a picture (height, width, 3), every so many-th pixel of
    it: blurred pictures have less."""
    step = max(1, max(frame.shape[:2]) // LOOKED_AT)
    grey = frame[::step, ::step].astype(np.float32).mean(axis=2)
    if min(grey.shape) < 3:
        return 0.0
    edges = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1] - 4 * grey[1:-1, 1:-1]
    return float(edges.var())


@contextlib.contextmanager
def _opened(video: Path) -> Iterator[Any]:
    """A reader of imageio's, which is closed in the end; what it complains about is the user's to mend."""
    try:
        import imageio_ffmpeg  # noqa: F401  # an extra
    except ImportError as error:
        raise UserError(INSTALL) from error
    try:
        with imageio.get_reader(str(video.absolute()), "ffmpeg", input_params=list(LOCAL)) as reader:
            yield reader
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, IndexError, StopIteration) as error:
        raise UserError(
            f"'{video}' does not decode ({_complaint(error)}): it is damaged, cut off, or no video"
        ) from error


def _check_beginning(video: Path) -> None:
    try:
        with open(video, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise UserError(f"'{video}' cannot be read ({error.strerror or error})") from error
    if not any(start[place : place + len(some)] == some for place, some in BEGINNINGS):
        raise UserError(f"'{video}' does not begin as a video does: one of {', '.join(SUFFIXES)} is expected")


def _write(frame: npt.NDArray[np.uint8], path: Path) -> Path:
    try:
        Image.fromarray(frame).save(path, quality=QUALITY, subsampling=0)
    except OSError as error:
        raise UserError(f"'{path}' cannot be written ({error.strerror or error})") from error
    return path


def _complaint(error: Exception) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return bounded(lines[-1] if lines else type(error).__name__)
