"""What a picture is rendered with: a value that goes along with each call, so that a model is only ever read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RenderSettings:
    """How much of a model is looked at, and from where to where. :meth:`Model.settings` has the model's own values."""

    level: int
    """How many levels of the field take part, 1..num_levels."""
    near: float
    far: float
    """World units along a ray, between which it is looked at."""
    weight_threshold: float
    """Samples of smaller weight get no colour."""
    shares: tuple[tuple[int, int], ...] = ()
    """(level, how many rays) where the rays of a batch are at several levels, in rising order: those at the first level
    come first. Empty where all are at ``level``, which is the highest of them."""
    most_samples: int | None = None
    """Samples that a batch of several rays may have; see :func:`taichi_rf.rendering.ray_parts.in_parts`."""
