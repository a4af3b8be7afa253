"""Scores of every level from one march are those of rendering each level by itself."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.evaluation.evaluate import evaluate
from taichi_rf.evaluation.image_metrics import psnr, ssim
from taichi_rf.rendering.pictures import render, render_prefixes
from taichi_rf.training.trainer import Trainer
from tests.tiny import ROWS, tiny_config, tiny_scene

BYTES = [10, 20, 30, 40]


@pytest.fixture(scope="module", params=["sh", "mlp"])
def trainer(request: pytest.FixtureRequest) -> Trainer:
    """All ranks from the start, half trained: every prefix has a picture of its own."""
    gc.collect()
    backend.reset()
    backend.init("cpu")
    made = Trainer(tiny_scene(test=3), tiny_config(decoder=request.param, ranks="plain"), rows=ROWS)
    for _ in range(35):
        made.step()
    return made


def test_all_prefixes_at_once_are_what_each_renders_alone(trainer):
    model, camera = trainer.model, trainer.scene.test.cameras[0]
    together = render_prefixes(model, camera)
    for level in range(1, 5):
        alone = render(model, camera, level=level)
        np.testing.assert_allclose(together[level - 1], alone, atol=2e-5)
    assert np.abs(together[0] - together[3]).max() > 0.05


def test_scores_are_means_over_views_of_each_level_rendered_alone(trainer):
    model, split = trainer.model, trainer.scene.test
    seen = []
    found = evaluate(model, split, BYTES, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.views == 3
    assert [(s.level, s.bytes) for s in found.scores] == list(zip([1, 2, 3, 4], BYTES))
    for score in found.scores:
        pairs = [(render(model, split.cameras[i], level=score.level), split.composite(i, (1, 1, 1))) for i in range(3)]
        assert score.psnr == pytest.approx(np.mean([psnr(a, b) for a, b in pairs]), abs=1e-3)
        assert score.ssim == pytest.approx(np.mean([ssim(a, b) for a, b in pairs]), abs=1e-4)
    assert found.pictures.shape == (4, 24, 24, 3)
    np.testing.assert_array_equal(found.photograph, split.composite(0, (1, 1, 1)))


def test_fewer_views_are_the_first_and_the_last(trainer):
    model, split = trainer.model, trainer.scene.test
    found = evaluate(model, split, BYTES, views=2)
    ends = [psnr(render(model, split.cameras[i]), split.composite(i, (1, 1, 1))) for i in (0, 2)]
    assert found.views == 2
    assert found.scores[-1].psnr == pytest.approx(np.mean(ends), abs=1e-3)


def test_the_photograph_is_put_on_the_background_that_the_model_was_trained_on(trainer):
    split = trainer.scene.test
    before, trainer.model.background = trainer.model.background, (0.0, 0.0, 0.0)
    try:
        found = evaluate(trainer.model, split, BYTES, views=1)
    finally:
        trainer.model.background = before
    assert found.photograph[0, 0].tolist() == [0, 0, 0]


def test_evaluating_leaves_the_training_alone(trainer):
    before = trainer.model.field.value.to_numpy()
    evaluate(trainer.model, trainer.scene.test, BYTES, views=1)
    np.testing.assert_array_equal(trainer.model.field.value.to_numpy(), before)


def test_an_empty_split_is_said(trainer):
    scene = replace(trainer.scene, test=tiny_scene(test=0).test)
    with pytest.raises(UserError, match="no test views"):
        evaluate(trainer.model, scene.test, BYTES)
