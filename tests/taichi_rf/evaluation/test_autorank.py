"""Rays that are kept back, and the level that they choose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taichi_rf.core import backend
from taichi_rf.evaluation.autorank import PATCH, best_level, kept_back, scoring
from taichi_rf.rendering.pictures import render
from taichi_rf.storage.model_file import load_model
from taichi_rf.training.finish import finish
from taichi_rf.training.run import MODEL, Recipe, RunFolder, Training
from taichi_rf.training.trainer import Trainer
from tests.tiny import ROWS, SIZE, tiny_config, tiny_octree_config, tiny_scene
from viewer.session.session import Session


@given(st.integers(1, 5), st.integers(16, 70), st.integers(16, 70), st.integers(1, 5000), st.integers(0, 9))
def test_whole_patches_of_every_view_are_kept_back_and_half_of_it_at_most(views, width, height, wanted, seed):
    pixels = kept_back([(width, height)] * views, wanted, seed)
    kept = np.zeros(views * height * width, bool)
    kept[pixels] = True
    assert (np.diff(pixels) > 0).all()
    down, across = height // PATCH, width // PATCH
    whole = kept.reshape(views, height, width)[:, : down * PATCH, : across * PATCH]
    patches = whole.reshape(views, down, PATCH, across, PATCH).sum(axis=(2, 4))
    assert set(np.unique(patches)) <= {0, PATCH**2}
    assert patches.sum() == len(pixels)  # and nothing beside them
    counts = (patches > 0).sum(axis=(1, 2))
    assert (counts == counts[0]).all()
    assert 1 <= counts[0] <= down * across // 2
    assert abs(counts[0] - wanted / (views * PATCH**2)) <= 1 or counts[0] in (1, down * across // 2)
    np.testing.assert_array_equal(pixels, kept_back([(width, height)] * views, wanted, seed))


@given(st.integers(1, 15), st.integers(1, 15), st.integers(1, 5000))
def test_of_images_too_small_for_two_patches_something_is_kept_back_all_the_same(width, height, wanted):
    pixels = kept_back([(width, height)] * 3, wanted, 0)
    views = np.bincount(pixels // (width * height), minlength=3)
    assert (views == views[0]).all()
    assert (views[0] > 0) == (width * height > 1)
    assert views[0] <= width * height / 2


def test_patches_differ_from_view_to_view_and_with_the_seed():
    one, two = (kept_back([(64, 64)] * 2, 2048, seed) for seed in (0, 1))
    assert set(one) != set(two)
    assert set(one[one < 64 * 64]) != {pixel - 64 * 64 for pixel in one[one >= 64 * 64]}


def test_the_lowest_level_that_is_as_good_as_the_best_is_chosen():
    assert best_level([20.0, 24.0, 23.0, 22.0]) == 2
    assert best_level([20.0, 23.96, 24.0]) == 2
    assert best_level([20.0, 23.94, 24.0]) == 3
    assert best_level([20.0]) == 1


@pytest.mark.parametrize("config", [tiny_config(held_out=300), tiny_octree_config(held_out=300)])
def test_rays_that_are_kept_back_are_never_drawn(config):
    backend.init("cpu")
    scene = tiny_scene()
    trainer = Trainer(scene, config, rows=ROWS)
    assert len(trainer.sampler.held_out) > 100
    kept = np.zeros(len(scene.train) * SIZE * SIZE, bool)
    kept[trainer.sampler.held_out] = True
    chosen: list[np.ndarray] = []
    draw = trainer.sampler.draw

    def noted(size: int) -> np.ndarray:
        chosen.append(draw(size))
        return chosen[-1]

    trainer.sampler.draw = noted
    while not trainer.done:
        trainer.step()
    drawn = np.concatenate(chosen)
    assert trainer.sampler.filtered
    assert not kept[drawn].any()


def test_scores_are_those_of_pictures_and_the_model_that_is_kept_begins_at_the_best(tmp_path):
    backend.init("cpu")
    scene = tiny_scene()
    config = tiny_config(held_out=300)
    folder, recipe = RunFolder(tmp_path / "run"), Recipe(config, "tests:balls")
    with folder.claimed(new=True):
        trainer = Trainer(scene, config, rows=ROWS)
        folder.begin(recipe, trainer)
        training = Training(trainer, folder)
        while not training.done:
            training.step()
        metrics = finish(training, recipe)
    found = [level["held_out_psnr"] for level in metrics["levels"]]
    assert metrics["best_level"] == best_level(found)
    model = load_model(folder / MODEL)
    squares = np.zeros((4, 1))
    for view in np.unique(trainer.sampler.held_out // SIZE**2):
        pixels = trainer.sampler.held_out[trainer.sampler.held_out // SIZE**2 == view] % SIZE**2
        truth = scene.train.composite(int(view), model.background).reshape(-1, 3)[pixels]
        for level in range(1, 5):
            picture = render(model, scene.train.cameras[int(view)], level=level).reshape(-1, 3)[pixels]
            squares[level - 1] += ((np.clip(picture, 0, 1) - truth) ** 2).mean(axis=1).sum()
    np.testing.assert_allclose(found, (-10 * np.log10(squares / len(trainer.sampler.held_out)))[:, 0], atol=0.05)
    assert Session(model).level == metrics["best_level"]
    assert Session(model, level=4).level == 4
    for lie in ("3", [1], True, 1e99, None):
        model.metadata["best_level"] = lie
        assert Session(model).level == 4
    model.metadata["best_level"] = -7
    assert Session(model).level == 1


def test_without_it_nothing_is_kept_back():
    backend.init("cpu")
    trainer = Trainer(tiny_scene(), tiny_config(), rows=ROWS)
    assert len(trainer.sampler.held_out) == 0
    generator = trainer.measuring(trainer.model)
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == [{}] * 4


def test_parts_are_told():
    backend.init("cpu")
    trainer = Trainer(tiny_scene(), tiny_config(held_out=300), rows=ROWS)
    parts = list(scoring(trainer.model, trainer.scene.train, trainer.sampler.held_out))
    assert parts[-1] == (len(trainer.sampler.held_out),) * 2
