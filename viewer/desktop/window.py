"""The desktop window: passes input from GGUI to the session and the session's picture to GGUI.

One loop on one thread: each turn listens to the mouse and the keys, shows a picture where one is due, and works. What
is due when is decided by :class:`~viewer.desktop.pacing.Pacing`. Each model has a window of its own, because Taichi is
started anew for another model, and the window has to be closed first.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import free_file, writing
from taichi_rf.motion.screenshot import save_picture
from viewer.app.settings import Settings
from viewer.app.studio import Studio
from viewer.desktop.ggui import Desktop, columns, folder_for_imgui, set_image
from viewer.desktop.input import Input
from viewer.desktop.menu import Menu
from viewer.desktop.pacing import Pacing, Turn, draw
from viewer.desktop.panels import Panels, scale
from viewer.overlay import screen as screens
from viewer.overlay.blend import Overlay, blend
from viewer.overlay.overlay import Overlays
from viewer.overlay.stats import Message, Stats
from viewer.overlay.wireframe import Wireframe
from viewer.session.session import Session
from viewer.session.stats import stats_of

_ALONE = 0.95  # of the time is for a recording, or for judging a training that is done, while nobody does anything
_BESIDE_A_HAND = 0.5  # and while somebody does
_NAP = 0.05  # seconds between two turns in which there is nothing to do
_SHORT_NAP = 0.01  # the same while kernels are compiled, a few a turn, for a model that is on its way
_COVERS = 0.4  # of the height: lower panels leave the middle of the picture free
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
    """Turns until the window is closed; True when it has to make way for another model."""
    while window.is_open:
        window.turn()
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
        self.studio, self.size = studio, desktop.size
        self._window, self._inside, self._panels = window, desktop.inside, panels
        self._canvas = window.get_canvas()
        self._overlays, self._wireframe = Overlays(), Wireframe()
        self._welcome = np.full((1, 1, 4), 255, dtype=np.uint8)
        self._blank_shows: object = None
        assert desktop.wheel is not None
        self._wheel = desktop.wheel
        self._input = Input(window, studio, panels, self._overlays, self._wheel)
        self._pacing = Pacing()
        self._frames = 0  # pictures that were shown
        self._began = time.perf_counter()
        self._shown_at = 0.0  # when the last of them was, on the clock of time.monotonic
        self._seen: object = None  # what the last picture showed

    @property
    def is_open(self) -> bool:
        return bool(self._window.running) and not self._input.closed

    @property
    def _session(self) -> Session | None:
        return self.studio.session

    def turn(self) -> None:
        """Input, a picture where one is due, and then the training. A signal waits for the end: what is half drawn, on
        the screen or in a video, does not survive being closed. Only the training's kernels may be left while they
        compile."""
        run = self.studio.run
        compiling = run is not None and run.training.cold
        with contextlib.nullcontext() if compiling else self.studio.guard():
            rests = self._turn()
        if rests:
            self._input.nap(_NAP if self._arrived else _SHORT_NAP)

    def _turn(self) -> bool:
        """Return whether there was nothing to do."""
        now = time.perf_counter()
        passed, self._began = now - self._began, now
        size, (width, height) = self.size, (max(int(side), 1) for side in self._window.get_window_shape())
        self.size = (width, height)
        self._input.listen(self.size, passed)
        if self._choosing:
            self.studio.look()
        session, hand = self._session, self._input.waits or size != self.size
        if session is not None:
            session.tick()
        seen = self._to_be_seen()
        unfinished = session is not None and self._arrived and (session.training or not session.composer.complete)
        turn = self._pacing.turn(
            share=self._share(hand), hand=hand, unfinished=unfinished, changed=seen != self._seen,
            glides=session is not None and session.demonstration is not None and session.demonstration.shot.glides,
            fine=session is not None and session.recording is not None and not session.training,
        )  # fmt: skip
        if turn.shows:
            self._seen = seen
            self._picture(turn)
        if session is not None:
            session.work(turn.working)
        self.studio.advance(turn.working)
        return turn.rests

    def _share(self, hand: bool) -> float:
        """Of the time, what the work there is may have."""
        session = self._session
        if session is not None and session.training:
            return session.share
        if self.studio.evaluating is not None or (session is not None and session.busy):
            return _BESIDE_A_HAND if hand else _ALONE
        return 0.0

    def _to_be_seen(self) -> object:
        """All that a picture shows but what the session renders; another picture is due when it changes."""
        session, menu = self._session, self._panels.menu
        choice = (id(self._preview()), self.studio.preview.state) if self._choosing else None
        said = None if session is None else repr(stats_of(session))  # in which a NaN is like another
        return (
            self.size, menu.page, menu.hidden, menu.times, said, choice, self.studio.pending, self.studio.message,
            self.studio.evaluating,
        )  # fmt: skip

    @property
    def _arrived(self) -> bool:
        """Whether there is something of the model: one that comes over a network may be waited for."""
        arrivals = None if self._session is None else self._session.arrivals
        return arrivals is None or arrivals.level > 0

    @property
    def _choosing(self) -> bool:
        return self._session is None or self._panels.menu.page in ("open", "place")

    def _picture(self, turn: Turn) -> None:
        """Panels and picture, which is rendered as long as ``turn`` says."""
        begun = time.perf_counter()
        self._draw_panels()  # first, so that what was done to them is in this picture
        session = self._session
        before = None if session is None else stats_of(session)
        started = time.perf_counter()
        if session is not None:
            session.viewpoint.covered = self._covered(session)
            cursor = self._input.cursor
            draw(turn, partial(self._frame, session), lambda: self._input.stirs(cursor))
        drawn = time.perf_counter()
        self._show(session, before)
        self._shown_at = time.monotonic()
        self._frames += 1
        self._pacing.spent(showing=time.perf_counter() - begun - (drawn - started), drawing=drawn - started)

    def _frame(self, session: Session, seconds: float) -> bool:
        session.frame(*self.size, seconds)
        return session.composer.complete

    def state(self) -> dict[str, Any]:
        """What the window shows, for those who cannot look at it."""
        session, panels, pending = self._session, self._panels, self.studio.pending
        slider, shown = panels.slider, None if session is None else session.composer.sides[0].shown
        return {
            **({} if session is None else {**asdict(stats_of(session)), "camera": session.orbit.state()}),
            "frame": self._frames,
            "seconds": time.monotonic(),
            "shown_at": self._shown_at,
            "shown": None if shown is None else shown.level,
            "size": self.size,
            "page": panels.menu.page,
            "hidden": panels.menu.hidden,
            "slider": None if slider is None else [slider.x, slider.y, slider.width, slider.height],
            "widgets": {name: [place.x, place.y, place.width, place.height] for name, place in panels.widgets.items()},
            "crop": self._crop_state(),
            "scene": self.studio.source,
            "pending": None if pending is None else pending.text,
            "said": None if self.studio.message is None else self.studio.message.text,
        }

    def _crop_state(self) -> dict[str, Any] | None:
        """The box that is dragged, and where its handles are in the picture; None where a handle is behind."""
        session = self._session
        crop = None if session is None else session.keeper.crop
        if session is None or crop is None:
            return None
        handles = crop.handles(session.viewpoint.frame_camera(*self.size))
        shown = [place if all(np.isfinite(place)) else None for place in handles.tolist()]
        return {"box": crop.box.tolist(), "handles": shown, "hot": crop.hot}

    def _covered(self, session: Session) -> tuple[int, int, int]:
        """Pixels at the left and the right that panels and plots cover of most of the height, and those at the bottom
        that the figures do."""
        (across, down), (width, height) = self._panels.extent, self.size
        left, right, below = across if down > _COVERS * height else 0, self._overlays.beside, self._overlays.below
        if (session.layout == "beside" and session.compare != "off") or left + right >= 0.8 * width:
            left = right = 0
        return left, right, below if below < 0.3 * height else 0

    def _show(self, session: Session | None, before: Stats | None) -> None:
        """The picture with all that lies over it, on the screen; ``before`` is what the panels said."""
        (width, height), panels = self.size, self._panels
        if session is None or before is None or (self._choosing and self._preview() is not None):
            canvas, curve, history, stats = self._blank(width, height), None, None, Stats(message=self.studio.message)
        else:
            canvas, stats = session.composer.canvas, stats_of(session)
            message = _waiting(self.studio) or stats.message
            stats = replace(stats, message=message, picture=before.picture)  # one figure in one picture
            curve, history = session.levels.curve(), session.history()
        overlays = self._overlays.draw(
            stats, curve, history, width, height, hidden=panels.menu.hidden, panels=panels.extent,
            zoom=not self._wheel.works, times=panels.menu.times,
        )  # fmt: skip
        picture = canvas[..., :3].transpose(1, 0, 2)[::-1]
        blend(picture, [*self._box_that_is_dragged(session), *overlays, *panels.cards])
        if self._input.wants_all and session is not None:
            self._keep_all(session, picture)
        set_image(self._canvas, canvas)
        with self._inside():
            self._window.show()

    def _box_that_is_dragged(self, session: Session | None) -> list[Overlay]:
        """What the model is to be cut to, while its page is open."""
        crop = None if session is None or self._panels.menu.page != "crop" else session.keeper.crop
        if session is None or crop is None or self._panels.menu.hidden or session.demo:
            return []
        return self._wireframe.draw(crop, session.viewpoint.frame_camera(*self.size), scale(*self.size))

    def _draw_panels(self) -> None:
        session = self._session
        level = None if session is None else session.level
        self._panels.draw(self.studio, *self.size)
        if self._session is not session or (session is not None and session.level != level):
            self._input.touched = time.perf_counter()

    def _keep_all(self, session: Session, picture: npt.NDArray[np.uint8]) -> None:
        """Save the window as it is shown, panels and all."""
        self._input.wants_all = False
        try:
            path = free_file(session.keeper.made_folder().resolve(), "window", ".png")
            save_picture(path, picture)
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
    """What the studio is reading, as a message."""
    pending = studio.pending
    if pending is None:
        return None
    share = "" if pending.progress is None else f", {100 * pending.progress:.0f} %"
    return Message(pending.text + share)
