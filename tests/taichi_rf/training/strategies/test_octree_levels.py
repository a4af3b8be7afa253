"""Levels of an octree that train together, and a tree that grows: one training that is begun again and again."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from scenes.base import Scene
from taichi_rf.evaluation.image_metrics import psnr
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.trees.morton import coordinates, neighbourhood
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.pictures import render
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.schedule import JointLevels, Milestones
from taichi_rf.training.strategies.octree import LEAST_CODED, OctreeStrategy
from taichi_rf.training.trainer import Trainer
from tests.octree_trainings import BOTH, assert_holds_the_balls, assert_same, events, make, octree, outcome, run
from tests.tiny import tiny_octree_config, tiny_scene

# Levels together


def reconfigure(trainer: Trainer, config: Config) -> None:
    """Let it go on by another configuration."""
    trainer.config = trainer.strategy.config = trainer.sampler.config = config


class Bench:
    """One training that is begun again and again: making another would compile all its kernels anew."""

    def __init__(self, **changes: Any) -> None:
        self.changes: dict[str, Any] = {"codes": "none", "filter_at": 1.0, **changes}
        self.trainer = make(tiny_octree_config(**self.changes))
        self.start = checkpoint.capture(self.trainer)

    def again(self, **changes: Any) -> Trainer:
        """As it began, but for some entries of the configuration that do not matter before its first step."""
        trainer = self.trainer
        reconfigure(trainer, tiny_octree_config(**self.changes, **changes))
        trainer.level_schedule = JointLevels(trainer.config)
        trainer.milestones = Milestones(trainer.strategy.milestones(trainer.config))
        trainer.part_rays = None
        checkpoint.restore(trainer, *self.start)
        return trainer


def test_joint_training_makes_every_level_but_the_finest_better_than_training_that_alone_does():
    bench, scene, found = Bench(base_depth=2), tiny_scene(), {}
    for joint in ("finest", "split"):
        trainer = run(bench.again(joint=joint, iterations=400))
        found[joint] = [decibels(trainer.model, scene, level) for level in (1, 2, 3)]
    better = np.subtract(found["split"], found["finest"])
    assert better[0] > 3
    assert better[1] > 0.5
    assert better[2] > -1  # which all rays were for in the other training
    assert found["split"] == sorted(found["split"])


def decibels(model: Model, scene: Scene, level: int) -> float:
    pictures = [render(model, camera, level=level) for camera in scene.test.cameras]
    targets = [scene.test.composite(index, scene.background) for index in range(len(scene.test))]
    return float(np.mean([psnr(picture, target) for picture, target in zip(pictures, targets)]))


# One training that is begun again and again. Tests that make another come before: Taichi starts anew for it


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def test_what_a_training_that_ended_early_left_undone_is_said(bench):
    trainer = bench.again()
    assert trainer.shortfalls() == []  # nothing is to be compressed
    reconfigure(trainer, trainer.config.changed(codes="learned"))
    assert [text.split(":")[0] for text in trainer.shortfalls()] == ["the features are not compressed"]
    trainer.record.iteration = 100
    trainer.event("quantise")
    trainer.record.iteration += LEAST_CODED - 1
    assert f"trained for {LEAST_CODED - 1} iterations only" in trainer.shortfalls()[0]
    reconfigure(trainer, trainer.config.changed(codes="kmeans"))
    assert trainer.shortfalls() == []  # which are found in features that are trained
    reconfigure(trainer, trainer.config.changed(codes="learned", held_out=100))
    trainer.record.iteration += 1
    assert "no level was chosen" in trainer.shortfalls()[0]


def test_without_depth_it_begins_with_two_levels_inside_the_hull(bench):
    trainer = bench.again()
    field = octree(trainer)
    assert field.grown == trainer.level == 2
    assert field.num_levels == trainer.level_schedule.highest == 3
    side = trainer.model.box[1] - trainer.model.box[0]
    np.testing.assert_allclose(side, side[0], rtol=1e-6)  # cells are cubes
    assert_holds_the_balls(trainer)
    assert len(field.tree.layers[1].cells) < 0.6 * 16**3


def test_pruning_keeps_what_is_seen_and_its_neighbours_and_no_more(bench):
    trainer = run(bench.again(), 9)
    config, strategy = trainer.config, trainer.strategy
    assert isinstance(strategy, OctreeStrategy)
    before = octree(trainer).tree
    features = octree(trainer).quantiser.features()
    seen = strategy.seen(trainer)
    assert seen.shape == (len(before.layers[-1].cells),)
    assert 0 <= seen.min() < config.strategy.seen_threshold < seen.max() <= 1 + 1e-5
    list(trainer.see_to("grow"))
    tree = octree(trainer).tree
    kept = neighbourhood(before.layers[-1].cells[seen > config.strategy.seen_threshold], before.depth)
    expected = np.intersect1d(before.layers[-1].cells, kept)
    assert len(expected) < len(before.layers[-1].cells)
    np.testing.assert_array_equal(tree.layers[1].cells, expected)
    np.testing.assert_array_equal(np.unique(tree.layers[2].cells >> 3), expected)
    assert len(tree.layers[2].cells) == 8 * len(expected)
    # what stays has its features, level by level
    after, first, old = octree(trainer).quantiser.features(), 0, 0
    for layer, level in zip(before.layers, (1, 2)):
        of_old = tree.surviving(before, level)
        np.testing.assert_array_equal(after[first : first + len(of_old)], features[old + of_old])
        first, old = first + len(of_old), old + len(layer.vertices)
    list(trainer.see_to("grow"))  # nothing is missing now: pruned, not divided
    assert octree(trainer).grown == 3
    assert len(octree(trainer).tree.layers[2].cells) < len(tree.layers[2].cells)
    assert trainer.level == octree(trainer).grown == 3


def test_cells_that_rays_see_are_those_that_stop_them(bench):
    """Nothing lies in front of the balls: what is seen after a training is near their surface."""
    trainer = run(bench.again(iterations=120))
    field, strategy = octree(trainer), trainer.strategy
    assert isinstance(strategy, OctreeStrategy)
    low, high = trainer.model.box
    cells = coordinates(field.tree.layers[-1].cells)
    centres = low + (cells + 0.5) / 32 * (high - low)
    away = np.min([np.abs(np.linalg.norm(centres - c, axis=1) - r) for c, r in zip(BOTH, (0.6, 0.4))], axis=0)
    spacing = (high - low)[0] / 32
    strongly = strategy.seen(trainer) > 0.5
    assert strongly.sum() > 100
    assert np.median(away[strongly]) < 1.5 * spacing
    assert np.median(away[strongly]) < np.median(away)


def test_an_octree_that_no_ray_sees_stays_as_it_is(bench):
    trainer = run(bench.again(seen_threshold=2.0))
    assert octree(trainer).grown == 2
    assert [event.get("note") for event in events(trainer, "grow")] == ["no ray sees anything: the octree stays"] * 2


@pytest.mark.parametrize("share", [0.7, 0.25])
def test_an_octree_that_would_not_fit_is_pruned_harder(bench, monkeypatch, share):
    trainer = run(bench.again(), 9)
    field, strategy = octree(trainer), trainer.strategy
    assert isinstance(strategy, OctreeStrategy)
    seen, before = strategy.seen(trainer), field.tree
    whole, threshold = strategy._grown(seen)
    assert whole is not None
    assert threshold == trainer.config.strategy.seen_threshold
    room = int(share * sum(len(layer.vertices) for layer in whole.layers))
    monkeypatch.setattr(field, "capacity", room)
    tree, harder = strategy._grown(seen)
    assert tree is not None
    assert harder > threshold
    assert len(tree.layers) == 3
    assert 0.4 * room < sum(len(layer.vertices) for layer in tree.layers) <= room
    best = before.layers[-1].cells[seen > harder]
    assert len(best) > 0
    assert np.isin(best, tree.layers[1].cells).all()  # what is seen best is kept


@pytest.mark.parametrize("joint", ["finest", "random", "split", "all"])
def test_every_way_of_training_levels_together_trains(bench, joint):
    trainer = bench.again(joint=joint)
    losses = [trainer.step().loss for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert all(np.isfinite(p.value.to_numpy()).all() for p in trainer.model.parameters())
    assert octree(trainer).grown == 3


@pytest.mark.parametrize("joint", ["split", "all"])
def test_a_step_in_parts_has_the_gradient_and_the_loss_of_one_in_one_piece(bench, monkeypatch, joint):
    gradients, losses = [], []
    for rays in (256, 60):
        trainer = bench.again(joint=joint)
        trainer.part_rays = rays
        field = octree(trainer)

        def look(parameters: list[Any], factor: float, field: OctreeField = field) -> None:
            gradients.append(
                {
                    "features": field.gradients.features.to_numpy(), "density": field.gradients.density.to_numpy(),
                    "decoder": parameters[-1].gradient.to_numpy(),
                }
            )  # fmt: skip

        monkeypatch.setattr(trainer.model, "march", functools.partial(steady, type(trainer.model).march, trainer.model))
        monkeypatch.setattr(trainer.optimiser.adam, "step", look)
        losses.append(trainer.step().loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for name, whole in gradients[0].items():
        assert whole.any()
        np.testing.assert_allclose(gradients[1][name], whole, atol=1e-5 * np.abs(whole).max(), err_msg=name)


def test_rays_of_all_levels_at_once_learn_what_a_pass_a_level_does(bench, monkeypatch):
    gradients, losses = [], []
    for mixes in (True, False):
        trainer = bench.again(joint="split")
        field = octree(trainer)
        monkeypatch.setattr(trainer.sampler, "mixes_levels", mixes)
        monkeypatch.setattr(trainer.model, "march", functools.partial(steady, type(trainer.model).march, trainer.model))
        monkeypatch.setattr(
            trainer.optimiser.adam, "step",
            lambda parameters, factor, field=field: gradients.append(
                [field.gradients.features.to_numpy(), field.gradients.density.to_numpy(),
                 parameters[-1].gradient.to_numpy()]
            ),
        )  # fmt: skip
        losses.append(trainer.step().loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for together, apart in zip(*gradients, strict=True):
        assert together.any()
        np.testing.assert_allclose(together, apart, atol=1e-5 * np.abs(apart).max())


def steady(march, *arguments, seed, **options):
    """Marching without the jitter, which is another for each part."""
    return march(*arguments, seed=None, **options)


def test_a_step_that_failed_leaves_no_gradient_behind(bench, monkeypatch):
    trainer = bench.again()
    trainer.part_rays = 60
    field = octree(trainer)
    assert isinstance(field.quantiser, Uncompressed)
    assert trainer.part() is None
    assert field.gradients.density.to_numpy().any()
    monkeypatch.setattr(trainer.sampler, "loss", lambda *rays, **of: (float("nan"), None))
    with pytest.raises(FloatingPointError):
        trainer.part()
    assert not field.gradients.density.to_numpy().any()
    assert not field.gradients.features.to_numpy().any()


def test_a_training_in_parts_is_looked_at_between_them_and_learns_the_same(bench):
    camera = tiny_scene().test.cameras[0]
    results = []
    for look in (False, True):
        trainer = bench.again(iterations=12)
        trainer.part_rays = 60
        while not trainer.done:
            while trainer.part() is None:
                if look:
                    render(trainer.model, camera, level=1)
        results.append(outcome(trainer))
    assert_same(*results)
