"""Does what the mouse and the keys ask for: takes GGUI's events and changes the session and the panels."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.motion.crop_box import CropBox
from viewer.app.studio import Studio
from viewer.desktop.open_page import open_first
from viewer.desktop.panels import Panels, scale
from viewer.desktop.wheel import Wheel
from viewer.overlay.handles import Handle, handle_at
from viewer.overlay.overlay import Overlays
from viewer.overlay.wireframe import REACH
from viewer.session.picking import centre_on
from viewer.session.session import Session

_KEY_DOLLY = 0.05  # of the window's height that a press of the up or down arrow, or a click of the wheel, stands for
_TWICE, _NEAR = 0.4, 5.0  # seconds and pixels within which two clicks are one double click
_FASTER = 4.0  # flying with shift
_REST_AFTER = 0.2  # seconds without input
_POLL = 0.015  # seconds between two looks at the mouse and the keys while nothing else happens
_WAY = {"d": (1, 0, 0), "a": (-1, 0, 0), "e": (0, 1, 0), "q": (0, -1, 0), "w": (0, 0, 1), "s": (0, 0, -1)}
_GO_WITH_DEMO = ("g", "m", "p", "j", "n", "k", "t", ti.ui.SPACE)
_STEPS = {ti.ui.RIGHT: 1, ti.ui.DOWN: 1, ti.ui.LEFT: -1, ti.ui.UP: -1}  # of a demonstration

Pixel = tuple[float, float]


class Input:
    """The mouse and the keyboard of one window. ``touched`` is when they last did something.

    Args:
        window: GGUI's.
        studio: what is shown in it.
        panels: what lies over the picture and answers the mouse, as the cards of ``overlays`` do.
        wheel: tells how far the mouse's wheel was turned.
    """

    def __init__(self, window: Any, studio: Studio, panels: Panels, overlays: Overlays, wheel: Wheel) -> None:
        self.touched = time.perf_counter()
        self.closed = False
        self.wants_all = False
        """Whether a picture of the window with its panels is wanted."""
        self._window, self._studio, self._panels, self._overlays = window, studio, panels, overlays
        self._wheel = wheel
        self._size, self._passed = (1, 1), 0.0
        self._events: tuple[list[Any], list[Any]] = ([], [])  # keys pressed and released
        self._button: Any = None  # the mouse button that is dragging the scene
        self._mouse: Pixel = (0.0, 0.0)
        self._shift = False  # whether it was down in the last frame
        self._over_panel = False  # whether the left button went down on a panel
        self._grip: Handle | None = None  # what it went down on among the cards
        self._clicked = (0.0, (-1.0, -1.0))  # when and where it last went down on the scene
        self._warned = False  # that closing loses something, and nothing was done since

    @property
    def _session(self) -> Session | None:
        return self._studio.session

    def listen(self, size: tuple[int, int], passed: float) -> None:
        """Do what was done in the ``passed`` seconds since the last frame of a window of ``size`` pixels."""
        self._size, self._passed = size, passed
        self._poll()  # first, because it renews the cursor
        (pressed, released), self._events = self._events, ([], [])
        x, y = self._window.get_cursor_pos()
        mouse = (x * size[0], (1.0 - y) * size[1])
        if pressed or released or self._over_panel:
            self.touched = time.perf_counter()
        held = self._window.is_pressed(ti.ui.SHIFT)
        shift, self._shift = held or self._shift or ti.ui.SHIFT in pressed, held  # it may be up again by now
        for key in pressed:
            self._warned &= key == ti.ui.ESCAPE
            if key in (ti.ui.LMB, ti.ui.MMB, ti.ui.RMB):
                self._press(key, mouse)
            elif self._typing:
                self._type(key)
            else:
                self._key(key, shift)
        if mouse != self._mouse:
            self._panels.move(*mouse)
            if self._panels.covers(*mouse) or self._panels.covers(*self._mouse):
                self.touched = time.perf_counter()  # a button lights up under it
        if self._crop is not None and (self._crop.held or mouse != self._mouse):
            self._move_face(self._crop, mouse)
        if self._grip is not None:
            self._pull(self._grip, mouse)
        elif self._button is not None:
            self._drag(mouse)
        elif mouse != self._mouse and not self._over_panel and not self._panels.covers(*mouse):
            self._move_divider(mouse)
        self._mouse = mouse
        if self._button in released or not (self._button and self._window.is_pressed(self._button)):
            self._button = None
        if ti.ui.LMB in released:
            if self._over_panel:
                self._panels.release(*mouse)
            self._over_panel, self._grip = False, None
            if self._crop is not None:
                self._crop.let_go()
        self._turn_wheel(mouse)
        self._turn_pages()
        self._fly(passed)

    @property
    def waits(self) -> bool:
        """Whether somebody has just done something, and waits to see what comes of it."""
        return time.perf_counter() - self.touched < _REST_AFTER

    def nap(self, seconds: float) -> None:
        """Nothing is to be done: leave the machine alone for so long, or until a hand does something."""
        end, cursor = time.perf_counter() + seconds, self.cursor
        while time.perf_counter() < end and not self.stirs(cursor):
            time.sleep(_POLL)

    @property
    def cursor(self) -> Pixel:
        """Where the mouse is, as GGUI tells it."""
        x, y = self._window.get_cursor_pos()
        return x, y

    def stirs(self, cursor: Pixel) -> bool:
        """Whether a hand has done anything since the last turn, or moved the mouse away from ``cursor``."""
        self._poll()
        return any(self._events) or self.cursor != cursor or bool(self._wheel.turned)

    def _poll(self) -> None:
        """Take in what keys and buttons did. Both kinds have to be asked for, or GGUI keeps the other for ever."""
        for kind, keys in zip((ti.ui.PRESS, ti.ui.RELEASE), self._events, strict=True):
            keys += [event.key for event in self._window.get_events(kind)]

    # The mouse

    def _press(self, button: Any, mouse: Pixel) -> None:
        left = button == ti.ui.LMB
        self._mouse = mouse
        if self._panels.covers(*mouse):
            if left:
                self._over_panel = self._panels.press(*mouse)
        elif left and (grip := handle_at(self._overlays.handles, *mouse)) is not None:
            self._grip = grip
            if grip.what != "level" and self._session is not None:
                self._dolly(-_KEY_DOLLY if grip.what == "nearer" else _KEY_DOLLY)
        elif left and (face := self._face_at(mouse)) is not None:
            if self._crop is not None and self._session is not None:
                self._crop.take(face, self._session.viewpoint.frame_camera(*self._size), *mouse)
        elif self._button is None or button == self._button:  # both clicks of two may be told at once
            self._button = button
            if left:
                self._click(mouse)

    def _click(self, mouse: Pixel) -> None:
        """The second click within a moment has the camera turn about what lies there."""
        now, ((then, place), session) = time.perf_counter(), (self._clicked, self._session)
        self._clicked = now, mouse
        soon = now - then < max(_TWICE, 1.5 * self._passed)  # where turns take long, it was told late
        if soon and max(abs(a - b) for a, b in zip(mouse, place)) < _NEAR and session is not None:
            self._clicked = 0.0, mouse
            centre_on(session, *mouse)

    def _pull(self, grip: Handle, mouse: Pixel) -> None:
        """Show the level that the mouse is at on a bar or a plot."""
        level, session = grip.level_at(*mouse), self._session
        if level is not None and session is not None and level != session.levels.shown:
            self.touched = time.perf_counter()
            if session.demo:
                session.toggle_demo()
            session.levels.choose(level)

    @property
    def _crop(self) -> CropBox | None:
        """The box that is dragged while its page is open."""
        menu, session = self._panels.menu, self._session
        if session is None or session.demo or menu.hidden or menu.page != "crop":
            return None
        return session.keeper.crop

    def _face_at(self, mouse: Pixel) -> int | None:
        """The face of the box whose handle is under the mouse."""
        crop, session = self._crop, self._session
        if crop is None or session is None or self._panels.covers(*mouse):
            return None
        return crop.at(session.viewpoint.frame_camera(*self._size), *mouse, REACH * scale(*self._size))

    def _move_face(self, crop: CropBox, mouse: Pixel) -> None:
        """Move the face that is held, or light up the one under the mouse."""
        session = self._session
        if session is None:
            return
        before = crop.hot, crop.box.tolist()
        if crop.held:
            crop.pull(session.viewpoint.frame_camera(*self._size), *mouse)
        else:
            crop.hot = self._face_at(mouse) if self._button is None else None
        if before != (crop.hot, crop.box.tolist()):
            self.touched = time.perf_counter()

    def _turn_wheel(self, mouse: Pixel) -> None:
        """Come nearer with the wheel turned forwards; over the panels it does nothing."""
        clicks = self._wheel.take()
        if clicks and self._session is not None and not self._panels.covers(*mouse):
            self._dolly(-2 * _KEY_DOLLY * clicks)

    def _turn_pages(self) -> None:
        """Step the demonstration with Page Up and Page Down, as a presenter's remote does."""
        pages, session = self._wheel.take_pages(), self._session
        if pages and session is not None and session.demonstration is not None:
            self.touched = time.perf_counter()
            session.demonstration.step(pages)

    def _dolly(self, down: float) -> None:
        session = self._session
        assert session is not None
        self.touched = time.perf_counter()
        if session.demo:
            session.toggle_demo()
        session.orbit.dolly(down, 1)

    def _drag(self, mouse: Pixel) -> None:
        right, down = mouse[0] - self._mouse[0], mouse[1] - self._mouse[1]
        session, height = self._session, self._size[1]
        if session is None or right == down == 0:
            return
        if max(abs(a - b) for a, b in zip(mouse, self._clicked[1])) >= _NEAR:
            self._clicked = 0.0, mouse  # a drag is no click
        self.touched = time.perf_counter()
        if session.demo:
            session.toggle_demo()
        if self._button == ti.ui.RMB:
            session.orbit.dolly(down, height)
        elif self._button == ti.ui.MMB or self._window.is_pressed(ti.ui.SHIFT):
            session.viewpoint.pan(right, down, height)
        else:
            session.viewpoint.drag(right, down, height)

    def _move_divider(self, mouse: Pixel) -> None:
        session = self._session
        if session is not None and session.compare != "off" and session.layout == "wipe":
            session.divider = min(max(mouse[0] / self._size[0], 0.0), 1.0)
            self.touched = time.perf_counter()

    # The keys

    @property
    def _typing(self) -> bool:
        """Whether a name is being typed into the path."""
        return self._panels.menu.chooser.typed is not None and not self._panels.menu.hidden

    def _type(self, key: Any) -> None:
        """Find a name in the folder that is looked into."""
        chooser = self._panels.menu.chooser
        if key == ti.ui.ESCAPE:
            chooser.typed = None
        elif key == ti.ui.TAB:
            chooser.complete()
        elif key == ti.ui.BACKSPACE:
            chooser.back()
        elif key == ti.ui.RETURN:
            open_first(self._panels.menu, self._studio)
        elif isinstance(key, str) and len(key) == 1 and key.isalpha():
            chooser.type(key)

    def _fly(self, seconds: float) -> None:
        """Fly as long as its keys are down."""
        ways = [way for key, way in _WAY.items() if self._window.is_pressed(key)]
        session = self._session
        if not ways or session is None or session.demo or self._typing or self._panels.menu.page in ("open", "place"):
            return
        self.touched = time.perf_counter()
        speed = _FASTER if self._window.is_pressed(ti.ui.SHIFT) else 1.0
        right, up, forward = (speed * sum(parts) for parts in zip(*ways, strict=True))
        session.viewpoint.fly(right, up, forward, seconds)

    def _key(self, key: Any, shift: bool) -> None:
        panels, session = self._panels, self._session
        if key == ti.ui.ESCAPE:
            self._escape()
            return
        if key == ti.ui.TAB:
            panels.menu.hidden = not panels.menu.hidden
        elif key == "y":
            panels.menu.times = not panels.menu.times
        elif key in ("h", "o"):
            panels.menu.turn_to({"h": "help", "o": "open"}[key])
        elif session is not None:
            self._session_key(session, key, -1 if shift else 1)

    def _session_key(self, session: Session, key: Any, backwards: int) -> None:
        actions: dict[Any, Callable[[], object]] = {
            ti.ui.LEFT: lambda: session.levels.step(-1),
            ti.ui.RIGHT: lambda: session.levels.step(1),
            ti.ui.UP: lambda: session.orbit.dolly(-_KEY_DOLLY, 1),
            ti.ui.DOWN: lambda: session.orbit.dolly(_KEY_DOLLY, 1),
            ti.ui.SPACE: session.toggle_training,
            "r": session.reset_view,
            "f": session.viewpoint.toggle_flying,
            "m": lambda: session.next_mode(backwards),
            "v": lambda: session.next_view(backwards),
            "b": session.other_split,
            "c": partial(self._compare, session),
            "x": session.next_layout,
            "g": session.toggle_demo,
            "p": session.keeper.picture if backwards == 1 else self._ask_for_all,
            "t": session.keeper.turntable,
            "k": session.keeper.add_keyframe,
            "j": session.keeper.camera,
            "n": session.keeper.level,
        }
        if key not in actions:
            return
        if session.demonstration is not None and key in _STEPS:
            session.demonstration.step(_STEPS[key])
            return
        if session.demo and key not in _GO_WITH_DEMO:
            session.toggle_demo()  # or the demonstration would undo it with its next picture
        actions[key]()

    def _compare(self, session: Session) -> None:
        """Compare with the next there is; the line between two begins in the middle of what nothing covers."""
        if session.compare == "off":
            left, right, _ = session.viewpoint.covered
            session.divider = 0.5 + (left - right) / (2 * self._size[0])
        session.next_compare()

    def _escape(self) -> None:
        """Out of the demonstration, or of a page, or of the window; the last not before what was trained is saved."""
        session, panels = self._session, self._panels
        if session is not None and session.demo:
            session.toggle_demo()
        elif session is not None and panels.menu.page is not None and not panels.menu.hidden:
            panels.menu.page = None
        else:
            self.closed = self._warned or self._may_close()
            self._warned = True

    def _may_close(self) -> bool:
        """Whether closing loses nothing; if it would, the person is told that the next press closes all the same."""
        again = "press escape again to close all the same"
        try:
            self._studio.save()
        except (UserError, OSError) as error:
            self._studio.say(f"what was trained cannot be saved: {error}; {again}", alarm=True)
            return False
        session = self._session
        if session is not None and session.recording is not None:
            self._studio.say(f"the {session.recording.what} is not done; {again}", alarm=True)
            return False
        return True

    def _ask_for_all(self) -> None:
        self.wants_all = True
