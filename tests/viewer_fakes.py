"""A model, a renderer and a trainer that cost what the clock says and compute next to nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from taichi_rf.kernels.rays import Cameras, look_at

BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]], dtype=np.float32)
RAYS_PER_SECOND = 100_000.0


class Clock:
    """Time passes only when something is done."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeField:
    num_levels: int = 4
    level_name: str = "rank"


@dataclass
class FakeModel:
    field: FakeField = dataclasses.field(default_factory=FakeField)
    world_box: np.ndarray = dataclasses.field(default_factory=lambda: BOX)
    metadata: dict = dataclasses.field(default_factory=lambda: {"level_psnr": [20.0, 25.0, 28.0, 30.0]})

    def bytes_at(self, level: int) -> int:
        return 250_000 * level


class FakeTrainer:
    """Ten steps of 0.1 s; a level more after every second one."""

    def __init__(self, clock: Clock, *, steps: int = 10, fails_at: int | None = None):
        self.clock, self.steps, self.fails_at = clock, steps, fails_at
        self.error: Exception = FloatingPointError("the loss is not a number")
        self.model = FakeModel(metadata={})
        self.iteration, self.level, self.saved = 0, 1, 0
        poses = np.stack([look_at((3, 0, 1), (0, 0, 0)), look_at((0, 3, 1), (0, 0, 0))])
        cameras = Cameras(poses, np.tile(np.float32([[80, 80, 32, 32]]), (2, 1)), 64, 64)
        empty = Cameras(poses[:0], np.zeros((0, 4), np.float32), 64, 64)
        self.scene = SimpleNamespace(train=Views(cameras), test=Views(empty))

    @property
    def progress(self) -> float:
        return self.iteration / self.steps

    @property
    def done(self) -> bool:
        return self.iteration >= self.steps

    def in_parts(self):
        """Every step is one part."""

    def part(self):
        if self.iteration == self.fails_at:
            raise self.error
        self.clock.spend(0.1)
        self.iteration += 1
        self.level = min(1 + self.iteration // 2, 4)
        return SimpleNamespace(iteration=self.iteration, loss=0.01, psnr=20.0, level=self.level, rays=4096)

    def save(self):
        self.saved += 1


@dataclass
class Views:
    cameras: Cameras

    def __len__(self) -> int:
        return len(self.cameras)


class FakeRender:
    """The direction of each ray as its colour, dimmed by level: every pixel, level and view has its own."""

    def __init__(self, clock: Clock):
        self.clock, self.sizes = clock, []

    def __call__(self, model, camera, *, level, mode):
        self.clock.spend(camera.width * camera.height / RAYS_PER_SECOND)
        self.sizes.append((camera.width, camera.height))
        _, directions = camera.rays()
        colours = (0.5 + 0.5 * directions) * level / model.field.num_levels * (1.0 if mode == "colour" else 0.5)
        return colours.reshape(camera.height, camera.width, 3).astype(np.float32)
