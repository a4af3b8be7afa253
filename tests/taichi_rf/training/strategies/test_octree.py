"""Octrees that grow while they train: planted, pruned, divided, quantised; and on the CPU the same to the bit."""

from __future__ import annotations

import functools
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenes.base import Scene
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.evaluation.image_metrics import psnr
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.octree.tree import coordinates, neighbourhood
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.pictures import render
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.schedule import JointLevels, Milestones
from taichi_rf.training.strategies.octree import LEAST_CODED, OctreeStrategy, check_memory, needed_bytes
from taichi_rf.training.trainer import Trainer
from tests.tiny import ROWS, tiny_octree_config, tiny_scene

CODES = {"learned": 3, "none": 0, "hash": 5, "lowrank": 4, "kmeans": 3}
"""Kind -> bits, or numbers a vertex."""
SAVED_AT = (5, 18, 30)  # before it grows; after it grew and was pruned; after it was quantised
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


# To the bit


@dataclass
class Finished:
    """A training that was warmed up, and saved on its way in a folder for each of ``SAVED_AT``."""

    config: Config
    folder: Path
    outcome: tuple[dict[str, bytes], dict[str, Any]]
    psnr: list[float]
    sizes: list[int]
    """Bytes of the prefixes of its file."""


@pytest.fixture(scope="module", params=CODES)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    config, folder = tiny_octree_config(codes=request.param, bits=CODES[request.param]), tmp_path_factory.mktemp("run")
    trainer = make(config)
    trainer.warm_up()
    psnr = []
    while not trainer.done:
        psnr.append(trainer.step().psnr)
        if trainer.iteration in SAVED_AT:
            place = folder / str(trainer.iteration)
            place.mkdir()
            trainer.save(place)
            save_model(trainer.model, place / "model.trf")
    sizes = save_model(trainer.model, folder / "model.trf")
    return Finished(config, folder, outcome(trainer), psnr, sizes)


only_learned = pytest.mark.parametrize("finished", ["learned"], indirect=True)


def test_everything_that_a_schedule_can_do_happens_in_the_training_that_is_compared(finished):
    arrays, state = finished.outcome
    grown = [event for event in state["events"] if event["event"] == "grow"]
    assert [event["iteration"] for event in grown] == [10, 16]
    assert [len(event["cells"]) for event in grown] == [3, 3]
    assert grown[1]["cells"][2] < grown[0]["cells"][2]
    dropped = next(event for event in state["events"] if event["event"] == "filter")
    assert 0 < dropped["rays"] < dropped["of"]
    quantised = [event["iteration"] for event in state["events"] if event["event"] == "quantise"]
    assert quantised == ([24] if finished.config.strategy.codes != "none" else [])
    assert state["field"]["coder"]["codes"] == finished.config.strategy.codes
    assert state["field"]["levels"] == state["ranks"]["level"] == 3
    assert all(np.isfinite(np.frombuffer(arrays[name], np.float32)).all() for name in arrays if "value" in name)
    assert np.mean(finished.psnr[19:24]) > np.mean(finished.psnr[:5]) + 3
    if finished.config.strategy.codes != "hash":  # whose rows begin anew
        assert np.mean(finished.psnr[-5:]) > np.mean(finished.psnr[:5]) + 3


@only_learned
def test_a_second_training_is_the_same_and_neither_warming_up_nor_saving_leaves_a_trace(finished):
    assert_same(outcome(run(make(finished.config))), finished.outcome)


def resumed(finished: Finished, iteration: int) -> Trainer:
    fresh()
    trainer = Trainer.resume(finished.folder / str(iteration), tiny_scene(), rows=ROWS)
    assert trainer.iteration == iteration
    return trainer


def test_a_training_resumed_after_it_was_quantised_is_the_uninterrupted_one(finished):
    trainer = resumed(finished, 30)
    assert octree(trainer).coder.kind == finished.config.strategy.codes
    if finished.config.strategy.codes == "learned":  # warming up leaves no trace there either
        trainer.warm_up()
    assert_same(outcome(run(trainer)), finished.outcome)


@only_learned
def test_a_training_resumed_before_it_was_quantised_is_the_uninterrupted_one(finished):
    trainer = resumed(finished, 18)
    assert trainer.level == octree(trainer).grown == 3
    assert octree(trainer).coder.kind == "none"
    assert_same(outcome(run(trainer)), finished.outcome)


@only_learned
def test_a_training_resumed_before_its_octree_grew_is_the_uninterrupted_one_and_so_is_its_file(finished):
    trainer = resumed(finished, 5)
    assert trainer.level == octree(trainer).grown == 2
    assert trainer.model.field.num_levels == 3
    loaded = load_model(finished.folder / "5" / "model.trf")
    assert loaded.field.num_levels == 2
    camera = tiny_scene().test.cameras[0]
    for level in (1, 2):
        picture = render(loaded, camera, level=level)
        np.testing.assert_allclose(picture, render(trainer.model, camera, level=level), atol=1e-2)
    assert np.ptp(picture) > 0.2
    np.testing.assert_allclose(render(trainer.model, camera, level=3), picture, atol=1e-2)
    assert_same(outcome(run(trainer)), finished.outcome)


@only_learned
def test_another_configuration_is_refused(finished):
    with pytest.raises(UserError, match="bits 3, not 4"):
        Trainer.resume(finished.folder / "30", tiny_scene(), finished.config.changed(bits=4), rows=ROWS)


# Files of trainings


def test_quantised_features_are_smaller_by_what_their_bits_say(finished):
    """16 numbers in half precision a vertex, against bits and a codebook a level; compressed files are below it."""
    codes, bits = finished.config.strategy.codes, finished.config.strategy.bits
    header = finished.outcome[1]["field"]
    assert header["coder"].get("bits", bits) == bits
    vertices = sum(next(e for e in reversed(finished.outcome[1]["events"]) if e["event"] == "grow")["vertices"])
    book = 3 * 2**bits * 32
    formula = {
        "none": vertices * 32, "lowrank": vertices * 2 * bits + 3 * bits * 32, "hash": book,
        "learned": vertices * 4 / 8 + book, "kmeans": vertices * 4 / 8 + book,
    }[codes]  # fmt: skip
    decoder_tree_and_headers = 20_000
    assert finished.sizes[-1] < formula + decoder_tree_and_headers
    assert finished.sizes == sorted(finished.sizes)


# Planting


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


def test_without_silhouettes_it_begins_with_the_whole_box():
    trainer = make(tiny_octree_config(silhouettes=False))
    np.testing.assert_array_equal(trainer.model.box, tiny_scene().box)
    assert [len(layer.cells) for layer in octree(trainer).tree.layers] == [8**3, 16**3]


def test_depth_plants_the_whole_tree_around_the_surface():
    scene = tiny_scene(train=24, depth=True)
    trainer = make(tiny_octree_config(), scene)
    field = octree(trainer)
    assert field.grown == trainer.level == 3
    assert field.capacity == field.coder.vertices  # no room is kept for what will not grow
    assert_holds_the_balls(trainer)
    low, high = trainer.model.box
    cells = np.stack(np.nonzero(field.tree.mask(3))[::-1], axis=1)
    centres = low + (cells + 0.5) / 32 * (high - low)
    away = np.min([np.abs(np.linalg.norm(centres - c, axis=1) - r) for c, r in zip(BOTH, (0.6, 0.4))], axis=0)
    assert away.max() < 3 * np.sqrt(3) / 2 * (high - low)[0] / 32  # a cell with the surface, or a neighbour of one
    without = make(tiny_octree_config(depth=False), scene)
    assert octree(without).grown == 2


def test_a_training_with_depth_prunes_and_quantises_and_learns():
    trainer = make(tiny_octree_config(), tiny_scene(depth=True))
    planted = octree(trainer).coder.vertices
    first = np.mean([trainer.step().psnr for _ in range(5)])
    run(trainer)
    assert trainer.history[-1]["psnr"] > first + 3
    assert octree(trainer).coder.vertices < planted
    assert [len(event["cells"]) for event in events(trainer, "grow")] == [3, 3]
    assert octree(trainer).coder.kind == "learned"


def test_a_training_in_too_little_room_goes_on_with_what_fits():
    trainer = run(make(tiny_octree_config(codes="none", max_vertices=2500)))
    assert octree(trainer).grown == 3
    assert octree(trainer).capacity == 2500
    assert all(sum(event["vertices"]) <= 2500 for event in events(trainer, "grow"))
    assert trainer.history[-1]["psnr"] > trainer.history[0]["psnr"] + 3


def test_one_level_alone_is_a_model_too_and_takes_no_more_memory_than_was_estimated():
    trainer = run(make(tiny_octree_config(lods=1, base_depth=4, bits=6)))
    field = octree(trainer)
    assert field.grown == field.num_levels == trainer.level == 1
    assert field.coder.kind == "learned"
    assert trainer.history[-1]["psnr"] > trainer.history[0]["psnr"]
    # every array that has an entry for each vertex, as made
    coder = field.coder
    arrays = [field.gradients.features, field.gradients.density, field.corners, field.children, coder.index]
    arrays += [coder.logits, coder.logit_second]
    numbers = sum(int(np.prod(array.shape)) * getattr(array, "n", 1) / array.shape[0] for array in arrays)
    assert 4 * numbers * coder.capacity <= needed_bytes(coder.capacity, trainer.config)


# What cannot be


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bits": 0}, "--bits 0: codes of kind 'learned' have 1 to 8"),
        ({"bits": 9}, "--bits 9"),
        ({"codes": "hash", "bits": 15}, "1 to 14"),
        ({"codes": "lowrank", "bits": 16}, "1 to 15"),
        ({"codes": "vq"}, "choose one of learned, none, kmeans, lowrank, hash"),
        ({"lods": 0}, "1 to 5 levels"),
        ({"lods": 6}, "1 to 5 levels"),
        ({"base_depth": 1}, "depth 2 to 7"),
        ({"base_depth": 7, "lods": 4}, "got 7 to 10"),
    ],
)
def test_what_there_is_not_is_refused_before_training(changes, says):
    with pytest.raises(UserError) as caught:
        make(tiny_octree_config(**changes))
    assert says in str(caught.value)


def test_an_octree_that_memory_does_not_hold_is_refused_with_the_figure(monkeypatch):
    config = tiny_octree_config(bits=8, max_vertices=10_000_000)
    needed = needed_bytes(10_000_000, config)
    assert needed == 10_000_000 * (4 * 64 + 4 + 2 * 32 + 2 * 4 * 256)  # by hand: 23.7 kB a vertex hold its 256 logits
    monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: 3 << 30)
    with pytest.raises(UserError, match=r"10,000,000 vertices with codes of 8 bits takes 22\.1 GiB .* 3\.0 GiB are"):
        make(config)
    monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: None)  # not known: one can but try
    check_memory(10_000_000, config)


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
    features = octree(trainer).coder.features()
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
    after, first, old = octree(trainer).coder.features(), 0, 0
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


def steady(march, *arguments, seed, **options):
    """Marching without the jitter, which is another for each part."""
    return march(*arguments, seed=None, **options)


def test_a_step_that_failed_leaves_no_gradient_behind(bench, monkeypatch):
    trainer = bench.again()
    trainer.part_rays = 60
    field = octree(trainer)
    assert isinstance(field.coder, Uncompressed)
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
