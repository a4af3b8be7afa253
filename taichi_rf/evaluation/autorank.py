"""Choose the level to show: the one with the best PSNR on training rays that were kept back.

With few views more components can make things worse: they fit floaters in front of the cameras (Yuan 2024).
Small patches of the training images are kept back and tell, without any test view. Patches and not pixels, because a
pixel's neighbours all but say what it is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from taichi_rf.core.pixels import decibels, over
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.ray_parts import bands

PIXELS = 1 << 14
"""That are kept back where nothing else is said."""
PATCH = 8
"""Pixels a side of what is kept back; fewer where an image has no room for two such patches."""
TOLERANCE = 0.05
"""Decibels that are not worth another level."""
CHUNK = 1024
"""Rays at once."""


def kept_back(sizes: Sequence[tuple[int, int]], wanted: int, seed: int) -> np.ndarray:
    """About ``wanted`` pixels in random patches, evenly over the views: ascending indices over all images, int64.

    Args:
        sizes: (width, height) of each view.
        wanted: pixels in all.
        seed: of the choice.

    The same for the same arguments. Every view has one patch at least, and half of its patches at most; a view of one
    pixel has none.
    """
    rng = np.random.default_rng((seed, 3))
    kept, offset = [], 0
    for width, height in sizes:
        side = next((side for side in range(PATCH, 1, -1) if (width // side) * (height // side) >= 2), 1)
        across, down = width // side, height // side
        count = min(max(1, round(wanted / (len(sizes) * side * side))), across * down // 2)
        patches = rng.permutation(across * down)[:count]
        within = np.arange(side)
        rows = (patches // across * side)[:, None, None] + within[:, None]
        columns = (patches % across * side)[:, None, None] + within
        kept.append(offset + np.sort((rows * width + columns).reshape(-1)))
        offset += width * height
    return np.concatenate(kept)


def scoring(model: Model, split: Any, pixels: np.ndarray) -> Generator[tuple[int, int], None, list[float]]:
    """PSNR in dB of every level over ``pixels`` (at least one) of a ``scenes.Split``, indices over all its images.

    Yields:
        (pixels done, pixels in all); the generator's value is the list.
    """
    settings = model.settings()
    errors = np.zeros(model.field.num_levels)
    for band in bands(len(pixels), CHUNK):
        part = pixels[band]
        origins, directions = split.cameras.pixel_rays(*split.cameras.locate(part))
        colours = np.clip(model.renderer.prefixes(origins, directions, settings), 0, 1)
        rgba = split.pixels.take(part)
        truth = over(rgba, model.background)
        errors += ((colours.astype(np.float64) - truth) ** 2).mean(axis=2).sum(axis=1)
        yield band.stop, len(pixels)
    return [float(d) for d in decibels(errors / len(pixels))]


def best_level(psnr: Sequence[float]) -> int:
    """The lowest level within ``TOLERANCE`` of the best."""
    return 1 + int(np.argmax(np.asarray(psnr) >= max(psnr) - TOLERANCE))
