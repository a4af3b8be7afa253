"""Places cards on a window: plots in a column at the right, a stack above the bottom, others where there is room."""

from __future__ import annotations

from collections.abc import Sequence

from viewer.overlay.blend import Box, Overlay

_DESIGN = (1280, 720)  # pixels of the window that the sizes are made for
_NARROW = 1.25  # a window that is narrow for its height keeps this much larger text than its width would say
_PLOT_WIDTH, _PLOT_SHAPE, _SMALLEST_PLOT = 330, 0.76, 250  # in that window; height over width; pixels
_PICTURE = 280  # pixels that panels and plots leave to the picture between them


class OverlayLayout:
    """The places on a window of ``width`` x ``height`` pixels, of which ``panels`` covers the top left corner."""

    def __init__(self, width: int, height: int, panels: tuple[int, int] = (0, 0)) -> None:
        self.width, self.height = width, height
        self.unit = min(height / _DESIGN[1], _NARROW * width / _DESIGN[0])
        self.margin = max(2, round(14 * self.unit))
        self.gap = max(2, round(10 * self.unit))
        self.overlays: list[Overlay] = []
        self._panels = panels
        self._taken: list[Box] = [(0, 0, *panels)] if min(panels) > 0 else []
        self._bottom = height - self.margin  # of the next card of the stack

    def text(self, size: float, least: int) -> int:
        """Pixels of a text that has ``size`` in the window that the sizes are made for."""
        return max(least, round(size * self.unit))

    def plot_size(self, count: int) -> tuple[int, int]:
        """Width and height of each of ``count`` plots in the right column; (0, 0) where they would be in the way."""
        across = min(_PLOT_WIDTH * self.width / _DESIGN[0], self.width / 3)
        down = (self.height - 2 * self.margin - 80 * self.unit) / count - self.gap
        width = int(min(across, down / _PLOT_SHAPE))
        if width < _SMALLEST_PLOT or self.width - self._panels[0] - width - 2 * self.margin < _PICTURE:
            return 0, 0
        return width, int(width * _PLOT_SHAPE)

    def put(self, card: Overlay) -> None:
        """Lay a card where it says; those that follow keep clear of it."""
        self.overlays.append(card)
        self._taken.append(card.box)

    def clear_rows(self, left: int, right: int) -> list[tuple[int, int]]:
        """From where to where no card lies between two columns."""
        rows, top = [], 0
        for box in sorted(self._taken, key=lambda box: box[1]):
            if box[0] < right and left < box[2]:
                rows.append((top, box[1]))
                top = max(top, box[3])
        return [(start, end) for start, end in [*rows, (top, self.height)] if start < end]

    def is_free(self, box: Box) -> bool:
        """Whether a card there would keep its distance from all others and from the window's edges."""
        edge, inside = self.margin, (box[0], box[1], self.width - box[2], self.height - box[3])
        return min(inside) >= edge and not any(_overlap(box, other, self.gap) for other in self._taken)

    def free_at_bottom(self, height: int) -> tuple[int, int]:
        """From where to where the stack's next card, so high, may reach; the same twice where there is no place."""
        left, right, top = self.margin, self.width - self.margin, self._bottom - height
        for box in self._taken:
            if box[1] < self._bottom + self.gap and box[3] > top - self.gap:
                if box[0] + box[2] < self.width and box[0] < left + self.width // 2:
                    left = max(left, box[2] + self.gap)
                else:
                    right = min(right, box[0] - self.gap)
        return (left, right) if top >= min(self.margin, self.height - height) >= 0 and left < right else (left, left)

    def stack(self, card: Overlay, left: int, right: int) -> None:
        """Put a card at the stack's top, in the middle of the window or as near to that as it may be."""
        height, width = card.pixels.shape[:2]
        x = min(max((self.width - width) // 2, left), right - width)
        self.put(card.at(x, self._bottom - height))
        self._bottom -= height + self.gap

    def drop(self, entries: Sequence[tuple[Overlay, int]]) -> bool:
        """Put cards at the left edges given, in one row as far up as all are free; leave them out if none is. Whether
        they were put."""
        y = self.margin
        while entries:
            boxes = [(left, y, left + card.pixels.shape[1], y + card.pixels.shape[0]) for card, left in entries]
            if all(self.is_free(box) for box in boxes):
                for card, left in entries:
                    self.put(card.at(left, y))
                return True
            below = [other[3] for box in boxes for other in self._taken if _overlap(box, other, self.gap)]
            if not below or max(below) + self.gap <= y:
                return False
            y = min(edge for edge in below if edge + self.gap > y) + self.gap
        return False


def _overlap(a: Box, b: Box, gap: int) -> bool:
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap
