"""A look at the scene that is chosen, before it is trained: read in a thread, and drawn as ``inspect`` draws it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

import scenes
from scenes.inspection import picture, suspicions
from scenes.registry import format_of
from taichi_rf.storage.world import Corners, World
from taichi_rf.training.run import Recipe
from viewer.app.loading import Cancelled, Loading, load_scene
from viewer.app.opening import reason

SETTLED = 0.5
"""Seconds that a choice has to stand before a scene is read for it: sliders pass through many values."""
UNASKED = "photos"
"""The format that is not read before a person says so: photographs are posed first, which takes minutes."""
LEAST = 200
"""Pixels a side, below which nothing is drawn."""


class Preview:
    """The scene that a recipe would train on, read ahead, and what there is to see of it. One at a time.

    Args:
        clock: tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wanted: tuple[object, ...] | None = None
        self._since = 0.0
        self._able = False  # whether it can be looked at
        self._reading: Loading | None = None
        self._drawing: Loading | None = None
        self._drawn: tuple[object, npt.NDArray[np.uint8]] | None = None  # for which scene and size, and the picture
        self._odd: tuple[Any, tuple[str, ...]] | None = None  # a scene, and what is odd about it
        self._fitting: tuple[object, npt.NDArray[np.float32]] | None = None  # the box that a scene has by itself

    def look(self, recipe: Recipe) -> None:
        """Read the scene of ``recipe`` unless that is done or begun; to be called once a frame."""
        key = _key(recipe)
        if key != self._wanted:
            drawn = self._drawn if self._wanted is not None and self._wanted[0] == key[0] else None
            self.forget()
            self._wanted, self._since, self._drawn = key, self._clock(), drawn  # until there is another
            self._able = not scenes.is_mesh(recipe.source) and format_of(recipe.source) != UNASKED
        elif self._able and self._reading is None and self._clock() - self._since >= SETTLED:
            self._reading = Loading("", lambda loading: load_scene(recipe, loading, render=False)).start()

    def forget(self) -> None:
        """Read nothing more, and let go of what was read."""
        for loading in (self._reading, self._drawing):
            if loading is not None:
                loading.cancel()
        self._wanted = self._reading = self._drawing = self._drawn = self._odd = None

    def ahead(self, recipe: Recipe) -> Loading | None:
        """The reading of the scene of ``recipe``, where it is done or begun."""
        return self._reading if self._wanted == _key(recipe) else None

    @property
    def scene(self) -> Any:
        """The scene, None as long as it is not there."""
        reading = self._reading
        return reading.result if reading is not None and reading.done and reading.error is None else None

    @property
    def state(self) -> tuple[str, ...]:
        """What is odd about the scene, in sentences; or how far its reading is, or why it cannot be read."""
        reading = self._reading
        if reading is None:
            return ()
        if not reading.done:
            share = "" if reading.progress is None else f" {100 * reading.progress:.0f} %"
            return (f"{reading.text}{share}",)
        if isinstance(reading.error, scenes.NotRendered | Cancelled):
            return ()
        if reading.error is not None:
            return (reason(reading.error),)
        scene = reading.result
        if scene is not None and (self._odd is None or self._odd[0] is not scene):
            self._odd = scene, (*scene.warnings, *suspicions(scene))
        return () if scene is None or self._odd is None else self._odd[1]

    def fitting(self) -> npt.NDArray[np.float32] | None:
        """The box (2, 3) that the scene has where nobody says one; None where that was not read yet."""
        if self._wanted is None:
            return None
        world = self._wanted[-1]
        assert isinstance(world, World)
        plain = (*self._wanted[:-1], replace(world, box=None, near=None, far=None))
        if self.scene is not None and world.box is None:
            self._fitting = plain, self.scene.box
        return self._fitting[1] if self._fitting is not None and self._fitting[0] == plain else None

    def picture(self, width: int, height: int) -> npt.NDArray[np.uint8] | None:
        """What ``inspect`` draws of the scene, (h, w, 3) with at most so many pixels; None as long as it is not there.

        It is drawn in a thread; while one of another size is drawn, the last one is given.
        """
        scene = self.scene
        if min(width, height) < LEAST:
            return None
        if scene is None:
            return None if self._drawn is None else self._drawn[1]
        wanted = (id(scene), width, height)
        drawing = self._drawing
        if drawing is not None and drawing.done:
            self._drawing = None
            if drawing.error is None:
                self._drawn = drawing.result
        if self._drawing is None and (self._drawn is None or self._drawn[0] != wanted):
            self._drawing = Loading(
                "", lambda loading: (wanted, np.asarray(picture(scene, width, height).convert("RGB")))
            ).start()
        return None if self._drawn is None else self._drawn[1]


def scaled(box: npt.NDArray[np.float32], percent: int) -> Corners:
    """The corners of a box that is ``percent`` of ``box`` (2, 3), around the same middle."""
    middle = box.mean(axis=0)
    low, high = (middle + (box - middle) * (percent / 100)).astype(float).round(4)
    return (*map(float, low), *map(float, high))  # type: ignore[return-value]


def _key(recipe: Recipe) -> tuple[object, ...]:
    """All of ``recipe`` that makes a difference to how its scene is read, the world last."""
    return (
        recipe.source, recipe.downscale, recipe.views, recipe.background, recipe.eval_views, recipe.follow_links,
        recipe.config.wants_depth, recipe.world,
    )  # fmt: skip
