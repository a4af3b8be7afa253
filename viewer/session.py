"""What the viewer knows and does, without a window.

A session holds a model, or a trainer and the model it is making, and where one stands, which level one looks at and
how. Front ends (a window, a test) hand it what the user did and take a picture and a few numbers from it. Everything
happens on the caller's thread: :meth:`Session.frame` first, then :meth:`Session.train` with the time that is left.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from taichi_rf.errors import UserError
from taichi_rf.rays import Camera
from viewer.orbit import Orbit
from viewer.progressive import PREVIEWS, Progressive, View, quantise

MODES = ("colour", "depth", "opacity")
_PASS_SECONDS = 1.0  # while training, a picture of the whole window is renewed about this often
_FPS_SECONDS = 1.0  # over which frames are counted
_SMOOTHING = 0.1  # how fast the figures of single training batches enter what is shown


class Field(Protocol):
    """What the viewer needs of a field."""

    @property
    def num_levels(self) -> int: ...
    @property
    def level_name(self) -> str: ...
    def bytes_at(self, level: int) -> int: ...


class Model(Protocol):
    """What the viewer needs of a model."""

    @property
    def field(self) -> Field: ...
    @property
    def box(self) -> npt.NDArray[np.float32]: ...
    @property
    def metadata(self) -> dict[str, Any]: ...


class Trainer(Protocol):
    """What the viewer needs of a trainer: ``scene`` has cameras, ``level`` counts the levels in use."""

    @property
    def model(self) -> Model: ...
    @property
    def scene(self) -> Any: ...
    @property
    def iteration(self) -> int: ...
    @property
    def progress(self) -> float: ...
    @property
    def done(self) -> bool: ...
    @property
    def level(self) -> int: ...
    def step(self) -> Any: ...


Render = Callable[..., npt.NDArray[np.float32]]
"""render(model, camera, level=, mode=) -> (H, W, 3) float32 in [0, 1]."""


class Session:
    """One model on show, or one in the making.

    Args:
        model: the model to show; not needed with a trainer, whose model is shown.
        trainer: steps are taken from it by :meth:`train`; it starts running.
        level: the level shown first; the highest when None.
        save: what :meth:`save` calls to keep what has been trained; the trainer's own ``save`` when None.
        render: how a picture is made; :func:`render_from_anywhere` unless a test has its own.
        clock: seconds, for frame rates and budgets.

    Raises:
        UserError: ``level`` is not one of the model's.
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        trainer: Trainer | None = None,
        level: int | None = None,
        save: Callable[[], object] | None = None,
        render: Render | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if (model is None) == (trainer is None):
            raise ValueError("a session shows a model or a trainer's model: give one of the two")
        self._model, self.trainer, self._clock = model, trainer, clock
        self._render = render or render_from_anywhere
        self.training = trainer is not None and not trainer.done
        self.failure: Exception | None = None  # what ended the training
        self._save = save or getattr(trainer, "save", None)
        self.mode = MODES[0]
        self.progress = Progressive(self._render_band, clock)
        self._wanted = self.num_levels
        if level is not None:
            self._wanted = self.check_level(level)
        self._first_view = self._start()
        self.orbit = self._first_view.copy()
        self._frames: deque[float] = deque()
        self._debt = 0.0  # seconds that training has taken more than it was given
        self._figures: dict[str, float] = {}

    @property
    def model(self) -> Model:
        """The model on show; a trainer may replace its own at any step."""
        if self.trainer is not None:
            return self.trainer.model
        assert self._model is not None
        return self._model

    @property
    def field(self) -> Field:
        return self.model.field

    # What is looked at

    @property
    def num_levels(self) -> int:
        return self.field.num_levels

    @property
    def level(self) -> int:
        """The level shown: the one asked for, or the highest that training has reached."""
        return min(self._wanted, self.num_levels if self.trainer is None else self.trainer.level)

    def set_level(self, level: float) -> None:
        """Show ``level``, or the nearest there is. The highest also means: follow the training upwards."""
        self._wanted = min(max(round(level), 1), self.num_levels)

    def step_level(self, step: int) -> None:
        """Show a level ``step`` higher or lower."""
        self.set_level(self.level + step)

    def check_level(self, level: int) -> int:
        """Return ``level`` when the model has it.

        Raises:
            UserError: it has not.
        """
        if not 1 <= level <= self.num_levels:
            raise UserError(
                f"{self.field.level_name} {level} is outside this model: it has {self.field.level_name} 1 to "
                f"{self.num_levels}"
            )
        return level

    def next_mode(self) -> None:
        """Colour, depth, opacity, and round again."""
        self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]

    def reset_view(self) -> None:
        """Stand again where one stood at first."""
        self.orbit = self._first_view.copy()

    def start_from(
        self,
        *,
        azimuth: float | None = None,
        elevation: float | None = None,
        distance: float | None = None,
        field_of_view: float | None = None,
    ) -> None:
        """Change what is given of the first view, to which one returns. Angles are in degrees."""
        view = self._first_view
        view.azimuth = view.azimuth if azimuth is None else math.radians(azimuth)
        view.elevation = view.elevation if elevation is None else math.radians(elevation)
        view.distance = view.distance if distance is None else distance
        view.field_of_view = view.field_of_view if field_of_view is None else math.radians(field_of_view)
        view.limited()
        self.reset_view()

    # The picture

    def frame(self, width: int, height: int, budget: float) -> npt.NDArray[np.uint8]:
        """Work on the picture for about ``budget`` seconds and return it: (height, width, 3), row 0 the top.

        The first picture of a new view comes at once and is as coarse as the budget asks for; later calls sharpen it.
        The array is the session's own and changes with the next call; ``progress.canvas`` is the same memory in the
        order in which a window draws it.
        """
        now = self._clock()
        self._frames.append(now)
        while self._frames[0] < now - _FPS_SECONDS:
            self._frames.popleft()
        version = self.trainer.iteration if self.trainer else 0
        camera = self.orbit.camera(max(width, 1), max(height, 1))
        finest = 1
        if self.training:
            pixels = camera.width * camera.height
            affordable = self.progress.rays_per_second * budget * self.fps * _PASS_SECONDS
            finest = min((d for d in PREVIEWS if pixels / d**2 <= affordable), default=PREVIEWS[0])
        self.progress.advance(View(camera, self.level, self.mode, version), budget, finest=finest)
        return self.progress.picture

    def snapshot(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """The picture at full resolution, whatever it takes: (height, width, 3), to the byte what the window shows."""
        return quantise(self._render_band(self.orbit.camera(width, height), self.level, self.mode))

    @property
    def fps(self) -> float:
        """Frames a second, over the last one."""
        if len(self._frames) < 2 or self._frames[-1] <= self._frames[0]:
            return 0.0
        return (len(self._frames) - 1) / (self._frames[-1] - self._frames[0])

    def _render_band(self, camera: Camera, level: int, mode: str) -> npt.NDArray[np.float32]:
        return self._render(self.model, camera, level=level, mode=mode)

    def _start(self) -> Orbit:
        scene = getattr(self.trainer, "scene", None)
        if scene is None:
            return Orbit.from_state(self.model.metadata.get("view"), self.model.box)
        cameras = scene.test.cameras if len(scene.test) else scene.train.cameras
        poses = np.concatenate([scene.train.cameras.poses, scene.test.cameras.poses])
        return Orbit.from_camera(cameras[0], poses, self.model.box)

    # Training

    def toggle_training(self) -> None:
        """Pause, or go on."""
        if self.trainer is not None and not self.trainer.done and self.failure is None:
            self.training = not self.training
            self._debt = 0.0

    def train(self, budget: float) -> None:
        """Take training steps for about ``budget`` seconds.

        A step may last longer than that; what it took too much is taken off later budgets, so that training has its
        share of the time whatever a step costs. An error ends the training and is kept in ``failure``.
        """
        if not self.training or self.trainer is None:
            return
        self._debt -= budget
        while self.training and self._debt < 0:
            start = self._clock()
            try:
                info = self.trainer.step()
            except (UserError, FloatingPointError) as error:
                self.failure, self.training = error, False
                return
            took = max(self._clock() - start, 1e-6)
            self._debt += took
            self._follow(loss=info.loss, psnr=info.psnr, rays_per_second=info.rays / took)
            self.training = not self.trainer.done
        self._debt = min(self._debt, 0.25)  # a step that had a kernel to compile does not stop training for long

    def save(self) -> None:
        """Keep what has been trained, unless an error ended it: then the last good checkpoint stays."""
        if self._save is not None and self.failure is None:
            self._save()

    def _follow(self, **figures: float) -> None:
        for name, value in figures.items():
            self._figures[name] = self._figures.get(name, value) * (1 - _SMOOTHING) + value * _SMOOTHING

    # Numbers

    def stats(self) -> dict[str, Any]:
        """What a panel shows beside the picture; ``psnr`` and ``training`` are None where there is none."""
        level = self.level
        size = self._known("prefix_bytes", level)
        return {
            "level": level,
            "level_name": self.field.level_name,
            "num_levels": self.num_levels,
            "megabytes": (self.field.bytes_at(level) if size is None else size) / 1e6,
            "psnr": self._known("level_psnr", level),
            "fps": self.fps,
            "divisor": self.progress.divisor,
            "complete": self.progress.complete,
            "mode": self.mode,
            "training": self._training_stats(),
        }

    def _known(self, name: str, level: int) -> float | None:
        """What the model's file says about ``level``, if it says it; files may say anything."""
        values = self.model.metadata.get(name)
        value = values[level - 1] if isinstance(values, list | tuple) and len(values) >= level else None
        return float(value) if isinstance(value, int | float) else None

    def _training_stats(self) -> dict[str, Any] | None:
        if self.trainer is None:
            return None
        return {
            "running": self.training,
            "done": self.trainer.done,
            "iteration": self.trainer.iteration,
            "progress": self.trainer.progress,
            "level": self.trainer.level,
            "loss": self._figures.get("loss"),
            "psnr": self._figures.get("psnr"),
            "rays_per_second": self._figures.get("rays_per_second"),
            "failure": None if self.failure is None else str(self.failure),
        }


def render_from_anywhere(model: Any, camera: Camera, *, level: int, mode: str) -> npt.NDArray[np.float32]:
    """:func:`taichi_rf.render.render` from wherever the viewer stands.

    A model's near and far fit the cameras it was trained with; someone who steps back must not see it vanish, nor lose
    its front by stepping up to it. So they are made to fit the box as seen from here, and put back.
    """
    from taichi_rf.render import render

    kept = model.near, model.far
    model.near, model.far = depth_range(model.box, camera.position)
    try:
        return render(model, camera, level=level, mode=cast(Any, mode))
    finally:
        model.near, model.far = kept


def depth_range(box: npt.ArrayLike, position: npt.ArrayLike) -> tuple[float, float]:
    """Distances between which a ray from ``position`` (3,) can be inside ``box`` (2, 3); the first is above 0."""
    low, high = np.asarray(box, dtype=np.float64)
    eye = np.asarray(position, dtype=np.float64)
    nearest = float(np.linalg.norm(eye - np.clip(eye, low, high)))
    farthest = float(np.linalg.norm(np.maximum(np.abs(eye - low), np.abs(eye - high))))
    return max(nearest, 1e-3 * float(np.linalg.norm(high - low))), farthest


def model_file(path: Path) -> Path:
    """The ``.trf`` file that ``path`` means: itself, or the one in the run folder it names.

    Raises:
        UserError: there is no such thing.
    """
    if path.is_dir():
        if not (path / "model.trf").is_file():
            raise UserError(f"{path} holds no model.trf: name a .trf file or the folder of a run that has saved one")
        return path / "model.trf"
    if not path.exists():
        raise UserError(f"{path} does not exist: name a .trf file or the folder of a run")
    return path
