"""All that is beside the picture in one browser: the panel over its session, or what there is to do without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from viewer.app.catalogue import builtin_scenes
from viewer.app.studio import Studio
from viewer.session.session import Session
from viewer.web.client_events import ClientEvents, Deeds
from viewer.web.offers import Offers
from viewer.web.page.controls import Controls
from viewer.web.page.figures import percent, plain
from viewer.web.page.keep import KeepPage
from viewer.web.page.open import OpenPage
from viewer.web.page.panel import Panel, blank
from viewer.web.page.places import Places
from viewer.web.wire import Wire

_PREVIEW, _ODD = (640, 640), 3  # pixels of the picture of a scene, and how many sentences about it
_TO_CHOOSE = "Choose in the panel what to open: a scene to train, or what was trained."
_NOTHING_OPEN = (
    "Start the viewer again with the name of a run, a model file or a scene:",
    "python run_viewer.py NAME --web",
)


@dataclass(frozen=True)
class Waiting:
    """What a page shows while nothing can be looked at."""

    title: str
    lines: tuple[str, ...]
    progress: float | None = None
    """0..1, None where nothing is being loaded, or it is not known."""
    picture: Any = None
    """Of a scene that is chosen: cameras, box and photographs, (h, w, 3); None where it is not there."""

    @classmethod
    def of(cls, studio: Studio, places: Places) -> Waiting:
        """What ``studio``, which has no session, is doing; or what a person has to do."""
        if (pending := studio.pending) is not None:
            return cls("Loading", (pending.text,), pending.progress)
        said = () if studio.message is None else (studio.message.text,)
        if studio.source is not None:
            studio.look()
            scene, preview = studio.source.removeprefix("builtin:"), studio.preview
            lines = (*said, f"{scene}: press Train to begin.", *preview.state[:_ODD])
            return cls("A scene is chosen", lines, picture=preview.picture(*_PREVIEW))
        what_to_do = (_TO_CHOOSE,) if places.root is not None else _NOTHING_OPEN
        return cls("Nothing is open", (*said, *what_to_do, f"Built-in scenes: {', '.join(builtin_scenes())}"))


class Page:
    """What is beside the picture of one browser.

    Args:
        client: viser's handle of the browser.
        client_events: collects what it does to the controls.
        wire: to viser's loop, which alone touches controls.
        studio: opens and trains.
        places: what may be opened.
        offers: where the server looks for pages that were made for visitors.
    """

    def __init__(
        self, client: Any, client_events: ClientEvents, wire: Wire, studio: Studio, places: Places, offers: Offers
    ) -> None:
        self._wire, self._opens = wire, places.root is not None
        self._controls = Controls(client, client_events, wire)
        self._panel = Panel(self._controls)
        self._keep = KeepPage(client, self._controls, wire, offers)
        self._open = OpenPage(self._controls, studio, places)

    def build(self, session: Session | None) -> None:
        """Lay the page out for ``session``, or for having none."""
        self._wire.call(self._lay_out, session)

    def _lay_out(self, session: Session | None) -> None:
        controls, gui = self._controls, self._controls.gui
        controls.clear()
        if session is None:
            gui.set_panel_label("Taichi RF")
            controls.add("waiting", gui.add_markdown(""))
            self._open.lay_out()
            controls.add("preview", gui.add_image(blank((8, 8)), format="png", visible=False))
            return
        self._panel.lay_out(session)
        self._keep.lay_out()
        if self._opens:
            with gui.add_folder("Open or train, for everybody", expand_by_default=False):
                self._open.lay_out()

    def apply(self, session: Session | None, deeds: Deeds) -> None:
        """Do what was done to the page."""
        self._controls.heard(deeds)
        self._open.apply(deeds)
        if session is not None:
            self._keep.apply(session, deeds)
            self._panel.apply(session, deeds)

    def advance(self, session: Session, budget: float) -> None:
        """Work on what is to be downloaded for about ``budget`` seconds."""
        self._keep.advance(session, budget)

    def refresh(self, session: Session, now: float, visitors: int) -> None:
        """Bring the page up to date, unless the last time is still on its way."""
        if not self._wire.idle:
            return
        self._panel.refresh(session, now, visitors)
        self._keep.refresh(session)
        self._open.refresh(now)
        self._controls.post()

    def wait_for(self, waiting: Waiting, now: float) -> None:
        """Say what is being done while there is nothing to look at, or what to do."""
        put = self._controls.set
        put("waiting", content="\n\n".join([f"### {waiting.title}", *map(plain, waiting.lines)]))
        self._open.refresh(now)
        if waiting.progress is not None:
            put("loading", value=percent(waiting.progress), visible=True)
        if waiting.picture is not None:
            self._controls.image("preview", id(waiting.picture), lambda: waiting.picture)
        put("preview", visible=waiting.picture is not None)
        self._controls.post()
