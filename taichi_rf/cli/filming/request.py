"""What ``render`` is asked for beyond a picture and a video: ranges of frames and of levels, and what goes together.

Nothing here needs Taichi.
"""

from __future__ import annotations

import re
from pathlib import Path

from taichi_rf.cli.options import Render
from taichi_rf.core.errors import UserError

PICTURES = (".png", ".exr")
_RANGE = re.compile(r"\s*(\d{0,9})\s*:\s*(\d{0,9})\s*")


def level_range(text: str | None) -> tuple[int | None, int | None]:
    """The first and the last level of "4" (None, 4), "2:16" (2, 16), or nothing (None, None).

    Raises:
        UserError: it is none of these, or one end is level 0.
    """
    if text is None:
        return None, None
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return None, int(text)
    found = _RANGE.fullmatch(text)
    if found is None or not all(found.groups()):
        raise UserError(f"--level {text}: a level is expected, such as 4, or two to go between, such as 2:16")
    if not (int(found[1]) and int(found[2])):
        raise UserError(f"--level {text}: levels are counted from 1")
    return int(found[1]), int(found[2])


def frame_range(text: str | None, count: int) -> range:
    """The frames that "10:40" (10 to 39), "10:", ":40" or "17" name, of ``count``; all where it is None.

    Raises:
        UserError: it is none of these, or there are not so many frames.
    """
    if text is None:
        return range(count)
    found = _RANGE.fullmatch(text)
    if re.fullmatch(r"\d{1,9}", text.strip()):
        first, end = int(text), int(text) + 1
    elif found is not None:
        first, end = int(found[1] or 0), int(found[2] or count)
    else:
        raise UserError(f"--frames {text}: such as 10:40 is expected, which is frames 10 to 39, or 10:, or 17")
    if not first < end <= count:
        raise UserError(f"--frames {text}: there are {count} frames, 0 to {count - 1}, and 10:40 is 10 to 39 of them")
    return range(first, end)


def is_folder(output: Path) -> bool:
    """Whether the output is a folder of frames: its name has no ending, or it is one."""
    return not output.suffix or output.is_dir()


def check(command: Render) -> None:
    """UserError for options that do not go together."""
    journeys = [name for name in ("turntable", "spiral") if getattr(command, name)]
    journeys += [name for name in ("path", "views") if getattr(command, name) is not None]
    if len(journeys) > 1:
        raise UserError(f"--{journeys[0]} and --{journeys[1]}: one at a time")
    first, _ = level_range(command.level)
    moving = bool(journeys) and command.views is None
    if command.views is not None and not is_folder(command.output):
        raise UserError(f"--output {command.output}: views are written to a folder: name one")
    for name in ("width", "height", "azimuth", "elevation", "distance", "fov", "seconds", "fps"):
        if command.views is not None and getattr(command, name) is not None:
            raise UserError(f"--{name} does not go with --views, whose cameras are the scene's")
    if command.views is not None and (command.mode != "colour" or command.sweep):
        raise UserError("--views compares colours at one level: leave --mode and --sweep")
    if command.views is None:
        for name in ("scene", "downscale"):
            if getattr(command, name) is not None:
                raise UserError(f"--{name} goes with --views")
    if first is not None and not moving:
        raise UserError(f"--level {command.level}: a sweep goes with --turntable, --path or --spiral")
    if first is not None and command.sweep:
        raise UserError("--sweep goes from the first level; --level says it all: leave --sweep")
    if command.frames is not None and not journeys:
        raise UserError("--frames goes with --turntable, --path, --spiral or --views")
    if command.resume and not journeys:
        raise UserError("--resume goes with --turntable, --path, --spiral or --views")
    if command.resume and command.overwrite:
        raise UserError("--resume keeps what is there, --overwrite replaces it: give one of the two")
    if not command.layers or len(set(command.layers)) < len(command.layers):
        raise UserError("--layers: name each layer once: colour, depth, normals")
    _check_form(command, video=moving and not is_folder(command.output))
    if not moving and not is_folder(command.output) and not journeys and command.output.suffix.lower() not in PICTURES:
        raise UserError(
            f"--output {command.output}: a picture ends in .png or .exr; for a video add --turntable, --path or "
            "--spiral"
        )
    if not journeys and is_folder(command.output):
        raise UserError(
            f"--output {command.output}: a picture ends in .png or .exr; frames go to a folder with --turntable, "
            "--path, --spiral or --views"
        )
    if (command.resume or command.overwrite or is_folder(command.output)) is False and command.output.exists():
        raise UserError(f"{command.output} is there already: choose another --output, or give --overwrite")


def _check_form(command: Render, *, video: bool) -> None:
    """UserError for layers, alpha and formats that do not go together."""
    special = [
        name
        for name, given in (
            ("--layers", command.layers != ("colour",)),
            ("--transparent", command.transparent),
            ("--exr", command.exr),
        )
        if given
    ]
    if video and special:
        raise UserError(f"{special[0]} goes with pictures and frames: name a folder as --output, not a video")
    if command.mode != "colour" and special:
        raise UserError(
            f"{special[0]} goes with --mode colour: depth and normals as numbers are --layers depth normals"
        )
    if command.transparent and "colour" not in command.layers:
        raise UserError("--transparent is of colour, which is not among --layers")
    suffix = command.output.suffix.lower()
    if command.exr and not is_folder(command.output) and suffix != ".exr":
        raise UserError(f"--output {command.output}: with --exr it ends in .exr, or is a folder")
    if suffix == ".png" and len(command.layers) > 1:
        raise UserError(f"--output {command.output}: a PNG holds one layer; an .exr holds all of them")
