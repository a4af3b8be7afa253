"""What a training learns from, a batch at a time: photographs' pixels, a mesh's distances, or whatever a method has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from taichi_rf.rendering.model import Model
from taichi_rf.training.configs.base import Config
from taichi_rf.training.state import Owner

MOST_PARTS = 64
"""Of a step: each has its own numbers for the jitter."""

Learn = Callable[[int, slice, int, float, int], float]
"""learn(level, part, of, weight, index): forward and back at ``level`` for a part of a batch of which ``of`` rays share
that level; returns their share of its mean loss, whose gradient counts ``weight``. Parts are numbered through the step
by ``index``."""


class Sampler(Owner, ABC):
    """Draws the batches of one training of ``model``."""

    unit = "rays"
    """What ``batch_rays`` counts."""
    warnings: tuple[str, ...] = ()
    """What the person who trains should know."""

    def __init__(self, scene: Any, config: Config, model: Model) -> None:
        self.scene, self.config, self.model = scene, config, model

    def batch_size(self, asked: int | None) -> int:
        """How many rays a step has of which ``asked`` were asked for; None for the configuration's number."""
        return asked or self.config.batch_rays

    @abstractmethod
    def lesson(self, size: int, iteration: int) -> Learn:
        """The next batch of ``size`` rays, as a function that learns from a part of it.

        The function raises FloatingPointError where the loss is not finite.
        """

    @abstractmethod
    def measuring(self, model: Model) -> Generator[tuple[int, int], None, list[dict[str, Any]]]:
        """What besides pictures tells how good every level of ``model`` is, in parts.

        Yields:
            (parts done, parts in all); the generator's value is one entry a level, for ``metrics.json``.
        """

    def update(self, factor: float) -> None:
        """Update what it learns itself, at its learning rate times ``factor``; called once a step."""

    def drop_gradients(self) -> None:
        """Forget what was gathered for that by a step that was broken off."""

    def shortfalls(self) -> list[str]:
        """What is not as it was asked for, a sentence each."""
        return []


def check_finite(loss: float, iteration: int) -> None:
    """FloatingPointError where ``loss`` is no number that one can go on from."""
    if not np.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss} at iteration {iteration}")


def step_seed(config: Config, iteration: int, index: int) -> int:
    """The seed of what is random in part ``index`` of a step."""
    return (config.seed * 1_000_003 + iteration) * MOST_PARTS + index
