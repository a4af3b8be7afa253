"""The desktop window: passes input from GGUI to the session and the session's picture to GGUI.

One loop on one thread has a time budget a frame: the picture comes first, training gets its share of what is left. Each
model has a window of its own, because Taichi is started anew for another model, and the window has to be closed first.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import writing
from taichi_rf.motion.screenshot import save_picture
from viewer.app.settings import Settings
from viewer.app.studio import Studio
from viewer.desktop.ggui import Desktop, columns, folder_for_imgui, set_image
from viewer.desktop.input import Input
from viewer.desktop.menu import Menu
from viewer.desktop.panels import Panels
from viewer.overlay import screen as screens
from viewer.overlay.blend import blend
from viewer.overlay.overlay import Overlays
from viewer.overlay.stats import Message, Stats
from viewer.session.keep import free_file
from viewer.session.session import Session
from viewer.session.stats import stats_of

_MOVING = 0.02  # seconds of rendering in a frame while something moves
_RESTING = 0.12  # while nothing does: fewer frames, sooner sharp
_DEMO = 0.06  # a video of few sharp pictures is nicer than one of many coarse ones
_REST_AFTER = 0.2  # seconds without input
_TRAINING_FRAME = 1 / 20.5  # seconds of a frame while training, all that it takes to show it included
_LEAST_DRAWING = 0.003  # seconds, whatever the training's share
_RECORDING = 0.03  # seconds for a video in a frame while nothing trains
_EVALUATING = 0.02  # seconds in a frame for judging a training that is done
_IDLE_SLEEP = 0.02  # a complete picture that nobody touches needs no more frames than this allows
_WELCOME = (
    "Choose a scene on the left and train it, or open what was trained.",
    "Drag the slider to slim it. h shows the keys.",
)


def run(
    studio: Studio,
    *,
    width: int | None = None,
    height: int | None = None,
    state_file: Path | None = None,
) -> None:
    """Show what ``studio`` holds in a window until it is closed, and train meanwhile if there is something to train.

    Closing the studio, which saves, is the caller's. The studio's settings say how the last window was used, and are
    written when this one closes; a studio without gets the user's.

    Args:
        width, height: pixels; the last window's by default.
        state_file: gets a line of JSON for every frame: what the window shows and where its widgets are.

    Raises:
        UserError: no window can open here.
    """
    settings = studio.settings = studio.settings or Settings.load()
    width, height = width or settings.width, height or settings.height
    panels = Panels()
    panels.menu.hidden = settings.hidden and studio.session is not None
    if settings.folder and os.path.isdir(settings.folder):
        panels.menu.chooser.go(Path(settings.folder))
    with folder_for_imgui() as inside, contextlib.ExitStack() as stack:
        state = None
        if state_file is not None:
            with writing(state_file):
                state = stack.enter_context(open(state_file, "a"))
        backend.init(studio.arch)  # where nothing was built yet
        desktop = Desktop((width, height), inside)
        stack.callback(setattr, studio, "display", None)
        stack.callback(desktop.close)
        stack.callback(_remember, studio, panels.menu, desktop)
        studio.display = desktop
        again = True
        while again:
            if desktop.window is None:
                desktop.open("compiling the kernels, a few seconds ..." if studio.session else "")
            window = _Window(desktop, studio, panels)
            try:
                again = _loop(window, state)
            finally:
                desktop.size = window.size
            if again:
                studio.switch()


def _remember(studio: Studio, menu: Menu, desktop: Desktop) -> None:
    """Keep for the next time how the window was used. That this cannot be written is not told."""
    assert studio.settings is not None
    (width, height), folder = desktop.size, str(menu.chooser.folder)
    studio.settings = replace(
        studio.settings.chosen(studio), width=width, height=height, hidden=menu.hidden, folder=folder
    )
    studio.settings.save()


def _loop(window: _Window, state: Any) -> bool:
    """Frames until the window is closed; True when it has to make way for another model."""
    while window.is_open:
        window.frame()
        if state is not None:
            state.write(json.dumps(window.state()) + "\n")
            state.flush()
        if window.studio.ready:
            return True
    return False


class _Window:
    """One GGUI window over what the studio holds."""

    def __init__(self, desktop: Desktop, studio: Studio, panels: Panels) -> None:
        window = desktop.window
        self.studio, self.size, self._opened = studio, desktop.size, desktop.opened
        self._window, self._inside, self._panels = window, desktop.inside, panels
        self._canvas, self._gui = window.get_canvas(), window.get_gui()
        self._overlays = Overlays()
        self._welcome = np.full((1, 1, 4), 255, dtype=np.uint8)
        self._blank_shows: object = None
        self._input = Input(window, studio, panels)
        self._frames = 0
        self._began = time.perf_counter()
        self._showing = 0.02  # seconds that a frame takes beside drawing and training, as a running mean
        self._drawing = 0.005  # seconds that drawing takes, which is more than it is given

    @property
    def is_open(self) -> bool:
        return bool(self._window.running) and not self._input.closed

    @property
    def _session(self) -> Session | None:
        return self.studio.session

    def frame(self) -> None:
        """Input, panels, picture, and then the training. A signal waits for the end: what is half drawn, on the screen
        or in a video, does not survive being closed. Only the training's kernels may be left while they compile."""
        run = self.studio.run
        compiling = run is not None and run.training.cold
        with contextlib.nullcontext() if compiling else self.studio.guard():
            self._frame()

    def _frame(self) -> None:
        now = time.perf_counter()
        passed, self._began = now - self._began, now
        width, height = (max(int(side), 1) for side in self._window.get_window_shape())
        self.size = (width, height)
        self._input.listen(self.size, passed)
        self._draw_panels()  # first, so that what was done to them is in this frame's picture
        session, resting = self._session, now - self._input.touched > _REST_AFTER
        drawing, working = self._budgets(session, resting)
        started = time.perf_counter()
        if session is not None:
            session.frame(width, height, drawing)
        drawn = time.perf_counter()
        self._show(session)
        worked = time.perf_counter()
        if session is not None:
            session.work(working)
        done = time.perf_counter()
        self.studio.advance(_RESTING if resting else _EVALUATING)
        self._frames += 1
        showing = done - now - (drawn - started) - (done - worked)
        self._showing += 0.1 * (min(showing, 0.1) - self._showing)
        self._drawing += 0.1 * (min(drawn - started, 0.1) - self._drawing)
        idle = session is None or (session.composer.complete and self.studio.evaluating is None)
        if resting and not working and idle:
            self._input.nap(_IDLE_SLEEP)

    def state(self) -> dict[str, Any]:
        """What the window shows, for those who cannot look at it."""
        session, panels, pending = self._session, self._panels, self.studio.pending
        slider, shown = panels.slider, None if session is None else session.composer.sides[0].shown
        return {
            **({} if session is None else {**asdict(stats_of(session)), "camera": session.orbit.state()}),
            "frame": self._frames,
            "seconds": time.monotonic(),
            "shown": None if shown is None else shown.level,
            "size": self.size,
            "page": panels.menu.page,
            "hidden": panels.menu.hidden,
            "slider": None if slider is None else [slider.x, slider.y, slider.width, slider.height],
            "widgets": {name: [place.x, place.y, place.width, place.height] for name, place in panels.widgets.items()},
            "scene": self.studio.source,
            "pending": None if pending is None else pending.text,
            "said": None if self.studio.message is None else self.studio.message.text,
        }

    def _budgets(self, session: Session | None, resting: bool) -> tuple[float, float]:
        """Seconds for drawing and for working in this frame."""
        if session is not None and session.training:
            left = max(_TRAINING_FRAME - self._showing, _LEAST_DRAWING)
            drawing = max((1 - session.share) * left, _LEAST_DRAWING)
            if resting:  # a piece of a picture has costs of its own: fewer and larger ones
                drawing = 2 * drawing if self._frames % 2 else 0.0
            return drawing, max(left - self._drawing, session.share * left / 2)
        working = _RECORDING if session is not None and session.recording is not None else 0.0
        if session is not None and session.demo:
            return _DEMO, working
        return (_RESTING if resting and not working else _MOVING), working

    def _show(self, session: Session | None) -> None:
        """The picture with all that lies over it, on the screen."""
        (width, height), panels = self.size, self._panels
        choosing = session is None or panels.menu.page in ("open", "place")
        if choosing:
            self.studio.look()
        if session is None or (choosing and self._preview() is not None):
            canvas, curve, history, stats = self._blank(width, height), None, None, Stats(message=self.studio.message)
        else:
            canvas, stats = session.composer.canvas, stats_of(session)
            stats = replace(stats, message=_waiting(self.studio) or stats.message)
            curve, history = session.levels.curve(), session.history()
        overlays = self._overlays.draw(
            stats, curve, history, width, height, hidden=panels.menu.hidden, panels=panels.extent
        )
        blend(canvas[..., :3].transpose(1, 0, 2)[::-1], overlays)
        set_image(self._canvas, canvas)
        if self._input.wants_all and session is not None:
            self._keep_all(session)
            set_image(self._canvas, canvas)
            self._draw_panels()
        with self._inside():
            self._window.show()

    def _draw_panels(self) -> None:
        session = self._session
        level = None if session is None else session.level
        self._panels.draw(self._gui, self.studio, *self.size, opened=self._opened)
        if self._session is not session or (session is not None and session.level != level):
            self._input.touched = time.perf_counter()

    def _keep_all(self, session: Session) -> None:
        """Save the window as it is drawn, panels and all. That uses up what was drawn: draw it again."""
        self._input.wants_all = False
        with self._inside():
            pixels = self._window.get_image_buffer_as_numpy()
        try:
            path = free_file(session.keeper.made_folder().resolve(), "window", ".png")
            save_picture(path, (pixels[..., :3].transpose(1, 0, 2)[::-1] * 255 + 0.5).astype(np.uint8))
        except UserError as error:
            session.say(str(error), alarm=True)
        else:
            session.say(f"saved {path}")

    def _preview(self) -> npt.NDArray[np.uint8] | None:
        """What there is to see of the scene that is chosen, as large as the panels allow."""
        return self.studio.preview.picture(*screens.room(*self.size, panels=self._panels.extent))

    def _blank(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """What there is to see before anything was opened."""
        pending = self.studio.pending
        share = None if pending is None or pending.progress is None else round(pending.progress, 2)
        page = None if pending is not None else self._preview()
        content = (width, height, None if pending is None else pending.text, share, self._panels.extent, id(page))
        if self._blank_shows != content:
            self._blank_shows = content
            if page is not None:
                self._welcome = columns(screens.page(page, width, height, panels=self._panels.extent))
                return self._welcome.copy()
            lines = _WELCOME if pending is None else [pending.text]
            picture = screens.screen("Taichi RF", lines, share, width, height, panels=self._panels.extent)
            self._welcome = columns(picture)
        return self._welcome.copy()


def _waiting(studio: Studio) -> Message | None:
    """What the studio is reading or about to compile, as a message."""
    run, session = studio.run, studio.session
    if run is not None and run.training.cold and session is not None and session.training:
        return Message("compiling the kernels of the training, a few seconds ...")
    pending = studio.pending
    if pending is None:
        return None
    share = "" if pending.progress is None else f", {100 * pending.progress:.0f} %"
    return Message(pending.text + share)
