"""The page on which a person says where a scene's world lies: what is up, how large it is, and its box."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from taichi_rf.storage.world import Format, SpaceName, Up
from viewer.app.preview import scaled
from viewer.app.studio import Studio
from viewer.desktop.menu import Menu
from viewer.overlay.rows import SOFT, Button, Row, Slider, Text, wrapped

_FORMATS: tuple[Any, ...] = (None, *get_args(Format))
_UPS, _SPACES = get_args(Up), get_args(SpaceName)
_SCALES, _BOXES = (10, 400), (20, 300)  # percent
_HUNDREDTHS = 100  # of a unit, in which near and far are chosen
_FARTHEST = 2000
_ROWS = 4  # of what is said about the scene
_PLACE = re.compile(r"^'[^']*'(, [^:]{1,60})?: ")  # with which most sentences open: the file is known here


def place_page(menu: Menu, studio: Studio) -> list[Row]:
    """Rows that change the studio's world; those of the box, near and far come once the scene is there."""
    world, scene, fitting = studio.world, studio.preview.scene, studio.preview.fitting()
    rows: list[Row] = [
        Button("< back", partial(menu.turn_to, "open")),
        Button(f"Format: {world.format or 'as recognised'}", partial(_next, studio, "format", _FORMATS)),
        Button(f"Up: {world.up or 'auto'}", partial(_next, studio, "up", _UPS)),
        Button(f"Space: {world.space or 'auto'}", partial(_next, studio, "space", _SPACES)),
        _slider("% scale", 100 * (world.scale or 1.0), *_SCALES, partial(_set_scale, studio)),
    ]
    # As many rows whether the scene is there yet or not: a panel of another height is another panel to ImGui, and what
    # is being pressed at that moment is lost.
    if scene is not None and fitting is not None:
        share = 1.0 if world.box is None else (world.box[3] - world.box[0]) / float(fitting[1, 0] - fitting[0, 0])
        rows.append(_slider("% box", 100 * share, *_BOXES, partial(_set_box, studio, fitting)))
    else:
        rows.append(Button("Box: as it fits", partial(_set_box, studio, None, 100)))
    for name in ("near", "far"):
        if scene is not None:
            distance = partial(_set_distance, studio, name)
            rows.append(_slider(f"{name} x 100", _HUNDREDTHS * getattr(scene, name), 0, _FARTHEST, distance))
        else:
            rows.append(
                Button(f"{name.capitalize()}: as it fits", partial(studio.place, replace(world, **{name: None})))
            )
    low, high = ("", "") if scene is None else (", ".join(f"{value:.3g}" for value in corner) for corner in scene.box)
    rows += [Text(f"box from {low}", SOFT), Text(f"      to {high}", SOFT), *said_of(studio)]
    return [*rows, Button("As it is by itself", partial(studio.place, type(world)()))]


def said_of(studio: Studio) -> list[Row]:
    """What is odd about the scene that is chosen, or how far its reading is: always as many rows."""
    lines = [line for text in studio.preview.state for line in wrapped(_PLACE.sub("", text), SOFT, _ROWS)][:_ROWS]
    return [*lines, *[Text("")] * (_ROWS - len(lines))]


def _next(studio: Studio, name: str, choices: tuple[Any, ...]) -> None:
    now = getattr(studio.world, name)
    at = choices.index(now) if now in choices else 0
    studio.place(replace(studio.world, **{name: choices[(at + 1) % len(choices)]}))


def _set_scale(studio: Studio, percent: int) -> None:
    studio.place(replace(studio.world, scale=None if percent == 100 else percent / 100))


def _set_box(studio: Studio, fitting: Any, percent: int) -> None:
    studio.place(replace(studio.world, box=None if percent == 100 else scaled(fitting, percent)))


def _set_distance(studio: Studio, name: str, hundredths: int) -> None:
    change: dict[str, Any] = {name: hundredths / _HUNDREDTHS}
    studio.place(replace(studio.world, **change))


def _slider(label: str, value: float, low: int, high: int, action: Callable[[int], object]) -> Slider:
    return Slider(label, min(max(round(value), low), high), low, high, action)
