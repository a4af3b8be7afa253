"""Ways through a model: as a video, or as frames in a folder, with depth, normals and alpha where they are wanted."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from taichi_rf.cli import entry
from taichi_rf.cli.console import Bar, bar, duration, say
from taichi_rf.cli.filming.frames import Form, FrameFolder, Shot, unit_of
from taichi_rf.cli.filming.recipe import differences, digest_of, recipe_of
from taichi_rf.cli.filming.request import frame_range, is_folder, level_range
from taichi_rf.cli.options import PROGRAM, Render
from taichi_rf.cli.picture_request import SIZE, PictureRequest
from taichi_rf.cli.pictures import level_of, read, view_of, write_video
from taichi_rf.core.errors import UserError
from taichi_rf.core.remaining import Remaining
from taichi_rf.core.sizes import megabytes
from taichi_rf.evaluation.caption import Captions, captions
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import quantise
from taichi_rf.motion.camera_path import FPS, SECONDS, CameraPath, frame_count, turntable
from taichi_rf.motion.free_view import render_from_anywhere
from taichi_rf.motion.layers import Seen, check_exr, farthest, save_colour, save_depth, save_exr, save_normals, see
from taichi_rf.motion.recording import sweep
from taichi_rf.motion.spiral import spiral
from taichi_rf.motion.video import FASTEST, SLOWEST, VideoWriter, check_video
from taichi_rf.storage.levels import checked_level
from taichi_rf.storage.model_file import model_path
from taichi_rf.streaming.transport import is_address


def write_layers(command: Render, request: PictureRequest) -> None:
    """Write one picture with alpha, its depth or its normals as numbers, or all of them as OpenEXR.

    Raises:
        UserError: the model cannot be read, or the file cannot be written.
    """
    form = form_of(command)
    model, levels = read(request, PROGRAM)
    level = level_of(request, model, levels)
    camera = view_of(request, model).camera(request.width or SIZE[0], request.height or SIZE[1])
    with bar("rendering") as show:
        seen = see(model, camera, form.layers, level=level, alpha=form.alpha, progress=show)
    said = ""
    if command.output.suffix.lower() == ".exr":
        save_exr(command.output, seen)
    elif seen.colour is not None:
        save_colour(command.output, seen.colour)
    elif seen.depth is not None:
        unit = unit_of(farthest([camera], model.world_box))
        save_depth(command.output, seen.depth, unit)
        said = f"; one step is {unit:g} world units, and 0 is none"
    elif seen.normals is not None:
        save_normals(command.output, seen.normals)
    say(f"{command.output}: {camera.width}x{camera.height}, {', '.join(form.layers)}{said}")


def write_film(command: Render, request: PictureRequest) -> None:
    """Write a video, or the frames of one to a folder.

    Raises:
        UserError: options are out of range, the model cannot be read, or something cannot be written.
    """
    path = _path(command, request)
    if command.exr:
        check_exr()
    model, levels = read(request, PROGRAM)
    for warning in model.metadata.get("warnings", ()):
        entry.complain(PROGRAM, warning)
    last, first = level_of(request, model, levels), level_range(command.level)[0]
    if first is not None:
        last = level_range(command.level)[1] or last
        for level in (first, last):
            checked_level(level, levels, model.field.level_name)
    fps = command.fps or (FPS if path is None else path.fps)
    if path is None:
        path = _around(command, request, model, fps)
    count = len(path.frames)
    moving = first is not None or command.sweep
    shown = sweep(last, count, first or 1) if moving else [last] * count
    chosen = frame_range(command.frames, count)
    cameras = path.cameras(request.width, request.height)
    captioned = command.caption == "on" or (command.caption == "auto" and moving)
    finish = (
        captions(model, levels) if captioned and (not is_folder(command.output) or command.caption == "on") else None
    )
    shots = [Shot(f"{index:05}", camera, level) for index, (camera, level) in enumerate(zip(cameras, shown))]
    if is_folder(command.output):
        folder = _folder(command, model, shots, command.output, captioned=finish is not None)
        _frames(model, folder, [shots[index] for index in chosen], finish)
        say(
            f"{command.output}: {sum(map(folder.has, shots))} of {count} frames, {cameras[0].width}x{cameras[0].height}"
        )
    elif command.resume:
        _in_two_parts(command, model, shots, chosen, fps, finish)
    else:

        def render(camera: Camera, level: int, mode: str) -> Any:
            return render_from_anywhere(model, camera, level=level, mode=mode)

        write_video(
            command.output, [cameras[index] for index in chosen], render, levels=[shown[index] for index in chosen],
            mode=command.mode, fps=fps, finish=finish,
        )  # fmt: skip


def form_of(command: Render) -> Form:
    """What is to be saved of every frame."""
    if command.exr or command.output.suffix.lower() == ".exr":
        check_exr()
    return Form(command.layers, command.transparent, command.exr, command.mode)


def identity_of(command: Render) -> str:
    """What tells this model from another when frames are gone on with."""
    return digest_of(None if is_address(command.model) else model_path(command.model), command.model)


def render_shot(model: Any, shot: Shot, form: Form, progress: Callable[[float], None]) -> Seen:
    """What a frame shows."""
    if form.mode == "colour":
        return see(model, shot.camera, form.layers, level=shot.level, alpha=form.alpha, progress=progress)
    return Seen(render_from_anywhere(model, shot.camera, level=shot.level, mode=form.mode), None, None)


def _folder(command: Render, model: Any, shots: list[Shot], where: Path, *, captioned: bool) -> FrameFolder:
    return frame_folder(command, model, shots, where, captioned=captioned and not command.transparent)


def frame_folder(
    command: Render, model: Any, shots: list[Shot], where: Path, *, captioned: bool = False, photographs: str = ""
) -> FrameFolder:
    """The folder for the frames of ``shots``, see :class:`FrameFolder`; what else is given is as in
    :func:`~taichi_rf.cli.filming.recipe.recipe_of`."""
    form, unit = form_of(command), unit_of(farthest([shot.camera for shot in shots], model.world_box))
    recipe = recipe_of(identity_of(command), shots, form, unit, captioned=captioned, photographs=photographs)
    differs = functools.partial(differences, recipe=recipe)
    return FrameFolder(where, recipe, differs, shots, form, unit, resume=command.resume, overwrite=command.overwrite)


def _frames(model: Any, folder: FrameFolder, shots: list[Shot], finish: Captions | None) -> None:
    """Write the frames of ``shots`` that are not there yet, with a bar."""
    missing = [shot for shot in shots if not folder.has(shot)]
    if len(missing) < len(shots):
        say(f"{len(shots) - len(missing)} of {len(shots)} frames are there already")
    with goes_on(folder.path), bar("rendering") as show:
        left = Remaining()
        for done, shot in enumerate(missing):
            seen = render_shot(model, shot, folder.form, _part(show, left, done, len(missing)))
            if finish is not None and seen.colour is not None and not folder.form.alpha:
                pixels = quantise(seen.colour)
                finish(pixels, shot.level)
                seen = replace(seen, colour=(pixels / np.float32(255)).astype(np.float32))
            folder.save(shot, seen)
            left.report((done + 1) / len(missing))
    folder.finish()


def _part(show: Bar, left: Remaining, done: int, count: int) -> Callable[[float], None]:
    def progress(part: float) -> None:
        seconds = "" if left.seconds is None else f", {duration(left.seconds)} left"
        show((done + part) / count, f"frame {done + 1} of {count}{seconds}")

    return progress


def _in_two_parts(
    command: Render, model: Any, shots: list[Shot], chosen: range, fps: float, finish: Captions | None
) -> None:
    """Keep the frames beside the video until it is whole."""
    if command.output.exists():
        raise UserError(f"{command.output} is there already, and whole: choose another --output, or give --overwrite")
    beside = command.output.with_name(command.output.name + ".frames")
    folder = _folder(command, model, shots, beside, captioned=finish is not None)
    wanted = [shots[index] for index in chosen]
    _frames(model, folder, wanted, finish)
    width, height = wanted[0].camera.width, wanted[0].camera.height
    with VideoWriter(command.output, width, height, fps) as video, bar("encoding") as show:
        for index, shot in enumerate(wanted):
            video.write(np.ascontiguousarray(iio.imread(folder.path / f"{shot.stem}.png")[..., :3]))
            show((index + 1) / len(wanted))
    folder.remove()
    size = megabytes(command.output.stat().st_size)
    say(f"{command.output}: {len(wanted)} frames, {width}x{height}, {size}")


@contextlib.contextmanager
def goes_on(path: Path) -> Any:
    """Have Ctrl-C answered with how to go on."""
    try:
        yield
    except entry.Stopped as stopped:
        stopped.args = (f"stopped by {stopped.name}: the frames in {path} are kept; go on with --resume",)
        raise


def _path(command: Render, request: PictureRequest) -> CameraPath | None:
    """The camera path that is asked for, read before anything takes time; None without one."""
    fps = command.fps
    if fps is not None and not SLOWEST <= fps <= FASTEST:
        raise UserError(f"--fps {fps:g}: choose {SLOWEST:g} to {FASTEST:g}")
    if command.seconds is not None and not 1e-3 <= command.seconds <= 1e6:
        raise UserError(f"--seconds {command.seconds:g}: choose 0.001 to 1e+06")
    if command.path is None:
        frame_range(command.frames, frame_count(command.seconds or SECONDS, fps or FPS))
        return None
    if command.seconds is not None:
        raise UserError("--seconds goes with --turntable and --spiral: the path says how long it takes")
    path = CameraPath.load(command.path)
    for warning in path.warnings:
        say(f"warning: {warning}")
    if not is_folder(command.output):
        check_video(command.output, request.width or path.width, request.height or path.height, fps or path.fps)
    frame_range(command.frames, len(path.frames))
    return path


def _around(command: Render, request: PictureRequest, model: Any, fps: float) -> CameraPath:
    view, seconds = view_of(request, model), command.seconds or SECONDS
    width, height = request.width or SIZE[0], request.height or SIZE[1]
    if command.spiral:
        ahead = model.space.ahead_only
        return spiral(view, ahead=ahead, seconds=seconds, fps=fps, width=width, height=height)
    return turntable(view, seconds=seconds, fps=fps, width=width, height=height)
