"""The first training step of a fresh process, for measuring how long a user waits before anything happens."""

from types import SimpleNamespace

import numpy as np

from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.rays import Cameras, look_at
from taichi_rf.training.methods.registry import METHODS, find_preset
from taichi_rf.training.trainer import Trainer


def first_step(method: str = METHODS[0].name) -> None:
    """Make a method's ``quick`` trainer for a grey scene of two 64x64 images and take one step: compiles what training
    needs."""
    poses = np.stack([look_at((4, 0, 1), (0, 0, 0)), look_at((0, 4, 1), (0, 0, 0))])
    cameras = Cameras(poses, np.tile([80.0, 80.0, 32.0, 32.0], (2, 1)), 64, 64)
    pixels = PixelPool.of(np.full((2, 64, 64, 4), 0.5, np.float16))
    scene = SimpleNamespace(
        train=SimpleNamespace(pixels=pixels, cameras=cameras, depths=None),
        box=np.array([[-1.5] * 3, [1.5] * 3], np.float32),
        near=2.0,
        far=6.0,
        background=(1.0, 1.0, 1.0),
        name="grey",
        source="grey",
    )
    Trainer(scene, find_preset(method, "quick").changed(iterations=10, batch_rays=256)).step()
