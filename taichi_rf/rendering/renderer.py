"""What every way of rendering a model offers: rays in, and what they see out.

A model chooses its renderer: :class:`~taichi_rf.rendering.volume_renderer.VolumeRenderer` adds up what lies along a
ray, :class:`~taichi_rf.sdf.renderer.SurfaceRenderer` finds where it meets a surface. Pictures, evaluations and the
viewer know this interface only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from taichi_rf.rendering.ray_parts import Rays
from taichi_rf.rendering.settings import RenderSettings


class Renderer(ABC):
    """What the rays of a batch see of one model.

    ``origins`` and ``directions`` are (n, 3) float32 in world units, directions of unit length, at every method.
    """

    @abstractmethod
    def colours(
        self,
        origins: Rays,
        directions: Rays,
        settings: RenderSettings,
        *,
        background: NDArray[np.float32] | None = None,
    ) -> Rays:
        """Colours (n, 3), not clipped; ``background`` (3,) is the model's by default."""

    @abstractmethod
    def depths(self, origins: Rays, directions: Rays, settings: RenderSettings) -> tuple[Rays, Rays]:
        """How far away (n,), world units, and how opaque (n,), 0 to 1, what each ray sees is."""

    @abstractmethod
    def normals(self, origins: Rays, directions: Rays, settings: RenderSettings) -> tuple[Rays, Rays]:
        """Which way what each ray sees is facing (n, 3), of unit length where it sees anything, and how opaque (n,) it
        is."""

    @abstractmethod
    def samples(self, origins: Rays, directions: Rays, settings: RenderSettings) -> NDArray[np.int32]:
        """At how many places (n,) along each ray the field is asked."""

    @abstractmethod
    def prefixes(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Rays:
        """Colours (levels, n, 3), not clipped, at level 1, 2, ..., ``settings.level``."""

    @abstractmethod
    def rehearsal(self, origins: Rays, directions: Rays, settings: RenderSettings) -> Iterator[None]:
        """Have compiled all that a picture needs, in pieces, by rays through what the model holds so far."""
