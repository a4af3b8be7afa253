"""Trainings in a contraction: they learn, and go on to the bit; exposure is learnt, and presets suit the space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenes.base import Scene, Split
from taichi_rf.core import backend
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.spaces import CONTRACTED_BOX, Contraction
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.methods import registry
from taichi_rf.training.trainer import Trainer
from tests.tiny import ROWS, tiny_config, tiny_octree_config, tiny_scene

GAIN = np.array([0.7, 1.0, 1.3])
"""Of the first photograph."""


def unbounded_scene() -> Scene:
    """The tiny scene before a grey wall at infinity, opaque, the first photograph with another white balance."""
    scene = tiny_scene()

    def part(split: Split) -> Split:
        poses = split.cameras.poses.copy()
        poses[:, :, 3] *= 0.3
        images = split.images.astype(np.float32)
        images[..., :3] += 0.4 * (1 - images[..., 3:])
        images[..., 3] = 1
        images[0, ..., :3] *= GAIN
        return Split(PixelPool.of(images.astype(np.float16)), replace(split.cameras, poses=poses), split.names)

    return replace(
        scene, train=part(scene.train), test=part(scene.test), box=np.array([[-1] * 3, [1] * 3], np.float32),
        near=0.05, far=1000.0, space=Contraction(), field_box=CONTRACTED_BOX,
    )  # fmt: skip


CONFIGS: dict[str, Config] = {
    "vm": tiny_config(
        activation="relu", background="random", distortion=1e-3, exposure_rate=1e-2, l1=0.0, l1_after_shrink=0.0
    ),
    "octree": tiny_octree_config(background="random", exposure_rate=1e-2),
}


GAINED = {"vm": 3.0, "octree": 0.8}
"""Decibels from the first steps to the last; the octree has forty of them."""


def state_of(trainer: Trainer) -> tuple[dict[str, bytes], Any]:
    arrays, state = checkpoint.capture(trainer)
    state = {key: value for key, value in state.items() if key not in ("elapsed", "events")}
    return {name: values.tobytes() for name, values in arrays.items()}, state


@pytest.mark.parametrize("name", CONFIGS)
def test_a_training_in_a_contraction_learns_and_goes_on_to_the_bit(name, tmp_path: Path):
    backend.reset()
    backend.init("cpu")
    scene, config = unbounded_scene(), CONFIGS[name]
    trainer = Trainer(scene, config, rows=ROWS)
    assert len(trainer.sampler.pixels) == scene.train.cameras.offsets[-1], "every ray meets something"
    trainer.warm_up()
    psnr = []
    while not trainer.done:
        psnr.append(trainer.step().psnr)
        if trainer.iteration == 25:
            trainer.save(tmp_path)
    assert np.mean(psnr[-5:]) > np.mean(psnr[:5]) + GAINED[name]
    assert trainer.model.space is scene.space
    assert (trainer.model.render(scene.test.cameras[0], mode="opacity") > 0.5).mean() > 0.8, "the wall is opaque"
    shown = trainer.sampler.exposure.value.to_numpy().reshape(-1, 6)[0, :3]
    assert shown[0] < shown[1] < shown[2], "the first photograph's white balance is found"
    resumed = Trainer.resume(tmp_path, scene, rows=ROWS)
    while not resumed.done:
        resumed.step()
    assert state_of(resumed) == state_of(trainer)


def test_presets_suit_the_space_and_leave_what_somebody_has_said():
    scene = unbounded_scene()
    for method in registry.METHODS:
        if method.learns_from != "photographs":
            continue
        for preset in method.presets.values():
            suited = method.suited(preset, scene)
            for key, value in method.spaces.get("contract", {}).get(preset.preset, {}).items():
                assert suited.get(key) == value
            assert method.suited(preset, tiny_scene()) == preset
    quick = registry.find_preset("slimmerf", "quick")
    said = quick.changed(batch_rays=77)
    assert registry.suited(said, scene).batch_rays == 77
    assert registry.suited(quick, scene) != quick
