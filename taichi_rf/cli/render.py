"""``python -m taichi_rf render``: a picture of a model, or a video of a turn around it or of a way through it."""

from __future__ import annotations

from taichi_rf.cli.options import PROGRAM, Render
from taichi_rf.cli.picture_request import PictureRequest
from taichi_rf.core.errors import UserError

_SIDE = 800  # pixels, unless the command line or the camera path says otherwise


def run(command: Render) -> None:
    """Write the picture or the video. UserError for what the user can mend."""
    request = _request(command)
    request.check()
    from taichi_rf.cli.pictures import write  # after the check: it imports Taichi, which takes a second

    write(request, PROGRAM)


def _request(command: Render) -> PictureRequest:
    if command.turntable and command.path is not None:
        raise UserError("--turntable and --path: one at a time")
    video = command.turntable or command.path is not None
    if not video and command.output.suffix.lower() != ".png":
        raise UserError(f"--output {command.output}: a picture ends in .png; for a video add --turntable or --path")
    side = None if command.path is not None else _SIDE
    return PictureRequest(
        model=command.model,
        level=command.level,
        mode=command.mode,
        screenshot=None if video else command.output,
        turntable=command.output if command.turntable else None,
        path=command.path,
        output=command.output if command.path is not None else None,
        seconds=command.seconds,
        fps=command.fps,
        sweep=command.sweep,
        caption=command.caption,
        width=side if command.width is None else command.width,
        height=side if command.height is None else command.height,
        azimuth=command.azimuth,
        elevation=command.elevation,
        distance=command.distance,
        fov=command.fov,
        arch=command.arch,
    )
