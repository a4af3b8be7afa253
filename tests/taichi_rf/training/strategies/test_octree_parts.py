"""The growth of an octree, in parts between which one may look."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.rendering.pictures import render
from taichi_rf.training.trainer import Trainer
from tests.tiny import ROWS, TINY_OCTREE, tiny_scene


@pytest.fixture(autouse=True)
def device() -> None:
    gc.collect()
    backend.reset()
    backend.init("cpu")


def grown(trainer: Trainer, *, look: bool) -> list[int]:
    """Train past the growth and the codes, looking between parts if asked; returns the parts of each step."""
    parts, camera = [], trainer.scene.test.cameras[0].resized(8, 8)
    while not trainer.done:
        count = 1
        while trainer.part() is None:
            count += 1
            if look:
                render(trainer.model, camera, level=1 + count % trainer.level)
        parts.append(count)
    return parts


def test_who_looks_while_it_grows_changes_nothing():
    models = []
    for look in (False, True):
        trainer = Trainer(tiny_scene(), TINY_OCTREE, rows=ROWS)
        parts = grown(trainer, look=look)
        assert max(parts) > min(parts)  # a step with growth has more
        assert [event["event"] for event in trainer.events] == ["grow", "rank", "grow", "filter", "quantise"]
        models.append(trainer.model.field)
    first, second = models
    assert isinstance(first, OctreeField)
    assert isinstance(second, OctreeField)
    for layer, other in zip(first.tree.layers, second.tree.layers, strict=True):
        np.testing.assert_array_equal(layer.cells, other.cells)
    np.testing.assert_array_equal(first.quantiser.features(), second.quantiser.features())


def test_levels_enter_the_history_as_the_tree_gets_them():
    trainer = Trainer(tiny_scene(), TINY_OCTREE, rows=ROWS)
    assert trainer.level == 2
    grown(trainer, look=False)
    assert [(event["level"], event["cause"]) for event in trainer.events if event["event"] == "rank"] == [(3, "grow")]
    assert trainer.level == 3
