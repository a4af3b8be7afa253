"""The studio trains something new: chosen, built, evaluated, with real trainings of seconds and no screen."""

from __future__ import annotations

import time

import pytest

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json
from taichi_rf.training import checkpoint
from taichi_rf.training.configs import solid, vqad
from taichi_rf.training.configs.slimmerf import PRESETS
from taichi_rf.training.run import CONFIG, EVENTS, METRICS, MODEL, REPORT, THUMBNAIL
from taichi_rf.training.trainer import Trainer
from tests.solids import ball, write_obj
from tests.tiny import TINY_OCTREE, write_tiny_scene
from tests.viewer.app.studios import HALF, PATIENCE, alarm, chunks, is_held, quality, said, settle, until


def test_a_scene_is_chosen_trained_evaluated_and_its_folder_let_go_of(studio, here):
    assert studio.open("balls")  # a scene is only chosen
    assert studio.source == str(here / "balls")
    assert studio.pending is None
    assert studio.start()
    until(studio, lambda: studio.run)
    run = here / "runs" / "balls-1"
    assert is_held(run)
    assert studio.run.training.cold  # kernels are compiled with the first step, when a window can say so
    assert studio.evaluating is None
    seen = {}
    until(studio, lambda: seen.update({studio.evaluating: is_held(run)}) or studio.run.over)
    assert seen.pop(None) is False  # the last time, when all was over
    assert {0.0, 0.5} <= set(seen)
    assert all(seen.values())
    assert studio.evaluating is None
    assert not is_held(run)
    assert {path.name for path in run.iterdir()} == {CONFIG, checkpoint.NAME, MODEL, METRICS, EVENTS, REPORT, THUMBNAIL}
    assert read_json(run / METRICS) == studio.run.metrics
    best = studio.run.metrics["levels"][-1]["psnr"]
    assert best > 18
    assert f"{best:.2f} dB" in said(studio)
    assert studio.session.model.metadata["level_psnr"][-1] == pytest.approx(best, abs=1e-3)
    assert chunks(run) == chunks(here / "runs" / "whole")  # what the recipe makes without a viewer
    assert quality(run) == quality(here / "runs" / "whole")
    assert studio.close() is None


def test_choices_enter_the_recipe_and_wrong_ones_are_said(studio, here):
    assert not studio.start()
    assert "choose a scene first" in alarm(studio)
    for nonsense in ("nowhere", "", "a\0b", "x" * 5000, "runs"):
        assert not studio.choose(nonsense)
        assert "scene" in alarm(studio)
    assert studio.source is None
    assert studio.choose("builtin:lantern")
    studio.preset, studio.downscale, studio.max_seconds = "balanced", 4, 90.0
    recipe = studio.recipe()
    assert (recipe.source, recipe.downscale) == ("builtin:lantern", 4)
    assert recipe.config == PRESETS["balanced"].changed(max_seconds=90.0)
    studio.preset = "best"
    assert not studio.start()
    assert "'best'" in alarm(studio)
    studio.preset, studio.method = "quick", "magic"
    assert not studio.start()
    assert "'magic'" in alarm(studio)


def test_a_recipe_is_of_the_chosen_method_and_a_mesh_has_but_one(studio, here):
    assert studio.choose("balls")
    assert studio.methods == ("slimmerf", "vqad")
    studio.method, studio.preset = "vqad", "balanced"
    assert studio.recipe().config == vqad.PRESETS["balanced"]
    write_obj(here / "ball.obj", *ball())
    studio.method = "slimmerf"
    assert studio.choose("ball.obj")
    assert (studio.methods, studio.method) == (("vqad",), "vqad")
    assert studio.recipe().config == solid.PRESETS["balanced"]
    studio.method = "slimmerf"
    assert not studio.start()
    assert "cannot fit a mesh" in alarm(studio)


def test_an_octree_is_trained_while_it_grows_and_evaluated(studio, here, monkeypatch):
    monkeypatch.setitem(vqad.PRESETS, "quick", TINY_OCTREE)
    studio.choose("balls")
    studio.method = "vqad"
    assert studio.start()
    until(studio, lambda: studio.session is not None)
    session = studio.session
    assert (session.field.level_name, session.num_levels, session.level) == ("LOD", 3, 2)
    seen = set()

    def watched() -> bool:
        seen.add((session.level, len(session.levels.curve())))
        session.frame(64, 48, 0.02)
        return studio.run.metrics is not None

    until(studio, watched)
    assert seen == {(2, 2), (3, 3)}
    levels = studio.run.metrics["levels"]
    assert [level["level"] for level in levels] == [1, 2, 3]
    assert session.levels.decibels(3).value == pytest.approx(levels[2]["psnr"], abs=1e-3)
    assert session.levels.megabytes(3) == pytest.approx(levels[2]["bytes"] / 1e6, rel=0.25)  # the file is deflated
    assert [level for _, level in session.history().levels] == [2, 3]
    assert session.history().test
    session.levels.choose(1)
    assert session.levels.megabytes(1) < session.levels.megabytes(3)


def test_a_scene_that_cannot_be_read_is_said_and_leaves_no_folder(studio, here):
    (here / "balls" / "train" / "r_3.png").write_bytes(b"no image")
    studio.choose("balls")
    assert studio.start()
    settle(studio)
    assert "r_3.png" in alarm(studio)
    assert studio.session is None
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["half", "whole"]


@pytest.mark.parametrize("trouble", [UserError("no camera sees the box"), RuntimeError("out of memory"), KeyError("x")])
def test_what_cannot_be_built_brings_back_what_was_on_show(studio, here, monkeypatch, trouble):
    studio.open_now("half")
    until(studio, lambda: studio.session.trainer.iteration > HALF)

    def broken(*_: object) -> Trainer:
        raise trouble

    broken.resume = Trainer.resume
    monkeypatch.setattr("viewer.app.opening.Trainer", broken)
    studio.choose("balls")
    studio.start()
    deadline = time.monotonic() + PATIENCE
    while not studio.ready:
        assert time.monotonic() < deadline
    reached = studio.session.trainer.iteration
    studio.session.levels.choose(1)
    studio.session.orbit.azimuth += 0.3
    stood, studio.session.share = studio.session.orbit.state(), 0.4
    if isinstance(trouble, RuntimeError):
        studio.session.toggle_training()
    training = studio.session.training
    studio.session.keeper.film.size = (32, 24)
    studio.session.keeper.turntable()
    before = studio.session
    assert studio.switch() is studio.session
    assert studio.session is not before
    assert studio.session.training == training  # what was paused stays paused
    assert (studio.session.level, studio.session.share) == (1, 0.4)
    assert studio.session.orbit.state() == stood
    assert str(trouble) in alarm(studio)
    assert "the turntable was cancelled" in alarm(studio)
    assert studio.run.training.folder.path == here / "runs" / "half"
    assert studio.session.trainer.iteration - reached in (0, 1)  # a step that had begun was finished
    assert is_held(here / "runs" / "half")
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["half", "whole"]
    studio.run.training.step()


def test_a_scene_without_test_views_is_trained_without_psnr(studio, here):
    write_tiny_scene(here / "blind", test=0)
    studio.choose("blind")
    studio.start()
    until(studio, lambda: studio.run and studio.run.over)
    assert studio.run.metrics["views"] == 0
    assert studio.run.metrics["levels"][-1]["psnr"] is None
    assert "dB" not in said(studio)
    assert {view.split for view in studio.session.views} == {"train"}


def test_a_built_in_scene_is_rendered_by_another_process_and_taichi_is_not_touched(studio, here, monkeypatch):
    monkeypatch.setenv("TAICHI_RF_CACHE", str(here / "cache"))
    backend.reset()
    studio.choose("lantern")
    studio.downscale = 16
    assert studio.start()
    texts = set()
    deadline = time.monotonic() + PATIENCE
    while not studio.ready:
        pending = studio.pending
        assert time.monotonic() < deadline
        texts.add(pending.text if pending else "")
        time.sleep(0.001)
    assert "rendering lantern, this once" in texts
    assert backend._current is None
    assert len(list((here / "cache").glob("lantern-*.npz"))) == 2
    studio.switch()
    assert studio.session.model.metadata["source"] == "builtin:lantern"


def test_without_a_cache_a_built_in_scene_is_rendered_on_switching(studio, here, monkeypatch):
    (here / "file").touch()
    monkeypatch.setenv("TAICHI_RF_CACHE", str(here / "file"))
    studio.choose("lantern")
    studio.downscale = 25
    studio.start()
    until(studio, lambda: studio.run)
    assert len(studio.session.scene.train) == 100
