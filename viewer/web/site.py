"""The viewer in a browser: passes what browsers do to the session, and its pictures to them.

It is for machines without a screen.

There is one loop, on the caller's thread, as in the window. What browsers send comes in on viser's thread, which only
stores it; nothing of it is trusted. What they are sent goes out on viser's thread, too. All browsers show the same
picture, and whoever moves the camera moves it for all. A fault of a page never ends a training.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from viewer.app.studio import Studio
from viewer.overlay.overlay import Overlays, blend
from viewer.overlay.screen import screen
from viewer.overlay.stats import Stats
from viewer.session.session import Session
from viewer.session.stats import stats_of
from viewer.web.client_events import ClientEvents, Report
from viewer.web.complaints import Complaints
from viewer.web.frame_sender import Bytes, FrameSender
from viewer.web.panel import Panel, Waiting
from viewer.web.server import quiet, start
from viewer.web.wire import Wire

_LONGEST_SHAPE = 8  # times as long as the other side, at most
_LARGEST = 1920 * 1080  # pixels; a larger browser shows its picture magnified
_SLOT = 0.04  # seconds of drawing and training together, while somebody watches
_DRAWING = (0.03, 0.1)  # seconds of rendering in a turn of the loop: while a hand moves things, and when it rests
_DEMONSTRATING = 0.06  # and while it moves by itself: few sharp pictures are nicer than many coarse ones
_RESTS_AFTER = 0.3  # seconds without a hand
_UNWATCHED = 0.1  # seconds of training in a turn while nobody watches
_REST = 0.2  # seconds to sleep when there is nothing to do; a message from a browser ends it
_STILL = 0.25  # seconds that the camera has to rest before the browsers' own cameras are moved to where it is
_DEAF = 2.0  # seconds in which what a browser says of its camera may be from before it was moved; its echo ends them
_WORKERS = 2  # threads that compress pictures, for all browsers
_QUALITY = (80, 92)  # of JPEGs: while the picture changes, and when it is sharp


def serve(
    studio: Studio,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    stop: Callable[[], bool],
    ready: Callable[[str], None] | None = None,
) -> None:
    """Show what a studio shows to browsers until ``stop()`` says so, and train meanwhile if it is trained.

    The studio is the caller's to close, also when an exception (Ctrl-C) comes through with the server down. Whoever
    can reach ``host`` can look and steer: for anything but loopback, tell the user.

    Args:
        studio: its session is shown, and the next one when it has loaded another.
        port: 0 takes any that is free.
        stop: asked at least five times a second, and between two pictures.
        ready: called once with the page's address.

    Raises:
        UserError: viser is not installed, or the address cannot be used.
    """
    complain = Complaints()
    server = start(host, port, complain)
    with quiet():  # viser prints when a page of another version comes
        try:
            if ready is not None:
                ready(f"http://{f'[{host}]' if ':' in host else host}:{server.get_port()}")
            site = Site(server, studio, complain=complain)
            while not stop():
                site.turn()
        finally:
            server.stop()


class Visitor:
    """One browser: its size, where its own camera stands, and what sends it pictures."""

    def __init__(self, client: Any, sender: FrameSender) -> None:
        self.client, self.sender = client, sender
        self.size = (0, 0)  # of its picture, in pixels; nothing is known yet
        self.stands: Report | None = None  # where its camera is, as far as is known
        self.deaf_until = 0.0


class Site:
    """One server over one studio; each :meth:`turn` is one of the loop."""

    def __init__(
        self,
        server: Any,
        studio: Studio,
        clock: Callable[[], float] = time.monotonic,
        complain: Complaints | None = None,
    ) -> None:
        self._server, self._studio, self._clock = server, studio, clock
        self._complain = complain or Complaints()
        self._wire = Wire(server.get_event_loop(), self._complain)
        self._workers = ThreadPoolExecutor(_WORKERS, "pictures")
        self._client_events = ClientEvents()
        self._visitors: dict[int, Visitor] = {}
        self._leader: int | None = None  # whose camera and size count
        self._overlays = Overlays(clock)
        self._picture: npt.NDArray[np.uint32] = np.zeros((1, 1), np.uint32)  # (H, W): red, green and blue in a word
        self._version = 0  # of the picture
        self._shown: object = None  # what the last complete picture showed
        self._stood: Report | None = None  # where the session's camera was
        self._still_since = 0.0  # when it last moved
        self._touched = 0.0  # when somebody last did something
        self._panel = Panel(server, self._client_events, self._wire)
        server.on_client_connect(self._client_events.join)
        server.on_client_disconnect(self._client_events.leave)
        self._session: Session | None = None
        self._enter()

    def turn(self) -> None:
        """What the browsers did, a picture for those who can take one, and then the training."""
        self._enter()
        due, more = float("inf"), False
        try:
            due, more = self._attend(self._clock())
        except Exception as error:  # of drawing, of a session: never a reason to end what is trained
            self._complain("the pages could not be served", error)
        if self._session is None:
            self._client_events.wait(_REST)
        elif not self._work(self._session) and not more:
            self._client_events.wait(min(due, _REST) if due > 0.0 else _REST)

    def _attend(self, now: float) -> tuple[float, bool]:
        """Serve the browsers; return the seconds until one can take a picture, and whether drawing is to go on."""
        session = self._session
        self._listen(now)
        if session is None:
            self._wait(Waiting.of(self._studio))
            return float("inf"), False
        due = min((visitor.sender.due for visitor in self._watching), default=float("inf"))
        more = self._show(session, due == 0.0)
        self._guide(session, now)
        if due == 0.0:
            self._panel.refresh(session, now)
        return due, more

    def _work(self, session: Session) -> bool:
        """Train, record or evaluate; say whether there is more of it to do at once."""
        busy = session.training or session.recording is not None or self._studio.evaluating is not None
        budget = _UNWATCHED if busy and not self._visitors else session.share * _SLOT
        session.work(budget)
        self._studio.advance(budget)
        return busy

    @property
    def _watching(self) -> list[Visitor]:
        return [visitor for visitor in self._visitors.values() if visitor.size != (0, 0)]

    def _enter(self) -> None:
        """Take up the session there is now."""
        if self._studio.ready:
            self._announce()
            self._studio.switch()
            self._session = None
        session = self._studio.session
        if session is self._session:
            return
        self._session, self._shown = session, None
        if session is not None:
            try:
                self._wire.call(self._look_from, standing(session))
                self._panel.build(session)
            except Exception as error:
                self._complain("the page could not be laid out", error)

    def _announce(self) -> None:
        """Say that another session is on its way; nothing is answered until it is there."""
        try:
            self._wait(Waiting("Preparing", ("It will be here in a moment.",), 1.0))
        except Exception as error:
            self._complain("the pages could not be served", error)

    def _look_from(self, first: Report) -> None:
        view = self._server.initial_camera
        self._server.scene.set_up_direction(first.up)
        view.position, view.look_at, view.up = first.position, first.target, first.up
        view.fov = first.field_of_view

    # What comes in

    def _listen(self, now: float) -> None:
        events = self._client_events.take()
        if events.cameras or events.values or events.presses:
            self._touched = now
        for client in events.joined:
            sender = FrameSender(
                client, self._client_events.wake, self._wire, self._workers, self._complain, self._clock
            )
            self._visitors[client.client_id] = Visitor(client, sender)
        for number in events.left & self._visitors.keys():
            self._visitors.pop(number).sender.dismiss()
        for number, report in events.cameras.items():
            if number in self._visitors:
                self._try(self._moved, number, report, now)
        if self._leader not in self._visitors:
            self._leader = next(iter(self._visitors), None)
        if self._session is not None:
            self._try(self._panel.apply, self._session, events)
        elif events.presses["start"]:
            self._studio.start()

    def _try(self, act: Callable[..., object], *arguments: Any) -> None:
        """Do something for one page; where that fails, the others are none the worse."""
        try:
            act(*arguments)
        except Exception as error:
            self._complain("what a page wished could not be done", error)

    def _moved(self, number: int, report: Report, now: float) -> None:
        """A browser says where its camera is: moved by hand, moved by us, or where it was in a window of new size."""
        visitor, session = self._visitors[number], self._session
        known = visitor.stands
        visitor.size = resized(visitor.size, bounded(report.width, report.height))
        if known is None:
            visitor.stands = report
        elif report.near(known):
            visitor.deaf_until = 0.0
        elif now >= visitor.deaf_until and session is not None:
            visitor.stands, self._leader = report, number
            if session.demo:
                session.toggle_demo()
            place = report.within(session.model.world_box)
            session.orbit.stand(place.position, place.target, place.up, place.field_of_view)
            self._stood, self._still_since = standing(session), now

    # What goes out

    def _show(self, session: Session, due: bool) -> bool:
        """Work on the picture and hand it to who can take it; say whether there is more to do at once."""
        if self._leader is None or self._visitors[self._leader].size == (0, 0):
            return False
        width, height = self._visitors[self._leader].size
        stats = replace(stats_of(session), picture=None, pictures=())  # no reason for another picture
        what = _what(session, stats, width, height)
        if not due and (session.training or session.demo or what == self._shown):
            return False
        if what != self._shown:
            session.frame(width, height, self._budget(session))
            self._take_picture(session, stats)
            self._shown = what if session.composer.complete and not session.demo else None
        self._send()
        return self._shown is None

    def _wait(self, waiting: Waiting) -> None:
        """Show what there is to read while there is nothing to look at."""
        self._panel.wait_for(waiting)
        width, height = (0, 0) if self._leader is None else self._visitors[self._leader].size
        what = repr((waiting, width, height))
        if width and what != self._shown:
            picture = np.zeros((height, width), np.uint32)
            _bytes(picture)[:] = screen(waiting.title, waiting.lines, waiting.progress, width, height)
            self._picture, self._version, self._shown = picture, self._version + 1, what
        self._send()

    def _send(self) -> None:
        """Hand the picture to who has not had it and can take it."""
        for visitor in self._watching:
            if visitor.sender.version != self._version and visitor.sender.due == 0.0:
                quality = _QUALITY[self._shown is not None]
                self._try(visitor.sender.send, _bytes(self._picture), self._version, quality, visitor.size)

    def _budget(self, session: Session) -> float:
        """Seconds for drawing. A picture that only sharpens is sent less often, which leaves more time for it."""
        if session.training:
            return (1 - session.share) * _SLOT
        if session.demo:
            return _DEMONSTRATING
        return _DRAWING[self._clock() - self._touched > _RESTS_AFTER]

    def _take_picture(self, session: Session, stats: Stats) -> None:
        """Keep a copy of the picture, with what is laid over it; under a new version, if it is another one."""
        picture = np.ascontiguousarray(session.composer.canvas.view(np.uint32)[..., 0].T[::-1])
        height, width = picture.shape
        blend(_bytes(picture), self._overlays.draw(stats, None, None, width, height))
        if not np.array_equal(picture, self._picture):
            self._picture, self._version = picture, self._version + 1

    def _guide(self, session: Session, now: float) -> None:
        """Move the browsers' own cameras to the session's, so that a drag goes on from there.

        At once when it jumped; but where a hand moves it, others follow when it rests, and so does that browser itself
        if it went where one cannot stand.
        """
        here = standing(session)
        jumped = self._stood is None or not here.near(self._stood)
        self._stood = here
        if jumped:
            self._still_since = now
        if session.demo or not (jumped or now - self._still_since >= _STILL):
            return
        for visitor in self._watching:
            if visitor.stands is not None and not here.near(visitor.stands):
                visitor.stands, visitor.deaf_until = here, now + _DEAF
                self._wire.post(move, visitor.client, here)


def bounded(width: int, height: int) -> tuple[int, int]:
    """The size of the picture for a browser of ``width`` x ``height``: not too many pixels, and the same shape.

    A window that is hardly more than a line gets a picture of the longest shape there is.
    """
    width, height = max(width, 16), max(height, 16)
    width, height = min(width, _LONGEST_SHAPE * height), min(height, _LONGEST_SHAPE * width)
    scale = min(1.0, (_LARGEST / (width * height)) ** 0.5)
    return max(int(width * scale), 16), max(int(height * scale), 16)


def resized(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    """The size that a browser's picture gets when it was ``old`` and the browser says ``new``.

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


def _what(session: Session, stats: Stats, width: int, height: int) -> str:
    """All that the picture and what is laid over it depend on."""
    iteration = session.trainer.iteration if session.trainer is not None else 0
    arriving = stats.arriving
    if arriving is not None:  # a few bytes more are no reason for another picture
        arriving = replace(arriving, progress=round(arriving.progress, 2), received=0, trouble=None)
    shown = replace(stats, divisor=0, complete=False, training=None, arriving=arriving)
    return repr((id(session), iteration, shown, session.levels.other, session.orbit.state(), width, height))


def _bytes(picture: npt.NDArray[np.uint32]) -> Bytes:
    """The picture's own memory as (H, W, 3)."""
    return picture[..., None].view(np.uint8)[..., :3]


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
