"""The part of a browser's panel that opens and trains: what there is, a path, and how to train a scene.

What is opened is shown to everybody who looks.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.training.methods.registry import PRESETS, names
from viewer.app import catalogue
from viewer.app.studio import Studio
from viewer.web.client_events import Deeds
from viewer.web.page.controls import Controls
from viewer.web.page.figures import percent, plain
from viewer.web.page.places import Places

_RENEWED = 0.25  # seconds between two looks at the studio
_LISTED = 20.0  # seconds for which a list of files is good, unless somebody goes to another folder
_CHOOSE = "choose here"
_IMAGES = {f"1/{number} of their size" if number > 1 else "at their size": number for number in (1, 2, 4, 8, 16)}
_MINUTES = (1, 2, 5, 10, 30, 60, 120)
_TIMES: dict[str, float | None] = {"as the preset says": None, **{f"{n} min": 60.0 * n for n in _MINUTES}}


class OpenPage:
    """Opens and trains for one browser.

    Args:
        controls: of that browser.
        studio: opens and trains.
        places: what may be opened.
    """

    def __init__(self, controls: Controls, studio: Studio, places: Places) -> None:
        self._controls, self._studio, self._places = controls, studio, places
        self._folder = places.root or Path()
        self._entries: dict[str, str | Path] = {}
        self._chosen, self._path = _CHOOSE, ""
        self._listed_at = self._renewed_at = -math.inf

    def lay_out(self) -> None:
        """Add the controls. On viser's loop."""
        controls, gui, studio = self._controls, self._controls.gui, self._studio
        self._chosen, self._path, self._listed_at, self._renewed_at = _CHOOSE, "", -math.inf, -math.inf
        if self._places.root is not None:
            controls.choice("entry", gui.add_dropdown("Open", (_CHOOSE,)))
            controls.choice("path", gui.add_text("or a path", ""))
            controls.button("open", gui.add_button("Open it"))
        controls.add("scene", gui.add_markdown("", visible=False))
        presets, methods = tuple(PRESETS), tuple(names())
        controls.choice("preset", gui.add_dropdown("Preset", presets, initial_value=studio.preset, visible=False))
        controls.choice("method", gui.add_dropdown("Method", methods, initial_value=studio.method, visible=False))
        controls.choice("images", gui.add_dropdown("Images", tuple(_IMAGES), visible=False))
        controls.choice("time", gui.add_dropdown("Time", tuple(_TIMES), visible=False))
        controls.button("start", gui.add_button("Train", visible=False))
        controls.add("pending", gui.add_markdown("", visible=False))
        controls.add("loading", gui.add_progress_bar(0.0, visible=False))
        controls.button("cancel", gui.add_button("Cancel", visible=False))

    def apply(self, deeds: Deeds) -> None:
        """Do what was done to the controls; what cannot be is said."""
        if not deeds.values and not deeds.presses:
            return
        for name, value in deeds.values.items():
            try:
                self._apply(name, value)
            except (UserError, LookupError, TypeError, ValueError) as error:
                self._controls.refuse(name)
                if isinstance(error, UserError):
                    self._studio.say(str(error), alarm=True)
        for name in deeds.presses:
            if name == "start" and self._studio.source is not None:
                self._studio.start()
            elif name == "cancel":
                self._studio.cancel()
            elif name == "open":
                self._open()
        self._renewed_at = -math.inf

    def _apply(self, name: str, value: Any) -> None:
        studio = self._studio
        if name == "entry":
            self._choose(value)
        elif name == "path":
            self._path = str(value).strip()
        elif name == "preset":
            studio.preset = PRESETS[PRESETS.index(value)]
        elif name == "method":
            studio.method = studio.methods[studio.methods.index(value)]
        elif name == "images":
            studio.downscale = _IMAGES[value]
        elif name == "time":
            studio.max_seconds = _TIMES[value]

    def _choose(self, label: str) -> None:
        """Take an entry of the list; a folder is looked into at once."""
        what = self._entries[label]
        if isinstance(what, Path) and catalogue.kind_of(what) == "folder":
            self._folder, self._chosen, self._listed_at = self._places.found(what), _CHOOSE, -math.inf
            self._controls.refuse("entry")  # the list begins anew
        else:
            self._chosen, self._path = label, ""

    def _open(self) -> None:
        """Ask for what is written in the field for a path, else for what was chosen from the list."""
        studio = self._studio
        try:
            if self._path:
                path = self._places.found(self._path, self._folder)
                if catalogue.kind_of(path) == "folder":
                    self._folder, self._path, self._listed_at = path, "", -math.inf
                    return
                studio.open(path)
            elif self._chosen != _CHOOSE:
                studio.open(self._entries[self._chosen])
            else:
                raise UserError("choose something to open from the list, or write its path")
        except UserError as error:
            studio.say(str(error), alarm=True)

    def refresh(self, now: float) -> None:
        """Bring the controls up to date."""
        if now - self._renewed_at < _RENEWED or "pending" not in self._controls:
            return
        self._renewed_at = now
        put, studio, pending = self._controls.set, self._studio, self._studio.pending
        if self._places.root is not None and now - self._listed_at >= _LISTED:
            self._listed_at = now
            self._entries = self._places.entries(studio, self._folder)
            put("entry", options=(_CHOOSE, *self._entries))
        if self._chosen not in self._entries:
            self._chosen = _CHOOSE
        put("entry", value=self._chosen)
        put("path", value=self._path)
        trainable = pending is None and studio.source is not None
        put("scene", visible=trainable)
        if studio.source is not None:
            put("scene", content=f"Scene: **{plain(studio.source.removeprefix('builtin:'))}**")
            put("method", options=tuple(studio.methods))
            put("preset", value=studio.preset)
            put("method", value=studio.method)
            for name, choices, now_is in (("images", _IMAGES, studio.downscale), ("time", _TIMES, studio.max_seconds)):
                for text in [text for text, value in choices.items() if value == now_is]:
                    put(name, value=text)
        for name in ("preset", "method", "images", "time", "start"):
            put(name, visible=trainable)
        for name in ("entry", "path", "open"):
            put(name, visible=pending is None)
        for name in ("pending", "loading", "cancel"):
            put(name, visible=pending is not None)
        if pending is not None:
            share = "" if pending.progress is None else f" {100 * pending.progress:.0f} %"
            put("pending", content=plain(pending.text) + share)
            put("loading", value=percent(pending.progress or 0.0))
