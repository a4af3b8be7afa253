"""Fitting distances: where it begins, what it comes to on a ball, levels, resuming, and what is refused."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenes.solids.meshes import MeshScene
from taichi_rf.core import backend
from taichi_rf.core.device import Vec3, copy_rows, empty, ti
from taichi_rf.core.errors import UserError
from taichi_rf.fields.trees.morton import coordinates, morton
from taichi_rf.sdf.model import SurfaceModel
from taichi_rf.training.methods import registry
from taichi_rf.training.methods.registry import find_preset
from taichi_rf.training.samplers.points import PointSampler, learning_points, vertex_places
from taichi_rf.training.strategies.solid import SolidStrategy, hierarchical, surface_tree
from taichi_rf.training.trainer import Trainer
from tests.solids import TINY_SOLID, ball_scene, box, write_obj
from tests.tiny import tiny_scene

RADIUS = 0.45
BOUNDS = [(1 / side) ** 2 / 8 * 2 / RADIUS for side in (16, 32)]
"""Of the error of trilinear interpolation: h^2 / 8 times the sum of the distance's second derivatives, 1/r twice."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> MeshScene:
    return ball_scene(tmp_path_factory.mktemp("mesh"))


@pytest.fixture(scope="module")
def points(scene: MeshScene) -> list[np.ndarray]:
    """Random places in the cells of each level."""
    tree, rng = surface_tree(scene.shape, 4, 5, 0), np.random.default_rng(9)
    found = []
    for layer in tree.layers:
        cells = coordinates(layer.cells[rng.integers(0, len(layer.cells), 20_000)])
        found.append(((cells + rng.uniform(0.01, 0.99, cells.shape)) / 2**layer.depth).astype(np.float32))
    return found


def exact(places: np.ndarray) -> np.ndarray:
    return np.linalg.norm(places.astype(np.float64) - 0.5, axis=1) - RADIUS


def values(trainer: Trainer, places: np.ndarray, level: int) -> np.ndarray:
    field = trainer.model.field
    positions, distances = empty(Vec3, len(places)), empty(ti.f32, len(places))
    copy_rows(places, positions)
    field.density(len(places), positions, distances, level)
    return distances.to_numpy()


def errors(trainer: Trainer, points: list[np.ndarray]) -> list[tuple[float, float]]:
    """Root mean square and largest, of each level."""
    found = [values(trainer, places, level) - exact(places) for level, places in enumerate(points, 1)]
    return [(float(np.sqrt((e**2).mean())), float(np.abs(e).max())) for e in found]


def trained(scene: MeshScene, **changes: Any) -> Trainer:
    trainer = Trainer(scene, TINY_SOLID.changed(**changes))
    while not trainer.done:
        trainer.step()
    return trainer


def measured(trainer: Trainer) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """What it scores, and how far it said to be meanwhile."""
    parts, seen = trainer.measuring(trainer.model), []
    while True:
        try:
            seen.append(next(parts))
        except StopIteration as end:
            return end.value, seen


def everything(trainer: Trainer) -> bytes:
    return b"".join(array.tobytes() for p in trainer.model.parameters() for array in p.state().values())


# Where it begins


def test_the_octree_is_where_the_surface_is(scene):
    tree = surface_tree(scene.shape, 4, 6, 0)
    layer = tree.layers[-1]
    side = 2**layer.depth
    surface, _ = scene.shape.surface(20_000, np.random.default_rng(1))
    assert np.isin(morton((surface * side).astype(np.int32)), layer.cells).mean() > 0.9995
    centres = (coordinates(layer.cells) + 0.5) / side
    assert scene.shape.unsigned(centres).max() <= np.sqrt(3) / 2 / side


def test_every_level_begins_as_the_distance_at_its_vertices(scene):
    tree = surface_tree(scene.shape, 4, 6, 0)
    distances = [scene.shape.distance(tree.vertex_positions(level)) for level in (1, 2, 3)]
    features, sums = hierarchical(tree, distances), np.zeros(0)
    for level, feature in enumerate(features, 1):
        sums = feature if level == 1 else feature + tree.prolonged(level, sums)
        np.testing.assert_allclose(sums, distances[level - 1], atol=1e-6)
    sizes = [float(np.abs(feature).mean()) for feature in features]
    assert sizes[0] > 5 * sizes[1] > 10 * sizes[2]


def test_what_is_learnt_from_lies_in_the_level_s_cells_and_around_the_surface(scene):
    tree = surface_tree(scene.shape, 4, 5, 0)
    for level in (1, 2):
        layer = tree.layers[level - 1]
        places, distances = learning_points(tree, level, scene.shape, 5000, 0)
        side = 2**layer.depth
        assert len(places) > 4000
        assert np.isin(morton((places * side).astype(np.int32)), layer.cells).all()
        np.testing.assert_allclose(distances, exact(places), atol=3e-4)
        assert np.abs(distances).max() <= np.sqrt(3) / side
        assert 0.15 < (np.abs(distances) < 1e-3 / side + 3e-4).mean() < 0.4
        again, _ = learning_points(tree, level, scene.shape, 5000, 0)
        np.testing.assert_array_equal(places, again)


def test_a_vertex_is_stood_for_by_a_place_beside_it_in_one_of_its_cells(scene):
    tree = surface_tree(scene.shape, 4, 5, 0)
    for level in (1, 2):
        layer, places = tree.layers[level - 1], vertex_places(tree, level)
        side = 2**layer.depth
        assert np.abs(places - tree.vertex_positions(level)).max() < 1.1e-4 / side
        assert np.isin(morton((places * side).astype(np.int32)), layer.cells).all()


# What it comes to


@pytest.mark.parametrize("arch", ["cpu", "vulkan"])
def test_a_ball_is_fitted_to_within_what_interpolation_can_at_every_level(scene, points, arch):
    gc.collect()
    backend.init(arch)
    begun = errors(Trainer(scene, TINY_SOLID), points)
    fitted = errors(trained(scene, codes="none", iterations=160, points=60_000, vertex_rate=5e-5), points)
    for (rms, most), (rms_before, most_before), bound in zip(fitted, begun, BOUNDS):
        assert most_before < 1.05 * bound + 3e-4  # the mesh itself is a little inside the ball
        assert most < 1.05 * bound + 3e-4
        assert rms < 0.75 * rms_before
        assert rms < bound / 2


@pytest.mark.parametrize(("codes", "bits"), [("learned", 6), ("kmeans", 6), ("lowrank", 1)])
def test_codes_of_few_bits_keep_every_level_good_and_each_better_than_the_one_before(scene, points, codes, bits):
    backend.init("cpu")
    trainer = trained(scene, codes=codes, bits=bits)
    assert any(event["event"] == "quantise" for event in trainer.events)
    first, second = errors(trainer, points)
    assert first[0] < BOUNDS[0]
    assert second[0] < BOUNDS[1]
    assert second[0] < first[0] / 2


def test_scores_of_every_level_are_those_of_the_formula(scene):
    backend.init("cpu")
    trainer = trained(scene, codes="none")
    model = trainer.model
    assert isinstance(model, SurfaceModel)
    scores, seen = measured(trainer)
    assert seen == [(0, 2), (1, 2)]
    assert [sorted(score) for score in scores] == [["chamfer", "iou"]] * 2
    assert scores[0]["iou"] > 0.98
    assert scores[1]["iou"] > 0.995
    assert scores[0]["chamfer"] < BOUNDS[0]
    assert scores[1]["chamfer"] < BOUNDS[1]


# Steps


SAVED_AT = (6, 25)
"""Before and after codes come."""


@pytest.fixture(scope="module")
def whole(scene: MeshScene) -> tuple[bytes, list[Any]]:
    """What a training that nothing interrupts ends with, and its history."""
    backend.init("cpu")
    trainer = trained(scene)
    return everything(trainer), trainer.history


@pytest.fixture(scope="module")
def saved(scene: MeshScene, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, Path], bytes]:
    """Checkpoints of a training with the same seed that was warmed up, by iteration, and what it ends with."""
    backend.init("cpu")
    folders, trainer = {at: tmp_path_factory.mktemp("run") for at in SAVED_AT}, Trainer(scene, TINY_SOLID)
    trainer.warm_up()
    while not trainer.done:
        trainer.step()
        if trainer.iteration in SAVED_AT:
            trainer.save(folders[trainer.iteration])
    return folders, everything(trainer)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(scene, whole, saved):
    assert saved[1] == whole[0]
    backend.init("cpu")
    assert everything(trained(scene, seed=1)) != whole[0]


@pytest.mark.parametrize("at", SAVED_AT)
def test_a_resumed_training_is_the_uninterrupted_one(scene, whole, saved, at):
    backend.init("cpu")
    resumed = Trainer.resume(saved[0][at], scene)
    assert resumed.iteration == at
    while not resumed.done:
        resumed.step()
    assert everything(resumed) == whole[0]
    assert resumed.history == whole[1]


def test_a_step_in_parts_is_the_step(scene):
    backend.init("cpu")
    config = TINY_SOLID.changed(batch_rays=10_000)
    whole, parted = Trainer(scene, config), Trainer(scene, config)
    parted.in_parts()
    assert parted.part_rays is not None
    info = whole.step()
    count = 1
    while (last := parted.part()) is None:
        count += 1
    assert count > 3
    assert last.rays == info.rays == 10_000
    assert abs(last.psnr - info.psnr) < 1.5  # other points
    assert info.level == 2


def test_a_loss_that_is_no_number_changes_nothing(scene):
    backend.init("cpu")
    trainer = Trainer(scene, TINY_SOLID)
    before = everything(trainer)
    assert isinstance(trainer.sampler, PointSampler)
    trainer.sampler.pools[1].distances.fill(float("nan"))
    with pytest.raises(FloatingPointError, match="iteration 0"):
        trainer.step()
    assert everything(trainer) == before


# What is refused


def test_another_mesh_or_a_changed_configuration_is_no_resuming(scene, tmp_path):
    backend.init("cpu")
    Trainer(scene, TINY_SOLID).save(tmp_path)
    other = ball_scene(tmp_path, rings=64)
    with pytest.raises(UserError, match="another scene .*mesh: it has changed"):
        Trainer.resume(tmp_path, other)
    with pytest.raises(UserError, match="bits 6, not 4"):
        Trainer.resume(tmp_path, scene, TINY_SOLID.changed(bits=4))


def test_only_a_method_that_can_fits_a_mesh(scene, tmp_path):
    assert registry.teacher_of(scene) == "mesh"
    assert registry.teacher_of(tiny_scene(train=2, test=0)) == "photographs"
    method = registry.find("vqad", "mesh")
    assert (method.strategy_type(), method.sampler_type()) == (SolidStrategy, PointSampler)
    with pytest.raises(UserError, match="give --method vqad"):
        find_preset("slimmerf", "quick", mesh=True)
    with pytest.raises(UserError, match="give --method vqad"):
        Trainer(scene, find_preset("slimmerf", "quick"))
    assert find_preset("vqad", "quick", mesh=True).decoder == "none"


def test_levels_that_an_octree_cannot_have_and_bits_out_of_range_are_refused(scene):
    backend.init("cpu")
    with pytest.raises(UserError, match="levels"):
        Trainer(scene, TINY_SOLID.changed(lods=9))
    with pytest.raises(UserError, match="--codes hash does not go with a mesh"):
        Trainer(scene, TINY_SOLID.changed(codes="hash"))
    with pytest.raises(UserError, match="bits"):
        Trainer(scene, TINY_SOLID.changed(bits=40))


def test_memory_is_asked_for_before_it_is_taken(scene, monkeypatch):
    from taichi_rf.core import memory

    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    with pytest.raises(UserError, match="vertices"):
        Trainer(scene, TINY_SOLID)


def test_sharp_edges_are_no_trouble(tmp_path: Path):
    from scenes.solids import meshes

    backend.init("cpu")
    cube = meshes.load(str(write_obj(tmp_path / "cube.obj", *box())), downscale=16)
    trainer = trained(cube, codes="none")
    scores, _ = measured(trainer)
    assert scores[-1]["iou"] > 0.97
