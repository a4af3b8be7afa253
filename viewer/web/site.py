"""The viewer in a browser: passes what browsers do to their sessions, and their pictures to them.

It is for machines without a screen, and for several people at once.

There is one loop, on the caller's thread, as in the window. What browsers send comes in on viser's thread, which only
stores it; nothing of it is trusted. What they are sent goes out on viser's thread, too. Every visitor has a session
over the same model, with a camera, a level and a mode of their own; pictures are drawn for one visitor after the other.
Only training, and what is opened, is everybody's. A fault of a page never ends a training.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from viewer.app.studio import Studio
from viewer.session.session import Session
from viewer.web.client_events import ClientEvents, Deeds, Report
from viewer.web.complaints import Complaints
from viewer.web.frame_sender import FrameSender
from viewer.web.offers import Offers
from viewer.web.page.page import Page, Waiting
from viewer.web.page.places import Places
from viewer.web.server import quiet, start
from viewer.web.visitor import Visitor, standing
from viewer.web.wire import Wire

_SLOT = 0.04  # seconds of drawing and training together, while somebody watches
_DRAWING = (0.03, 0.1)  # seconds of rendering in a turn of the loop: while a hand moves things, and when all rest
_DEMONSTRATING = 0.06  # and while it moves by itself: few sharp pictures are nicer than many coarse ones
_RESTS_AFTER = 0.3  # seconds without a hand
_UNWATCHED = 0.1  # seconds of training in a turn while nobody watches
_REST = 0.2  # seconds to sleep when there is nothing to do; a message from a browser ends it
_WORKERS = 2  # threads that compress pictures, for all browsers


def serve(
    studio: Studio,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    stop: Callable[[], bool],
    ready: Callable[[str], None] | None = None,
    root: Path | None = None,
) -> None:
    """Show what a studio shows to browsers until ``stop()`` says so, and train meanwhile if it is trained.

    The studio is the caller's to close, also when an exception (Ctrl-C) comes through with the server down. Whoever
    can reach ``host`` can look and steer: for anything but loopback, tell the user.

    Args:
        studio: its session is shown, and the next one when it has loaded another.
        port: 0 takes any that is free.
        stop: asked at least five times a second, and between two pictures.
        ready: called once with the page's address.
        root: the folder from which pages may have scenes, runs and models opened; None where they may not.

    Raises:
        UserError: viser is not installed, or the address cannot be used.
    """
    complain, offers = Complaints(), Offers()
    server = start(host, port, complain, offers)
    with quiet(), tempfile.TemporaryDirectory(prefix="taichi-rf-web-") as folder:
        try:
            if ready is not None:
                ready(f"http://{f'[{host}]' if ':' in host else host}:{server.get_port()}")
            site = Site(server, studio, complain=complain, root=root, folder=Path(folder), offers=offers)
            while not stop():
                site.turn()
        finally:
            server.stop()


class Site:
    """All browsers at one studio.

    Args:
        server: viser's.
        studio: what is shown.
        clock: seconds.
        complain: told of what goes wrong with a page.
        root: see :func:`serve`.
        folder: where what visitors download is made; the working directory when None.
        offers: where the server looks for pages that were made for visitors.
    """

    def __init__(
        self,
        server: Any,
        studio: Studio,
        clock: Callable[[], float] = time.monotonic,
        complain: Complaints | None = None,
        root: Path | None = None,
        folder: Path | None = None,
        offers: Offers | None = None,
    ) -> None:
        self._offers = offers or Offers()
        self._server, self._studio, self._clock = server, studio, clock
        self._complain = complain or Complaints()
        self._wire = Wire(server.get_event_loop(), self._complain)
        self._workers = ThreadPoolExecutor(_WORKERS, "pictures")
        self._client_events = ClientEvents()
        self._places, self._folder = Places(root), folder or Path()
        self._visitors: dict[int, Visitor] = {}
        self._touched = 0.0  # when somebody last did something
        server.on_client_connect(self._client_events.join)
        server.on_client_disconnect(self._client_events.leave)
        self._session: Session | None = None  # the first: visitors begin as it does, and nobody looks at it
        self._enter()

    def turn(self) -> None:
        """What the browsers did, a picture for one of those who can take one, and then the training."""
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
        self._listen(now)
        if self._session is None:
            self._wait(Waiting.of(self._studio, self._places), now)
            return float("inf"), False
        waits = {visitor: visitor.sender.due for visitor in self._watching}
        more = self._show(self._session, now)
        for visitor, due in waits.items():
            visitor.guide(now)
            if visitor.session is not None and due == 0.0:
                self._try(visitor.page.refresh, visitor.session, now, len(self._visitors))
        return min(waits.values(), default=float("inf")), more

    def _work(self, session: Session) -> bool:
        """Train, record or evaluate; say whether there is more of it to do at once."""
        keeps = next((visitor for visitor in self._visitors.values() if visitor.keeps), None)
        busy = session.training or self._studio.evaluating is not None
        budget = _UNWATCHED if busy and not self._visitors else session.share * _SLOT
        if keeps is not None:  # one at a time: the longest there
            own = budget / 2 if busy else budget
            self._try(keeps.advance, own)
            budget -= own
        session.work(budget)
        self._studio.advance(budget)
        return busy or keeps is not None

    @property
    def visitors(self) -> list[Visitor]:
        """Those who are there, the longest first."""
        return list(self._visitors.values())

    @property
    def _watching(self) -> list[Visitor]:
        return [visitor for visitor in self._visitors.values() if visitor.watches]

    def _enter(self) -> None:
        """Take up the session there is now."""
        if self._studio.ready:
            self._announce()
            for visitor in self._visitors.values():
                visitor.leave_session()
            self._studio.progress = self._prepares
            self._studio.switch()
            self._studio.progress = self._session = None
        session = self._studio.session
        if session is self._session:
            return
        self._session = session
        if session is not None:
            try:
                self._wire.call(self._look_from, standing(session))
            except Exception as error:
                self._complain("the pages could not be laid out", error)
        for visitor in self._visitors.values():
            self._try(self._admit, visitor)

    def _admit(self, visitor: Visitor) -> None:
        """Have a visitor look at what there is."""
        session = self._session
        visitor.enter(None if session is None else session.guest(self._folder / str(visitor.client.client_id)))

    def _announce(self) -> None:
        """Say that another session is on its way; nothing is answered until it is there."""
        waiting = Waiting("Preparing", ("It will be here in a moment.",))
        try:
            for visitor in self._visitors.values():
                visitor.page.build(None)
            self._wait(waiting, self._clock())
        except Exception as error:
            self._complain("the pages could not be served", error)

    def _prepares(self, text: str, share: float) -> None:
        """Say how far another session is."""
        self._wait(Waiting("Preparing", (text,), share), self._clock())

    def _look_from(self, first: Report) -> None:
        view = self._server.initial_camera
        self._server.scene.set_up_direction(first.up)
        view.position, view.look_at, view.up = first.position, first.target, first.up
        view.fov = first.field_of_view

    # What comes in

    def _listen(self, now: float) -> None:
        events = self._client_events.take()
        before = len(self._visitors)
        for client in events.joined:
            sender = FrameSender(
                client, self._client_events.wake, self._wire, self._workers, self._complain, self._clock
            )
            page = Page(client, self._client_events, self._wire, self._studio, self._places, self._offers)
            self._visitors[client.client_id] = visitor = Visitor(client, sender, page, self._wire, self._clock)
            self._try(self._admit, visitor)
        for number in events.left & self._visitors.keys():
            self._visitors.pop(number).leave()
            self._offers.withdraw(number)
        if len(self._visitors) != before:
            for visitor in self._visitors.values():
                visitor.fit(len(self._visitors))
        for number, deeds in events.deeds.items():
            if number in self._visitors:
                self._touched = now
                self._try(self._hear, self._visitors[number], deeds, now)

    def _hear(self, visitor: Visitor, deeds: Deeds, now: float) -> None:
        if deeds.camera is not None:
            visitor.moved(deeds.camera, now, len(self._visitors))
        visitor.page.apply(visitor.session, deeds)

    def _try(self, act: Callable[..., object], *arguments: Any) -> None:
        """Do something for one page; where that fails, the others are none the worse."""
        try:
            act(*arguments)
        except Exception as error:
            self._complain("what a page wished could not be done", error)

    # What goes out

    def _show(self, session: Session, now: float) -> bool:
        """Draw for the visitor who has waited longest; say whether there is more to do at once.

        While the model or the camera moves by itself nothing is drawn that cannot be sent; what only sharpens is.
        """
        behind = []
        for visitor in self._watching:
            mine = visitor.session
            if mine is not None and visitor.behind():
                if visitor.sender.due == 0.0 or not (mine.training or mine.demo):
                    behind.append(visitor)
            else:
                self._try(visitor.send)
        if not behind:
            return False
        visitor = min(behind, key=lambda visitor: visitor.drawn_at)
        visitor.drawn_at = now  # also where drawing fails: it is somebody else's turn then
        self._try(visitor.draw, self._budget(session, visitor))
        return len(behind) > 1 or visitor.behind()

    def _wait(self, waiting: Waiting, now: float) -> None:
        """Show what there is to read while there is nothing to look at."""
        for visitor in self._visitors.values():
            self._try(visitor.wait, waiting, now)

    def _budget(self, session: Session, visitor: Visitor) -> float:
        """Seconds for drawing. A picture that only sharpens is sent less often, which leaves more time for it."""
        if session.training:
            return (1 - session.share) * _SLOT
        if visitor.session is not None and visitor.session.demo:
            return _DEMONSTRATING
        return _DRAWING[self._clock() - self._touched > _RESTS_AFTER]
