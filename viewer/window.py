"""The desktop window: input from GGUI to the session, the session's picture to GGUI.

One thread and one loop: the frame comes first, training gets the time that is left of it.
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
from viewer.display import middle_of_screen, why_no_window
from viewer.panels import Panels
from viewer.session import Session

_MOVING = 0.03  # seconds of rendering in a frame while something moves
_RESTING = 0.08  # while nothing does: fewer frames, sooner sharp
_REST_AFTER = 0.3  # seconds without input
_TRAINING = (0.015, 0.03)  # seconds of rendering and of training in a frame
_IDLE_SLEEP = 0.02  # a complete picture that nobody touches needs no more frames than this allows
_PUT_BACK_AFTER = 3  # frames after the mouse let go: ImGui sees a quick click up to two frames late
_KEY_DOLLY = 0.05  # of the window's height that a press of the up or down arrow stands for


def run(session: Session, *, width: int = 1280, height: int = 720, state_file: Path | None = None) -> None:
    """Show ``session`` in a window until it is closed, and train meanwhile if it holds a trainer.

    What has been trained is saved on the way out. Ctrl-C goes through to the caller with the window closed and nothing
    saved. ``state_file`` gets a line of JSON for every frame: what the window shows and where its slider is.

    Raises:
        UserError: no window can open here.
        Exception: what ended the training early, once the window has been closed.
    """
    reason = why_no_window()
    if reason:
        raise UserError(reason)
    backend.current()
    with _folder_for_imgui() as inside, contextlib.ExitStack() as stack:
        state = None
        if state_file is not None:
            with writing(state_file):
                state = stack.enter_context(open(state_file, "a"))
        with inside():
            try:
                window = ti.ui.Window(
                    _title(session), (width, height), vsync=False, fps_limit=60, pos=middle_of_screen(width, height)
                )
            except RuntimeError as error:
                raise UserError(f"the window cannot open: {error}") from error
        try:
            _loop(_Window(window, session, inside), state)
        finally:
            with inside():
                window.destroy()
    session.save()
    if session.failure is not None:
        raise session.failure


def _loop(window: _Window, state: Any) -> None:
    while window.is_open:
        window.frame()
        if state is not None:
            state.write(json.dumps(window.state()) + "\n")
            state.flush()


class _Window:
    """One GGUI window over one session."""

    def __init__(self, window: Any, session: Session, inside: Callable[[], contextlib.AbstractContextManager[None]]):
        self._window, self._session, self._inside = window, session, inside
        self._canvas, self._gui = window.get_canvas(), window.get_gui()
        self._panels = Panels()
        self._size = (0, 0)
        self._frames = 0
        self._closed = False
        self._button: Any = None  # the mouse button that is dragging the scene
        self._over_panel = False  # whether the left button went down on a panel
        self._put_back_in = 0  # frames
        self._mouse = (0.0, 0.0)
        self._touched = time.perf_counter()

    @property
    def is_open(self) -> bool:
        return bool(self._window.running) and not self._closed

    def frame(self) -> None:
        """Input, picture, panels, and then the training."""
        width, height = (max(int(side), 1) for side in self._window.get_window_shape())
        self._size = (width, height)
        self._listen()
        session, resting = self._session, time.perf_counter() - self._touched > _REST_AFTER
        drawing, training = _TRAINING if session.training else (_RESTING if resting else _MOVING, 0.0)
        session.frame(width, height, drawing)
        _set_image(self._canvas, session.composer.canvas)
        level = session.level
        self._panels.draw(self._gui, session, width, height)
        if session.level != level:
            self._touched = time.perf_counter()
        with self._inside():
            self._window.show()
        self._frames += 1
        session.work(training)
        if resting and session.composer.complete and not session.training:
            time.sleep(_IDLE_SLEEP)

    def state(self) -> dict[str, Any]:
        """What the window shows, for those who cannot look at it."""
        slider = self._panels.slider
        return {
            **self._session.stats(),
            "frame": self._frames,
            "size": self._size,
            "view": self._session.orbit.state(),
            "help": self._panels.help,
            "hidden": self._panels.hidden,
            "slider": None if slider is None else [slider.x, slider.y, slider.width, slider.height],
        }

    def _listen(self) -> None:
        """Hand the session what the mouse and the keys did since the last frame."""
        # Both kinds have to be asked for, or GGUI keeps the other for ever; and first, because they renew the cursor.
        pressed = [event.key for event in self._window.get_events(ti.ui.PRESS)]
        released = [event.key for event in self._window.get_events(ti.ui.RELEASE)]
        x, y = self._window.get_cursor_pos()
        mouse = (x * self._size[0], (1.0 - y) * self._size[1])
        if pressed or released:
            self._touched = time.perf_counter()
        for key in pressed:
            if key in (ti.ui.LMB, ti.ui.MMB, ti.ui.RMB):
                self._press(key, mouse)
            else:
                self._key(key)
        if self._button is not None:
            self._drag(mouse)
        if self._button in released or not (self._button and self._window.is_pressed(self._button)):
            self._button = None
        if self._over_panel and ti.ui.LMB in released:
            self._release_panel()
        if self._put_back_in:
            self._put_back_in -= 1
            if not self._put_back_in:
                self._panels.put_back()

    def _press(self, button: Any, mouse: tuple[float, float]) -> None:
        if self._panels.covers(*mouse):
            self._over_panel |= button == ti.ui.LMB
        elif self._button is None:
            self._button = button
        self._mouse = mouse

    def _drag(self, mouse: tuple[float, float]) -> None:
        right, down = mouse[0] - self._mouse[0], mouse[1] - self._mouse[1]
        self._mouse = mouse
        if right == down == 0:
            return
        self._touched = time.perf_counter()
        orbit, height = self._session.orbit, self._size[1]
        if self._button == ti.ui.RMB:
            orbit.dolly(down, height)
        elif self._button == ti.ui.MMB or self._window.is_pressed(ti.ui.SHIFT):
            orbit.pan(right, down, height)
        else:
            orbit.rotate(right, down, height)

    def _release_panel(self) -> None:
        """Have the panels put back, unless the mouse held the slider: ImGui has then moved nothing."""
        self._over_panel = False
        slider = self._panels.slider
        if slider is None or not slider.covers(*self._mouse):
            self._put_back_in = _PUT_BACK_AFTER

    def _key(self, key: Any) -> None:
        session, panels = self._session, self._panels
        if key == ti.ui.ESCAPE:
            self._closed = True
        elif key in (ti.ui.LEFT, ti.ui.RIGHT):
            session.step_level(1 if key == ti.ui.RIGHT else -1)
        elif key in (ti.ui.UP, ti.ui.DOWN):
            session.orbit.dolly(_KEY_DOLLY * (1 if key == ti.ui.DOWN else -1), 1)
        elif key == ti.ui.SPACE:
            session.toggle_training()
        elif key == ti.ui.TAB:
            panels.hidden = not panels.hidden
        elif key == "r":
            session.reset_view()
        elif key == "m":
            session.next_mode()
        elif key == "h":
            panels.help, panels.hidden = not panels.help, False


def _title(session: Session) -> str:
    scene = session.model.metadata.get("scene")
    return f"{scene} - Taichi RF" if scene else "Taichi RF"


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
