"""Look at a trained model in a window, or make a picture or a video of it without one.

python run_viewer.py                                       choose a scene and train it
python run_viewer.py runs/lego
python run_viewer.py runs/lego/model.trf --rank 4
python run_viewer.py runs/lego/model.trf --size 1MB        the highest rank that fits
python run_viewer.py runs/lego --headless --screenshot out.png --level 4
python run_viewer.py runs/lego --headless --turntable turn.mp4 --sweep
python run_viewer.py runs/lego --headless --path camera_path.json --output flight.mp4
python run_viewer.py https://host/model.trf                shown as soon as its first level has come
python run_viewer.py runs/lego/model.trf --bandwidth 1M    as it would be over a link of 1 Mbit/s
"""

from __future__ import annotations

from taichi_rf.cli import entry

if __name__ == "__main__" or entry.started_as("taichi-rf-viewer"):
    entry.interruptible()

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from taichi_rf.core.errors import UserError

if TYPE_CHECKING:
    from taichi_rf.motion.camera_path import CameraPath
    from viewer.app.studio import Studio
    from viewer.session.session import Session

RUNS = Path("runs")
LARGEST_SIDE = 16384  # pixels of a picture
_SIZE = (1280, 720)  # of a picture, and of a video whose camera path does not say otherwise
_HOST, _PORT = "127.0.0.1", 8080  # of --web


@dataclass(frozen=True)
class Options:
    """Look at a trained model in a window, or make a picture or a video of it without one."""

    # A .trf file or its address (http, https, s3, gs, ...), a run's folder (one that was stopped goes on), or a scene
    # to train: --web begins at once, with the preset and the downscale of the last time. Default: choose in the
    # window.
    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    # The level (rank, LOD) to show first. Default: the highest.
    level: Annotated[int | None, tyro.conf.arg(aliases=["--rank", "--lod"])] = None
    # Show the highest level that takes no more than this, such as 1MB or 300kB, also of a model that trains or comes.
    size: str | None = None
    # What to show.
    mode: Literal["colour", "depth", "normals", "opacity", "occupancy", "samples"] | None = None
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
    # Pixels across. Default: the last window's for a window, 1280 for a picture, and for a video what the camera path
    # says, or 1280.
    width: int | None = None
    # Pixels down. Default: the last window's for a window, 720 for a picture, and for a video what the camera path
    # says, or 720.
    height: int | None = None
    # Take no more than this of the model's file or address: 1M is 1,000,000 bits a second, 125kB is 125,000 bytes a
    # second. Default: as much as comes.
    bandwidth: str | None = None
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
    # Serve a page instead of opening a window, for machines without a screen (needs pip install 'taichi-rf[web]').
    web: bool = False
    # Who may connect to --web. Default: 127.0.0.1, this machine alone; 0.0.0.0 for everyone, who can then steer and
    # train.
    host: str | None = None
    # Where --web listens. Default: 8080.
    port: int | None = None
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

    def parse() -> Options:
        return tyro.cli(Options, prog="run_viewer.py", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))

    entry.run("run_viewer.py", parse, view)


def view(options: Options, stopper: entry.Stopper) -> None:
    """Open the window or the server, or write the picture or the video.

    Raises:
        UserError: the model cannot be read, the options ask for what it does not have, or no window can open.
        entry.Stopped: someone wanted to stop; what has been trained is saved.
    """
    if options.without_window:
        write(options)
        return
    _check(options)
    if not options.web:
        from viewer.desktop.display import why_no_window

        if reason := why_no_window():
            raise UserError(reason)
    _sit(options, stopper)


def write(options: Options) -> None:
    """Write a picture or a video of a model, without a window. UserError as :func:`view`."""
    _check(options)
    way = _camera_path(options)
    session = _read(options)
    from viewer.app.headless import write_picture

    if options.screenshot is not None:
        write_picture(session, options.screenshot, options.width or _SIZE[0], options.height or _SIZE[1])
    else:
        _write_video(options, session, way)


def _read(options: Options) -> Session:
    """A session of the model, or of as many of its levels as are asked for, all of them there."""
    from taichi_rf.storage.model_file import model_path
    from taichi_rf.streaming.transport import is_address
    from viewer.session.session import Session

    assert options.model is not None
    path = options.model if is_address(options.model) else str(model_path(Path(options.model)))
    from taichi_rf.core import backend
    from taichi_rf.storage.model_file import load_model

    if is_address(path) or options.bandwidth is not None:
        from viewer.app.headless import receive

        session = receive(path, options.level, _bandwidth(options), lambda: backend.init(options.arch))
    else:
        backend.init(options.arch)
        session = Session(load_model(path, told=lambda text: entry.complain("run_viewer.py", text)))
    for warning in session.model.metadata.get("warnings", ()):
        entry.complain("run_viewer.py", warning)
    _prepare(session, options)
    return session


def _bandwidth(options: Options) -> float | None:
    """Bytes a second, None where there is no limit. UserError where that is not what the option says."""
    from taichi_rf.streaming.rate import bandwidth

    return None if options.bandwidth is None else bandwidth(options.bandwidth)


def _bytes(size: str) -> int:
    """What --size says. UserError where that is no size."""
    from taichi_rf.core.sizes import bytes_of

    return bytes_of(size, "--size")


def _sit(options: Options, stopper: entry.Stopper) -> None:
    """Show what is to be shown in a window or in browsers until it is closed or stopped, and save what was trained."""
    from taichi_rf.cli.console import bar
    from viewer.app.closing import until_closed
    from viewer.app.settings import Settings
    from viewer.app.studio import Studio

    settings = Settings.load()
    studio = Studio(arch=options.arch, runs=RUNS, guard=stopper.step, settings=settings)
    with until_closed(studio):
        if options.model is not None:
            with bar("opening") as show:
                studio.open_now(
                    options.model, lambda text, progress: show(progress, text), bandwidth=_bandwidth(options)
                )
        if options.web and studio.session is None:
            _begin(studio)
        if studio.session is not None:
            _prepare(studio.session, options)
        if options.web:
            _serve(studio, options)
        else:
            from viewer.desktop import window

            window.run(
                studio, width=options.width, height=options.height, state_file=options.state_file, settings=settings
            )


def _begin(studio: Studio) -> None:
    """Train the scene that was named, because nothing can be chosen in a browser."""
    from taichi_rf.cli.console import bar, say

    with bar("opening") as show:
        studio.start_now(lambda text, progress: show(progress, text))
    assert studio.run is not None
    images = "at their size" if studio.downscale == 1 else f"at 1/{studio.downscale} of their size"
    say(f"training in {studio.run.training.folder} with the preset {studio.preset} and images {images}")


def _serve(studio: Studio, options: Options) -> None:
    from taichi_rf.cli.console import say
    from viewer.web import site as web
    from viewer.web.hosts import is_loopback

    host, port = options.host or _HOST, _PORT if options.port is None else options.port
    if not is_loopback(host):
        say(f"warning: whoever can reach {host} can look, steer the training, and write into its folder")
    web.serve(studio, host=host, port=port, stop=lambda: False, ready=_tell)


def _tell(address: str) -> None:
    from taichi_rf.cli.console import say

    say(f"open {address} in a browser; Ctrl-C here ends it")


def _prepare(session: Session, options: Options) -> None:
    """Show what the options ask for. UserError where the model does not have it."""
    if options.level is not None:
        session.set_level(session.check_level(options.level))
    if options.size is not None:
        session.set_budget(_bytes(options.size))
    if options.mode is not None:
        session.set_mode(options.mode)
    session.start_from(
        azimuth=options.azimuth, elevation=options.elevation, distance=options.distance, field_of_view=options.fov
    )


def _check(options: Options) -> None:
    from taichi_rf.motion.camera_path import FPS, SECONDS, frame_count
    from taichi_rf.motion.video import FASTEST, SLOWEST, check_video

    if options.size is not None:
        if options.level is not None:
            raise UserError("--size chooses the level: leave --level (--rank, --lod)")
        _bytes(options.size)
    asked = [name for name in ("screenshot", "turntable", "path") if getattr(options, name) is not None]
    if options.headless and not asked:
        raise UserError(
            "--headless has nothing to do: say what to write with --screenshot FILE.png, --turntable FILE.mp4, or "
            "--path camera_path.json --output FILE.mp4"
        )
    if options.without_window and options.model is None:
        raise UserError("name the model: a .trf file or its address, or the folder of a run")
    if options.web and options.without_window:
        raise UserError(f"--web and --{(asked or ['headless'])[0]}: one at a time")
    if options.bandwidth is not None:
        if options.model is None:
            raise UserError("--bandwidth goes with the file or the address of a model")
        _bandwidth(options)
    if options.web and options.model is None:
        raise UserError("--web: name what to show: a .trf file, the folder of a run, or a scene to train")
    if options.port is not None and not 0 <= options.port <= 65535:
        raise UserError(f"--port {options.port}: choose 0 (any that is free) to 65535")
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
        ("host", options.web, "--web"),
        ("port", options.web, "--web"),
    ):
        if getattr(options, name) not in (None, False) and not where:
            raise UserError(f"--{name} goes with {others}")
    for name in ("width", "height", "state_file"):
        if options.web and getattr(options, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} does not go with --web: it is for a window")
    if options.without_window and options.state_file is not None:
        raise UserError("--state-file goes with a window")
    for name in ("azimuth", "elevation", "distance", "fov"):
        if options.path is not None and getattr(options, name) is not None:
            raise UserError(f"--{name} does not go with --path: the path says where the camera stands")


def _camera_path(options: Options) -> CameraPath | None:
    """The camera path that is asked for, read before anything takes time; None without one."""
    if options.path is None or options.output is None:
        return None
    from taichi_rf.cli.console import say
    from taichi_rf.motion.camera_path import CameraPath
    from taichi_rf.motion.video import check_video

    path = CameraPath.load(options.path)
    for warning in path.warnings:
        say(f"warning: {warning}")
    check_video(options.output, options.width or path.width, options.height or path.height, options.fps or path.fps)
    return path


def _write_video(options: Options, session: Session, way: CameraPath | None) -> None:
    """The video of a turntable or of a camera path."""
    from taichi_rf.motion.camera_path import FPS, SECONDS, turntable
    from viewer.app.headless import write_video
    from viewer.session.record import sweep

    fps = options.fps or (FPS if way is None else way.fps)
    if way is None:
        width, height = options.width or _SIZE[0], options.height or _SIZE[1]
        way = turntable(session.orbit, seconds=options.seconds or SECONDS, fps=fps, width=width, height=height)
    count = len(way.frames)
    levels = sweep(session.level, count) if options.sweep else [session.level] * count
    assert options.video is not None
    write_video(session, options.video, way, (options.width, options.height), fps, levels)


if __name__ == "__main__":
    main()
