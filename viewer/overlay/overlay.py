"""What is laid over the picture, for a window and a browser alike.

:class:`Overlays` decides from the session's numbers what there is to see, keeps every card until its content changes,
and finds each a place where it covers no other; :func:`~viewer.overlay.blend.blend` mixes the cards into the picture.
:func:`screen` is what is shown while there is no picture. Nothing here knows where numbers and pictures come from.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from taichi_rf.cli.console import duration
from taichi_rf.core.sizes import amount_and_unit
from taichi_rf.evaluation.plot import DARK
from taichi_rf.rendering import colormaps
from viewer.overlay import cards, plots
from viewer.overlay.blend import Overlay, Pixels, blend
from viewer.overlay.cards import Figure, Levels
from viewer.overlay.handles import Handle, Spot
from viewer.overlay.layout import OverlayLayout
from viewer.overlay.plots import finite
from viewer.overlay.screen import screen
from viewer.overlay.stats import Message, Stats, TrainingStats

__all__ = ["Overlay", "Overlays", "blend", "screen"]

_PLOT_SECONDS = 1.0  # between two drawings of a plot whose data change all the time
_LEGENDS = {
    # The scales are those of taichi_rf.rendering.pictures and viewer.session.compose.
    "samples": ("samples a ray", "viridis", [(math.log2(1 + n) / 8, str(n)) for n in (0, 3, 15, 63, 255)]),
    "error": ("difference from the photo", "magma", [(0.0, "0"), (0.4, "0.1"), (0.8, "0.2"), (1.0, "0.25+")]),
}


@dataclass
class _Plot:
    """A plot with what it shows, and since when."""

    size: tuple[int, int]
    urgent: object
    data: object
    since: float
    card: Overlay
    late: bool = False
    """Whether the last picture should have had it drawn anew."""


class Overlays:
    """Draws what lies over the picture of one window.

    Args:
        clock: seconds, for what is renewed only now and then.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[object, Overlay | None]] = {}
        self._plotted: dict[str, _Plot] = {}
        self.handles: list[Handle] = []
        """What the mouse can take hold of in the last picture."""
        self.beside = 0
        """Pixels at the right edge of the last picture that plots cover."""
        self.below = 0
        """Pixels at its lower edge that the figures cover."""

    def draw(
        self,
        stats: Stats,
        curve: Sequence[plots.LevelPoint] | None,
        history: plots.History | None,
        width: int,
        height: int,
        *,
        hidden: bool = False,
        panels: tuple[int, int] = (0, 0),
        zoom: bool = False,
        times: bool = False,
    ) -> list[Overlay]:
        """What to lay over a picture of ``width`` x ``height`` pixels, the lowest first.

        Args:
            stats: what is shown and done.
            curve: size and quality of the levels; None leaves the plot out.
            history: for the training curve; None or an empty one leaves it out unless something is training.
            hidden: leave out everything but the divider, messages, and recordings: the picture is to be seen.
            panels: width and height, from the top left corner, of what the front end itself puts there.
            times: draw into the plot what pictures take, on a second axis.
            zoom: draw buttons for coming nearer and going farther, where there is no wheel for that.
        """
        self.handles, self.beside, self.below = [], 0, 0
        demo = stats.demo
        hidden = hidden and not demo
        layout = OverlayLayout(width, height, (0, 0) if hidden or demo else panels)
        if not hidden:
            if not (_compares(stats) and stats.compare.layout == "beside"):  # both pictures are to be seen
                self._plots(layout, stats, curve, None if demo else history, times)
            if zoom and stats.level and not demo:
                self._zoom(layout)
            self._figures(layout, stats, demo)
            self._legend(layout, stats)
            self._where(layout, stats)
        self._recording(layout, stats)
        self._arriving(layout, stats)
        self._message(layout, stats)
        if not hidden:
            self._sides(layout, stats)
        return self._divider(layout, stats) + layout.overlays

    # Each puts one kind of card on the layout

    def _plots(
        self,
        layout: OverlayLayout,
        stats: Stats,
        curve: Sequence[plots.LevelPoint] | None,
        history: plots.History | None,
        times: bool,
    ) -> None:
        training = stats.training
        if history is not None and not training and not (history.batch or history.test):
            history = None
        width, height = layout.plot_size(2 if history is not None else 1)
        if not width or not (curve or history):
            return
        self.beside = width + 2 * layout.margin
        level, name = stats.level, stats.level_name
        top = layout.margin
        if curve:
            measuring = training is not None and training.state != "done"
            milliseconds = stats.milliseconds if times else {}
            points = [(p.level, p.megabytes, p.decibels) for p in curve], milliseconds
            card = self._plot(
                "curve",
                (width, height),
                (level, name, measuring, times),
                points,
                lambda: plots.rate_distortion(
                    curve, level, name, width, height, measuring=measuring, milliseconds=milliseconds
                ),
            )
            layout.put(card.at(layout.width - layout.margin - width, top))
            self._handle(layout.overlays[-1], *plots.level_spots(curve, width, height, milliseconds))
            top += height + layout.gap
        if history is not None:
            data = (len(history.batch), len(history.test), history.batch[-1:], history.test[-1:], len(history.levels))
            note = _progress_note(training)
            card = self._plot(
                "training",
                (width, height),
                name,
                (data, note),
                lambda: plots.training_curve(history, name, width, height, note=note),
            )
            layout.put(card.at(layout.width - layout.margin - width, top))

    def _divider(self, layout: OverlayLayout, stats: Stats) -> list[Overlay]:
        """The line between the two sides, interrupted by the cards that lie across it."""
        if not _compares(stats):
            return []
        core = max(2, round(3 * layout.unit))
        opacities = [30, 80, 150, *[255] * core, 150, 80, 30]  # a bright line in a soft shadow, for any background
        line = np.empty((layout.height, len(opacities), 4), np.uint8)
        line[..., :3], line[..., 3] = _rgb(DARK.paper), opacities
        line[:, 3:-3, :3] = _rgb(DARK.ink)
        left = _divider_column(stats, layout.width) - len(opacities) // 2
        gaps = layout.clear_rows(left, left + len(opacities))
        return [Overlay(left, top, line[top:bottom]) for top, bottom in gaps]

    def _figures(self, layout: OverlayLayout, stats: Stats, demo: bool) -> None:
        size = layout.text(40 if demo else 27, 14)
        entries = _figures(stats, demo)
        levels, growing = None, stats.training or stats.arriving
        if stats.level and stats.num_levels:
            reached = stats.num_levels if growing is None else growing.level or stats.num_levels
            levels = Levels(stats.level, reached, stats.num_levels)
        key = (tuple(entries), levels, size)
        card = self._stack(layout, "figures", key, lambda room: cards.figures(entries, levels, size, room))
        if card is not None:
            self.below = layout.height - card.box[1] + layout.gap
        if card is not None and levels is not None:
            self._handle(card, *cards.pips(card.pixels.shape[1], size, levels))

    def _zoom(self, layout: OverlayLayout) -> None:
        """Two buttons in the lower right corner, one above the other."""
        size = layout.text(19, 13)
        right, bottom = layout.width - layout.margin, layout.height - layout.margin
        for letter, what in (("-", "farther"), ("+", "nearer")):
            card = self._card(f"zoom {letter}", size, functools.partial(cards.sign, letter, size))
            assert card is not None
            high, wide = card.pixels.shape[:2]
            placed = card.at(right - wide, bottom - high)
            if layout.is_free(placed.box):
                layout.put(placed)
                self.handles.append(Handle("nearer" if what == "nearer" else "farther", placed.box))
            bottom -= high + layout.gap

    def _handle(self, card: Overlay, box: tuple[float, float, float, float], spots: Sequence[Spot]) -> None:
        """Let the mouse take hold of a card where it shows the levels; ``box`` and ``spots`` in pixels of the card."""
        left, top, right, bottom = box
        place = card.x + int(left), card.y + int(top), card.x + math.ceil(right), card.y + math.ceil(bottom)
        if spots:
            self.handles.append(Handle("level", place, [(level, card.x + x, card.y + y) for level, x, y in spots]))

    def _legend(self, layout: OverlayLayout, stats: Stats) -> None:
        if stats.mode not in _LEGENDS:
            return
        title, colours, marks = _LEGENDS[stats.mode]
        size = layout.text(16, 12)

        def make(room: float) -> Pixels | None:
            return cards.colour_bar(title, lambda values: colormaps.apply(colours, values), marks, size, room)

        key = (stats.mode, size)
        card = self._card("legend", (key, math.inf), lambda: make(math.inf))
        if card is not None:
            corner = card.at(layout.margin, layout.height - layout.margin - card.pixels.shape[0])
            if layout.is_free(corner.box):
                layout.put(corner)
                return
        self._stack(layout, "legend", key, make)

    def _where(self, layout: OverlayLayout, stats: Stats) -> None:
        parts = []
        if (view := stats.view) is not None:
            parts.append(
                f"{view.split} view {view.index + 1} of {view.count}" + (f": {view.name}" if view.name else "")
            )
        if stats.mode != "colour" and stats.mode not in _LEGENDS:
            parts.append(stats.mode)
        text, size = " · ".join(parts), layout.text(18, 13)
        if text:
            self._stack(layout, "where", (text, size), lambda room: cards.line(text, size, room))

    def _recording(self, layout: OverlayLayout, stats: Stats) -> None:
        job = stats.recording
        if job is None:
            return
        share, size = _share(job.progress), layout.text(17, 13)
        name = job.path.replace("\\", "/").rpartition("/")[2]
        left = f" · {duration(float(job.seconds_left or 0))} left" if finite(job.seconds_left) else ""
        text = f"recording {job.what}".strip() + left + (f" · {name}" if name else "")
        key = (text, round(share, 2), size)
        self._stack(
            layout, "recording", key, lambda room: cards.progress(text, share, size, min(room, 0.5 * layout.width))
        )

    def _arriving(self, layout: OverlayLayout, stats: Stats) -> None:
        """How far a model has come that is on its way; before its first level, a screen of its own says so."""
        arriving = stats.arriving
        if arriving is None or arriving.over or not arriving.level:
            return
        share, size, text = _share(arriving.progress), layout.text(17, 13), arriving.text
        key = (text, round(share, 2), size)
        self._stack(
            layout, "arriving", key,
            lambda room: cards.progress(text, share, size, min(room, 0.6 * layout.width), DARK.first),
        )  # fmt: skip

    def _message(self, layout: OverlayLayout, stats: Stats) -> None:
        message = stats.message
        if message is None and stats.training is not None and stats.training.failure:
            message = Message(f"training has stopped: {stats.training.failure}", alarm=True)
        if message is None or not message.text:
            return
        text, alarm, size = message.text, message.alarm, layout.text(19, 13)
        colour, bar = (cards.ALARM, cards.RECORDING) if alarm else (DARK.ink, DARK.first)
        room_at_most = max(0.6 * layout.width, 20 * size)

        def make(room: float) -> Pixels | None:
            return cards.line(text, size, min(room, room_at_most), colour=colour, rows=4, bar=bar)

        self._stack(layout, "message", (text, alarm, size, room_at_most), make)

    def _sides(self, layout: OverlayLayout, stats: Stats) -> None:
        """Name what is left and right of the divider, as far up as there is room beside it."""
        if not _compares(stats):
            return
        size, column, places = layout.text(20, 13), _divider_column(stats, layout.width), []
        for side, colour in (("left", DARK.mark), ("right", DARK.ink)):
            text = stats.compare.left if side == "left" else stats.compare.right
            card = self._card(side, (text, size), functools.partial(cards.label, text, size, colour))
            if card is None:
                continue
            width = card.pixels.shape[1]
            left, room = (column - layout.gap - width, column) if side == "left" else (column + layout.gap, 0)
            room = room or layout.width - column
            if width + layout.gap + layout.margin <= room:  # a side too narrow for its name goes without
                places.append((card, left))
        if not layout.drop(places):
            for place in places:
                layout.drop([place])

    # Cards are kept until what they say changes

    def _card(self, name: str, key: object, make: Callable[[], Pixels | None]) -> Overlay | None:
        kept = self._kept.get(name)
        if kept is None or kept[0] != key:
            pixels = make()
            kept = self._kept[name] = key, None if pixels is None else Overlay(0, 0, pixels)
        return kept[1]

    def _plot(
        self, name: str, size: tuple[int, int], urgent: object, data: object, make: Callable[[], Pixels]
    ) -> Overlay:
        """A plot, drawn anew when what is ``urgent`` changes, and at times when the ``data`` do.

        What is urgent waits for the second picture: a plot takes longer than all other cards, and whoever moves the
        slider wants to see the scene first.
        """
        now, kept = self._clock(), self._plotted.get(name)
        if kept is not None and kept.size == size:
            if kept.urgent != urgent:
                kept.late = not kept.late
                if kept.late:
                    return kept.card
            else:
                kept.late = False
                if kept.data == data or 0 <= now - kept.since < _PLOT_SECONDS:
                    return kept.card
        made = self._plotted[name] = _Plot(size, urgent, data, now, Overlay(0, 0, make()))
        return made.card

    def _stack(
        self, layout: OverlayLayout, name: str, key: object, make: Callable[[float], Pixels | None]
    ) -> Overlay | None:
        """Put a card above those at the bottom, as narrow as its place asks for; None where it has no place."""
        room = float(layout.width - 2 * layout.margin)
        for attempt in ("wide", "narrow"):
            card = self._card(f"{name}, {attempt}", (key, room), functools.partial(make, room))
            if card is None:
                return None
            left, right = layout.free_at_bottom(card.pixels.shape[0])
            if card.pixels.shape[1] <= right - left:
                layout.stack(card, left, right)
                return layout.overlays[-1]
            room = float(right - left)
        return None


def _figures(stats: Stats, demo: bool) -> list[Figure]:
    """The level, its size and quality, and what a full picture takes; what is not known is left out."""
    muted, ink, entries = DARK.muted, DARK.ink, []
    name, level, count = stats.level_name, stats.level, stats.num_levels
    if level:
        of = f" of {count}" if count and not demo else ""
        widest = f"{name} {'0' * len(str(count or level))}{of}"
        entries.append(Figure(((f"{name} ", muted), (f"{level}", DARK.mark), (of, muted)), widest))
    megabytes, quality = stats.megabytes, stats.decibels
    if finite(megabytes):
        amount, unit = amount_and_unit(1e6 * float(megabytes or 0.0))
        entries.append(Figure(((amount, ink), (f" {unit}", muted)), f"0.00 {unit}"))
    if quality is not None:
        text = quality.text(1)
        entries.append(Figure(((text, ink), (" dB", muted)), f"{'00.0' if quality.measured else '≈ 00.0'} dB"))
    time = None if demo else stats.picture
    if time is not None and finite(time.seconds) and time.seconds > 0:
        amount = time.text.removesuffix(" ms")
        entries.append(Figure(((amount, ink), (" ms", muted)), "≈ 0,000 ms"))
    return entries


def _progress_note(training: TrainingStats | None) -> str:
    """How far a training is, in a few words."""
    if training is None:
        return ""
    if training.state == "done":
        return "done"
    if training.state == "running" and finite(training.seconds_left):  # beside the title there is room for one figure
        seconds = max(float(training.seconds_left or 0.0), 0.0)
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"
    share = f"{100 * training.progress:.0f} %" if finite(training.progress) else ""
    return share if training.state == "running" else training.state


def _share(progress: float) -> float:
    """``progress`` as a bar can show it, 0..1; 0 for what is no number."""
    return min(max(float(progress), 0.0), 1.0) if finite(progress) else 0.0


def _compares(stats: Stats) -> bool:
    return stats.compare.kind != "off"


def _divider_column(stats: Stats, width: int) -> int:
    """The first column of the right side."""
    share = stats.compare.divider
    return round(min(max(float(share) if finite(share) else 0.5, 0.0), 1.0) * width)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:7])
    return red, green, blue
