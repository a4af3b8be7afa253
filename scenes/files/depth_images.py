"""Depth images: 16-bit grey, or floating point as TIFF or .npy, as distances along the view axis in world units."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenes.files.exr import exr_depth, exr_header, is_exr
from scenes.files.images import INVERSE, Header, decoded, read_header, turned
from scenes.files.shrinking import BAND_PIXELS, Rows
from scenes.files.values import bounded
from taichi_rf.core.errors import UserError

AGREE = 0.05  # depths that differ by more than this fraction within one smaller pixel are two surfaces
MAX_DEPTH = 1e6  # world units; what is farther is none
NO_DEPTH = 65535  # of 16 bits, what many cameras write where they know no depth
WITHOUT = "or train without depth (--no-depth)"
EXPECTED = f"a depth image is a 16-bit grey PNG, or a TIFF, EXR or .npy of floating point: convert it, {WITHOUT}"
SHAPES_AGREE = 0.02  # by which the shapes of an image and of its depth image may differ: one is then cropped


def depth_header(path: Path, where: str) -> Header:
    """What the header of a depth image says. UserError if it is none."""
    if path.suffix.lower() != ".npy":
        with _said_of_depth():
            return read_header(path, where)
    height, width = _array(path, where).shape
    return Header(width, height, 1, 0)


def check_shape(depth: Header, size: tuple[int, int], orientation: int, name: str, where: str) -> int:
    """How a depth image has to be turned to go with an image that is ``size`` (width, height) once turned by
    ``orientation``: as itself says, or else as the image.

    Raises:
        UserError: it is of another shape, so no resampling makes it fit.
    """
    for turn in dict.fromkeys((depth.orientation, orientation)):
        width, height = depth.size(turn)
        rounding = 1 / min(width, height, *size)
        if abs(width * size[1] / (height * size[0]) - 1) <= max(SHAPES_AGREE, 2 * rounding):
            return turn
    raise UserError(
        f"{where}: '{bounded(name)}' is {depth.width} x {depth.height} pixels, which is another shape than that of its "
        f"image, {size[0]} x {size[1]}; make them show the same, {WITHOUT}"
    )


def read_depth(
    path: Path,
    header: Header,
    turn: int,
    unit: float | None,
    size: tuple[int, int],
    out: npt.NDArray[np.float32],
    where: str,
) -> None:
    """Read a depth image into ``out`` (height, width) in world units, 0 where there is none.

    Args:
        turn: how it has to be turned, see :func:`check_shape`.
        unit: world units for each step; None for a thousandth, and for numbers of floating point for one.
        size: (width, height) of the turned image that it goes with; to that it is brought by the nearest pixels first.

    Raises:
        UserError: the file is broken, or no depth image.
    """
    width, height = size if turn < 5 else size[::-1]  # of the stored pixels, so is all that follows
    target = turned(out, INVERSE.get(turn, turn))
    with _rows(path, header, turn, unit, where) as (read, rows, columns, left):
        if left != turn:  # it came turned
            width, height = size if left < 5 else size[::-1]
            target = turned(out, INVERSE.get(left, left))
        nearest_columns = _nearest(0, width, columns, width)

        def resampled(first: int, end: int) -> npt.NDArray[np.float32]:
            if (rows, columns) == (height, width):
                return read(first, end)
            source = _nearest(first, end, rows, height)
            lines = read(int(source[0]), int(source[-1]) + 1)
            return lines[source - source[0]][:, nearest_columns]

        small = target.shape
        edges = np.append(np.round(np.linspace(0, height, small[0] + 1)[:-1]).astype(np.int64), height)
        step = max(1, int(BAND_PIXELS / (width * height / small[0])))
        for first in range(0, small[0], step):
            end = min(first + step, small[0])
            lines = resampled(int(edges[first]), int(edges[end]))
            target[first:end] = (
                lines
                if small == (height, width)
                else shrink_depth(lines, small[1], end - first, edges[first:end] - edges[first])
            )


def shrink_depth(
    depth: npt.NDArray[np.float32], width: int, height: int, rows: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float32]:
    """(H, W) depth to (height, width): the mean where the pixels that merge lie on one surface, else 0 (none).

    A mean across an edge would be a depth at which nothing is.

    Args:
        rows: (height,) the first row of each that merge; spread evenly by default.
    """
    if rows is None:
        rows = np.round(np.linspace(0, depth.shape[0], height + 1)[:-1]).astype(np.int64)
    starts = rows
    columns = np.round(np.linspace(0, depth.shape[1], width + 1)[:-1]).astype(np.int64)

    def merge(ufunc: np.ufunc, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        merged: npt.NDArray[np.float32] = ufunc.reduceat(ufunc.reduceat(values, starts, axis=0), columns, axis=1)
        return merged

    nearest, farthest = merge(np.minimum, depth), merge(np.maximum, depth)
    mean = merge(np.add, depth) / merge(np.add, np.ones_like(depth))
    return np.where((nearest > 0) & (farthest - nearest <= AGREE * nearest), mean, 0).astype(np.float32)


def _nearest(first: int, end: int, count: int, wanted: int) -> npt.NDArray[np.int64]:
    """Of ``count`` pixels in a line, those nearest to the middles of pixels ``first`` to ``end`` of ``wanted``."""
    return np.minimum(((np.arange(first, end) + 0.5) * count / wanted).astype(np.int64), count - 1)


@contextlib.contextmanager
def _rows(
    path: Path, header: Header, turn: int, unit: float | None, where: str
) -> Iterator[tuple[Rows, int, int, int]]:
    """A function that reads rows in world units, how many rows and columns there are, and how they are to be turned."""
    if path.suffix.lower() == ".npy":
        array = _array(path, where)
        yield lambda first, end: _world(array[first:end], unit), *array.shape, turn
        return
    if is_exr(path):
        with _said_of_depth():
            array = exr_depth(path, exr_header(path, where), where)
        yield lambda first, end: _world(array[first:end], unit), *array.shape, turn
        return
    with (
        _said_of_depth(),
        decoded(path, header, turn if turn in (1, header.orientation) else 1, where) as (image, left),
    ):
        mode = image.mode
        if turn not in (1, header.orientation):  # the image's orientation, which the depth image does not know
            left = turn

        def read(first: int, end: int) -> npt.NDArray[np.float32]:
            pixels = np.asarray(image.crop((0, first, image.width, end)))
            if mode == "F":
                return _world(pixels, unit)
            if not mode.startswith("I") or pixels.min() < 0:
                raise UserError(f"{where}: '{bounded(path)}' has pixels of mode {mode}; {EXPECTED}")
            return _world(pixels.astype(np.uint16) if image.format == "PNG" else pixels, unit)  # Pillow may widen them

        yield read, image.height, image.width, left


@contextlib.contextmanager
def _said_of_depth() -> Iterator[None]:
    """Complaints about images end with what a depth image is."""
    try:
        yield
    except UserError as error:
        if EXPECTED in str(error):
            raise
        raise UserError(f"{error}; {EXPECTED}") from error


def _world(pixels: npt.NDArray[Any], unit: float | None) -> npt.NDArray[np.float32]:
    """Numbers of a file in world units, 0 for what is no depth."""
    if pixels.dtype.kind != "f":
        depth = pixels.astype(np.float32) * np.float32(1e-3 if unit is None else unit)
        depth[pixels <= 0] = 0
        if pixels.dtype.itemsize == 2:
            depth[pixels == NO_DEPTH] = 0
        return depth
    with np.errstate(all="ignore"):  # they are whatever is in the file
        exact = pixels.astype(np.float64) * (1.0 if unit is None else unit)
        known = np.isfinite(exact) & (exact > 0) & (exact <= MAX_DEPTH)
        return np.where(known, exact, 0).astype(np.float32)


def _array(path: Path, where: str) -> npt.NDArray[np.generic]:
    """The (height, width) numbers of a .npy file, which stay on disk."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim != 2 or array.dtype.kind not in "fiu" or 0 in array.shape:
            raise ValueError(f"an array of shape {array.shape} and type {array.dtype}")
    except Exception as error:  # numpy's reader raises anything on broken files
        raise UserError(
            f"{where}: '{bounded(path)}' is no depth image ({bounded(error)}); numbers of shape (height, width) are "
            f"expected: convert it, {WITHOUT}"
        ) from error
    found: npt.NDArray[np.generic] = array
    return found
