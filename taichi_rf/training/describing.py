"""What a model's file says of its training, for whoever looks at it."""

from __future__ import annotations

import numpy as np

from taichi_rf.motion.orbit import Orbit
from taichi_rf.storage.world import KEY
from taichi_rf.training.run import Recipe
from taichi_rf.training.trainer import Trainer


def describe(trainer: Trainer, recipe: Recipe) -> None:
    """Let the model's file say how to look at it and how its scene was loaded."""
    train, test = trainer.scene.train.cameras, trainer.scene.test.cameras
    first = test[0] if len(test) else train[0]
    poses = np.concatenate([train.poses, test.poses])
    trainer.model.metadata |= {
        "view": Orbit.from_camera(first, poses, trainer.model.world_box).state(),
        "downscale": recipe.downscale,
        KEY: recipe.world.said(),
    }
