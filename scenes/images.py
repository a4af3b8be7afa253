"""Image files to premultiplied RGBA and to depth, and both made smaller.

Files are untrusted: the size in the header is judged before anything is decoded.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from taichi_rf.errors import UserError

MAX_SIDE = 16384  # pixels
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")  # what photographs and renders come in; not PIL's forty others
AGREE = 0.05  # depths that differ by more than this fraction within one smaller pixel are two surfaces


def image_size(path: Path, where: str) -> tuple[int, int]:
    """(width, height) from the header of ``path``; ``where`` (file, frame, key) opens every error message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{where}: '{path}' claims too many pixels to be a photograph ({error})") from error
    except Exception as error:  # PIL's parsers raise anything on broken files
        raise UserError(f"{where}: '{path}' is not a readable image ({error}); PNG or JPEG is expected") from error
    if max(width, height) > MAX_SIDE or min(width, height) < 1:
        raise UserError(f"{where}: '{path}' is {width} x {height} pixels; up to {MAX_SIDE} a side are read")
    return width, height


def read_rgba(path: Path, where: str) -> npt.NDArray[np.float32]:
    """The image as (H, W, 4) float32 in [0, 1], premultiplied; grey, 16-bit and palette images too, alpha 1 if none.

    Raises:
        UserError: the file is broken, or of floating point.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode.startswith(("I", "F")):
                pixels = _deep_grey(image, path, where)
            else:
                pixels = np.asarray(image.convert("RGBA"), dtype=np.float32) / np.float32(255)
    except UserError:
        raise
    except Exception as error:  # PIL's decoders raise anything on broken files
        raise UserError(f"{where}: '{path}' is a broken or truncated image ({error})") from error
    pixels[..., :3] *= pixels[..., 3:]
    return pixels


def _deep_grey(image: Image.Image, path: Path, where: str) -> npt.NDArray[np.float32]:
    """A 16-bit grey image as RGBA."""
    grey = np.asarray(image)
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise UserError(f"{where}: '{path}' has pixels of mode {image.mode}; 8 or 16 bits a channel are expected")
    pixels = np.ones((*grey.shape, 4), np.float32)
    pixels[..., :3] = (grey.astype(np.float32) / np.float32(65535))[..., None]
    return pixels


def read_depth(path: Path, unit: float, where: str) -> npt.NDArray[np.float32]:
    """A 16-bit grey depth image as (H, W) float32 in world units (``unit`` times the pixel), 0 where there is none.

    Raises:
        UserError: the file is broken, or not 16-bit grey.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            mode = image.mode
            pixels = np.asarray(image)
    except Exception as error:  # PIL's decoders raise anything on broken files
        raise UserError(f"{where}: '{path}' is a broken or truncated image ({error})") from error
    if not mode.startswith("I") or pixels.min() < 0:
        raise UserError(f"{where}: '{path}' has pixels of mode {mode}; a depth image is a 16-bit grey PNG")
    depth: npt.NDArray[np.float32] = pixels.astype(np.float32) * np.float32(unit)
    return depth


def smaller_size(width: int, height: int, downscale: int) -> tuple[int, int]:
    """The size after ``downscale``: rounded, so the whole image is kept where it does not divide evenly."""
    return max(1, round(width / downscale)), max(1, round(height / downscale))


def shrink(image: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """(H, W, C) averaged by area to (height, width, C).

    Each new pixel is the exact mean of the area that it covers, fractions of old pixels included. On premultiplied
    alpha that is what a camera with bigger pixels would have seen.
    """
    rows, columns, channels = image.shape
    if rows % height == 0 and columns % width == 0:
        blocks = image.reshape(height, rows // height, width, columns // width, channels)
        means: npt.NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
        return means
    return _mean_along(_mean_along(image, height, 0), width, 1).astype(np.float32)


def _mean_along(image: npt.NDArray[np.floating], count: int, axis: int) -> npt.NDArray[np.float64]:
    """Exact box averages along one axis: differences of the integral at the (fractional) edges of the new pixels."""
    length = image.shape[axis]
    lines = np.moveaxis(image, axis, 0).astype(np.float64)
    integral = np.concatenate([np.zeros((1, *lines.shape[1:])), np.cumsum(lines, axis=0)])
    edges = np.linspace(0, length, count + 1)
    whole = np.minimum(edges.astype(np.int64), length - 1)
    fraction = (edges - whole).reshape(-1, *[1] * (lines.ndim - 1))
    at_edges = integral[whole] + fraction * lines[whole]
    return np.moveaxis(np.diff(at_edges, axis=0) * (count / length), 0, axis)


def shrink_depth(depth: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """(H, W) depth to (height, width): the mean where the pixels that merge lie on one surface, else 0 (none).

    A mean across an edge would be a depth at which nothing is.
    """
    rows = np.round(np.linspace(0, depth.shape[0], height + 1)[:-1]).astype(np.int64)
    columns = np.round(np.linspace(0, depth.shape[1], width + 1)[:-1]).astype(np.int64)

    def merge(ufunc: np.ufunc, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        merged: npt.NDArray[np.float32] = ufunc.reduceat(ufunc.reduceat(values, rows, axis=0), columns, axis=1)
        return merged

    nearest, farthest = merge(np.minimum, depth), merge(np.maximum, depth)
    mean = merge(np.add, depth) / merge(np.add, np.ones_like(depth))
    return np.where((nearest > 0) & (farthest - nearest <= AGREE * nearest), mean, 0).astype(np.float32)
