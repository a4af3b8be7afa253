"""What a training learns from, a batch at a time: photographs' pixels, a mesh's distances, or whatever a method has."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.rendering.model import Model
from taichi_rf.training.configs.base import Config
from taichi_rf.training.schedule import Pass
from taichi_rf.training.state import Owner

MOST_PARTS = 64
"""Of a step: each has its own numbers for the jitter."""


@dataclass(frozen=True)
class Share:
    """Rays of a part of a batch that are at one level."""

    level: int
    rays: int
    of: int
    """Rays of the whole batch at that level, over which its loss is the mean."""
    weight: float
    """Of that mean in the step's gradient."""


Learn = Callable[[slice, list[Share], int], float]
"""learn(part, shares, index): forward and back for a part of a batch, whose rays are those of the shares, one after the
other, by rising levels; returns what the last of them are of their level's mean loss. All rays of several shares count
the same. Parts are numbered through the step by ``index``."""


def parts_of(passes: Sequence[Pass], most: int, *, mix: bool) -> list[tuple[slice, list[Share]]]:
    """A step in parts of ``most`` rays at most.

    Args:
        mix: passes that follow one another, and whose rays count the same, may share a part.
    """
    groups: list[list[Pass]] = []
    for each in passes:
        before = groups[-1][-1] if groups else None
        if mix and before is not None and before[2] == each[1] and math.isclose(_counts(before), _counts(each)):
            groups[-1].append(each)
        else:
            groups.append([each])
    found = []
    for group in groups:
        for first in range(group[0][1], group[-1][2], most):
            last = min(first + most, group[-1][2])
            shares = [
                Share(level, min(end, last) - max(begin, first), end - begin, weight)
                for level, begin, end, weight in group
                if begin < last and end > first
            ]
            found.append((slice(first, last), shares))
    return found


def _counts(one: Pass) -> float:
    """What a ray of a pass counts in the step's gradient."""
    _, begin, end, weight = one
    return weight / (end - begin)


class Sampler(Owner, ABC):
    """Draws the batches of one training of ``model``."""

    unit = "rays"
    """What ``batch_rays`` counts."""
    mixes_levels = False
    """Whether a part of a batch may have rays at several levels."""
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
