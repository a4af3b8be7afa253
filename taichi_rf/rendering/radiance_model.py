"""A radiance field: a model whose pixels are what shines along their rays, added up."""

from __future__ import annotations

from typing import Any

from taichi_rf.rendering.model import Model
from taichi_rf.rendering.volume_renderer import VolumeRenderer


class RadianceModel(Model):
    """A radiance field in a box of the world. Args: as :class:`Model`."""

    renders = "volume"
    renderer: VolumeRenderer

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.renderer = VolumeRenderer(self)
