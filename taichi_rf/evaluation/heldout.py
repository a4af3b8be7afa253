"""How good a model in training is, a few milliseconds at a time: PSNR of every level on a sample of held-out pixels.

:func:`taichi_rf.evaluation.evaluate.evaluate` renders whole views, which takes seconds; nobody wants to wait for that
between two training steps. Here a fixed sample of pixels of a few test views is measured chunk by chunk, over and over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.core.pixels import decibels, over
from taichi_rf.rendering.model import Model

CHUNK = 1024
"""Rays measured at once, at most."""
SMALLEST = 128
"""Fewer rays at once would be all overhead: some fifty kernels for a model of sixteen levels."""
PATIENCE = 0.02
"""Seconds that one chunk should take: chunks shrink until they do."""


class HeldOut:
    """Measures a model on held-out views between training steps.

    A round measures every pixel of the sample once, at the levels there were when it began; each pixel counts with
    the model as it was when its turn came. The mean over views of each view's PSNR is what :func:`evaluate` estimates
    from all pixels, and is the same where the sample holds all of them.

    Args:
        split: a ``scenes.Split`` (cameras, composite) with at least one view.
        pixels: how many in all, shared equally among the views; no more than there are.
        views: how many views, evenly spread; no more than there are.
        seed: of the choice of pixels, which is spread evenly over each view and stays the same for good.

    Raises:
        UserError: the split has no views.
    """

    def __init__(self, split: Any, *, pixels: int = 4096, views: int = 4, seed: int = 0) -> None:
        total = len(split.cameras)
        if total == 0:
            raise UserError("the scene has no test views to measure on")
        self._split = split
        self._views = np.unique(np.linspace(0, total - 1, max(1, views)).round().astype(int))
        self._sample = _sample(split, self._views, max(1, pixels // len(self._views)), seed)
        self._model: Model | None = None
        self._round: _Round | None = None
        self._chunk = CHUNK / 4  # rays that PATIENCE allows, as far as is known
        self.psnr: list[float] | None = None
        """dB of level 1, 2, ... as the last completed round found them; None until there was one."""

    @property
    def progress(self) -> float:
        """How much of the round under way is done, 0..1."""
        return 0.0 if self._round is None else self._round.done / len(self._sample.view)

    def advance(self, model: Model, levels: int, budget: float, clock: Callable[[], float]) -> bool:
        """Measure for about ``budget`` seconds, one chunk of rays at least; between training steps or their parts.

        The model is left as it was. A round that was begun on another model is begun again.

        Args:
            model: what is measured.
            levels: how many of its levels, from the first; counts from the next round on.
            budget: seconds by ``clock``.

        Returns:
            Whether a round was completed, after which the rest of the budget is left unused.

        Raises:
            UserError: the model has not so many levels.
        """
        start = clock()
        if self._model is not model:
            self._model, self._round = model, None
        while True:
            measured = self._round or _Round(levels, np.zeros((levels, len(self._views))))
            began = clock()
            rays = self._measure(model, measured)
            now = clock()
            self._follow(rays, now - began)
            self._round = measured
            if measured.done == len(self._sample.view):
                self.psnr, self._round = self._score(measured), None
                return True
            if now - start >= budget:
                return False

    def _measure(self, model: Model, measured: _Round) -> int:
        """Add the squared errors of the next chunk; returns its rays."""
        sample = self._sample
        part = slice(measured.done, min(measured.done + int(self._chunk), len(sample.view)))
        origins, directions = self._split.cameras.pixel_rays(
            self._views[sample.view[part]], sample.x[part], sample.y[part]
        )
        colours = np.clip(model.renderer.prefixes(origins, directions, model.settings(measured.levels)), 0, 1)
        rgba = sample.rgba[part]
        truth = over(rgba, model.background)
        errors = ((colours.astype(np.float64) - truth) ** 2).mean(axis=2)
        for level, of_level in enumerate(errors):
            measured.errors[level] += np.bincount(sample.view[part], of_level, len(self._views))
        measured.done = part.stop
        return part.stop - part.start

    def _follow(self, rays: int, seconds: float) -> None:
        """Fit the chunks to what they cost: slowly upwards; halved at most, for a kernel that was compiled once."""
        fitting = rays * PATIENCE / max(seconds, 1e-6)
        self._chunk = min(max(fitting, self._chunk / 2, SMALLEST), 1.5 * self._chunk, CHUNK)

    def _score(self, measured: _Round) -> list[float]:
        counts = np.bincount(self._sample.view, minlength=len(self._views))
        return [float(mean) for mean in decibels(measured.errors / counts).mean(axis=1)]


@dataclass
class _Round:
    """A round under way: sums of squared errors (levels, views) over the first ``done`` pixels of the sample."""

    levels: int
    errors: np.ndarray
    done: int = 0


@dataclass(frozen=True)
class _Sample:
    """Pixels (n,): which of the chosen views, where, and their premultiplied colours (n, 4) float32."""

    view: np.ndarray
    x: np.ndarray
    y: np.ndarray
    rgba: np.ndarray


def _sample(split: Any, views: np.ndarray, wanted: int, seed: int) -> _Sample:
    """``wanted`` pixels of each view, or all: one at random out of each of as many equal runs of pixels."""
    rng = np.random.default_rng(seed)
    found = []
    for index in views:
        first, end = split.cameras.offsets[index], split.cameras.offsets[index + 1]
        total = int(end - first)
        count = min(wanted, total)
        places = np.floor((np.arange(count) + rng.random(count)) * (total / count)).astype(np.int64)
        found.append(first + np.minimum(places, total - 1))
    pixels = np.concatenate(found)
    _, x, y = split.cameras.locate(pixels)
    view = np.repeat(np.arange(len(views)), [len(part) for part in found])
    return _Sample(view, x, y, split.pixels.take(pixels))
