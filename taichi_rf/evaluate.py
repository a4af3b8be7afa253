"""PSNR and SSIM of every level on views that were never trained on, and the rate-distortion table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taichi_rf.errors import UserError
from taichi_rf.image_metrics import psnr, ssim
from taichi_rf.model import Model
from taichi_rf.prefixes import PrefixRenderer


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
        prefix_bytes: what each prefix needs on disk, as returned by ``Model.save``.
        views: how many views, evenly spread; all by default.
        progress: called with (views done, views in all).

    Raises:
        UserError: the split has no views.
    """
    total = len(split.cameras)
    if total == 0:
        raise UserError("the scene has no test views to evaluate on")
    chosen = np.arange(total)
    if views is not None and views < total:
        chosen = np.unique(np.linspace(0, total - 1, max(1, views)).round().astype(int))
    renderer = PrefixRenderer(model)
    scores = np.zeros((len(chosen), model.field.num_levels, 2))
    pictures, photograph = np.empty(0), np.empty(0)
    for i, view in enumerate(chosen):
        rendered = renderer.render(split.cameras[int(view)])
        truth = split.composite(int(view), model.background)
        scores[i] = [(psnr(picture, truth), ssim(picture, truth)) for picture in rendered]
        if i == 0:
            pictures, photograph = rendered, truth
        if progress:
            progress(i + 1, len(chosen))
    means = scores.mean(axis=0)
    levels = [
        LevelScore(level + 1, float(means[level, 0]), float(means[level, 1]), prefix_bytes[level])
        for level in range(model.field.num_levels)
    ]
    return Evaluation(levels, len(chosen), pictures, photograph)
