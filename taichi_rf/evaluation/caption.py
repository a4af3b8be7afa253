"""Writes the level that a video shows, what it takes and how good it is, on the video's frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taichi_rf.core.sizes import amount_and_unit
from taichi_rf.evaluation.plot import DARK, Page, text_width
from taichi_rf.storage.levels import Levelled, size_at
from taichi_rf.storage.quality import decibels

Pixels = npt.NDArray[np.uint8]

_HEIGHT = 0.045  # of the frame's height have the letters
_LEAST = 9.0  # pixels: smaller letters cannot be read, and a frame that small has no caption
_WIDEST = 0.9  # of the frame's width


@dataclass(frozen=True)
class LevelText:
    """What is said of a level, such as "rank 4 of 16", "1.20 MB", "28.8 dB"; the last is empty where it is not
    known."""

    level: str
    size: str
    quality: str


def captions(model: Levelled, count: int) -> Captions:
    """Captions for ``model``, by what its file says of the first ``count`` levels."""

    def text(level: int) -> LevelText:
        found = decibels(model.metadata, level)
        quality = "" if found is None else f"{found.text(1)} dB"
        return level_text(model.field.level_name, level, count, size_at(model, level), quality)

    return Captions(text)


def level_text(name: str, level: int, count: int, size: float, quality: str) -> LevelText:
    """What a caption says of a level.

    Args:
        name: what a level is called.
        level, count: which one, and how many there are.
        size: of the model up to it, in bytes.
        quality: with its unit, such as "28.8 dB" or "≈ 28.8 dB"; empty where it is not known.
    """
    return LevelText(f"{name} {level} of {count}", " ".join(amount_and_unit(size)), quality)


class Captions:
    """Lays captions over frames; each level's is drawn once.

    Args:
        text: what is said of a level.
    """

    def __init__(self, text: Callable[[int], LevelText]) -> None:
        self._text = text
        self._cards: dict[tuple[int, int, int], Pixels | None] = {}

    def __call__(self, frame: Pixels, level: int) -> None:
        """Write the caption of ``level`` on ``frame``, (H, W, 3) uint8, in place: below, in the middle."""
        height, width = frame.shape[:2]
        key = (level, width, height)
        if key not in self._cards:
            self._cards[key] = _card(self._text(level), width, height)
        card = self._cards[key]
        if card is None:
            return
        down, across = card.shape[:2]
        top, left = height - down - max(round(0.03 * height), 1), (width - across) // 2
        under = frame[top : top + down, left : left + across]
        opacity = card[..., 3:].astype(np.uint16)
        under[:] = (card[..., :3] * opacity + under * (255 - opacity) + 127) // 255


def _card(text: LevelText, width: int, height: int) -> Pixels | None:
    """(h, w, 4) uint8, None where there is no room for it."""
    parts = [part for part in (text.level, text.size, text.quality) if part]
    size = _HEIGHT * height
    if size < _LEAST:
        return None
    gap, padding = 1.2, 0.8  # of the letters' size

    def across(size: float) -> float:
        return sum(text_width(part, size) for part in parts) + ((len(parts) - 1) * gap + 2 * padding) * size

    size = min(size, size * _WIDEST * width / max(across(size), 1.0))
    if size < _LEAST:
        return None
    page = Page(round(across(size)), round(1.9 * size), DARK, corner=min(0.4 * size, 8.0))
    left = padding * size
    for part in parts:
        colour = DARK.mark if part is text.level else DARK.ink
        page.text((left, 1.32 * size), part, size, colour)
        left += text_width(part, size) + gap * size
    return np.asarray(page.finish())
