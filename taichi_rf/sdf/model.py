"""A solid: a signed distance in a box of the world, whose surface is traced and shaded.

Everywhere else it is a model like any other: a stack of levels with pictures, a file and a slider.
"""

from __future__ import annotations

from typing import Any

from taichi_rf.coding.headers import wrong
from taichi_rf.rendering.model import Model
from taichi_rf.sdf.renderer import SurfaceRenderer


class SurfaceModel(Model):
    """A solid. The field's density is the signed distance in lengths of the box, which is a cube; it knows its space.

    Args: as :class:`Model`.
    """

    renders = "surface"
    has_surface = True
    renderer: SurfaceRenderer

    @classmethod
    def check_header(cls, header: dict[str, Any]) -> None:
        super().check_header(header)
        sides = [b - a for a, b in zip(*header["box"], strict=True)]
        if max(sides) > 1.001 * min(sides):
            raise wrong("box", "a cube around a surface")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.renderer = SurfaceRenderer(self)
