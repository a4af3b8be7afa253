"""A real trainer under the viewer: looking at it, at any level, leaves the training as it would have been."""

from __future__ import annotations

import numpy as np

import scenes
from taichi_rf.core import backend
from taichi_rf.training.configs.slimmerf import QUICK
from taichi_rf.training.trainer import Trainer
from viewer.session.session import MODES, Session

STEPS = 12


def make_trainer() -> Trainer:
    backend.init("cpu")
    scene = scenes.load("lantern", downscale=16, max_test_views=1)
    config = QUICK.changed(
        iterations=STEPS, batch_rays=256, num_ranks=3, ranks="plain", resolutions=(16, 20), upsample_at=(0.5,),
        occupancy_from=0.3, occupancy_every=3, shrink_at=0.7, filter_at=0.8,
    )  # fmt: skip
    return Trainer(scene, config, rows=1 << 12)


def parameters(trainer: Trainer) -> list[np.ndarray]:
    return [group.value.to_numpy() for group in trainer.model.parameters()]


def test_looking_at_every_level_leaves_the_training_bit_for_bit():
    alone = make_trainer()
    while not alone.done:
        alone.step()

    watched = make_trainer()
    session = Session(trainer=watched)
    near, far = watched.model.near, watched.model.far
    for count in range(10 * STEPS):
        session.levels.choose(1 + count % 3)
        session.mode = MODES[count % len(MODES)]
        session.orbit.rotate(7, 3, 100)
        picture = session.frame(40, 30, 0.01)
        assert picture.shape == (30, 40, 3)
        session.work(0.3)
        if watched.done:
            break
    assert watched.iteration == alone.iteration == STEPS
    assert (watched.model.near, watched.model.far) == (near, far)
    for ours, theirs in zip(parameters(watched), parameters(alone)):
        np.testing.assert_array_equal(ours, theirs)
