"""How the videos are to be that a person asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taichi_rf.motion.camera_path import SECONDS

SIZES: tuple[tuple[int, int] | None, ...] = (None, (640, 360), (1280, 720), (1920, 1080))
"""Pixels that may be chosen; None is as large as the window."""
CAPTIONS: tuple[Literal["auto", "on", "off"], ...] = ("auto", "on", "off")


@dataclass
class Film:
    """Length, size, levels and captions of the next video."""

    seconds: float = SECONDS
    """Of a turntable."""
    size: tuple[int, int] | None = None
    """(width, height) in pixels, None for that of the window."""
    sweep: bool = False
    """Go from the first level to the highest, instead of showing the level that the window shows."""
    caption: Literal["auto", "on", "off"] = "auto"
    """Whether frames say which level they show: "auto" where it changes."""

    @property
    def captioned(self) -> bool:
        """Whether frames say which level they show."""
        return self.caption == "on" or (self.caption == "auto" and self.sweep)
