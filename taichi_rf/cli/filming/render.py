"""``python -m taichi_rf render``: a picture of a model, a video or frames of a way through it, or a scene's views."""

from __future__ import annotations

from taichi_rf.cli.filming.request import check, is_folder, level_range
from taichi_rf.cli.options import PROGRAM, Render
from taichi_rf.cli.picture_request import PictureRequest

_SIDE = 800  # pixels, unless the command line or the camera path says otherwise


def run(command: Render) -> None:
    """Write what is asked for. UserError for what the user can mend."""
    check(command)
    request = _request(command)
    request.check()
    # After the check: these import Taichi, which takes a second.
    if command.views is not None:
        from taichi_rf.cli.filming.views import write_views

        write_views(command, request)
    elif command.turntable or command.spiral or command.path is not None:
        from taichi_rf.cli.filming.film import write_film

        write_film(command, request)
    elif command.layers != ("colour",) or command.transparent or command.output.suffix.lower() == ".exr":
        from taichi_rf.cli.filming.film import write_layers

        write_layers(command, request)
    else:
        from taichi_rf.cli.pictures import write

        write(request, PROGRAM)


def _request(command: Render) -> PictureRequest:
    """The part of it that a viewer without a window can be asked for, too."""
    frames = is_folder(command.output)
    turn, way = command.turntable or command.spiral, command.path is not None
    side = None if way else _SIDE
    first, last = level_range(command.level)
    film = (turn or way) and not frames
    still = not turn and not way and command.output.suffix.lower() == ".png"
    return PictureRequest(
        model=command.model,
        level=None if last is None else max(last, first or 0),
        mode=command.mode,
        screenshot=command.output if still and not frames else None,
        turntable=command.output if turn and not frames else None,
        path=command.path if film else None,
        output=command.output if way and film else None,
        seconds=command.seconds if not frames or not turn else None,
        fps=command.fps if not frames or not (turn or way) else None,
        sweep=(command.sweep or first is not None) if film else False,
        caption=command.caption if film else "auto",
        width=side if command.width is None else command.width,
        height=side if command.height is None else command.height,
        azimuth=command.azimuth,
        elevation=command.elevation,
        distance=command.distance,
        fov=command.fov,
        arch=command.arch,
    )
