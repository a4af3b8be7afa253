"""The look at a scene before it is trained: read once, drawn as large as asked, and let go of."""

from __future__ import annotations

import numpy as np
import pytest

import scenes
from taichi_rf.storage.world import World
from taichi_rf.training.configs.slimmerf import QUICK
from taichi_rf.training.run import Recipe
from tests.capture_files import write_images, write_nerfstudio
from tests.viewer_fakes import Clock
from viewer.app import loading as loadings
from viewer.app.loading import Loading, plan_training
from viewer.app.preview import SETTLED, Preview, scaled


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    write_nerfstudio(tmp_path)
    return Recipe(QUICK, str(tmp_path))


def seen(preview: Preview, recipe: Recipe, clock: Clock) -> Preview:
    """``preview`` once it has read the scene of ``recipe``."""
    preview.look(recipe)
    clock.now += 2 * SETTLED
    preview.look(recipe)
    assert preview._reading is not None
    assert preview._reading.wait(60)
    return preview


def drawn(preview: Preview, width: int, height: int) -> np.ndarray:
    for _ in range(3):
        if preview._drawing is not None:
            assert preview._drawing.wait(60)
        found = preview.picture(width, height)
    assert found is not None
    return found


def test_nothing_is_read_until_a_choice_has_stood_for_a_while(recipe):
    clock = Clock()
    preview = Preview(clock)
    for _ in range(5):
        preview.look(recipe)
        assert preview.ahead(recipe) is None
        clock.now += SETTLED / 10
    assert preview.scene is None
    assert preview.state == ()
    assert preview.picture(800, 600) is None


def test_photographs_are_not_posed_before_a_person_asks_for_it(tmp_path):
    write_images(tmp_path)
    preview, photographs = Preview(clock := Clock()), Recipe(QUICK, str(tmp_path))
    for _ in range(3):
        preview.look(photographs)
        clock.now += SETTLED
    assert preview.ahead(photographs) is None


def test_the_picture_has_the_scene_in_the_size_that_is_asked_for(recipe):
    preview = seen(Preview(clock := Clock()), recipe, clock)
    assert preview.scene.name == scenes.load(recipe.source).name
    assert "the scene is moved" in "\n".join(preview.state)
    for width, height in ((900, 700), (500, 600), (1500, 400)):
        picture = drawn(preview, width, height)
        assert picture.shape[1] == width
        assert picture.shape[0] <= height
        assert picture.shape[2] == 3
    assert preview.picture(100, 100) is None


def test_a_training_takes_the_scene_that_was_read_ahead(recipe, monkeypatch):
    preview = seen(Preview(clock := Clock()), recipe, clock)
    monkeypatch.setattr(loadings, "load_scene", None)  # it would have to be read again
    longer = Recipe(QUICK.changed(max_seconds=5.0), recipe.source)  # which makes no difference to the scene
    plan = plan_training(longer, Loading("", print), preview.ahead(longer))
    assert plan.scene is preview.scene
    assert preview.ahead(Recipe(QUICK, recipe.source, downscale=2)) is None


def test_another_world_is_read_anew_and_its_box_compared_with_what_fits(recipe):
    preview = seen(Preview(clock := Clock()), recipe, clock)
    fitting = preview.fitting()
    assert fitting is not None
    smaller = Recipe(QUICK, recipe.source, world=World(box=scaled(fitting, 50)))
    seen(preview, smaller, clock)
    np.testing.assert_allclose(preview.scene.box, fitting / 2, atol=1e-4)
    np.testing.assert_array_equal(preview.fitting(), fitting)
    seen(preview, Recipe(QUICK, recipe.source, world=World(up="x", box=smaller.world.box)), clock)
    assert preview.fitting() is None  # nothing is known of that world


def test_what_cannot_be_read_is_said_and_forgotten_with_the_choice(recipe, tmp_path):
    (tmp_path / "transforms.json").write_text("{}")
    preview = seen(Preview(clock := Clock()), recipe, clock)
    assert "key 'frames'" in preview.state[0]
    assert preview.scene is None
    preview.forget()
    assert preview.state == ()
