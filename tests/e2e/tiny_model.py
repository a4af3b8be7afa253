"""Trains a small model of a built-in scene for some seconds: ``tiny_model.py RUN_FOLDER``.

Four ranks on a coarse grid, all from the start; far from good, but every rank has a picture of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import scenes
from taichi_rf.core import backend
from taichi_rf.storage.model_file import save_model
from taichi_rf.training.configs.slimmerf import QUICK
from taichi_rf.training.trainer import Trainer

RANKS = 4
LEVEL_PSNR = [11.0, 13.0, 17.0, 23.0]


def main(folder: Path) -> None:
    backend.init("cpu")
    scene = scenes.load("lantern", downscale=16, max_test_views=1)
    config = QUICK.changed(
        iterations=1000, batch_rays=512, num_ranks=RANKS, ranks="plain", resolutions=(24,), upsample_at=(),
        occupancy_from=0.1, shrink_at=1.0, filter_at=1.0,
    )  # fmt: skip
    trainer = Trainer(scene, config, rows=1 << 14)
    for _ in range(200):
        trainer.step()
    trainer.model.metadata["level_psnr"] = LEVEL_PSNR
    save_model(trainer.model, folder / "model.trf")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
