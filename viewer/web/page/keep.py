"""The part of a browser's panel that makes pictures, videos, models and pages, and sends them to that browser.

They are made in a folder of this computer that is for that visitor alone, and are gone from there once they are sent;
a page, which the browser fetches by a link, when another is made or the visitor goes.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from taichi_rf.core.sizes import megabytes
from viewer.session.keep import Job
from viewer.session.session import Session
from viewer.web.client_events import Deeds
from viewer.web.offers import LARGEST, Offers
from viewer.web.page.controls import Controls
from viewer.web.page.figures import percent
from viewer.web.wire import Wire

_LARGEST = 256 * 2**20  # bytes of a file, all of which is in memory while it is sent
_PAGE = "A page that holds the model and is drawn by your own computer; saved, it needs nothing else"
_LINK = """<div style="padding: 0 0.75em 0.5em; font-size: 0.875em"><a href="{address}" target="_blank" rel="noopener">
Open the page</a> ({size}), or save it</div>"""
_PART = 2**18  # bytes of a message, between which pictures go


class KeepPage:
    """Makes what one browser asks for, one thing at a time.

    Args:
        client: viser's handle of the browser.
        controls: of that browser.
        wire: to viser's loop, which sends.
        offers: where the server looks for pages.
    """

    def __init__(self, client: Any, controls: Controls, wire: Wire, offers: Offers) -> None:
        self._client, self._controls, self._wire, self._offers = client, controls, wire, offers
        self._job: Job | None = None

    def lay_out(self) -> None:
        """Add the controls. On viser's loop."""
        controls, gui = self._controls, self._controls.gui
        self._job = None
        with gui.add_folder("Download", expand_by_default=False):
            controls.button("picture", gui.add_button("Picture (PNG)"))
            controls.button("turntable", gui.add_button("Turntable (video)"))
            controls.choice("sweep", gui.add_checkbox("Sweep", False, hint="Through all levels"))
            controls.button("model", gui.add_button("Model at this level (.trf)"))
            controls.button("page", gui.add_button("Render in this browser", hint=_PAGE))
            controls.add("link", gui.add_html("", visible=False))
            controls.add("keeping", gui.add_progress_bar(0.0, visible=False))
            controls.button("give up", gui.add_button("Cancel", visible=False))

    def apply(self, session: Session, deeds: Deeds) -> None:
        """Begin what was asked for."""
        keeper = session.keeper
        if "sweep" in deeds.values:
            keeper.film.sweep = bool(deeds.values["sweep"])
        for name in deeds.presses:
            if name == "picture":
                keeper.picture(*session.size)
            elif name == "turntable":
                keeper.turntable()
            elif name == "model":
                path = keeper.level()
                if path is not None:
                    self._send(session, path)
            elif name == "page":
                self._offer(session)
            elif name == "give up":
                keeper.cancel()
        if keeper.job is not None:
            self._job = keeper.job

    def advance(self, session: Session, budget: float) -> None:
        """Work on what was begun for about ``budget`` seconds, and send it when it is done."""
        session.keeper.advance(budget)
        job = self._job
        if job is not None and session.keeper.job is None:
            self._job = None
            if job.done and job.failure is None:
                self._send(session, job.path)

    def refresh(self, session: Session) -> None:
        """Show how far it is."""
        job, put = session.keeper.job, self._controls.set
        put("keeping", visible=job is not None)
        put("give up", visible=job is not None)
        for name in ("picture", "turntable"):
            put(name, disabled=job is not None)
        if job is not None:
            put("keeping", value=percent(job.progress))

    def _offer(self, session: Session) -> None:
        """Make a page that shows the model without this computer, and put a link to it."""
        path = session.keeper.web_page()
        if path is None:
            return
        size = path.stat().st_size
        if size > LARGEST:
            session.say(f"{path.name} is too large to be sent ({megabytes(size)})", alarm=True)
            path.unlink()
            return
        address = self._offers.offer(self._client.client_id, path)
        self._controls.set("link", content=_LINK.format(address=address, size=megabytes(size)), visible=True)

    def _send(self, session: Session, path: Path) -> None:
        """Send a file to the browser, which puts it where its person keeps what was downloaded."""
        size = path.stat().st_size
        if size > _LARGEST:
            session.say(f"{path.name} is too large to be sent ({megabytes(size)})", alarm=True)
        else:
            content = path.read_bytes()
            self._wire.post(self._client.send_file_download, path.name, content, _PART, True)
            session.say(f"{path.name} is on its way to your browser ({megabytes(size)})")
        with contextlib.suppress(OSError):
            path.unlink()
