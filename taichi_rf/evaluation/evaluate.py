"""PSNR and SSIM of every level on views that were never trained on, and the rate-distortion table."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.evaluation.image_metrics import psnr, ssim
from taichi_rf.kernels.rays import Camera
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.ray_parts import bands

PART_RAYS = 2048
"""Rays of a part of an evaluation: with 16 levels, what two CPU cores do between two frames of a window."""


@dataclass(frozen=True)
class LevelScore:
    """Means over the views, the mean of each view's PSNR as papers report it; ``bytes`` is the file up to this
    level."""

    level: int
    psnr: float
    ssim: float
    bytes: int


@dataclass(frozen=True)
class Evaluation:
    """Scores of every level, and the first view at every level with its photograph."""

    scores: list[LevelScore]
    views: int
    pictures: np.ndarray = field(repr=False)
    """(levels, height, width, 3)"""
    photograph: np.ndarray = field(repr=False)
    """(height, width, 3)"""


def evaluate(
    model: Model,
    split: Any,
    prefix_bytes: list[int],
    *,
    views: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score every level on a split of a scene.

    Args:
        split: a ``scenes.Split`` (cameras, composite).
        prefix_bytes: what each prefix needs on disk, as returned by ``save_model``.
        views: how many views, evenly spread; all by default.
        progress: called with (views done, views in all).

    Raises:
        UserError: the split has no views.
    """
    parts, done = evaluating(model, split, prefix_bytes, views=views), 0
    while True:
        try:
            now, total = next(parts)
        except StopIteration as end:
            found: Evaluation = end.value
            return found
        if progress and now > done:
            done = now
            progress(done, total)


def evaluating(
    model: Model, split: Any, prefix_bytes: list[int], *, views: int | None = None
) -> Generator[tuple[int, int], None, Evaluation]:
    """:func:`evaluate` in parts, between which a window can show a picture.

    Yields:
        (views done, views in all) after every part; the generator's value in the end is the evaluation.
    """
    total = len(split.cameras)
    if total == 0:
        raise UserError("the scene has no test views to evaluate on")
    chosen = np.arange(total)
    if views is not None and views < total:
        chosen = np.unique(np.linspace(0, total - 1, max(1, views)).round().astype(int))
    levels = model.field.num_levels
    scores = np.zeros((len(chosen), levels, 2))
    pictures, photograph = np.empty(0), np.empty(0)
    for i, view in enumerate(chosen):
        camera = split.cameras[int(view)]
        rendered = np.empty((levels, camera.height, camera.width, 3), np.float32)
        for _ in _rendering(model, camera, rendered):
            yield i, len(chosen)
        truth = split.composite(int(view), model.background)
        for level, picture in enumerate(rendered):
            scores[i, level] = psnr(picture, truth), ssim(picture, truth)
            yield i, len(chosen)
        if i == 0:
            pictures, photograph = rendered, truth
        yield i + 1, len(chosen)
    means = scores.mean(axis=0)
    found = [
        LevelScore(level + 1, float(means[level, 0]), float(means[level, 1]), prefix_bytes[level])
        for level in range(levels)
    ]
    return Evaluation(found, len(chosen), pictures, photograph)


def _rendering(model: Model, camera: Camera, pictures: np.ndarray) -> Generator[None, None, None]:
    """Fill ``pictures`` (levels, height, width, 3) with those of all levels, ``PART_RAYS`` at a time."""
    origins, directions = camera.rays()
    pixels, settings = pictures.reshape(len(pictures), -1, 3), model.settings()
    for part in bands(len(origins), PART_RAYS):
        pixels[:, part] = np.clip(model.renderer.prefixes(origins[part], directions[part], settings), 0, 1)
        yield
