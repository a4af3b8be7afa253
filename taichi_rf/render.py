"""Pictures from a model: colour, depth and opacity, a chunk of rays at a time."""

from typing import Literal

import numpy as np

from taichi_rf.errors import UserError
from taichi_rf.model import Batch, Model
from taichi_rf.rays import Camera

Mode = Literal["colour", "depth", "opacity"]
MODES: tuple[Mode, ...] = ("colour", "depth", "opacity")
CHUNK = 1 << 15
"""Rays rendered at once: enough to keep a device busy, few enough that the samples of foggy prefixes fit."""


def render(
    model: Model,
    camera: Camera,
    *,
    level: int | None = None,
    mode: Mode = "colour",
    background: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """Render one picture, (height, width, 3) float32 in [0, 1].

    Args:
        level: how many levels of the field to use; all that it has by default. The field's own level is left as it was.
        mode: "colour"; "depth", bright where near, black where nothing is; "opacity".
        background: the model's own by default.

    Raises:
        UserError: a level outside the model, or an unknown mode.
    """
    if mode not in MODES:
        raise UserError(f"unknown mode '{mode}': choose one of {', '.join(MODES)}")
    origins, directions = camera.rays()
    before = model.field.level
    model.field.level = model.field.num_levels if level is None else level
    try:
        rows = []
        for first in range(0, len(origins), CHUNK):
            part = slice(first, first + CHUNK)
            batch = model.forward(origins[part], directions[part], background=_as_array(background))
            rows.append(_pixels(model, batch, mode))
    finally:
        model.field.level = before
    return np.clip(np.concatenate(rows), 0, 1).reshape(camera.height, camera.width, 3)


def _as_array(colour: tuple[float, float, float] | None) -> np.ndarray | None:
    return None if colour is None else np.asarray(colour, np.float32)


def _pixels(model: Model, batch: Batch, mode: Mode) -> np.ndarray:
    n = batch.samples.rays
    if mode == "colour":
        return batch.pixels.to_numpy()[:n]
    opacity = batch.opacity.to_numpy()[:n]
    grey = opacity
    if mode == "depth":
        depth = batch.depth.to_numpy()[:n] / np.maximum(opacity, 1e-6)
        grey = np.where(opacity > 0.5, (model.far - depth) / (model.far - model.near), 0)
    return np.repeat(grey[:, None], 3, axis=1).astype(np.float32)
