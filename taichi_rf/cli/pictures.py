"""Pictures and videos of a model, written without a window: what ``python -m taichi_rf render`` and
``run_viewer.py --headless`` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from taichi_rf.cli.console import bar, duration, say
from taichi_rf.cli.entry import complain
from taichi_rf.cli.picture_request import SIZE, PictureRequest
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import megabytes
from taichi_rf.evaluation.caption import Captions, captions
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import RenderBand
from taichi_rf.motion.camera_path import FPS, SECONDS, CameraPath, turntable
from taichi_rf.motion.free_view import render_from_anywhere
from taichi_rf.motion.orbit import Orbit
from taichi_rf.motion.recording import Recording, sweep
from taichi_rf.motion.screenshot import Screenshot
from taichi_rf.motion.video import check_video
from taichi_rf.storage.levels import best_level, checked_level, level_within
from taichi_rf.storage.model_file import load_model, model_path
from taichi_rf.streaming.arrivals import Arrivals
from taichi_rf.streaming.download import PATIENCE, Incoming
from taichi_rf.streaming.progressive_model import reserve
from taichi_rf.streaming.transport import is_address

_BUDGET = 0.25  # seconds of work between two looks at its progress


def write(request: PictureRequest, program: str) -> None:
    """Write the picture or the video that is asked for.

    Args:
        program: whose name warnings bear.

    Raises:
        UserError: the request is refused (see :meth:`PictureRequest.check`), the model cannot be read or does not have
            what is asked for, or the file cannot be written.
    """
    request.check()
    path = camera_path(request)
    model, levels = read(request, program)
    for warning in model.metadata.get("warnings", ()):
        complain(program, warning)
    level = level_of(request, model, levels)
    mode = request.mode or "colour"
    view = view_of(request, model)

    def render(camera: Camera, level: int, mode: str) -> Any:
        return render_from_anywhere(model, camera, level=level, mode=mode)

    width, height = request.width or SIZE[0], request.height or SIZE[1]
    if request.screenshot is not None:
        write_picture(request.screenshot, view.camera(width, height), render, level=level, mode=mode)
        return
    assert request.video is not None
    fps = request.fps or (FPS if path is None else path.fps)
    if path is None:
        path = turntable(view, seconds=request.seconds or SECONDS, fps=fps, width=width, height=height)
    count = len(path.frames)
    shown = sweep(level, count) if request.sweep else [level] * count
    finish = captions(model, levels) if request.captioned else None
    write_video(
        request.video, path.cameras(request.width, request.height), render, levels=shown, mode=mode, fps=fps,
        finish=finish,
    )  # fmt: skip


def receive(address: str, level: int | None, bandwidth: float | None, start: Callable[[], object]) -> tuple[Any, int]:
    """A model that has to come first, with a bar, and how many of its levels came: all, or the first ``level``.

    Args:
        address: where it comes from; also a file, to be read slowly.
        bandwidth: bytes a second that are taken at most.
        start: starts Taichi; called as soon as it is clear that there is something to show.

    Raises:
        UserError: it does not come, or less of it than is asked for.
    """
    incoming = Incoming(address, bandwidth=bandwidth, levels=level, patience=PATIENCE).start()
    try:
        with bar("receiving") as show:
            while not incoming.wait(lambda: incoming.outline is not None, 0.1):
                show(0.0, incoming.progress.trouble or "")
            if incoming.error is not None:
                raise incoming.error
            assert incoming.outline is not None
            start()
            model = reserve(incoming.outline)
            arrivals = Arrivals(incoming, model)
            total, name = arrivals.total, model.field.level_name
            wanted = total if level is None else checked_level(level, total, name)
            while not arrivals.over:
                arrivals.advance()
                incoming.wait(lambda: len(incoming.parts) > arrivals.level, 0.1)
                progress = incoming.progress
                coming = (progress.levels + (progress.share if progress.levels < wanted else 0.0)) / wanted
                show(min(coming, 1.0), arrivals.text())
    finally:
        incoming.close()
    if arrivals.failure is not None:
        raise UserError(arrivals.failure)
    if incoming.shortfall is not None:
        raise UserError(incoming.shortfall)
    if level is not None:
        checked_level(level, arrivals.total, name)
    return model, arrivals.total


def write_picture(path: Path, camera: Camera, render: RenderBand, *, level: int, mode: str) -> None:
    """Write a picture as PNG, with a bar.

    Raises:
        UserError: it cannot be written.
    """
    if not path.absolute().parent.is_dir():  # said before it is rendered
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    picture = Screenshot(path, camera, render, level=level, mode=mode)
    try:
        with bar("rendering") as show:
            while not picture.done:
                picture.advance(_BUDGET)
                show(picture.progress, "")
    except BaseException:
        picture.cancel()
        raise
    if picture.failure is not None:
        raise picture.failure


def write_video(
    path: Path,
    cameras: Sequence[Camera],
    render: RenderBand,
    *,
    levels: Sequence[int],
    mode: str,
    fps: float,
    finish: Captions | None = None,
) -> None:
    """Write a video, one frame a camera and level, with a bar; Ctrl-C and errors leave nothing half written.

    Raises:
        UserError: the video cannot be made.
    """
    with (
        Recording(path, cameras, render, levels=levels, mode=mode, fps=fps, finish=finish) as recording,
        bar("recording") as show,
    ):
        while not recording.done:
            recording.advance(_BUDGET)
            left = "" if recording.seconds_left is None else f", {duration(recording.seconds_left)} left"
            fraction = 1.0 if recording.done else min(recording.progress, 0.999)  # the encoder may need a moment yet
            show(fraction, f"frame {recording.frame} of {recording.frames}{left}")
    if recording.failure is not None:
        raise recording.failure
    size = megabytes(recording.path.stat().st_size)
    say(f"{recording.path}: {recording.frames} frames, {cameras[0].width}x{cameras[0].height}, {size}")


def view_of(request: PictureRequest, model: Any) -> Orbit:
    """Where the camera stands: the model's own first view, but for what is asked for."""
    view = Orbit.from_state(model.metadata.get("view"), model.world_box)
    view.change(
        azimuth=request.azimuth, elevation=request.elevation, distance=request.distance, field_of_view=request.fov
    )
    return view


def read(request: PictureRequest, program: str) -> tuple[Any, int]:
    """The model, and how many of its levels are there."""
    assert request.model is not None
    name = request.model if is_address(request.model) else str(model_path(request.model))
    if is_address(name) or request.bandwidth is not None:
        return receive(name, request.level, request.bytes_a_second, lambda: backend.init(request.arch))
    backend.init(request.arch)
    model = load_model(name, told=lambda text: complain(program, text))
    return model, model.field.num_levels


def level_of(request: PictureRequest, model: Any, levels: int) -> int:
    """The level to show, of ``levels`` that are there. UserError where the model does not have it."""
    if request.level is not None:
        return checked_level(request.level, levels, model.field.level_name)
    if request.most_bytes is not None:
        return level_within(model, request.most_bytes, levels)
    return best_level(model.metadata, levels)


def camera_path(request: PictureRequest) -> CameraPath | None:
    """The camera path that is asked for, read before anything takes time; None without one."""
    if request.path is None or request.output is None:
        return None
    path = CameraPath.load(request.path)
    for warning in path.warnings:
        say(f"warning: {warning}")
    width, height = request.width or path.width, request.height or path.height
    check_video(request.output, width, height, request.fps or path.fps)
    return path
