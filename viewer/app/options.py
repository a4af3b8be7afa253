"""The command line of ``run_viewer.py``. Nothing here needs Taichi, so that ``--help`` comes at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes

from taichi_rf.cli.options import MODEL
from taichi_rf.cli.picture_request import PictureRequest
from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from viewer.session.demo import LONGEST, SHORTEST


@dataclass(frozen=True)
class Options:
    """Look at a trained model in a window, or make a picture or a video of it without one."""

    # A .trf file or its address (http, https, s3, gs, ...), a run's folder (one that was stopped goes on), or a scene
    # to train: --web begins at once, with the preset and the downscale of the last time. Default: choose in the
    # window.
    model: Annotated[str | None, tyro.conf.Positional, MODEL] = None
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
    # Write a video of one turn around the scene to this file (.mp4, .gif, .webp or .avif) and end, without a window.
    turntable: Path | None = None
    # Follow this camera path (nerfstudio's camera_path.json) and end, without a window; goes with --output.
    path: Path | None = None
    # The video of --path (.mp4, .gif, .webp or .avif).
    output: Path | None = None
    # How long a turn takes, in seconds. Default: 6.
    seconds: float | None = None
    # Frames a second of a video. Default: 30, or what the camera path says.
    fps: float | None = None
    # Go from the first level to the one shown (the highest, unless --level says otherwise) during the video.
    sweep: bool = False
    # Write level, size and PSNR on the frames of a video; "auto" does so with --sweep.
    caption: Literal["auto", "on", "off"] = "auto"
    # For how many seconds the demonstration (g) shows a level once it is sharp. Default: 3.
    demo_seconds: float | None = None
    # Pixels across. Default: the last window's for a window, 1280 for a picture, and for a video what the camera path
    # says, or 1280.
    width: int | None = None
    # Pixels down. Default: the last window's for a window, 720 for a picture, and for a video what the camera path
    # says, or 720.
    height: int | None = None
    # Take no more than this of the model's file or address: 1M is 1,000,000 bits a second, 125kB is 125,000 bytes a
    # second. Default: as much as comes.
    bandwidth: str | None = None
    # How the folder becomes a scene, where its reader would choose.
    world: OmitArgPrefixes[World] = World()
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
    # The folder from which pages of --web may open scenes, runs and models, and train there. Default: the working
    # directory where only this machine can connect, else none.
    browse: Path | None = None
    # Append a line of JSON for every frame of the window to this file.
    state_file: Path | None = None

    @property
    def without_window(self) -> bool:
        """Whether a picture or a video is to be written instead of opening a window."""
        return self.headless or bool(self.screenshot or self.turntable or self.path)

    def pictures(self) -> PictureRequest:
        """What picture or video is asked for, if any."""
        return PictureRequest(**{entry.name: getattr(self, entry.name) for entry in fields(PictureRequest)})

    def check(self) -> None:
        """Check all that can be checked before anything is read.

        Raises:
            UserError: options contradict each other, or are out of range.
        """
        request = self.pictures()
        if self.headless and not request.asked:
            raise UserError(
                "--headless has nothing to do: say what to write with --screenshot FILE.png, --turntable FILE.mp4, or "
                "--path camera_path.json --output FILE.mp4"
            )
        if self.web and self.without_window:
            raise UserError(f"--web and --{(request.asked or ['headless'])[0]}: one at a time")
        if self.port is not None and not 0 <= self.port <= 65535:
            raise UserError(f"--port {self.port}: choose 0 (any that is free) to 65535")
        for name in ("host", "port", "browse"):
            if getattr(self, name) is not None and not self.web:
                raise UserError(f"--{name} goes with --web")
        for name in ("width", "height", "state_file"):
            if self.web and getattr(self, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} does not go with --web: it is for a window")
        if self.without_window and self.state_file is not None:
            raise UserError("--state-file goes with a window")
        if self.demo_seconds is not None and not SHORTEST <= self.demo_seconds <= LONGEST:
            raise UserError(f"--demo-seconds {self.demo_seconds:g}: choose {SHORTEST} to {LONGEST} seconds")
        if self.demo_seconds is not None and (self.without_window or self.model is None):
            raise UserError("--demo-seconds goes with a model that is looked at")
        self.world.check()
        if self.world.said() and (self.model is None or self.without_window):
            raise UserError(f"--{next(iter(self.world.said()))} goes with the folder of a scene to train")
        request.check()
