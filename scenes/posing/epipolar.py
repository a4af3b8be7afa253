"""How well poses agree with photographs where no points say it.

What two photographs both show lies, in one of them, on the line that the ray of the other makes there, its epipolar
line (Hartley and Zisserman 2004, chapter 9): how far off it is tells of wrong poses, lenses and conventions. Features
are COLMAP's SIFT (Lowe 2004), which needs the extra ``photos``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from scenes.base import Split, spread

PAIRS = 6
"""Pairs of photographs that are compared."""
LONGER_SIDE = 1000
"""Pixels to which a photograph is made smaller before features are looked for."""
MOST_FEATURES = 2000
"""Of a photograph: those of the largest scale."""
RATIO = 0.8
"""A match is nearer than the second best by this factor (Lowe 2004)."""
FEWEST = 30
"""Matches in all below which nothing is said."""
SAME_WAY = 0.5
"""Cosine of the angle between two cameras that may see the same."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601."""


@dataclass(frozen=True)
class Agreement:
    """``pixels`` is the median distance of ``matches`` features of ``pairs`` pairs of photographs from their epipolar
    lines."""

    pixels: float
    matches: int
    pairs: int


def agreement(split: Split) -> Agreement | None:
    """Compare photographs that stand near one another; None where they share too little.

    Raises:
        ImportError: pycolmap is not installed.
    """
    import pycolmap  # of the extra: without it nothing is compared

    with warnings.catch_warnings():  # pycolmap 4.2 has another class for it, which 4.0 lacks
        warnings.simplefilter("ignore", DeprecationWarning)
        pycolmap.logging.minloglevel = 2  # or it prints that it makes one
        finder, features = pycolmap.Sift(), dict[int, Any]()
    distances = []
    for pair in _pairs(split.cameras.poses.astype(np.float64)):
        for view in pair:
            if view not in features:
                features[view] = _features(finder, split, view)
        found = _distances(split, pair, *(features[view] for view in pair))
        if len(found):
            distances.append(found)
    total = sum(len(found) for found in distances)
    if total < FEWEST:
        return None
    return Agreement(float(np.median(np.concatenate(distances))), total, len(distances))


def _pairs(poses: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Views here and there, each with the nearest that looks the same way from another place."""
    positions, forward = poses[:, :, 3], -poses[:, :, 2]
    reach = max(float(np.ptp(positions, axis=0).max()), 1e-12)
    found = []
    for view in spread(len(poses), min(PAIRS, len(poses))):
        away = np.linalg.norm(positions - positions[view], axis=1)
        away[(away < 1e-6 * reach) | (forward @ forward[view] < SAME_WAY)] = np.inf
        other = int(away.argmin())
        if np.isfinite(away[other]) and (other, view) not in found:
            found.append((view, other))
    return found


def _features(finder: Any, split: Split, view: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Where the features of a photograph are, (n, 2) in its pixels, and descriptors (n, 128) of length 1."""
    rgba = split.pixels[view].astype(np.float32)
    grey = ((rgba[..., :3] + 1 - rgba[..., 3:]) @ GREY * 255 + 0.5).clip(0, 255).astype(np.uint8)
    height, width = grey.shape
    share = min(1.0, LONGER_SIDE / max(width, height))
    size = max(1, round(width * share)), max(1, round(height * share))
    small = np.ascontiguousarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))
    places, descriptors = finder.extract(small)
    largest = np.argsort(-places[:, 2])[:MOST_FEATURES]
    descriptors = descriptors[largest].astype(np.float32)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    return places[largest, :2].astype(np.float64) * (width / size[0], height / size[1]), descriptors


def _distances(split: Split, pair: tuple[int, int], first: Any, second: Any) -> npt.NDArray[np.float64]:
    """Pixels (n,) between each match and its epipolar line, the mean of both photographs."""
    a, b = _matches(first[1], second[1])
    rays = [_rays(split, view, places) for view, places in zip(pair, (first[0][a], second[0][b]), strict=True)]
    between = split.cameras.poses[pair[0], :, 3].astype(np.float64) - split.cameras.poses[pair[1], :, 3]
    sums = np.zeros(len(a))
    for view, mine, other in ((pair[0], rays[0], rays[1]), (pair[1], rays[1], rays[0])):
        normals = np.cross(between, other)
        length = np.linalg.norm(normals, axis=1)
        sine = np.abs((mine * normals).sum(axis=1)) / np.maximum(length, 1e-12)
        sums += split.cameras.intrinsics[view, 0] * np.arcsin(np.minimum(sine, 1.0))
    return sums[np.isfinite(sums)] / 2


def _matches(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of ``a`` and ``b`` that are each other's nearest, and clearly so."""
    if len(a) < 2 or len(b) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    likeness = a @ b.T
    best = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[best] == np.arange(len(a))
    two = -np.partition(-likeness, 1, axis=1)[:, :2]
    distance = np.sqrt(np.maximum(2 - 2 * two, 0))  # of vectors of length 1
    chosen = np.flatnonzero(mutual & (distance[:, 0] < RATIO * distance[:, 1]))
    return chosen, best[chosen]


def _rays(split: Split, view: int, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Unit directions (n, 3) through ``places`` (n, 2), pixels of a photograph."""
    views = np.full(len(places), view)
    _, directions = split.cameras.pixel_rays(views, places[:, 0] - 0.5, places[:, 1] - 0.5)  # it adds half a pixel
    return directions.astype(np.float64)
