"""Writes what a session shows to disk: pictures, videos, models, pages and the camera. No file is ever replaced."""

from __future__ import annotations

import importlib.util
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write, free_file, slug, write_json, writing
from taichi_rf.core.sizes import megabytes
from taichi_rf.evaluation.caption import Captions
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.camera_path import FPS, MAX_FRAMES, CameraPath, Frame, through, turntable
from taichi_rf.motion.crop_box import CropBox
from taichi_rf.motion.film import Film
from taichi_rf.motion.orbit import Orbit
from taichi_rf.motion.recording import Recording, sweep
from taichi_rf.motion.screenshot import Screenshot
from taichi_rf.motion.video import FASTEST
from taichi_rf.page.writing import page_of_file
from taichi_rf.storage.cropping import crop
from taichi_rf.storage.metadata import title
from taichi_rf.storage.model_file import read_stored, save_model
from taichi_rf.storage.trf import truncate_trf, write_trf
from taichi_rf.streaming.arrivals import Arrivals
from taichi_rf.streaming.download import Incoming
from taichi_rf.training.run import short
from viewer.session.learning import Trainer
from viewer.session.levels import Levels
from viewer.session.model import Model

GIF_FPS, GIF_WIDTH = 15.0, 640
_MOST_KEYFRAMES = int(MAX_FRAMES / FPS / 2)  # two seconds between any two


class Job(Protocol):
    """A picture or a video that is being written. What went wrong is in ``failure``, and then no file is
    there."""

    what: str
    path: Path
    done: bool
    failure: Exception | None

    @property
    def progress(self) -> float:
        """Fraction that is done, 0 to 1."""

    @property
    def seconds_left(self) -> float | None:
        """By the clock, at the rate of late; None while that is not known."""

    def advance(self, budget: float) -> None:
        """Work for about so many seconds."""

    def cancel(self) -> None:
        """Give it up; nothing half done is left."""


class Shown(Protocol):
    """What is needed of a session."""

    @property
    def model(self) -> Model:
        """The model that is shown."""

    @property
    def trainer(self) -> Trainer | None:
        """The training that goes on, None for none."""

    @property
    def training(self) -> bool:
        """Whether steps are being taken."""

    @property
    def arrivals(self) -> Arrivals | None:
        """What is being downloaded, None for nothing."""

    @property
    def orbit(self) -> Orbit:
        """Where the camera stands."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture in pixels."""

    @property
    def level(self) -> int:
        """The level that is shown."""

    @property
    def levels(self) -> Levels:
        """What each level costs and gives."""

    @property
    def plain_mode(self) -> str:
        """The mode without a photograph to compare with."""

    def camera(self, width: int, height: int) -> Camera:
        """The camera of a picture of so many pixels."""

    def render_band(self, camera: Camera, level: int, mode: str) -> npt.NDArray[np.float32]:
        """The pixels of some rows of a picture."""

    def say(self, text: str, alarm: bool = False) -> None:
        """Show a message."""


class Keeper:
    """Writes what a session shows into ``folder``; pictures and videos are made between frames, one at a time.

    ``file`` is the one that the model was read from, ``clock`` seconds as the session counts them. What cannot be
    written is a message of the session's.
    """

    def __init__(
        self, session: Shown, folder: Path, file: Path | None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.folder, self.file, self._clock = folder, file, clock
        self.job: Job | None = None
        self.keyframes: list[Frame] = []
        self.loaded: CameraPath | None = None
        """A camera path as it was read, until a keyframe is added to it."""
        self.film = Film()
        self.scale = 1
        """How many times the window's sides a picture has, where a person may choose."""
        self.crop: CropBox | None = None
        """To what the model is to be cut, once a person has asked for a box."""
        self._session = session

    def picture(self, width: int | None = None, height: int | None = None) -> Path:
        """Begin a picture of ``width`` x ``height`` pixels, the window's by default; returns where it will be."""
        session, clock = self._session, self._clock
        across, down = width or session.size[0], height or session.size[1]
        camera = session.camera(across, down)
        path = free_file(self.folder, f"{self._name()}-{self._level()}", ".png")

        def begin() -> Job:
            self.made_folder()
            return Screenshot(
                path, camera, session.render_band, level=session.level, mode=session.plain_mode, clock=clock
            )

        self._begin(begin)
        return path

    def turntable(self, *, fps: float = FPS) -> None:
        """Begin a video of one turn about what is looked at, as ``film`` says."""
        orbit, seconds = self._session.orbit, self.film.seconds
        self._video(
            "turntable", lambda w, h, most: turntable(orbit, seconds=seconds, fps=min(fps, most), width=w, height=h)
        )

    def add_keyframe(self) -> None:
        """Let the camera path go through where one stands."""
        if len(self.keyframes) >= _MOST_KEYFRAMES:
            self._session.say(f"a camera path has at most {_MOST_KEYFRAMES} keyframes here", alarm=True)
            return
        self.loaded = None  # its timing was that of its own keyframes
        self.keyframes.append(Frame.of(self._session.orbit.camera(*self._session.size)))
        self._session.say(f"keyframe {len(self.keyframes)} of the camera path")

    def clear_path(self) -> None:
        """Begin a new camera path."""
        self.keyframes.clear()
        self.loaded = None
        self._session.say("the camera path is empty")

    def path_video(self) -> None:
        """Begin a video along the camera path; one that was loaded has its own timing."""
        self._video("camera path", self._way)

    def save_path(self) -> Path | None:
        """Write the camera path in nerfstudio's form."""

        def write() -> Path:
            path = free_file(self.made_folder(), "camera_path", ".json")
            self._way(*self._session.size, FASTEST).save(path)
            return path

        return self._kept(write)

    def load_path(self) -> None:
        """Take the camera path from the newest ``camera_path*.json`` in the folder."""
        try:
            files = sorted(self.folder.glob("camera_path*.json"), key=lambda path: path.stat().st_mtime)
            if not files:
                raise UserError(f"there is no camera_path.json in {self.folder.resolve()}")
            self.loaded = CameraPath.load(files[-1])
        except (UserError, OSError) as error:
            self._session.say(str(error), alarm=True)
            return
        self.keyframes = list(self.loaded.keyframes[:_MOST_KEYFRAMES])
        said = f"{files[-1].name}: {len(self.loaded.frames)} frames, {self.loaded.seconds:.1f} s"
        self._session.say("; ".join([said, *self.loaded.warnings]), alarm=bool(self.loaded.warnings))

    def _way(self, width: int, height: int, most: float) -> CameraPath:
        """The camera path for a video of at most so many frames a second; of one with more, frames are left out."""
        if self.loaded is None:
            return through(self.keyframes, fps=min(FPS, most), width=width, height=height)
        every = math.ceil(self.loaded.fps / most)
        return replace(
            self.loaded, frames=self.loaded.frames[::every], fps=self.loaded.fps / every, width=width, height=height
        )

    def level(self) -> Path | None:
        """Write the model slimmed to the level shown."""
        return self._kept(lambda: self._saved(self._session.level, self.made_folder(), self._name()))

    def web_page(self) -> Path | None:
        """Write a page that shows all levels that are there in any browser, with their numbers as they are."""

        def write() -> Path:
            folder = self.made_folder()
            path = free_file(folder, self._name(), ".html")
            with writing(path), tempfile.TemporaryDirectory(prefix=".page-", dir=folder) as scratch:
                page = page_of_file(self._saved(self._session.levels.highest, Path(scratch), "model"))
                with atomic_write(path) as file:
                    file.write(page.encode())
            return path

        return self._kept(write)

    def crop_box(self) -> CropBox:
        """The box that is dragged, made around the model when it is asked for first."""
        if self.crop is None:
            self.crop = CropBox.around(self._session.model)
        return self.crop

    def cut(self) -> Path | None:
        """Write what of the model lies in :meth:`crop_box`, at all levels that are there."""
        left = ""

        def write() -> Path:
            nonlocal left
            box = self.crop_box()
            if self._session.training:
                raise UserError("the model is being trained: pause it before it is cut")
            if box.whole:
                raise UserError("the box holds all of the model: drag a face of it to where the model is to end")
            folder = self.made_folder()
            path = free_file(folder, f"{self._name()}-cut", ".trf")
            with writing(path), tempfile.TemporaryDirectory(prefix=".cut-", dir=folder) as scratch:
                whole = self._saved(self._session.levels.highest, Path(scratch), "whole")
                cropped = crop(read_stored(whole), box.wanted())
                write_trf(path, cropped.stored.header, cropped.stored.chunks())
            left = f"{cropped.kept / cropped.occupied:.0%} of the cells that hold something"
            return path

        path = self._kept(write)
        if path is not None:
            self._session.say(f"saved {short(path)} ({megabytes(path.stat().st_size)}), {left}")
        return path

    def _saved(self, level: int, folder: Path, name: str) -> Path:
        session = self._session
        file = None if session.trainer is not None else self.file
        came = None if session.arrivals is None else session.arrivals.incoming
        return save_level(session.model, came or file, level, folder, name)

    def camera(self) -> Path | None:
        """Write the camera as JSON."""

        def write() -> Path:
            path = free_file(self.made_folder(), "camera", ".json")
            write_json(path, self.camera_json())
            return path

        return self._kept(write)

    def camera_json(self) -> dict[str, Any]:
        """The camera as numbers: ``camera_to_world`` is 4x4, x right, y up, looking down -z; intrinsics in pixels; and
        the orbit it comes from."""
        session = self._session
        camera = session.camera(*session.size)
        pose = [[float(value) for value in row] for row in camera.pose]
        return {
            "camera_to_world": [*pose, [0.0, 0.0, 0.0, 1.0]],
            "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy,
            "width": camera.width, "height": camera.height,
            "view": session.orbit.state(), "level": session.level,
        }  # fmt: skip

    def advance(self, budget: float) -> None:
        """Work on what has been begun for about ``budget`` seconds."""
        job, say = self.job, self._session.say
        if job is None:
            return
        job.advance(budget)
        if job.done:
            self.job = None
            say(
                f"the {job.what} failed: {job.failure}" if job.failure else f"saved {short(job.path)}",
                alarm=bool(job.failure),
            )

    def cancel(self) -> None:
        """Drop what has been begun; no file is left."""
        if self.job is not None:
            self.job.cancel()
            self._session.say(f"the {self.job.what} was cancelled")
            self.job = None

    def made_folder(self) -> Path:
        """The folder, which is there from now on. UserError when it cannot be made."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def _video(self, what: str, way: Callable[[int, int, float], CameraPath]) -> None:
        """Begin a video: MP4 where ffmpeg is at hand, else a GIF, which is smaller or it would be enormous."""
        session, suffix, most, scale = self._session, ".mp4", FASTEST, 1.0
        width, height = self.film.size or session.size
        if not has_ffmpeg():
            suffix, most, scale = ".gif", GIF_FPS, min(1.0, GIF_WIDTH / width)

        def begin() -> Job:
            path = way(max(round(scale * width), 1), max(round(scale * height), 1), most)
            levels = sweep(session.levels.highest, len(path.frames)) if self.film.sweep else session.level
            return Recording(
                free_file(self.made_folder(), f"{self._name()}-{what.replace(' ', '-')}", suffix), path.cameras(),
                session.render_band, levels=levels, mode=session.plain_mode, fps=path.fps, what=what,
                finish=Captions(session.levels.text) if self.film.captioned else None, clock=self._clock,
            )  # fmt: skip

        self._begin(begin)

    def _begin(self, begin: Callable[[], Job]) -> None:
        if self.job is not None:
            self._session.say(f"wait for the {self.job.what} to be done, or cancel it", alarm=True)
            return
        if self._session.arrivals is not None and not self._session.arrivals.level:
            self._session.say("nothing of the model has come yet", alarm=True)
            return
        try:
            self.job = begin()
        except (UserError, OSError) as error:
            self._session.say(str(error), alarm=True)

    def _kept(self, write: Callable[[], Path]) -> Path | None:
        try:
            path = write()
        except (UserError, OSError) as error:
            self._session.say(str(error), alarm=True)
            return None
        self._session.say(f"saved {short(path)} ({megabytes(path.stat().st_size)})")
        return path

    def _name(self) -> str:
        return slug(title(self._session.model.metadata, "model"))

    def _level(self) -> str:
        return f"{slug(self._session.model.field.level_name).lower()}{self._session.level}"


def save_level(model: Any, file: Path | Incoming | None, level: int, folder: Path, name: str) -> Path:
    """Write the first ``level`` levels as a file of their own in ``folder`` and return where.

    ``file`` is the one that ``model`` was read from, or comes from; without one the model is written whole first, as it
    is now.

    Raises:
        UserError: it cannot be written.
    """
    path = free_file(folder, f"{name}-{slug(model.field.level_name).lower()}{level}", ".trf")
    if isinstance(file, Incoming):
        file.save(path, level)
        return path
    if file is not None:
        truncate_trf(file, level, path)
        return path
    with writing(path), tempfile.TemporaryDirectory(prefix=".slim-", dir=folder) as whole:
        save_model(model, Path(whole) / "whole.trf")
        truncate_trf(Path(whole) / "whole.trf", level, path)
    return path


def has_ffmpeg() -> bool:
    """Whether MP4 can be written; GIF always can."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None
