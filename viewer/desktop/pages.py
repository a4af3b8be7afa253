"""Makes the rows of the panels: the level, the training, and the pages of the menu."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from taichi_rf.cli.console import duration
from taichi_rf.core.sizes import amount_and_unit
from taichi_rf.storage.metadata import title
from viewer.app.studio import Studio
from viewer.desktop.crop_page import crop_page, crop_row
from viewer.desktop.film_page import film_page, job_rows, size_text
from viewer.desktop.menu import Menu
from viewer.desktop.open_page import open_page
from viewer.desktop.placing import place_page
from viewer.overlay.rows import ACCENT, ALARM, SOFT, Button, Panel, Row, Slider, Text, wrapped
from viewer.session import budget
from viewer.session.demo import LONGEST, SHORTEST
from viewer.session.session import Session
from viewer.session.stats import stats_of

_KEYS_WIDE = 82  # pixels at scale 1
LARGEST_PICTURE = 4  # times the window's sides

KEYS = (
    ("drag", "turn (fly: look round)"),
    ("shift + drag", "move (or middle button)"),
    ("right drag", "nearer, farther (up, down)"),
    ("wheel", "nearer, farther"),
    ("double click", "turn about what is there"),
    ("w a s d, q e", "fly; with shift faster"),
    ("f", "fly or orbit"),
    ("left, right", "one level less, one more"),
    ("m, shift + m", "next mode, the one before"),
    ("v, shift + v", "next photograph, one before"),
    ("b", "test or training photographs"),
    ("c", "compare: level, photo, none"),
    ("x", "wipe, or side by side"),
    ("r", "back to the first view"),
    ("y", "milliseconds in the plot"),
    ("space", "pause or resume training"),
    ("g", "demo; arrows, pages: step it"),
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


def column(menu: Menu, studio: Studio, room: float) -> list[Panel]:
    """The panels from the top down; ``room`` is the height there is for them, in pixels at scale 1."""
    session = studio.session
    if menu.page == "help":
        return [Panel("help", "Keys", _help(menu))]
    if menu.page == "place" and studio.source is not None and studio.pending is None:
        return [Panel("place", "Where the scene lies", place_page(menu, studio))]
    if session is None or menu.page in ("open", "place"):
        return open_page(menu, studio, room)
    name = title(session.model.metadata, "Taichi RF")
    if menu.page is None and _beside(session) and "beside" not in menu.opened:
        # both pictures are to be seen: what is in their way is one line, which opens
        return [Panel("beside", name, [], note=f"{session.levels.name} {session.level}")]
    found = [Panel("level", name, _level(session), rank=1, note=f"{session.levels.name} {session.level}")]
    training = _training(studio, session)
    if training:
        stats = stats_of(session).training
        share = "" if stats is None else f"{100 * stats.progress:.0f} %"
        found.append(Panel("training", "Training", training, rank=3, note=share))
    if menu.page == "look":
        found.append(Panel("look", "Look", [_back(menu), *_look(session), _times(menu)]))
    elif menu.page == "keep":
        found.append(Panel("keep", "Keep", [_back(menu), *_keep(menu, session)]))
    elif menu.page == "crop":
        found.append(Panel("crop", "Crop", crop_page(menu, studio, session)))
    elif menu.page == "film":
        found.append(Panel("film", "Videos", film_page(menu, session)))
    else:
        found.append(Panel("menu", "Menu", _menu(menu, session), rank=2))
    return [replace(found[0], key="beside"), *found[1:]] if menu.page is None and _beside(session) else found


def _beside(session: Session) -> bool:
    return session.compare != "off" and session.layout == "beside"


def _level(session: Session) -> Rows:
    stats = stats_of(session)
    name, level = stats.level_name, stats.level
    rows: Rows = [Slider(name, level, 1, stats.num_levels, session.levels.choose, main=True)]
    if session.compare == "level":
        rows.append(Slider(f"right {name}", session.levels.other, 1, stats.num_levels, session.levels.choose_other))
    if (arriving := stats.arriving) is not None and not arriving.over:
        rows += wrapped(arriving.text, ACCENT if arriving.trouble is None else ALARM, 3)
    if (size := budget.kilobytes(session.levels)) is not None:
        rows.append(Slider("kB at most", size.value, size.low, size.high, partial(budget.choose, session.levels)))
    psnr = "not known" if stats.decibels is None else f"{stats.decibels.text()} dB"
    sharpness = "full resolution" if stats.divisor <= 1 else f"1/{stats.divisor} resolution"
    return [
        *rows,
        Text(" ".join(amount_and_unit(1e6 * (stats.megabytes or 0.0))), name="size"),
        Text(psnr, name="PSNR"),
        Text(f"{'' if stats.picture is None else f'{stats.picture.text}, '}{sharpness}", name="picture"),
    ]


def _training(studio: Studio, session: Session) -> Rows:
    training = stats_of(session).training
    if training is None:
        return []
    left = "" if training.seconds_left is None else f", {duration(training.seconds_left)} left"
    rows: Rows = [
        Text(f"{training.state}, {100 * training.progress:.0f} %{left}", ACCENT),
        Text(f"{training.iteration:,}, {session.field.level_name} {training.level}", name="step"),
    ]
    if training.loss is not None:
        rows.append(Text(f"{training.loss:.5f}, {training.psnr:.1f} dB", name="loss"))
        rows.append(Text(f"{training.rays_per_second:,.0f} a second", name="rays"))
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
            Text(where, SOFT, name="view"),
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


def _times(menu: Menu) -> Row:
    """The figures themselves come from the pictures that are looked at."""
    what = "quality and milliseconds" if menu.times else "quality"
    return Button(f"Plot: {what}", partial(setattr, menu, "times", not menu.times))


def _keep(menu: Menu, session: Session) -> Rows:
    keeper, (width, height) = session.keeper, session.size
    scale = keeper.scale
    if keeper.job is not None:
        return job_rows(keeper)
    count, loaded = len(keeper.keyframes), keeper.loaded
    rows: Rows = [
        Slider("times size", scale, 1, LARGEST_PICTURE, partial(setattr, keeper, "scale")),
        Button(f"Picture, {scale * width} x {scale * height}", partial(keeper.picture, scale * width, scale * height)),
        Button(f"Model at {session.field.level_name} {session.level}", keeper.level),
        Button("Video of a turntable", keeper.turntable),
        Button(
            f"Videos: {keeper.film.seconds:.0f} s, {size_text(keeper.film, session)} ...", partial(menu.turn_to, "film")
        ),
        crop_row(menu, session),
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


def _help(menu: Menu) -> Rows:
    return [_back(menu), *(Text(meaning, name=key, indent=_KEYS_WIDE) for key, meaning in KEYS)]
