"""The panel beside the picture in one browser: its controls change that visitor's session, and it shows its numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.storage.metadata import title
from viewer.overlay import plots
from viewer.overlay.stats import SceneView, Stats
from viewer.session import budget
from viewer.session.session import COMPARE, LAYOUTS, MODES, Session
from viewer.session.stats import stats_of
from viewer.session.subject import SHARE
from viewer.web.client_events import Deeds
from viewer.web.page.controls import Controls
from viewer.web.page.figures import figures, percent, training_figures, whereabouts

_FIGURES = 0.2  # seconds between two renewals of the figures
_PLOTS = 1.0  # and of the plots, while the level stays
_PLOT = (480, 330)  # pixels; the panel shows them at about 300 across, and screens may be finer than that
_COMPARISONS = ("nothing", "another level", "the photograph")
_STEPS = ("previous", "next")
_SPLITS = {"test": "test", "training": "train"}


class Panel:
    """One browser's panel over its session."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._figures_at = self._plots_at = -math.inf
        self._plotted: object = None
        self._last: SceneView | None = None  # where one stands, or stood last

    def lay_out(self, session: Session) -> None:
        """Add the controls for ``session``. On viser's loop."""
        controls, gui, stats = self._controls, self._controls.gui, stats_of(session)
        self._plotted, self._last, self._figures_at = None, None, -math.inf
        name = title(session.model.metadata, "")
        gui.set_panel_label(f"{name} - Taichi RF" if name else "Taichi RF")
        controls.add("figures", gui.add_markdown(""))
        levels = session.num_levels
        if levels > 1:
            controls.choice("level", gui.add_slider(stats.level_name, 1, levels, 1, session.level))
            controls.choice("budget", gui.add_slider("kB at most", 1, 2, 1, 1, visible=False))
        controls.add("curve", gui.add_image(blank(_PLOT), format="png"))
        if session.trainer is not None:
            with gui.add_folder("Training"):
                controls.add("progress", gui.add_progress_bar(0.0))
                controls.button("toggle", gui.add_button("Pause"))
                controls.choice("share", gui.add_slider("Share of time", *SHARE, 0.05, session.share))
                controls.add("training", gui.add_markdown(""))  # last: it has more lines or fewer
        with gui.add_folder("View"):
            controls.choice("mode", gui.add_dropdown("Show", MODES, initial_value=session.mode))
            controls.choice("compare", gui.add_dropdown("Compare with", _COMPARISONS))
            if levels > 1:
                controls.choice("other", gui.add_slider("Other level", 1, levels, 1, session.levels.other))
            controls.choice("layout", gui.add_dropdown("Layout", LAYOUTS))
            controls.choice("divider", gui.add_slider("Divider", 0.0, 1.0, 0.005, session.divider))
            controls.choice("split", gui.add_dropdown("Photographs", tuple(_SPLITS)))
            controls.choice("number", gui.add_slider("Photograph", 1, 2, 1, 1))
            controls.button("view", gui.add_button_group("Go to", _STEPS), _STEPS)
            controls.button("reset", gui.add_button("First view"))
            controls.choice("demo", gui.add_checkbox("Demo", session.demo, hint="Turn, and sweep through the levels"))
            controls.add("whereabouts", gui.add_markdown("", visible=False))
        if session.trainer is not None:
            controls.add("history", gui.add_image(blank(_PLOT), format="png"))
        for name in ("level", "other"):
            controls.believe(name, max=levels)

    # In

    def apply(self, session: Session, deeds: Deeds) -> None:
        """Do to ``session`` what was done to the panel; what makes no sense is put back."""
        for name, value in deeds.values.items():
            try:
                self._apply(session, name, value)
            except (UserError, TypeError, ValueError, OverflowError, LookupError) as error:
                self._controls.refuse(name)
                if isinstance(error, UserError):
                    session.say(str(error), alarm=True)
        for name, presses in deeds.presses.items():
            if name == "reset":
                session.reset_view()
            elif name == "toggle" and presses % 2:
                session.toggle_training()
            elif name in ("view next", "view previous"):
                session.next_view(presses if name == "view next" else -presses)
        if deeds.values or deeds.presses:
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

    def refresh(self, session: Session, now: float, visitors: int) -> None:
        """Bring the panel up to date, the figures at most a few times a second."""
        stats = stats_of(session)
        points = session.levels.curve()
        plotted = (stats.level, stats.num_levels)
        if plotted != self._plotted or now - self._plots_at >= _PLOTS * visitors:
            self._plotted, self._plots_at = plotted, now
            self._plot(session, stats, points)
        if now - self._figures_at < _FIGURES:
            return
        self._figures_at = now
        put = self._controls.set
        put("figures", content=figures(stats))
        where = whereabouts(stats.view, visitors)
        put("whereabouts", content=where, visible=bool(where))
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
            put(name, value=value)
        for name in ("level", "other"):
            put(name, max=max(session.num_levels, 2))  # less where a file that was slimmed has come
        self._show_budget(session)
        put("other", visible=session.compare == "level")
        put("layout", visible=session.compare != "off")
        put("divider", visible=session.compare != "off" and session.layout == "wipe")
        self._show_views(session)
        training = stats.training
        if training is not None:
            put("progress", value=percent(training.progress))
            put("training", content=training_figures(training, stats.level_name))
            put("toggle", label="Pause" if training.state == "running" else "Resume")
            put("toggle", disabled=training.state in ("done", "failed"))

    def _show_budget(self, session: Session) -> None:
        """Bring the choice of bytes up to date: a model grows while it trains or comes."""
        size, put = budget.kilobytes(session.levels), self._controls.set
        if size is not None:
            put("budget", max=size.high)  # a browser puts the value between the others
            put("budget", min=size.low)
            put("budget", value=size.value)
        put("budget", visible=size is not None)

    def _show_views(self, session: Session) -> None:
        """Bring the choice of a photograph up to date: they may come later than the model, and none may come."""
        views, put = session.views, self._controls.set
        self._last = session.at_view or self._last or next(iter(views), None)
        if (last := self._last) is not None:
            put("split", value=next(name for name, split in _SPLITS.items() if split == last.split))
            put("number", max=max(last.count, 2))
            put("number", value=last.index + 1)
        put("split", visible=len({view.split for view in views}) > 1)
        put("number", visible=last is not None and last.count > 1)
        put("view", visible=bool(views))

    def _plot(self, session: Session, stats: Stats, points: Any) -> None:
        measuring, image = stats.training is not None, self._controls.image
        image(
            "curve", (stats.level, points, measuring), lambda: plots.rate_distortion(
                points, stats.level, stats.level_name, *_PLOT, measuring=measuring
            )
        )  # fmt: skip
        if "history" in self._controls:
            history = session.history()
            state = (list(history.batch), list(history.test), list(history.levels))
            image("history", state, lambda: plots.training_curve(history, stats.level_name, *_PLOT))


def blank(size: tuple[int, int]) -> Any:
    """A picture of ``size`` (width, height) through which everything is seen."""
    return np.zeros((size[1], size[0], 4), dtype=np.uint8)


def _number(value: Any) -> float:
    """Raises ValueError for what is no finite number."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a number")
    return number
