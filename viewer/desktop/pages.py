"""Makes the rows of the panels: the level, the training, and the pages of the menu."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import scenes
from taichi_rf.cli.console import duration
from taichi_rf.core.sizes import amount_and_unit
from taichi_rf.storage.metadata import title
from taichi_rf.training.methods.registry import PRESETS
from viewer.app import catalogue
from viewer.app.studio import Studio
from viewer.desktop.film_page import film_page, size_text
from viewer.desktop.menu import Menu
from viewer.desktop.placing import place_page, said_of
from viewer.desktop.rows import (
    ACCENT,
    ALARM,
    BETWEEN,
    BRIGHT,
    SOFT,
    Button,
    Row,
    Slider,
    Text,
    panel_height,
    shortened,
    wrapped,
)
from viewer.session import budget
from viewer.session.demo import LONGEST, SHORTEST
from viewer.session.session import Session
from viewer.session.stats import stats_of

LARGEST_PICTURE = 4  # times the window's sides
_DOWNSCALES = (1, 2, 4, 8)
_MOST_MINUTES = 120
_RUNS, _RECENT = 4, 3  # that are listed

KEYS = (
    ("drag", "turn (fly: look round)"),
    ("shift + drag", "move (or middle button)"),
    ("right drag", "nearer, farther (up, down)"),
    ("w a s d, q e", "fly; with shift faster"),
    ("f", "fly or orbit"),
    ("left, right", "one level less, one more"),
    ("m, shift + m", "next mode, the one before"),
    ("v, shift + v", "next photograph, one before"),
    ("b", "test or training photographs"),
    ("c", "compare: level, photo, none"),
    ("x", "wipe, or side by side"),
    ("r", "back to the first view"),
    ("space", "pause or resume training"),
    ("g", "demo; arrows step it"),
    ("p, shift + p", "picture; with these panels"),
    ("t", "video of a turntable"),
    ("k", "keyframe of a camera path"),
    ("j", "the camera as JSON"),
    ("n", "save the model at this level"),
    ("o", "open or train something"),
    ("tab", "hide or show the panels"),
    ("h", "this help"),
    ("escape", "back; close (training saved)"),
)

Rows = list[Row]
Panel = tuple[str, Rows]


def column(menu: Menu, studio: Studio, room: int) -> list[Panel]:
    """The panels from the top down, each with its title; ``room`` is the height there is for them, in pixels."""
    session = studio.session
    if menu.page == "help":
        return [("Keys", _help(menu))]
    if menu.page == "place" and studio.source is not None and studio.pending is None:
        return [("Where the scene lies", place_page(menu, studio))]
    if session is None or menu.page in ("open", "place"):
        return [("Open or train", _open(menu, studio, room))]
    found = [(title(session.model.metadata, "Taichi RF"), _level(session))]
    training = _training(studio, session)
    if training:
        found.append(("Training", training))
    if menu.page == "look":
        found.append(("Look", [_back(menu), *_look(session)]))
    elif menu.page == "keep":
        found.append(("Keep", [_back(menu), *_keep(menu, session)]))
    elif menu.page == "film":
        found.append(("Videos", film_page(menu, session)))
    else:
        found.append(("Menu", _menu(menu, session)))
    while len(found) > 1 and sum(panel_height(rows) + BETWEEN for _, rows in found) > room + BETWEEN:
        del found[-2 if menu.page else -1]  # a page that was asked for comes before what is always there
    return found


def _level(session: Session) -> Rows:
    stats = stats_of(session)
    name, level = stats.level_name, stats.level
    rows: Rows = [Slider(name, level, 1, stats.num_levels, session.levels.choose, main=True)]
    if (size := budget.kilobytes(session.levels)) is not None:
        rows.append(Slider("kB at most", size.value, size.low, size.high, partial(budget.choose, session.levels)))
    if session.compare == "level":
        rows.append(Slider(f"right {name}", session.levels.other, 1, stats.num_levels, session.levels.choose_other))
    psnr = "not measured" if stats.psnr is None else f"{stats.psnr:.2f} dB"
    sharpness = "full resolution" if stats.divisor <= 1 else f"1/{stats.divisor} resolution"
    if (arriving := stats.arriving) is not None and not arriving.over:
        rows += wrapped(arriving.text, ACCENT if arriving.trouble is None else ALARM, 3)
    return [
        *rows,
        Text(f"size    {' '.join(amount_and_unit(1e6 * (stats.megabytes or 0.0)))}"),
        Text(f"PSNR    {psnr}"),
        Text(f"picture {'' if stats.picture is None else f'{stats.picture.text}, '}{sharpness}"),
    ]


def _training(studio: Studio, session: Session) -> Rows:
    training = stats_of(session).training
    if training is None:
        return []
    left = "" if training.seconds_left is None else f", {duration(training.seconds_left)} left"
    rows: Rows = [
        Text(f"{training.state}, {100 * training.progress:.0f} %{left}", ACCENT),
        Text(f"step    {training.iteration:,}, {session.field.level_name} {training.level}"),
    ]
    if training.loss is not None:
        rows.append(Text(f"loss    {training.loss:.5f}, {training.psnr:.1f} dB"))
        rows.append(Text(f"rays    {training.rays_per_second:,.0f} a second"))
    if training.failure is not None:
        rows += wrapped(training.failure, ALARM)
    elif studio.evaluating is not None:
        rows.append(Text(f"evaluating, {100 * studio.evaluating:.0f} %", ACCENT))
    elif training.state != "done":
        rows.append(
            Button("Pause training" if training.state == "running" else "Resume training", session.toggle_training)
        )
        rows.append(Slider("% of time", round(100 * session.share), 5, 95, partial(_set_share, session)))
        rows.append(Button("Stop and save", studio.stop))
    if studio.run is not None:
        rows.append(Button("Start again", studio.restart))
    return rows


def _set_share(session: Session, percent: int) -> None:
    session.share = percent / 100


def _menu(menu: Menu, session: Session) -> Rows:
    return [
        Button("Look ...", partial(menu.turn_to, "look")),
        Button("Keep ...", partial(menu.turn_to, "keep")),
        Button("Open or train ...", partial(menu.turn_to, "open")),
        Button("Demonstration", session.toggle_demo),
        Button("Keys", partial(menu.turn_to, "help")),
    ]


def _back(menu: Menu) -> Row:
    return Button("< back", partial(setattr, menu, "page", None))


def _look(session: Session) -> Rows:
    view, viewpoint = session.at_view, session.viewpoint
    rows: Rows = [
        Button(f"Mode: {session.mode}", session.next_mode),
        Button(f"Drag: {'fly' if viewpoint.flying else 'orbit'}", viewpoint.toggle_flying),
        Button("First view", session.reset_view),
        Slider("s a stop (g)", round(session.demo_seconds), SHORTEST, LONGEST, partial(_set_demo_seconds, session)),
    ]
    if session.views:
        where = "free" if view is None else f"{view.split} {view.index + 1} of {view.count}: {view.name}"
        views = [other for other in session.views if other.split == (session.views[0] if view is None else view).split]
        number = 1 if view is None else view.index + 1
        rows += [
            Text(f"view    {where[:33]}", SOFT),
            Slider("photograph", number, 1, len(views), lambda number: session.go_to(views[number - 1])),
            Button("Next photograph", session.next_view),
            Button("Test or training photographs", session.other_split),
        ]
    comparison = {"off": "nothing", "level": f"another {session.field.level_name}", "photo": "the photograph"}
    return [
        *rows,
        Button(f"Compare: {comparison[session.compare]}", session.next_compare),
        Button(f"Layout: {session.layout}", session.next_layout),
    ]


def _set_demo_seconds(session: Session, seconds: int) -> None:
    session.demo_seconds = float(seconds)


def _keep(menu: Menu, session: Session) -> Rows:
    keeper, (width, height) = session.keeper, session.size
    scale = keeper.scale
    if keeper.job is not None:
        left = "" if keeper.job.seconds_left is None else f", {duration(keeper.job.seconds_left)} left"
        return [
            Text(f"{keeper.job.what}, {100 * keeper.job.progress:.0f} %{left}", ACCENT),
            Button(f"Cancel the {keeper.job.what}", keeper.cancel),
        ]
    count, loaded = len(keeper.keyframes), keeper.loaded
    rows: Rows = [
        Slider("times size", scale, 1, LARGEST_PICTURE, partial(setattr, keeper, "scale")),
        Button(f"Picture, {scale * width} x {scale * height}", partial(keeper.picture, scale * width, scale * height)),
        Button(f"Model at {session.field.level_name} {session.level}", keeper.level),
        Button("Video of a turntable", keeper.turntable),
        Button(
            f"Videos: {keeper.film.seconds:.0f} s, {size_text(keeper.film, session)} ...", partial(menu.turn_to, "film")
        ),
        Button(f"Add keyframe {count + 1} to the path", keeper.add_keyframe),
    ]
    if count > 1 or loaded is not None:
        seconds = 2.0 * (count - 1) if loaded is None else loaded.seconds
        rows.append(Button(f"Video along the path, {seconds:.0f} s", keeper.path_video))
        rows.append(Button("Save the path", keeper.save_path))
    if count or loaded is not None:
        rows.append(Button("Clear the path", keeper.clear_path))
    else:
        rows.append(Button("Load camera_path.json", keeper.load_path))
    return [*rows, Button("Camera as JSON", keeper.camera)]


def _open(menu: Menu, studio: Studio, room: int) -> Rows:
    """A scene, how to train it, and what else there is to open, in as many rows as there is room for."""
    chooser, pending = menu.chooser, studio.pending
    if pending is not None:
        share = "" if pending.progress is None else f" {100 * pending.progress:.0f} %"
        return [*wrapped(pending.text + share, ACCENT), Button("Cancel", studio.cancel)]
    rows: Rows = [] if studio.session is None else [_back(menu)]
    rows.append(Text(f"scene   {shortened(_scene_name(studio.source), 33)}", ACCENT))
    if studio.source is not None:
        minutes = 0 if studio.max_seconds is None else round(studio.max_seconds / 60)
        rows += [
            Button(f"Preset: {studio.preset}", partial(_next, studio, "preset", PRESETS)),
            Button(f"Method: {studio.method}", partial(_next, studio, "method", studio.methods)),
            Button(f"Images: 1/{studio.downscale} of their size", partial(_next, studio, "downscale", _DOWNSCALES)),
            Text("time    " + (f"{minutes} minutes" if minutes else "as long as the preset has it")),
            Slider("minutes", minutes, 0, _MOST_MINUTES, partial(_set_minutes, studio)),
            Button("Start training", partial(_start, menu, studio)),
        ]
        if not scenes.is_mesh(studio.source) and os.path.isabs(studio.source):
            rows.append(Button("Where the scene lies ...", partial(menu.turn_to, "place")))
        rows += said_of(studio)
    rows.append(Text("built-in scenes", SOFT))
    rows += [Button(name, partial(studio.choose, name)) for name in catalogue.builtin_scenes()]
    recent = (
        [] if studio.settings is None else [path for path in studio.settings.recent if os.path.isabs(path)][:_RECENT]
    )
    if recent:
        rows.append(Text("recently", SOFT))
        rows += [
            Button(f"{number} {shortened(path, 36)}", partial(_opened, menu, studio, Path(path)))
            for number, path in enumerate(recent, 1)
        ]
    runs = chooser.runs(studio.runs)[:_RUNS]
    if runs:
        rows.append(Text(f"runs in {shortened(str(studio.runs), 33)}", SOFT))
        rows += [Button(_run_label(run), partial(_opened, menu, studio, run.path)) for run in runs]
    listing = chooser.listing()
    rows.append(Text(shortened(str(listing.folder)), SOFT))
    if listing.note:
        rows += wrapped(listing.note, ALARM, 2)
    if listing.parent is not None:
        rows.append(Button(".. (up)", partial(chooser.go, listing.parent)))
    return rows + _entries(menu, studio, listing, (room - panel_height(rows)) // Button("", print).height)


def _entries(menu: Menu, studio: Studio, listing: catalogue.Listing, most: int) -> Rows:
    """As many of a folder's entries as there is room for, and a button for more."""
    chooser, entries = menu.chooser, listing.entries
    if len(entries) > most:
        most = max(most - 1, 1)
    first = chooser.first if chooser.first < len(entries) else 0
    rows: Rows = []
    for entry in entries[first : first + most]:
        label = f"{shortened(entry.name, 30)}{'/' if entry.kind == 'folder' else f' ({entry.kind})'}"
        action: Callable[[], object] = partial(_opened, menu, studio, entry.path)
        if entry.kind == "folder":
            action = partial(chooser.go, entry.path)
        elif entry.kind == "scene":
            action = partial(studio.choose, entry.path)
        rows.append(Button(label, action))
    if len(entries) > most:
        following = first + most if first + most < len(entries) else 0
        rows.append(Button(f"more ({len(entries)} entries)", partial(setattr, chooser, "first", following)))
    return rows


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


def _scene_name(source: str | None) -> str:
    return "choose one below" if source is None else source.removeprefix("builtin:")


def _run_label(run: catalogue.RunEntry) -> str:
    quality = "unfinished" if not run.finished else "trained" if run.psnr is None else f"{run.psnr:.1f} dB"
    return f"{shortened(run.name, 25)} ({quality})"


def _help(menu: Menu) -> Rows:
    widest = max(len(key) for key, _ in KEYS) + 1
    return [_back(menu), *(Text(f"{key:<{widest}}{meaning}", BRIGHT) for key, meaning in KEYS)]
