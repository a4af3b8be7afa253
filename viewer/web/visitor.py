"""One browser at the viewer: its session with a camera of its own, its page, and the pictures that it is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from viewer.overlay.overlay import Overlays, blend
from viewer.overlay.screen import screen
from viewer.overlay.stats import Stats
from viewer.session.session import Session
from viewer.session.stats import stats_of
from viewer.web.client_events import Report
from viewer.web.frame_sender import Bytes, FrameSender
from viewer.web.page.page import Page, Waiting
from viewer.web.wire import Wire

_LONGEST_SHAPE = 8  # times as long as the other side, at most
LARGEST = 1920 * 1080
"""Pixels of a picture; a larger browser shows its picture magnified."""
_MOST_PIXELS = 4 * LARGEST  # of the pictures of all visitors
_STILL = 0.25  # seconds that the camera has to rest before the browser's own camera is moved to where it is
_DEAF = 2.0  # seconds in which what a browser says of its camera may be from before it was moved; its echo ends them
_QUALITY = (80, 92)  # of JPEGs: while the picture changes, and when it is sharp


class Visitor:
    """One browser.

    Args:
        client: viser's handle of it.
        sender: sends it pictures.
        page: what is beside the picture.
        wire: to viser's loop.
        clock: seconds.
    """

    def __init__(self, client: Any, sender: FrameSender, page: Page, wire: Wire, clock: Callable[[], float]) -> None:
        self.client, self.sender, self.page = client, sender, page
        self.session: Session | None = None
        self.size = (0, 0)
        """Of its picture, in pixels; nothing is known yet."""
        self.drawn_at = 0.0
        """When something was last drawn for it."""
        self._wire = wire
        self._window = (0, 0)  # the browser's own size
        self._overlays = Overlays(clock)
        self._picture: npt.NDArray[np.uint32] = np.zeros((1, 1), np.uint32)  # (H, W): red, green and blue in a word
        self._version = 0  # of the picture
        self._shown: object = None  # what the last complete picture showed
        self._stands: Report | None = None  # where the browser's camera is, as far as is known
        self._deaf_until = 0.0
        self._stood: Report | None = None  # where the session's camera was
        self._still_since = 0.0  # when it last moved

    def enter(self, session: Session | None) -> None:
        """Look at something else from now on, or wait."""
        self.session, self._shown, self._stood = session, None, None
        self.page.build(session)

    def leave_session(self) -> None:
        """What is looked at goes; what was being made of it is dropped."""
        if self.session is not None:
            self.session.keeper.cancel()
        self.session = None

    def leave(self) -> None:
        """The browser has gone."""
        self.sender.dismiss()
        self.leave_session()

    @property
    def keeps(self) -> bool:
        """Whether something is being made for it to download."""
        return self.session is not None and self.session.keeper.job is not None

    def advance(self, budget: float) -> None:
        """Work on that for about ``budget`` seconds."""
        if self.session is not None:
            self.page.advance(self.session, budget)

    @property
    def watches(self) -> bool:
        """Whether the browser has said how large it is."""
        return self.size != (0, 0)

    # What comes in

    def moved(self, report: Report, now: float, visitors: int) -> None:
        """The browser says where its camera is: moved by hand, moved by us, or where it was in a window of new size."""
        known, session = self._stands, self.session
        self._window = resized(self._window, (report.width, report.height))
        self.fit(visitors)
        if known is None:
            self._stands = report
        elif report.near(known):
            self._deaf_until = 0.0
        elif now >= self._deaf_until and session is not None:
            self._stands = report
            if session.demo:
                session.toggle_demo()
            place = report.within(session.model.world_box)
            session.orbit.stand(place.position, place.target, place.up, place.field_of_view)
            self._stood, self._still_since = standing(session), now

    def fit(self, visitors: int) -> None:
        """Take the size that the browser's window asks for and so many visitors leave."""
        if self._window != (0, 0):
            self.size = bounded(*self._window, _MOST_PIXELS // max(visitors, 1))

    # What goes out

    def behind(self) -> bool:
        """Whether there is something to draw: what is shown has changed, or gets sharper."""
        if self.session is None or not self.watches:
            return False
        return _what(self.session, _lasting(self.session), *self.size) != self._shown

    def draw(self, budget: float) -> None:
        """Work on the picture for about ``budget`` seconds, and send it if the browser can take one."""
        session = self.session
        assert session is not None
        stats = _lasting(session)
        what = _what(session, stats, *self.size)
        session.frame(*self.size, budget)
        self._take_picture(session, stats)
        self._shown = what if session.composer.complete and not session.demo else None
        self.send()

    def wait(self, waiting: Waiting, now: float) -> None:
        """Show what there is to read while there is nothing to look at."""
        self.page.wait_for(waiting, now)
        what = repr((waiting, *self.size))
        if self.watches and what != self._shown:
            picture = np.zeros(self.size[::-1], np.uint32)
            _bytes(picture)[:] = screen(waiting.title, waiting.lines, waiting.progress, *self.size)
            self._picture, self._version, self._shown = picture, self._version + 1, what
        self.send()

    def send(self) -> None:
        """Hand the picture to the browser if it has not had it and can take it."""
        if self.watches and self._version and self.sender.version != self._version and self.sender.due == 0.0:
            quality = _QUALITY[self._shown is not None]
            self.sender.send(_bytes(self._picture), self._version, quality)

    def guide(self, now: float) -> None:
        """Move the browser's own camera to the session's, so that a drag goes on from there.

        At once when it jumped; but when a hand moved it where one cannot stand, as soon as it rests.
        """
        session = self.session
        if session is None:
            return
        here = standing(session)
        jumped = self._stood is None or not here.near(self._stood)
        self._stood = here
        if jumped:
            self._still_since = now
        if session.demo or not (jumped or now - self._still_since >= _STILL):
            return
        if self._stands is not None and not here.near(self._stands):
            self._stands, self._deaf_until = here, now + _DEAF
            self._wire.post(move, self.client, here)

    def _take_picture(self, session: Session, stats: Stats) -> None:
        """Keep a copy of the picture, with what is laid over it; under a new version, if it is another one."""
        picture = np.ascontiguousarray(session.composer.canvas.view(np.uint32)[..., 0].T[::-1])
        height, width = picture.shape
        blend(_bytes(picture), self._overlays.draw(stats, None, None, width, height))
        if not np.array_equal(picture, self._picture):
            self._picture, self._version = picture, self._version + 1


def bounded(width: int, height: int, most: int = LARGEST) -> tuple[int, int]:
    """The size of the picture for a browser of ``width`` x ``height``: not too many pixels, and the same shape.

    A window that is hardly more than a line gets a picture of the longest shape there is.

    Args:
        most: pixels.
    """
    width, height = max(width, 16), max(height, 16)
    width, height = min(width, _LONGEST_SHAPE * height), min(height, _LONGEST_SHAPE * width)
    scale = min(1.0, (min(most, LARGEST) / (width * height)) ** 0.5)
    return max(int(width * scale), 16), max(int(height * scale), 16)


def resized(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    """The size that a browser's window is taken to have when it was ``old`` and the browser says ``new``.

    A browser that is slow at drawing takes to fewer pixels in the same window, again and again. Following it would
    begin the picture anew each time, so what only shrinks in proportion stays as it is.
    """
    scales = new[0] / max(old[0], 1), new[1] / max(old[1], 1)
    return old if scales[0] <= 1 and abs(scales[0] - scales[1]) < 0.01 else new


def standing(session: Session) -> Report:
    """Where the session's camera stands."""
    orbit = session.orbit
    position, target = orbit.camera(2, 2).position, orbit.target
    return Report(_triple(position), _triple(target), _triple(orbit.up), float(orbit.field_of_view), 0, 0)


def move(client: Any, to: Report) -> None:
    """Put a browser's own camera somewhere."""
    with client.atomic():
        client.camera.up_direction = to.up
        client.camera.position = to.position
        client.camera.look_at = to.target
        client.camera.fov = to.field_of_view


def _lasting(session: Session) -> Stats:
    """Its numbers without those that are no reason for another picture."""
    return replace(stats_of(session), picture=None, pictures=())


def _what(session: Session, stats: Stats, width: int, height: int) -> str:
    """All that the picture and what is laid over it depend on."""
    iteration = session.trainer.iteration if session.trainer is not None else 0
    arriving = stats.arriving
    if arriving is not None:  # a few bytes more are no reason for another picture
        arriving = replace(arriving, progress=round(arriving.progress, 2), received=0, trouble=None)
    shown = replace(stats, divisor=0, complete=False, training=None, arriving=arriving)
    asked = session.levels.other, session.divider  # stats say where the divider is now, not where it is wanted
    return repr((id(session), iteration, shown, asked, session.orbit.state(), width, height))


def _bytes(picture: npt.NDArray[np.uint32]) -> Bytes:
    """The picture's own memory as (H, W, 3)."""
    return picture[..., None].view(np.uint8)[..., :3]


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
