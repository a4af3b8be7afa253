"""The page on which a person chooses what to open or to train: the lists at the left, the training beside them.

Nothing in the lists moves when a scene is chosen: what there is to choose about its training has a panel of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import scenes
from taichi_rf.training.methods.registry import PRESETS
from viewer.app import catalogue
from viewer.app.studio import Studio
from viewer.desktop.menu import Menu
from viewer.desktop.placing import said_of
from viewer.overlay.rows import (
    ACCENT,
    ALARM,
    BETWEEN,
    SOFT,
    TITLE,
    Button,
    Panel,
    Row,
    Slider,
    Text,
    body_height,
    shortened,
    wrapped,
)

_DOWNSCALES = (1, 2, 4, 8)
_MOST_MINUTES = 120
_RUNS, _RECENT = 3, 3  # that are listed
_LEAST_ENTRIES = 5  # of a folder, whatever else is listed
_TYPING = "letters find a name, Tab completes, Return opens, Backspace goes up"


def open_page(menu: Menu, studio: Studio, room: float) -> list[Panel]:
    """The panels of the page; ``room`` is the height there is for them, in pixels at scale 1."""
    pending = studio.pending
    if pending is not None:
        share = "" if pending.progress is None else f" {100 * pending.progress:.0f} %"
        rows = [*wrapped(pending.text + share, ACCENT), Button("Cancel", studio.cancel)]
        return [Panel("pending", "Open or train", rows)]
    found = [Panel("builtin", "Built-in scenes", _builtin(studio), rank=1)]
    if studio.session is not None:
        found.insert(0, Panel("back", "Open or train", [Button("< back", partial(setattr, menu, "page", None))]))
    recent = menu.chooser.recently(lambda: _recent(studio))
    if recent:
        found.append(Panel("recent", "Opened of late", [_known(menu, studio, path) for path in recent], rank=2))
    runs = menu.chooser.runs(studio.runs)
    if runs := [run for run in runs if run.path not in recent]:
        rows = [_known(menu, studio, run.path, run) for run in runs[:_RUNS]]
        found.append(Panel("runs", f"Runs in {shortened(str(studio.runs), 22)}", rows, rank=3, note=str(len(runs))))
    if "folder" in menu.opened[:1]:
        others = 0.0
    else:
        others = sum(body_height(panel.rows) for panel in found if panel.key not in menu.folded and panel.key != "runs")
    left = room - others - (len(found) + 1) * (TITLE + BETWEEN)
    found.append(Panel("folder", "In a folder", _folder(menu, studio, left), rank=0.5))
    if studio.source is not None:
        found.append(Panel("train", "Train", _train(menu, studio), column=1))
    return found


def _train(menu: Menu, studio: Studio) -> list[Row]:
    """How the scene that is chosen is trained, and what there is to say about it."""
    assert studio.source is not None
    minutes = 0 if studio.max_seconds is None else round(studio.max_seconds / 60)
    limit = f"{minutes} min" if minutes else "none"
    rows: list[Row] = [
        Text(shortened(studio.source.removeprefix("builtin:"), 30), ACCENT, name="scene"),
        Button(f"Preset: {studio.preset}", partial(_next, studio, "preset", PRESETS)),
        Button(f"Method: {studio.method}", partial(_next, studio, "method", studio.methods)),
        Button(f"Images: 1/{studio.downscale} of their size", partial(_next, studio, "downscale", _DOWNSCALES)),
        Slider("time limit", minutes, 0, _MOST_MINUTES, partial(_set_minutes, studio), shown=limit),
        Button("Start training", partial(_start, menu, studio), chosen=True),
    ]
    if not scenes.is_mesh(studio.source) and os.path.isabs(studio.source):
        rows.append(Button("Where the scene lies ...", partial(menu.turn_to, "place")))
    return rows + said_of(studio)


def _builtin(studio: Studio) -> list[Row]:
    names = catalogue.builtin_scenes()
    return [Button(name, partial(studio.choose, name), chosen=studio.source == f"builtin:{name}") for name in names]


def _recent(studio: Studio) -> list[Path]:
    """Places on the disk that were opened of late and are still there."""
    paths = [] if studio.settings is None else [Path(path) for path in studio.settings.recent if os.path.isabs(path)]
    return [path for path in paths if catalogue.kind_of(path) != "nothing"][:_RECENT]


def _known(menu: Menu, studio: Studio, path: Path, run: catalogue.RunEntry | None = None) -> Row:
    """Something that was opened or trained, with what it is; of a ``run`` that is not finished that is said."""
    about = menu.chooser.about(path)
    detail = f"unfinished, {about.detail}" if run is not None and not run.finished else about.detail
    chosen, action = _opens(menu, studio, path, about.kind)
    return Button(shortened(str(path) if run is None else about.name, 34), action, chosen, detail, about.picture)


def _folder(menu: Menu, studio: Studio, room: float) -> list[Row]:
    """The folder a person looks into: its path, in which one can type, and as many entries as there is room for."""
    chooser, listing = menu.chooser, menu.chooser.listing()
    typing = chooser.typed is not None
    path = str(listing.folder).rstrip("/") + "/" + (f"{chooser.typed}_" if typing else "")
    rows: list[Row] = [Button(shortened(path, 34), partial(_type, menu), typing, more=_TYPING if typing else "")]
    if listing.note:
        rows += wrapped(listing.note, ALARM, 2)
    if listing.parent is not None:
        rows.append(Button(".. (up)", partial(chooser.go, listing.parent)))
    entries = chooser.entries()
    height = Button("", print).height
    most = max(int((room - body_height(rows)) // height), _LEAST_ENTRIES)
    if len(entries) > most:
        most -= 1
    first = chooser.first if chooser.first < len(entries) else 0
    labels: set[str] = {row.label for row in rows if isinstance(row, Button)}
    for entry in entries[first : first + most]:
        chosen, action = _opens(menu, studio, entry.path, entry.kind)
        mark = "/" if entry.kind == "folder" else f" ({entry.kind})"
        rows.append(Button(_distinct(f"{shortened(entry.name, 28)}{mark}", labels), action, chosen))
    if len(entries) > most:
        following = first + most if first + most < len(entries) else 0
        rows.append(Button(f"more ({len(entries)} entries)", partial(setattr, chooser, "first", following)))
    if not entries:
        rows.append(Text("nothing that can be opened" if not chooser.typed else "no such name", SOFT))
    return rows


def _opens(menu: Menu, studio: Studio, path: Path, kind: catalogue.Kind) -> tuple[bool, Callable[[], object]]:
    """Whether what lies at ``path`` is what is chosen, and what a press on it does."""
    if kind == "folder":
        return False, partial(menu.chooser.go, path)
    if kind == "scene":
        return studio.source == str(path), partial(studio.choose, path)
    return False, partial(_opened, menu, studio, path)


def open_first(menu: Menu, studio: Studio) -> None:
    """Open the first entry that what is typed fits."""
    entries = menu.chooser.entries()
    if entries:
        _opens(menu, studio, entries[0].path, entries[0].kind)[1]()


def _type(menu: Menu) -> None:
    menu.chooser.typed = "" if menu.chooser.typed is None else None


def _start(menu: Menu, studio: Studio) -> None:
    if studio.start():
        menu.page = None


def _opened(menu: Menu, studio: Studio, path: Path) -> None:
    # A scene is chosen at once, and then there is more to choose; what is small may have been read by now.
    if studio.open(path) and (studio.pending is not None or studio.ready):
        menu.page = None


def _next(studio: Studio, name: str, choices: tuple[Any, ...]) -> None:
    """Take the next of ``choices`` for the studio's ``name``."""
    now = getattr(studio, name)
    setattr(studio, name, choices[(choices.index(now) + 1) % len(choices)] if now in choices else choices[0])


def _set_minutes(studio: Studio, minutes: int) -> None:
    studio.max_seconds = 60.0 * minutes or None


def _distinct(label: str, labels: set[str]) -> str:
    """``label``, numbered where it is taken: a row is known by its label."""
    number, free = 1, label
    while free in labels:
        number += 1
        free = f"{label} ({number})"
    labels.add(free)
    return free
