"""Look at a trained model in a window, or make a picture or a video of it without one.

python run_viewer.py runs/lego
python run_viewer.py runs/lego/model.trf --rank 4
python run_viewer.py runs/lego --headless --screenshot out.png --level 4
python run_viewer.py runs/lego --headless --turntable turn.mp4 --sweep
python run_viewer.py runs/lego --headless --path camera_path.json --output flight.mp4
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from taichi_rf import entry
from taichi_rf.errors import UserError

LARGEST_SIDE = 16384  # pixels of a picture
_SIZE = (1280, 720)  # of the window, a picture and a video whose camera path does not say otherwise
_BUDGET = 0.25  # seconds of work on a video between two looks at its progress


@dataclass(frozen=True)
class Options:
    """Look at a trained model in a window, or make a picture or a video of it without one."""

    # A .trf file, or the folder of a run that holds model.trf.
    model: Annotated[Path, tyro.conf.Positional]
    # The level (rank, LOD) to show first. Default: the highest.
    level: Annotated[int | None, tyro.conf.arg(aliases=["--rank", "--lod"])] = None
    # What to show.
    mode: Literal["colour", "depth", "normals", "opacity", "occupancy", "samples"] = "colour"
    # Render without a window, a display or Vulkan; goes with --screenshot, --turntable or --path.
    headless: bool = False
    # Write one picture to this file and end, without a window.
    screenshot: Path | None = None
    # Write a video of one turn around the scene to this file (.mp4 or .gif) and end, without a window.
    turntable: Path | None = None
    # Follow this camera path (nerfstudio's camera_path.json) and end, without a window; goes with --output.
    path: Path | None = None
    # The video of --path (.mp4 or .gif).
    output: Path | None = None
    # How long a turn takes, in seconds. Default: 6.
    seconds: float | None = None
    # Frames a second of a video. Default: 30, or what the camera path says.
    fps: float | None = None
    # Go from the first level to the one shown (the highest, unless --level says otherwise) during the video.
    sweep: bool = False
    # Pixels across the window, the picture or the video. Default: 1280, or what the camera path says.
    width: int | None = None
    # Pixels down the window, the picture or the video. Default: 720, or what the camera path says.
    height: int | None = None
    # Where the camera stands: degrees around the upright axis. Default: the model's own first view.
    azimuth: float | None = None
    # Where the camera stands: degrees above the horizon.
    elevation: float | None = None
    # Where the camera stands: world units from the point it looks at.
    distance: float | None = None
    # Vertical field of view, in degrees.
    fov: float | None = None
    # The device to compute on.
    arch: Literal["auto", "cpu", "cuda", "vulkan", "metal"] = "auto"
    # Append a line of JSON for every frame of the window to this file.
    state_file: Path | None = None

    @property
    def without_window(self) -> bool:
        return self.headless or bool(self.screenshot or self.turntable or self.path)

    @property
    def video(self) -> Path | None:
        """The video to write, if that is what is asked for."""
        return self.turntable or (self.output if self.path else None)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every way out is an exit code."""
    options = tyro.cli(Options, prog="run_viewer.py", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    entry.run("run_viewer.py", lambda stopper: view(options))


def view(options: Options) -> None:
    """Open the window, or write the picture or the video.

    Raises:
        UserError: the model cannot be read, the options ask for what it does not have, or no window can open.
    """
    from viewer.session import Session, model_file

    _check(options)
    path = model_file(options.model)
    camera_path = _camera_path(options)
    if not options.without_window:
        from viewer.display import why_no_window

        reason = why_no_window()
        if reason:
            raise UserError(reason)

    from taichi_rf import backend
    from taichi_rf.model import Model

    backend.init(options.arch)
    model = Model.load(path)
    for warning in model.metadata.get("warnings", ()):
        print(f"run_viewer.py: {warning}", file=sys.stderr)
    session = Session(model, level=options.level)
    session.mode = options.mode
    session.start_from(
        azimuth=options.azimuth, elevation=options.elevation, distance=options.distance, field_of_view=options.fov
    )
    width, height = options.width or _SIZE[0], options.height or _SIZE[1]
    if options.screenshot is not None:
        _write_picture(options.screenshot, session.snapshot(width, height))
    elif options.video is not None:
        _write_video(options, session, camera_path)
    else:
        from viewer import window

        window.run(session, width=width, height=height, state_file=options.state_file)


def _check(options: Options) -> None:
    from taichi_rf.camera_path import FPS, SECONDS, frame_count
    from taichi_rf.video import FASTEST, SLOWEST, check_video

    asked = [name for name in ("screenshot", "turntable", "path") if getattr(options, name) is not None]
    if options.headless and not asked:
        raise UserError(
            "--headless has nothing to do: say what to write with --screenshot FILE.png, --turntable FILE.mp4, or "
            "--path camera_path.json --output FILE.mp4"
        )
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]}: one at a time")
    if options.screenshot is not None and options.screenshot.suffix.lower() != ".png":
        raise UserError(f"--screenshot {options.screenshot}: pictures are PNG: name a file that ends in .png")
    if (options.path is None) != (options.output is None):
        raise UserError("--path camera_path.json and --output FILE.mp4 go together")
    _check_company(options)
    for name in ("width", "height"):
        value = getattr(options, name)
        if value is not None and not 1 <= value <= LARGEST_SIDE:
            raise UserError(f"--{name} {value}: choose 1 to {LARGEST_SIDE} pixels")
    for name, low, high in (
        ("azimuth", -1e6, 1e6), ("elevation", -90, 90), ("distance", 1e-6, 1e6), ("fov", 1, 170),
        ("seconds", 1e-3, 1e6), ("fps", SLOWEST, FASTEST),
    ):  # fmt: skip
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name} {value}: choose {low:g} to {high:g}")
    if options.turntable is not None:
        fps = options.fps or FPS
        check_video(options.turntable, options.width or _SIZE[0], options.height or _SIZE[1], fps)
        frame_count(options.seconds or SECONDS, fps)


def _check_company(options: Options) -> None:
    """Options that say nothing without others, or contradict them."""
    for name, where, others in (
        ("seconds", options.turntable is not None, "--turntable"),
        ("fps", options.video is not None, "--turntable or --path"),
        ("sweep", options.video is not None, "--turntable or --path"),
    ):
        if getattr(options, name) not in (None, False) and not where:
            raise UserError(f"--{name} goes with {others}")
    for name in ("azimuth", "elevation", "distance", "fov"):
        if options.path is not None and getattr(options, name) is not None:
            raise UserError(f"--{name} does not go with --path: the path says where the camera stands")


def _camera_path(options: Options) -> Any:
    """The camera path that is asked for, read before anything takes time; None without one."""
    if options.path is None or options.output is None:
        return None
    from taichi_rf.camera_path import CameraPath
    from taichi_rf.video import check_video

    path = CameraPath.load(options.path)
    check_video(options.output, options.width or path.width, options.height or path.height, options.fps or path.fps)
    return path


def _write_picture(path: Path, picture: Any) -> None:
    from PIL import Image

    from taichi_rf.files import atomic_write

    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, format="PNG")


def _write_video(options: Options, session: Any, camera_path: Any) -> None:
    """Record what is asked for, with a bar; Ctrl-C and errors leave nothing half written."""
    from taichi_rf.camera_path import FPS, SECONDS, turntable
    from taichi_rf.console import bar, duration, say
    from taichi_rf.report import megabytes
    from viewer.record import Recording, sweep
    from viewer.session import render_from_anywhere

    fps = options.fps or (FPS if camera_path is None else camera_path.fps)
    if camera_path is None:
        width, height = options.width or _SIZE[0], options.height or _SIZE[1]
        seconds = options.seconds or SECONDS
        camera_path = turntable(session.orbit, seconds=seconds, fps=fps, width=width, height=height)
    cameras = camera_path.cameras(options.width, options.height)
    levels = sweep(session.level, len(cameras)) if options.sweep else session.level
    assert options.video is not None

    def render_band(camera: Any, level: int, mode: str) -> Any:
        return render_from_anywhere(session.model, camera, level=level, mode=mode)

    video = Recording(options.video, cameras, render_band, levels=levels, mode=options.mode, fps=fps)
    with video as recording, bar("recording") as show:
        while not recording.done:
            recording.advance(_BUDGET)
            left = duration(recording.seconds_left)
            fraction = 1.0 if recording.done else min(recording.progress, 0.999)  # the encoder may need a moment yet
            show(fraction, f"frame {recording.frame} of {recording.frames}, {left} left")
    if recording.failure is not None:
        raise recording.failure
    size = megabytes(recording.path.stat().st_size)
    say(f"{recording.path}: {recording.frames} frames, {cameras[0].width}x{cameras[0].height}, {size}")


if __name__ == "__main__":
    main()
