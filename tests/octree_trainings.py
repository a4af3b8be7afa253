"""Small trainings of octrees, and what became of them."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np

from scenes.base import Scene
from taichi_rf.core import backend
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.trainer import Trainer
from tests.tiny import ROWS, tiny_scene

BOTH = (0.3, 0.2, 0.1), (-0.4, -0.3, -0.3)  # centres of the balls


def fresh() -> None:
    """Restart Taichi: memory is given back, and kernels that were compiled before are found again."""
    gc.collect()
    backend.reset()
    backend.init("cpu")


def make(config: Config, scene: Scene | None = None) -> Trainer:
    fresh()
    return Trainer(scene or tiny_scene(), config, rows=ROWS)


def octree(trainer: Trainer) -> OctreeField:
    assert isinstance(trainer.model.field, OctreeField)
    return trainer.model.field


def run(trainer: Trainer, until: int | None = None) -> Trainer:
    while not trainer.done and trainer.iteration != until:
        trainer.step()
    return trainer


def events(trainer: Trainer, name: str) -> list[dict[str, Any]]:
    return [event for event in trainer.events if event["event"] == name]


def outcome(trainer: Trainer) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Everything in the trainer that does not depend on the clock."""
    arrays, state = checkpoint.capture(trainer)
    state = {key: value for key, value in state.items() if key != "elapsed"}
    state["events"] = [{key: value for key, value in event.items() if key != "seconds"} for event in state["events"]]
    return {name: values.tobytes() for name, values in arrays.items()}, state


def assert_same(ours: tuple[dict[str, bytes], dict[str, Any]], theirs: tuple[dict[str, bytes], dict[str, Any]]) -> None:
    assert ours[1] == theirs[1]
    assert ours[0].keys() == theirs[0].keys()
    assert [name for name in theirs[0] if ours[0].get(name) != theirs[0][name]] == []


def assert_holds_the_balls(trainer: Trainer) -> None:
    """The surface is within cells of the finest layer."""
    rng = np.random.default_rng(0)
    low, high = trainer.model.box
    for centre, radius in zip(BOTH, (0.6, 0.4)):
        direction = rng.standard_normal((2000, 3))
        points = centre + radius * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        mask = octree(trainer).tree.mask(octree(trainer).grown)
        places = np.clip(((points - low) / (high - low) * mask.shape[0]).astype(int), 0, mask.shape[0] - 1)
        assert mask[places[:, 2], places[:, 1], places[:, 0]].mean() > 0.97
