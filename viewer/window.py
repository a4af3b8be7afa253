"""The desktop window: input from GGUI to the session, the session's picture to GGUI.

One thread and one loop with a time budget: the frame comes first, training gets its share of what is left. Each model
has a window of its own: Taichi is started anew for another, and no window survives that.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf import backend
from taichi_rf.backend import ti
from taichi_rf.errors import UserError
from taichi_rf.files import writing
from viewer.blend import blend
from viewer.display import middle_of_screen, why_no_window
from viewer.keep import free_file
from viewer.overlay import Overlays
from viewer.panels import Panels
from viewer.screen import screen
from viewer.session import Session
from viewer.settings import Settings
from viewer.still import save_picture
from viewer.studio import Studio

_MOVING = 0.03  # seconds of rendering in a frame while something moves
_RESTING = 0.08  # while nothing does: fewer frames, sooner sharp
_DEMO = 0.06  # a film of few sharp pictures is nicer than one of many coarse ones
_REST_AFTER = 0.3  # seconds without input
_TRAINING_FRAME = 1 / 22  # seconds of a frame while training, all that it takes to show it included
_LEAST_DRAWING = 0.003  # seconds, whatever the training's share
_RECORDING = 0.03  # seconds for a film in a frame while nothing trains
_EVALUATING = 0.02  # seconds in a frame for judging a training that is done
_POLL = 0.004  # seconds between two looks at the mouse and the keys meanwhile
_IDLE_SLEEP = 0.02  # a complete picture that nobody touches needs no more frames than this allows
_PUT_BACK_AFTER = 3  # frames after the mouse let go: ImGui sees a quick click up to two frames late
_KEY_DOLLY = 0.05  # of the window's height that a press of the up or down arrow stands for
_FASTER = 4.0  # flying with shift
_WELCOME = (
    "Choose a scene on the left and train it, or open what was trained.",
    "Drag the slider to slim it. h shows the keys.",
)
_WAY = {"d": (1, 0, 0), "a": (-1, 0, 0), "e": (0, 1, 0), "q": (0, -1, 0), "w": (0, 0, 1), "s": (0, 0, -1)}


def run(
    studio: Studio,
    *,
    width: int | None = None,
    height: int | None = None,
    state_file: Path | None = None,
    settings: Settings | None = None,
) -> None:
    """Show what ``studio`` holds in a window until it is closed, and train meanwhile if there is something to train.

    Closing the studio, which saves, is the caller's. ``width`` and ``height`` are the last window's by default, as are
    other ``settings``, the user's own unless given; they are written when the window closes. ``state_file`` gets a
    line of JSON for every frame: what the window shows and where its widgets are.

    Raises:
        UserError: no window can open here.
    """
    settings = settings or Settings.load()
    width, height = width or settings.width, height or settings.height
    panels = Panels()
    panels.hidden = settings.hidden and studio.session is not None
    if settings.folder and os.path.isdir(settings.folder):
        panels.chooser.go(Path(settings.folder))
    with _folder_for_imgui() as inside, contextlib.ExitStack() as stack:
        state = None
        if state_file is not None:
            with writing(state_file):
                state = stack.enter_context(open(state_file, "a"))
        backend.init(studio.arch)  # where nothing was built yet
        desktop = Desktop((width, height), inside)
        stack.callback(setattr, studio, "display", None)
        stack.callback(desktop.close)
        studio.display = desktop
        again = True
        while again:
            if desktop.window is None:
                desktop.open("compiling the kernels, a few seconds ..." if studio.session else "")
            window = _Window(desktop, studio, panels)
            again = _loop(window, state)
            desktop.size = window.size
            if again:
                studio.switch()
    _remember(settings, studio, panels, *desktop.size)


def _remember(settings: Settings, studio: Studio, panels: Panels, width: int, height: int) -> None:
    """Keep for the next time how the window was used. What cannot be written is not worth a word."""
    settings.width, settings.height, settings.hidden = width, height, panels.hidden
    settings.preset, settings.method, settings.downscale = studio.preset, studio.method, studio.downscale
    settings.folder = str(panels.chooser.folder)
    if studio.session is not None:
        settings.share = studio.session.share
    settings.save()


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


class Desktop:
    """The one GGUI window there is, or none: it has to be closed before Taichi ends, and another comes in its place.

    Args:
        size: (width, height) in pixels.
        inside: gives the context in which ImGui may write files.
    """

    def __init__(self, size: tuple[int, int], inside: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self.size, self.inside = size, inside
        self.window: Any = None

    def open(self, text: str) -> None:
        """Open the window, with something to read while what it will show is prepared.

        Raises:
            UserError: it cannot open.
        """
        if self.window is not None:
            return
        if reason := why_no_window():  # GLFW would end the process
            raise UserError(reason)
        place = middle_of_screen(*self.size)
        with self.inside():
            try:
                self.window = ti.ui.Window("Taichi RF", self.size, vsync=False, fps_limit=60, pos=place)
            except RuntimeError as error:
                raise UserError(f"the window cannot open: {error}") from error
            if text:
                canvas = _columns(screen("Taichi RF", [text], None, *self.size))
                for _ in range(2):  # the first frame of a window may be lost
                    _set_image(self.window.get_canvas(), canvas)
                    self.window.show()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self.window is not None:
            with self.inside():
                self.window.destroy()
            self.window = None


class _Window:
    """One GGUI window over what the studio holds."""

    def __init__(self, desktop: Desktop, studio: Studio, panels: Panels) -> None:
        window = desktop.window
        self.studio, self.size = studio, desktop.size
        self._window, self._inside, self._panels = window, desktop.inside, panels
        self._canvas, self._gui = window.get_canvas(), window.get_gui()
        self._overlays = Overlays()
        self._welcome = np.full((1, 1, 4), 255, dtype=np.uint8)
        self._blank_shows: object = None
        self._frames = 0
        self._closed = self._with_panels = False
        self._button: Any = None  # the mouse button that is dragging the scene
        self._shift = False  # whether it was down in the last frame
        self._events: tuple[list[Any], list[Any]] = ([], [])  # keys pressed and released
        self._over_panel = False  # whether the left button went down on a panel
        self._put_back_in = 0  # frames
        self._mouse = (0.0, 0.0)
        self._touched = self._began = time.perf_counter()
        self._showing = 0.02  # seconds that a frame takes beside drawing and training

    @property
    def is_open(self) -> bool:
        return bool(self._window.running) and not self._closed

    @property
    def _session(self) -> Session | None:
        return self.studio.session

    def frame(self) -> None:
        """Input, panels, picture, and then the training."""
        now = time.perf_counter()
        passed, self._began = now - self._began, now
        width, height = (max(int(side), 1) for side in self._window.get_window_shape())
        self.size = (width, height)
        self._listen(passed)
        self._draw_panels()  # first, so that what was done to them is in this frame's picture
        session, resting = self._session, now - self._touched > _REST_AFTER
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
        self.studio.advance(_EVALUATING)
        self._frames += 1
        showing = done - now - (drawn - started) - (done - worked)
        self._showing += 0.1 * (min(showing, 0.1) - self._showing)
        if resting and not working and (session is None or session.composer.complete):
            self._nap()

    def state(self) -> dict[str, Any]:
        """What the window shows, for those who cannot look at it."""
        session, panels, pending = self._session, self._panels, self.studio.pending
        slider, shown = panels.slider, None if session is None else session.composer.sides[0].shown
        return {
            **({} if session is None else {**session.stats(), "camera": session.orbit.state()}),
            "frame": self._frames,
            "seconds": time.monotonic(),
            "shown": None if shown is None else shown.level,
            "size": self.size,
            "page": panels.page,
            "hidden": panels.hidden,
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
            working = session.share * left
            return max(left - working, _LEAST_DRAWING), working
        working = _RECORDING if session is not None and session.recording is not None else 0.0
        if session is not None and session.demo:
            return _DEMO, working
        return (_RESTING if resting and not working else _MOVING), working

    def _show(self, session: Session | None) -> None:
        """The picture with all that lies over it, on the screen."""
        (width, height), panels = self.size, self._panels
        if session is None:
            canvas, curve, history, stats = self._blank(width, height), None, None, _nothing(self.studio)
        else:
            canvas, stats = session.composer.canvas, session.stats()
            stats["message"] = stats["message"] or _waiting(self.studio)
            curve, history = session.curve(), session.history()
        overlays = self._overlays.draw(stats, curve, history, width, height, hidden=panels.hidden, panels=panels.extent)
        blend(canvas[..., :3].transpose(1, 0, 2)[::-1], overlays)
        _set_image(self._canvas, canvas)
        if self._with_panels and session is not None:
            self._keep_all(session)
            _set_image(self._canvas, canvas)
            self._draw_panels()
        with self._inside():
            self._window.show()

    def _draw_panels(self) -> None:
        session = self._session
        level = None if session is None else session.level
        self._panels.draw(self._gui, self.studio, *self.size)
        if self._session is not session or (session is not None and session.level != level):
            self._touched = time.perf_counter()

    def _nap(self) -> None:
        """Nothing changes: leave the device alone for a moment, or until something happens."""
        end, cursor = time.perf_counter() + _IDLE_SLEEP, self._window.get_cursor_pos()
        while time.perf_counter() < end:
            self._poll()
            if any(self._events) or self._window.get_cursor_pos() != cursor:
                return
            time.sleep(_POLL)

    def _poll(self) -> None:
        """Take in what keys and buttons did. Both kinds have to be asked for, or GGUI keeps the other for ever."""
        for kind, keys in zip((ti.ui.PRESS, ti.ui.RELEASE), self._events, strict=True):
            keys += [event.key for event in self._window.get_events(kind)]

    def _keep_all(self, session: Session) -> None:
        """Save the window as it is drawn, panels and all. That uses up what was drawn: draw it again."""
        self._with_panels = False
        with self._inside():
            pixels = self._window.get_image_buffer_as_numpy()
        try:
            path = free_file(session.keeper.made_folder().resolve(), "window", ".png")
            save_picture(path, (pixels[..., :3].transpose(1, 0, 2)[::-1] * 255 + 0.5).astype(np.uint8))
        except UserError as error:
            session.say(str(error), alarm=True)
        else:
            session.say(f"saved {path}")

    def _blank(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """What there is to see before anything was opened."""
        pending = self.studio.pending
        share = None if pending is None or pending.progress is None else round(pending.progress, 2)
        content = (width, height, None if pending is None else pending.text, share, self._panels.extent)
        if self._blank_shows != content:
            self._blank_shows = content
            lines = _WELCOME if pending is None else [pending.text]
            picture = screen("Taichi RF", lines, share, width, height, panels=self._panels.extent)
            self._welcome = _columns(picture)
        return self._welcome.copy()

    def _listen(self, passed: float) -> None:
        """Hand the session what the mouse and the keys did in the ``passed`` seconds since the last frame."""
        self._poll()  # first, because it renews the cursor
        (pressed, released), self._events = self._events, ([], [])
        x, y = self._window.get_cursor_pos()
        mouse = (x * self.size[0], (1.0 - y) * self.size[1])
        if pressed or released or self._over_panel:
            self._touched = time.perf_counter()
        held = self._window.is_pressed(ti.ui.SHIFT)
        shift, self._shift = held or self._shift or ti.ui.SHIFT in pressed, held  # it may be up again by now
        for key in pressed:
            if key in (ti.ui.LMB, ti.ui.MMB, ti.ui.RMB):
                self._press(key, mouse)
            else:
                self._key(key, shift)
        if self._button is not None:
            self._drag(mouse)
        elif mouse != self._mouse and not self._over_panel and not self._panels.covers(*mouse):
            self._move_divider(mouse)
        self._mouse = mouse
        if self._button in released or not (self._button and self._window.is_pressed(self._button)):
            self._button = None
        if self._over_panel and ti.ui.LMB in released:
            self._release_panel()
        if self._put_back_in:
            self._put_back_in -= 1
            if not self._put_back_in:
                self._panels.put_back()
        self._fly(passed)

    def _press(self, button: Any, mouse: tuple[float, float]) -> None:
        if self._panels.covers(*mouse):
            self._over_panel |= button == ti.ui.LMB
        elif self._button is None:
            self._button = button
        self._mouse = mouse

    def _drag(self, mouse: tuple[float, float]) -> None:
        right, down = mouse[0] - self._mouse[0], mouse[1] - self._mouse[1]
        session, height = self._session, self.size[1]
        if session is None or right == down == 0:
            return
        self._touched = time.perf_counter()
        if session.demo:
            session.toggle_demo()
        if self._button == ti.ui.RMB:
            session.orbit.dolly(down, height)
        elif self._button == ti.ui.MMB or self._window.is_pressed(ti.ui.SHIFT):
            session.orbit.pan(right, down, height)
        else:
            session.viewpoint.drag(right, down, height)

    def _move_divider(self, mouse: tuple[float, float]) -> None:
        session = self._session
        if session is not None and session.compare != "off" and session.layout == "wipe":
            session.divider = min(max(mouse[0] / self.size[0], 0.0), 1.0)

    def _fly(self, seconds: float) -> None:
        """Fly as long as its keys are down."""
        ways = [way for key, way in _WAY.items() if self._window.is_pressed(key)]
        session = self._session
        if not ways or session is None or session.demo or self._panels.page == "open":
            return
        self._touched = time.perf_counter()
        speed = _FASTER if self._window.is_pressed(ti.ui.SHIFT) else 1.0
        right, up, forward = (speed * sum(parts) for parts in zip(*ways, strict=True))
        session.viewpoint.fly(right, up, forward, seconds)

    def _release_panel(self) -> None:
        """Have the panels put back, unless the mouse held a slider or a button: ImGui has then moved nothing."""
        self._over_panel = False
        if not any(place.covers(*self._mouse) for place in self._panels.widgets.values()):
            self._put_back_in = _PUT_BACK_AFTER

    def _key(self, key: Any, shift: bool) -> None:
        panels, backwards = self._panels, -1 if shift else 1
        if key == ti.ui.ESCAPE:
            self._closed = True
        elif key == ti.ui.TAB:
            panels.hidden = not panels.hidden
        elif key in ("h", "o"):
            panels.turn_to({"h": "help", "o": "open"}[key])
        elif self._session is not None:
            self._session_key(self._session, key, backwards)

    def _session_key(self, session: Session, key: Any, backwards: int) -> None:
        width, height = self.size
        actions: dict[Any, Callable[[], object]] = {
            ti.ui.LEFT: lambda: session.step_level(-1),
            ti.ui.RIGHT: lambda: session.step_level(1),
            ti.ui.UP: lambda: session.orbit.dolly(-_KEY_DOLLY, 1),
            ti.ui.DOWN: lambda: session.orbit.dolly(_KEY_DOLLY, 1),
            ti.ui.SPACE: session.toggle_training,
            "r": session.reset_view,
            "f": session.viewpoint.toggle_flying,
            "m": lambda: session.next_mode(backwards),
            "v": lambda: session.next_view(backwards),
            "b": session.other_split,
            "c": session.next_compare,
            "x": session.next_layout,
            "g": session.toggle_demo,
            "p": session.keeper.picture if backwards == 1 else self._ask_for_all,
            "t": lambda: session.keeper.turntable(width, height),
            "k": session.keeper.add_keyframe,
            "j": session.keeper.camera,
            "n": session.keeper.level,
        }
        if key in actions:
            actions[key]()

    def _ask_for_all(self) -> None:
        self._with_panels = True


def _columns(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(height, width, 3), row 0 at the top, as windows want it: (width, height, 4), y upwards."""
    canvas = np.full((picture.shape[1], picture.shape[0], 4), 255, dtype=np.uint8)
    canvas[..., :3] = picture[::-1].transpose(1, 0, 2)
    return canvas


def _waiting(studio: Studio) -> dict[str, Any] | None:
    """What the studio is reading or about to compile, as a message."""
    if studio.run is not None and studio.run.training.cold and not studio.run.over:
        return {"text": "compiling the kernels of the training, a few seconds ...", "alarm": False}
    pending = studio.pending
    if pending is None:
        return None
    share = "" if pending.progress is None else f", {100 * pending.progress:.0f} %"
    return {"text": pending.text + share, "alarm": False}


def _nothing(studio: Studio) -> dict[str, Any]:
    """What the overlays are told when there is no session: only what was said."""
    message = studio.message
    return {"message": message and {"text": message.text, "alarm": message.alarm}}


def _set_image(canvas: Any, pixels: npt.NDArray[np.uint8]) -> None:
    """Show ``pixels`` (width, height, 4), y upwards, all over the window.

    What ``canvas.set_image`` comes to for pixels that are RGBA bytes already. Its own conversion takes 25 ms for
    1280x720 on two cores, and it keeps a copy of every size of picture for ever.
    """
    utilities = importlib.import_module(f"{ti.__name__}.ui.utils")
    canvas.canvas.set_image(utilities.get_field_info(pixels.view(np.uint32)[..., 0]))


@contextlib.contextmanager
def _folder_for_imgui() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Give a context in which the working directory is a temporary folder, for the calls in which ImGui writes.

    ImGui keeps the panels' places in ``imgui.ini`` wherever the process happens to be. They are of no use here, because
    the panels stay where they belong, and relative paths must keep their meaning for everything else.
    """
    with tempfile.TemporaryDirectory(prefix="taichi-rf-") as folder:

        @contextlib.contextmanager
        def inside() -> Iterator[None]:
            here = os.getcwd()
            os.chdir(folder)
            try:
                yield
            finally:
                os.chdir(here)

        yield inside
