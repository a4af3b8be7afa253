"""What lies over the picture: the level slider and its figures, the training, and the help.

GGUI in, session out. GGUI does not tell where its panels are once they have been moved, nor whether the mouse is over
one, so they are kept where they belong: a panel that was dragged or folded is put back when the mouse lets go.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from viewer.session import Session

# GGUI's one font and ImGui's default style, in pixels.
_LETTER, _LINE, _FRAME, _GAP, _PADDING, _TITLE = 7, 13, 19, 4, 8, 19
_SLIDER_SHARE = 0.65  # of a panel's width is the slider, the rest its name
_WIDTH = 304
_MARGIN = 12
_COLUMNS = (_WIDTH - 2 * _PADDING) // _LETTER

_BRIGHT = (1.0, 1.0, 1.0)
_SOFT = (0.72, 0.76, 0.82)
_ACCENT = (0.47, 0.79, 1.0)
_ALARM = (1.0, 0.55, 0.45)

HELP = (
    ("drag", "turn"),
    ("shift + drag", "move (also middle button)"),
    ("right drag", "nearer, farther (also up, down)"),
    ("left, right", "one level less, one more"),
    ("m", "colour, depth, opacity"),
    ("r", "back to the first view"),
    ("space", "pause or resume the training"),
    ("tab", "hide or show the panels"),
    ("h", "this help"),
    ("escape", "close; a training is saved"),
)


@dataclass(frozen=True)
class Rectangle:
    """Pixels, from the top left corner of the window."""

    x: int
    y: int
    width: int
    height: int

    def covers(self, x: float, y: float) -> bool:
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Panels:
    """Draws the panels of one window and remembers what they cover."""

    def __init__(self) -> None:
        self.hidden = False
        self.help = False
        self.slider: Rectangle | None = None  # where the level slider is
        self._covered: list[Rectangle] = []
        self._places = 0  # how often the panels have been put back

    def covers(self, x: float, y: float) -> bool:
        """Whether a panel was at this pixel in the last picture."""
        return any(panel.covers(x, y) for panel in self._covered)

    def put_back(self) -> None:
        """Undo what the mouse did to the panels: under a new name, ImGui lays them out anew."""
        self._places += 1

    def draw(self, gui: Any, session: Session, width: int, height: int) -> None:
        """Add the panels to a picture of ``width`` x ``height`` pixels and do to ``session`` what was done to them."""
        self._covered, self.slider = [], None
        if self.hidden or width < _WIDTH or height < 3 * _FRAME:
            return
        stats = session.stats()
        self._draw_level(gui, session, stats, width, height)
        if self.help:
            self._draw_help(gui, width, height)

    def _draw_level(self, gui: Any, session: Session, stats: dict[str, Any], width: int, height: int) -> None:
        lines = _figures(stats)
        training = stats["training"]
        button = training is not None and not training["done"] and training["failure"] is None
        rows = len(lines) * (_LINE + _GAP) + (_FRAME + _GAP) * (2 if button else 1)
        place = Rectangle(_MARGIN, _MARGIN, _WIDTH, _TITLE + 2 * _PADDING + rows - _GAP)
        title = session.model.metadata.get("scene") or "Taichi RF"
        with self._panel(gui, str(title), place, width, height) as panel:
            level = panel.slider_int(_latin(stats["level_name"]), stats["level"], 1, stats["num_levels"])
            if level != stats["level"]:
                session.set_level(level)
            for text, colour in lines:
                panel.text(text, color=colour)
            if button and panel.button("Pause training" if training["running"] else "Resume training"):
                session.toggle_training()
        self.slider = Rectangle(
            place.x + _PADDING, place.y + _TITLE + _PADDING, int(place.width * _SLIDER_SHARE), _FRAME
        )

    def _draw_help(self, gui: Any, width: int, height: int) -> None:
        keys = max(len(key) for key, _ in HELP) + 2
        lines = [f"{key:<{keys}}{meaning}" for key, meaning in HELP]
        panel_width = max(map(len, lines)) * _LETTER + 2 * _PADDING + _LETTER
        panel_height = _TITLE + 2 * _PADDING + len(lines) * (_LINE + _GAP)
        left, top = max((width - panel_width) // 2, 0), max((height - panel_height) // 2, 0)
        with self._panel(gui, "Help", Rectangle(left, top, panel_width, panel_height), width, height) as panel:
            for line in lines:
                panel.text(line, color=_BRIGHT)

    def _panel(self, gui: Any, title: str, place: Rectangle, width: int, height: int) -> Any:
        self._covered.append(place)
        # What follows ### is a panel's identity: another size of window or panel is another panel, laid out afresh.
        identity = f"{title[:1]}{width}x{height}.{place.height}.{self._places}"
        return gui.sub_window(
            f"{_latin(title)[:36]}###{identity}",
            place.x / width,
            place.y / height,
            place.width / width,
            place.height / height,
        )


def _figures(stats: dict[str, Any]) -> list[tuple[str, tuple[float, float, float]]]:
    """The lines under the slider, each with its colour."""
    psnr = "not measured" if stats["psnr"] is None else f"{stats['psnr']:.2f} dB"
    sharpness = "full resolution" if stats["divisor"] <= 1 else f"1/{stats['divisor']} resolution"
    lines = [
        (f"size    {_megabytes(stats['megabytes'])}", _BRIGHT),
        (f"PSNR    {psnr}", _BRIGHT),
        (f"speed   {stats['fps']:.0f} fps, {sharpness}", _BRIGHT),
        (f"shows   {stats['mode']}", _SOFT),
    ]
    training = stats["training"]
    if training is not None:
        lines += _training_figures(training, stats["level_name"])
    return [*lines, ("h: help", _SOFT)]


def _training_figures(training: dict[str, Any], level_name: str) -> list[tuple[str, tuple[float, float, float]]]:
    state = "done" if training["done"] else "running" if training["running"] else "paused"
    lines = [(f"training {state}, {100 * training['progress']:.0f} %", _ACCENT)]
    lines.append((f"step    {training['iteration']:,}, {_latin(level_name)} {training['level']}", _BRIGHT))
    if training["loss"] is not None:
        lines.append((f"loss    {training['loss']:.5f}, {training['psnr']:.1f} dB", _BRIGHT))
        lines.append((f"rays    {training['rays_per_second']:,.0f} a second", _BRIGHT))
    if training["failure"] is not None:
        lines += [(_latin(line), _ALARM) for line in textwrap.wrap(training["failure"], _COLUMNS)[:6]]
    return lines


def _megabytes(megabytes: float) -> str:
    return f"{megabytes:.2f} MB" if megabytes < 10 else f"{megabytes:.1f} MB"


def _latin(text: str) -> str:
    """What the font can show, and nothing that ImGui takes for an identity."""
    return text.encode("latin-1", "replace").decode("latin-1").replace("#", "")
