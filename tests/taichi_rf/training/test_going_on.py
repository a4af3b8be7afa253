"""Going on: runs that are made longer, and trainings that begin with a model of another grid, rank, box or decoder."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenes.base import Scene
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.storage.model_file import StoredModel, read_stored, save_model
from taichi_rf.training import checkpoint
from taichi_rf.training.going_on import begun_config, begun_words, longer_words
from taichi_rf.training.trainer import Trainer
from tests.tiny import ROWS, TINY_OCTREE, tiny_config, tiny_scene

STEPS = 40
CONFIG = tiny_config(iterations=STEPS, ranks="prefix", upsample_at=(0.5,), shrink_at=0.5, filter_at=1.0)


def fresh() -> None:
    gc.collect()
    backend.reset()
    backend.init("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of forty iterations that is over: its model and its checkpoint."""
    fresh()
    place = tmp_path_factory.mktemp("trained")
    trainer = Trainer(tiny_scene(), CONFIG, rows=ROWS)
    while not trainer.done:
        trainer.step()
    trainer.save(place)
    save_model(trainer.model, place / "model.trf")
    return place


@pytest.fixture(scope="module")
def stored(folder: Path) -> StoredModel:
    return read_stored(folder / "model.trf")


def begin(stored: StoredModel, scene: Scene | None = None, **changes: object) -> Trainer:
    trainer = Trainer(scene or tiny_scene(), begun_config(CONFIG.changed(**changes), stored.header), rows=ROWS)
    trainer.begun = trainer.begin_with(stored)  # type: ignore[attr-defined]
    return trainer


def picture(trainer: Trainer, level: int) -> np.ndarray:
    return trainer.model.render(tiny_scene().test.cameras[0], level=level)


def error(trainer: Trainer, level: int) -> float:
    scene = tiny_scene()
    return float(((picture(trainer, level) - scene.test.composite(0, scene.background)) ** 2).mean())


def test_a_finished_training_that_is_made_longer_is_the_same_each_time_and_says_its_rates(folder):
    outcomes = []
    for _ in range(2):
        trainer = Trainer.resume(folder, tiny_scene(), CONFIG.changed(iterations=STEPS + 8), rows=ROWS)
        said = longer_words(trainer, CONFIG)
        assert f"made longer, to iteration {STEPS + 8}: 83% of its schedule are over" in said[0]
        assert "made shorter" in longer_words(trainer, CONFIG.changed(iterations=STEPS + 9))[0]
        rate = 0.1 * CONFIG.decay ** (STEPS / (STEPS + 8) - trainer.rate.restarted_at)
        assert f"factors {rate:.2g} to " in said[1]
        while not trainer.done:
            trainer.step()
        outcomes.append({name: values.tobytes() for name, values in checkpoint.capture(trainer)[0].items()})
    assert trainer.iteration == STEPS + 8
    assert outcomes[0] == outcomes[1]


def test_a_training_that_begins_with_a_model_shows_it_before_its_first_step_and_learns_on(stored):
    trainer = begin(stored)
    before = [error(trainer, level) for level in (2, 4)]
    reference = stored.kind.from_file(stored.header["field"], stored.levels)
    for level in range(1, 5):
        ours, theirs = (f.level_factors(level, f.value.to_numpy()) for f in (trainer.model.field, reference))
        np.testing.assert_array_equal(ours, theirs)
    assert trainer.level == 4
    assert trainer.model.box.tolist() == pytest.approx(np.array(stored.header["box"]), rel=1e-6)
    grid = trainer.model.field.resolution
    while not trainer.done:
        trainer.step()
    assert trainer.model.field.resolution == grid  # there is no finer one to come
    assert [error(trainer, level) for level in (2, 4)] < before


def test_ranks_that_are_more_are_silent_at_first_and_then_learn(stored):
    same, more = picture(begin(stored), 4), begin(stored, num_ranks=6, rank_deadlines=(0.0, 0.2))
    np.testing.assert_allclose(picture(more, 6), same, atol=1e-5)
    assert more.level == 4
    assert "ranks 5 to 6, which are silent at first" in begun_words(more, more.begun, "sh")[1]  # type: ignore[attr-defined]
    for _ in range(STEPS // 2):
        more.step()
    assert more.level == 6
    assert np.abs(more.model.field.factors()[0][0][0][..., 5]).max() > 1e-3


def test_fewer_ranks_are_those_of_the_prefix(stored):
    fewer = begin(stored, num_ranks=2)
    for level in (1, 2):
        factors = fewer.model.field.level_factors(level, fewer.model.field.value.to_numpy())
        np.testing.assert_array_equal(factors, stored.levels[level - 1]["factors"].astype(np.float32))
    assert fewer.level == 2
    assert "but not ranks 3 to 4" in begun_words(fewer, fewer.begun, "sh")[0]  # type: ignore[attr-defined]


def test_a_finer_grid_comes_when_it_is_due_and_a_coarser_one_at_once(stored):
    nodes = np.prod(stored.header["field"]["resolution"])
    finer = begin(stored, resolutions=(24, 28))  # the model's own grid comes first, also before the preset's first
    assert np.prod(finer.model.field.resolution) == nodes
    for _ in range(STEPS // 2 + 2):
        finer.step()
    assert np.prod(finer.model.field.resolution) == pytest.approx(28**3, rel=0.15)
    coarser = begin(stored, grid=12)
    assert np.prod(coarser.model.field.resolution) == pytest.approx(12**3, rel=0.2)
    assert error(coarser, 4) < 3 * error(begin(stored), 4)


def test_a_scene_with_a_smaller_box_cuts_the_model(stored):
    scene = replace(tiny_scene(), box=np.array([[-1.5, -1.5, -1.5], [0.2, 1.5, 1.5]], np.float32))
    trainer = begin(stored, scene)
    assert trainer.model.box[1, 0] <= 0.2 + 1e-4
    assert trainer.model.box[0].tolist() == pytest.approx(stored.header["box"][0], rel=1e-6)
    trainer.step()


def test_another_decoder_is_new_and_that_is_said(stored):
    trainer = begin(stored, decoder="mlp")
    kept, anew, _ = begun_words(trainer, trainer.begun, "sh")  # type: ignore[attr-defined]
    assert "decoder" not in kept
    assert "colours, because decoder mlp takes the place of sh" in anew


def test_one_that_was_stopped_goes_on_to_the_same_model(stored, tmp_path):
    config = begin(stored).config
    outcomes = []
    for stop in (None, 7):
        trainer = begin(stored)
        for _ in range(stop or 0):
            trainer.step()
        if stop:
            trainer.save(tmp_path)
            trainer = Trainer.resume(tmp_path, tiny_scene(), config, rows=ROWS)
        while trainer.iteration < 14:
            trainer.step()
        outcomes.append({name: values.tobytes() for name, values in checkpoint.capture(trainer)[0].items()})
    assert outcomes[0] == outcomes[1]


def test_what_begins_with_what_had_begun_does_not_learn_more_slowly_each_time(stored):
    once = begun_config(CONFIG, stored.header)
    assert begun_config(once, stored.header) == once
    assert once.get("factor_rate") == pytest.approx(CONFIG.get("factor_rate") * CONFIG.decay**0.5)
    assert once.get("factor_rate") * once.decay == pytest.approx(CONFIG.get("factor_rate") * CONFIG.decay)
    refined = begun_config(CONFIG.changed(upsample_at=(0.2,)), stored.header)  # the rate is counted from there
    assert refined.get("factor_rate") == pytest.approx(CONFIG.get("factor_rate") * CONFIG.decay**0.3)
    assert refined.get("prefix_from") == CONFIG.get("prefix_from")


def test_what_does_not_fit_is_refused(stored):
    with pytest.raises(UserError, match="--method slimmerf"):
        begun_config(TINY_OCTREE, stored.header)
    far = replace(tiny_scene(), box=np.array([[-1.5] * 3, [-1.2] * 3], np.float32))
    with pytest.raises(UserError, match="of which nothing is in that of the scene"):
        begin(stored, far, silhouettes=False)
    header = {**stored.header, "space": {"kind": "contract"}}
    with pytest.raises(UserError, match="another space \\(contract\\) than the scene \\(box\\)"):
        begin(replace(stored, header=header))
