"""Octrees that grow while they train: planted, pruned, divided, quantised; and on the CPU the same to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.smoothing import neighbours
from taichi_rf.rendering.pictures import render
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.training.configs.base import Config
from taichi_rf.training.strategies.octree import check_memory, needed_bytes
from taichi_rf.training.trainer import Trainer
from tests.octree_trainings import BOTH, assert_holds_the_balls, assert_same, events, fresh, make, octree, outcome, run
from tests.tiny import ROWS, tiny_octree_config, tiny_scene

CODES = {"learned": 3, "hash": 5, "lowrank": 4, "kmeans": 3}
"""Kind -> bits, or numbers a vertex. Features as they are ("none") are what all of them begin with."""
SAVED_AT = (5, 18, 30)  # before it grows; after it grew and was pruned; after it was quantised


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
    assert quantised == [24]
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
    assert octree(trainer).quantiser.kind == finished.config.strategy.codes
    if finished.config.strategy.codes == "learned":  # warming up leaves no trace there either
        trainer.warm_up()
    assert_same(outcome(run(trainer)), finished.outcome)


@only_learned
def test_a_training_resumed_before_it_was_quantised_is_the_uninterrupted_one(finished):
    trainer = resumed(finished, 18)
    assert trainer.level == octree(trainer).grown == 3
    assert octree(trainer).quantiser.kind == "none"
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


def test_without_silhouettes_it_begins_with_the_whole_box():
    trainer = make(tiny_octree_config(silhouettes=False))
    np.testing.assert_array_equal(trainer.model.box, tiny_scene().box)
    assert [len(layer.cells) for layer in octree(trainer).tree.layers] == [8**3, 16**3]


def test_depth_plants_the_whole_tree_around_the_surface():
    scene = tiny_scene(train=24, depth=True)
    trainer = make(tiny_octree_config(), scene)
    field = octree(trainer)
    assert field.grown == trainer.level == 3
    assert field.capacity == field.quantiser.vertices  # no room is kept for what will not grow
    assert_holds_the_balls(trainer)
    low, high = trainer.model.box
    cells = np.stack(np.nonzero(field.tree.mask(3))[::-1], axis=1)
    centres = low + (cells + 0.5) / 32 * (high - low)
    away = np.min([np.abs(np.linalg.norm(centres - c, axis=1) - r) for c, r in zip(BOTH, (0.6, 0.4))], axis=0)
    assert away.max() < 5 * np.sqrt(3) / 2 * (high - low)[0] / 32  # a cell with the surface, or two away from one
    assert away.max() > 3 * np.sqrt(3) / 2 * (high - low)[0] / 32
    without = make(tiny_octree_config(depth=False), scene)
    assert octree(without).grown == 2


def test_a_training_with_depth_prunes_and_quantises_and_learns():
    trainer = make(tiny_octree_config(), tiny_scene(depth=True))
    planted = octree(trainer).quantiser.vertices
    first = np.mean([trainer.step().psnr for _ in range(5)])
    run(trainer)
    assert trainer.history[-1]["psnr"] > first + 2
    assert octree(trainer).quantiser.vertices < planted
    assert [len(event["cells"]) for event in events(trainer, "grow")] == [3, 3]
    assert octree(trainer).quantiser.kind == "learned"


def test_a_training_in_too_little_room_goes_on_with_what_fits():
    trainer = run(make(tiny_octree_config(codes="none", max_vertices=2500)))
    assert octree(trainer).grown == 3
    assert octree(trainer).capacity == 2500
    assert all(sum(event["vertices"]) <= 2500 for event in events(trainer, "grow"))
    assert trainer.history[-1]["psnr"] > trainer.history[0]["psnr"] + 3


def test_the_finished_octree_has_no_more_vertices_than_are_kept():
    trainer = run(make(tiny_octree_config(codes="none", kept_vertices=1200)))
    divided, finished = (sum(event["vertices"]) for event in events(trainer, "grow"))
    assert divided > 4000  # as long as it is divided, there is room for more
    assert 1000 < finished <= 1200
    assert sum(octree(trainer).quantiser.counts) == finished


def test_total_variation_makes_neighbours_alike_and_is_the_same_to_the_bit():
    apart, outcomes = [], []
    for weight in (0.0, 1e-4, 1e-4):
        trainer = run(make(tiny_octree_config(tv_density=weight, tv_appearance=weight)))
        field = octree(trainer)
        features, found = field.quantiser.features(), neighbours(field.tree)
        v, side = np.nonzero(found >= 0)
        apart.append(float(((features[v] - features[found[v, side]]) ** 2).mean()))
        outcomes.append(outcome(trainer))
    assert apart[1] < 0.5 * apart[0]
    assert_same(outcomes[1], outcomes[2])


def test_one_level_alone_is_a_model_too_and_takes_no_more_memory_than_was_estimated():
    trainer = run(make(tiny_octree_config(lods=1, base_depth=4, bits=6)))
    field = octree(trainer)
    assert field.grown == field.num_levels == trainer.level == 1
    assert field.quantiser.kind == "learned"
    assert trainer.history[-1]["psnr"] > trainer.history[0]["psnr"]
    # every array that has an entry for each vertex, as made
    quantiser = field.quantiser
    arrays = [
        field.gradients.features,
        field.gradients.density,
        field.gradients.touched,
        field.corners,
        field.children,
        quantiser.index,
    ]
    arrays += [quantiser.logits, quantiser.logit_second, quantiser.candidates]
    numbers = sum(int(np.prod(array.shape)) * getattr(array, "n", 1) / array.shape[0] for array in arrays)
    assert 4 * numbers * quantiser.capacity <= needed_bytes(quantiser.capacity, trainer.config)


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
    config = tiny_octree_config(bits=8, max_vertices=10_000_000, tv_density=1e-9)
    needed = needed_bytes(10_000_000, config)
    assert needed == 10_000_000 * (4 * 64 + 8 + 2 * 32 + 24 + 2 * 4 * 16 + 16)  # by hand: 496 bytes a vertex
    monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: 3 << 30)
    with pytest.raises(UserError, match=r"10,000,000 vertices with codes of 8 bits takes 4\.6 GiB .* 3\.0 GiB are"):
        make(config)
    monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: None)  # not known: one can but try
    check_memory(10_000_000, config)
