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
    most_samples: int | None = None
    """Samples that a batch of several rays may have; see :func:`taichi_rf.rendering.ray_parts.in_parts`."""
