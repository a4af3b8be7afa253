"""The panel beside the picture in a browser: its controls change the session, and it shows the session's numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.cli.console import duration
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import amount_and_unit
from taichi_rf.storage.metadata import title
from viewer.app.catalogue import builtin_scenes
from viewer.app.studio import Studio
from viewer.overlay import plots
from viewer.overlay.plots import finite
from viewer.overlay.stats import SceneView, Stats, TrainingStats
from viewer.session import budget
from viewer.session.session import COMPARE, LAYOUTS, MODES, Session
from viewer.session.stats import stats_of
from viewer.session.subject import SHARE
from viewer.web.client_events import ClientEvents, Events
from viewer.web.wire import Wire

_FIGURES = 0.2  # seconds between two renewals of the figures
_PLOTS = 1.0  # and of the plots, while the level stays
_PLOT = (480, 330)  # pixels; the panel shows them at about 300 across, and screens may be finer than that
_PREVIEW, _ODD = (640, 640), 3  # pixels of the picture of a scene, and how many sentences about it
_COMPARISONS = ("nothing", "another level", "the photograph")
_STEPS = ("previous", "next")
_SPLITS = {"test": "test", "training": "train"}
_CHOICES = (
    "level", "budget", "mode", "compare", "other", "layout", "divider", "demo", "share", "split", "number",
)  # fmt: skip
_NOTHING_OPEN = (
    "Start the viewer again with the name of a run, a model file or a scene:",
    "python run_viewer.py NAME --web",
)
_NOTHING = object()  # equals no value: what was never shown


@dataclass(frozen=True)
class Waiting:
    """What a page shows while nothing can be looked at."""

    title: str
    lines: tuple[str, ...]
    progress: float | None = None
    """0..1, None where nothing is being loaded."""
    trainable: bool = False
    """Whether a scene is chosen that could be trained."""
    picture: Any = None
    """Of that scene: cameras, box and photographs, (h, w, 3); None where it is not there."""

    @classmethod
    def of(cls, studio: Studio) -> Waiting:
        """What ``studio``, which has no session, is doing; or what a person has to do."""
        if (pending := studio.pending) is not None:
            return cls("Loading", (pending.text,), pending.progress or 0.0)
        said = () if studio.message is None else (studio.message.text,)
        if studio.source is not None:
            studio.look()
            scene, preview = studio.source.removeprefix("builtin:"), studio.preview
            lines = (*said, f"{scene}: press Train to begin.", *preview.state[:_ODD])
            return cls("A scene is chosen", lines, trainable=True, picture=preview.picture(*_PREVIEW))
        return cls("Nothing is open", (*said, *_NOTHING_OPEN, f"Built-in scenes: {', '.join(builtin_scenes())}"))


class Panel:
    """One panel for all browsers: viser keeps it the same in each of them.

    Args:
        server: viser's, whose controls only its own loop touches.
        client_events: collects what clients do to the controls.
        wire: to that loop.
    """

    def __init__(self, server: Any, client_events: ClientEvents, wire: Wire) -> None:
        self._server, self._client_events, self._wire = server, client_events, wire
        self._changes: list[tuple[str, Any, str, object]] = []  # name, control, property and value; not yet sent
        self._handles: dict[str, Any] = {}
        self._known: dict[tuple[str, str], object] = {}  # what every property was last set to, by us or by a client
        self._figures_at = self._plots_at = -math.inf
        self._plotted: object = None
        self._last: SceneView | None = None  # where one stands, or stood last

    def wait_for(self, waiting: Waiting) -> None:
        """Say what is being done while there is nothing to show, or what to do."""
        if "waiting" not in self._handles:
            self._wire.call(self._lay_out_waiting)
        self._set("waiting", content="\n\n".join([f"### {waiting.title}", *map(plain, waiting.lines)]))
        self._set("loading", visible=waiting.progress is not None)
        self._set("loading", value=percent(waiting.progress or 0.0))
        self._set("start", visible=waiting.trainable)
        if waiting.picture is not None:
            self._image("preview", id(waiting.picture), lambda: waiting.picture)
        self._set("preview", visible=waiting.picture is not None)
        self._post()

    def build(self, session: Session) -> None:
        """Lay the panel out for ``session``."""
        self._changes.clear()
        self._wire.call(self._lay_out, session, stats_of(session))

    def _lay_out_waiting(self) -> None:
        gui = self._server.gui
        gui.reset()
        self._handles = {
            "waiting": gui.add_markdown(""),
            "loading": gui.add_progress_bar(0.0),
            "start": gui.add_button("Train"),
            "preview": gui.add_image(_blank(), format="png", visible=False),
        }
        self._known = {}
        self._client_events.count("start", self._handles["start"])

    def _lay_out(self, session: Session, stats: Stats) -> None:
        gui = self._server.gui
        gui.reset()
        self._handles, self._known, self._plotted, self._last = {}, {}, None, None
        self._figures_at = -math.inf
        name = title(session.model.metadata, "")
        gui.set_panel_label(f"{name} - Taichi RF" if name else "Taichi RF")
        gui.main_panel.dock_right()
        handles = self._handles
        handles["figures"] = gui.add_markdown("")
        if session.num_levels > 1:
            handles["level"] = gui.add_slider(stats.level_name, 1, session.num_levels, 1, session.level)
            handles["budget"] = gui.add_slider("kB at most", 1, 2, 1, 1, visible=False)
        handles["curve"] = gui.add_image(_blank(), format="png")
        if session.trainer is not None:
            with gui.add_folder("Training"):
                handles["progress"] = gui.add_progress_bar(0.0)
                handles["training"] = gui.add_markdown("")
                handles["toggle"] = gui.add_button("Pause")
                handles["share"] = gui.add_slider("Share of time", *SHARE, 0.05, session.share)
        with gui.add_folder("View"):
            handles["mode"] = gui.add_dropdown("Show", MODES, initial_value=session.mode)
            handles["compare"] = gui.add_dropdown("Compare with", _COMPARISONS)
            if session.num_levels > 1:
                handles["other"] = gui.add_slider("Other level", 1, session.num_levels, 1, session.levels.other)
            handles["layout"] = gui.add_dropdown("Layout", LAYOUTS)
            handles["divider"] = gui.add_slider("Divider", 0.0, 1.0, 0.005, session.divider)
            handles["split"] = gui.add_dropdown("Photographs", tuple(_SPLITS))
            handles["number"] = gui.add_slider("Photograph", 1, 2, 1, 1)
            handles["views"] = gui.add_button_group("Go to", _STEPS)
            handles["reset"] = gui.add_button("First view")
            handles["demo"] = gui.add_checkbox("Demo", session.demo, hint="Turn, and sweep through the levels")
        if session.trainer is not None:
            handles["history"] = gui.add_image(_blank(), format="png")
        for name in _CHOICES:
            if name in handles:
                if name in ("level", "other"):
                    self._known[name, "max"] = session.num_levels
                self._client_events.watch(name, handles[name])
                self._known[name, "value"] = handles[name].value
        for name in ("reset", "toggle"):
            if name in handles:
                self._client_events.count(name, handles[name])
        self._client_events.count("view", handles["views"], _STEPS)

    # In

    def apply(self, session: Session, events: Events) -> None:
        """Do to ``session`` what was done to the panel; what makes no sense is put back."""
        for name, value in events.values.items():
            self._known[name, "value"] = value
            try:
                self._apply(session, name, value)
            except (UserError, TypeError, ValueError, OverflowError, LookupError) as error:
                self._known[name, "value"] = _NOTHING
                if isinstance(error, UserError):
                    session.say(str(error), alarm=True)
        for name, presses in events.presses.items():
            if name == "reset":
                session.reset_view()
            elif name == "toggle" and presses % 2:
                session.toggle_training()
            elif name in ("view next", "view previous"):
                session.next_view(presses if name == "view next" else -presses)
        if events.values or events.presses:
            self._figures_at = -math.inf

    def _apply(self, session: Session, name: str, value: Any) -> None:
        if name == "level":
            session.levels.choose(_number(value))
        elif name == "budget":
            budget.choose(session.levels, _number(value))
        elif name == "other":
            session.levels.choose_other(_number(value))
        elif name == "mode":
            session.set_mode(MODES[MODES.index(value)])
        elif name == "compare":
            session.set_compare(COMPARE[_COMPARISONS.index(value)])
        elif name == "layout":
            session.set_compare(session.compare, LAYOUTS[LAYOUTS.index(value)])
        elif name == "divider":
            session.divider = min(max(_number(value), 0.0), 1.0)
        elif name == "share":
            session.share = _number(value)
        elif name == "split":
            if self._last is None or _SPLITS[value] != self._last.split:
                session.next_view(split=_SPLITS[value])
        elif name == "number" and self._last is not None:
            views = [view for view in session.views if view.split == self._last.split]
            session.go_to(views[min(max(round(_number(value)), 1), len(views)) - 1])
        elif name == "demo" and bool(value) != session.demo:
            session.toggle_demo()

    # Out

    def refresh(self, session: Session, now: float) -> None:
        """Bring the panel up to date, at most a few times a second, and not while the last time is on its way."""
        if not self._wire.idle:
            return
        self._renew(session, now)
        self._post()

    def _renew(self, session: Session, now: float) -> None:
        stats = stats_of(session)
        points = session.levels.curve()
        plotted = (stats.level, stats.num_levels)
        if plotted != self._plotted or now - self._plots_at >= _PLOTS:
            self._plotted, self._plots_at = plotted, now
            self._plot(session, stats, points)
        if now - self._figures_at < _FIGURES:
            return
        self._figures_at = now
        self._set("figures", content=figures(stats))
        for name, value in {
            "level": session.level,
            "other": session.levels.other,
            "mode": session.mode,
            "compare": _COMPARISONS[COMPARE.index(session.compare)],
            "layout": session.layout,
            "divider": session.divider,
            "share": session.share,
            "demo": session.demo,
        }.items():
            self._set(name, value=value)
        for name in ("level", "other"):
            self._set(name, max=max(session.num_levels, 2))  # less where a file that was slimmed has come
        self._show_budget(session)
        self._set("other", visible=session.compare == "level")
        self._set("layout", visible=session.compare != "off")
        self._set("divider", visible=session.compare != "off" and session.layout == "wipe")
        self._show_views(session)
        training = stats.training
        if training is not None:
            self._set("progress", value=percent(training.progress))
            self._set("training", content=training_figures(training, stats.level_name))
            self._set("toggle", label="Pause" if training.state == "running" else "Resume")
            self._set("toggle", disabled=training.state in ("done", "failed"))

    def _show_budget(self, session: Session) -> None:
        """Bring the choice of bytes up to date: a model grows while it trains or comes."""
        size = budget.kilobytes(session.levels)
        if size is not None:
            self._set("budget", max=size.high)  # a browser puts the value between the others
            self._set("budget", min=size.low)
            self._set("budget", value=size.value)
        self._set("budget", visible=size is not None)

    def _show_views(self, session: Session) -> None:
        """Bring the choice of a photograph up to date: they may come later than the model, and none may come."""
        views = session.views
        self._last = session.at_view or self._last or next(iter(views), None)
        if (last := self._last) is not None:
            self._set("split", value=next(name for name, split in _SPLITS.items() if split == last.split))
            self._set("number", max=max(last.count, 2))
            self._set("number", value=last.index + 1)
        self._set("split", visible=len({view.split for view in views}) > 1)
        self._set("number", visible=last is not None and last.count > 1)
        self._set("views", visible=bool(views))

    def _plot(self, session: Session, stats: Stats, points: Any) -> None:
        measuring = stats.training is not None
        self._image(
            "curve", (stats.level, points, measuring), lambda: plots.rate_distortion(
                points, stats.level, stats.level_name, *_PLOT, measuring=measuring
            )
        )  # fmt: skip
        if "history" in self._handles:
            history = session.history()
            state = (list(history.batch), list(history.test), list(history.levels))
            self._image("history", state, lambda: plots.training_curve(history, stats.level_name, *_PLOT))

    def _image(self, name: str, state: object, draw: Any) -> None:
        """Draw an image anew if what it shows has changed."""
        if self._known.get((name, "image"), _NOTHING) != state:
            self._known[name, "image"] = state
            self._changes.append((name, self._handles[name], "image", draw()))

    def _set(self, name: str, **properties: Any) -> None:
        """Set properties of a control that are not so already; every one set is a message to every browser."""
        for key, value in properties.items():
            if name in self._handles and self._known.get((name, key), _NOTHING) != value:
                self._known[name, key] = value
                self._changes.append((name, self._handles[name], key, value))

    def _post(self) -> None:
        """Hand what was set to viser's loop."""
        if self._changes:
            self._wire.post(self._change, self._changes)
            self._changes = []

    def _change(self, changes: list[tuple[str, Any, str, object]]) -> None:
        for name, handle, key, value in changes:
            # Where a client has set it meanwhile, the next events bring it, and it counts.
            if key != "value" or not self._client_events.has_value(name):
                setattr(handle, key, value)


def figures(stats: Stats) -> str:
    """The lines above the level slider, as markdown."""
    psnr = f"{stats.psnr:.2f} dB" if finite(stats.psnr) else "PSNR not measured"
    sharpness = "full resolution" if stats.divisor <= 1 else f"1/{stats.divisor} resolution"
    lines = [
        f"### {plain(stats.level_name)} {stats.level} of {stats.num_levels}",
        f"**{' '.join(amount_and_unit(1e6 * (stats.megabytes or 0.0)))}** &nbsp; **{psnr}**",
        sharpness if stats.picture is None else f"{stats.picture.text} for a full picture, {sharpness}",
    ]
    view = stats.view
    if view is not None:
        lines.append(f"{view.split} view {view.index + 1} of {view.count}: {plain(view.name)}")
    return "\n\n".join(lines)


def training_figures(training: TrainingStats, level_name: str) -> str:
    """The lines of the training, as markdown."""
    lines = [f"**{training.state}**, iteration {training.iteration:,}, {plain(level_name)} {training.level}"]
    measured = [f"loss {training.loss:.5f}"] if finite(training.loss) else []
    measured += [f"{training.psnr:.1f} dB on batches"] if finite(training.psnr) else []
    if measured:
        lines.append(", ".join(measured))
    if finite(training.rays_per_second):
        lines.append(f"{training.rays_per_second:,.0f} rays a second")
    if training.seconds_left is not None and finite(training.seconds_left) and training.state == "running":
        lines.append(f"{duration(training.seconds_left)} of training left")
    if training.failure is not None:
        lines.append(f"**{plain(training.failure)}**")
    return "\n\n".join(lines)


def percent(share: float) -> float:
    """``share``, 0..1, as a progress bar has it; one that is no number is none."""
    return round(100 * min(max(share, 0.0), 1.0), 1) if finite(share) else 0.0


def plain(text: object) -> str:
    """``text`` such that markdown shows it as it is: names come from files, and files may say anything."""
    return "".join(f"&#{ord(letter)};" if letter in "\\`*_{}[]<>()#+-.!|&~\"'$:" else letter for letter in str(text))


def _number(value: Any) -> float:
    """Raises ValueError for what is no finite number."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a number")
    return number


def _blank() -> Any:
    return np.zeros((_PLOT[1], _PLOT[0], 4), dtype=np.uint8)
