"""``train.py`` with a quick preset of seconds instead of minutes, and with what cannot be had otherwise.

TINY_SAVE_SECONDS: training time between two checkpoints. TINY_NAN_AT: the iteration whose loss is not a number.
"""

from __future__ import annotations

import os
from typing import Any

import train
from taichi_rf.kernels.losses import PhotometricLoss
from taichi_rf.training import run
from taichi_rf.training.configs import slimmerf, solid, vqad
from tests.solids import TINY_SOLID
from tests.tiny import TINY, TINY_OCTREE


def lose_at(iteration: int) -> None:
    """Let the loss of one iteration be NaN; warming up takes two calls before."""
    genuine, calls = PhotometricLoss.__call__, 0

    def loss(self: PhotometricLoss, n: int, pixels: Any, targets: Any, **of: Any) -> tuple[float, Any]:
        nonlocal calls
        calls += 1
        value, d_pixels = genuine(self, n, pixels, targets, **of)
        return (float("nan") if calls == iteration + 2 else value), d_pixels

    PhotometricLoss.__call__ = loss  # type: ignore[method-assign]


if __name__ == "__main__":
    slimmerf.PRESETS["quick"] = TINY.changed(preset="quick")
    vqad.PRESETS["quick"] = TINY_OCTREE
    solid.PRESETS["quick"] = TINY_SOLID
    run.SAVE_SECONDS = float(os.environ.get("TINY_SAVE_SECONDS", run.SAVE_SECONDS))
    if "TINY_NAN_AT" in os.environ:
        lose_at(int(os.environ["TINY_NAN_AT"]))
    train.main()
