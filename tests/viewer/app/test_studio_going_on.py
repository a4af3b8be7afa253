"""The studio stops, goes on and starts again, and shows what is remembered of it."""

from __future__ import annotations

import os
import shutil

from taichi_rf.core.files import read_json, read_lines
from taichi_rf.kernels.losses import PhotometricLoss
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.slimmerf import PRESETS
from taichi_rf.training.run import CONFIG, EVENTS, MODEL, Recipe, RunFolder
from tests.tiny import TINY
from tests.viewer.app.studios import (
    HALF,
    alarm,
    change_config,
    chunks,
    contents,
    held_by_another,
    is_held,
    iteration,
    said,
    settle,
    until,
)
from viewer.app.settings import Settings
from viewer.app.studio import Studio

# Stopping, going on, starting again


def test_an_unfinished_run_goes_on_to_the_model_of_an_uninterrupted_one(studio, here):
    assert studio.open("half")  # by its name among the runs
    until(studio, lambda: studio.run)
    assert studio.session.trainer.iteration == HALF
    assert f"iteration {HALF}" in said(studio)
    until(studio, lambda: studio.run.over)
    assert chunks(here / "runs" / "half") == chunks(here / "runs" / "whole")
    events = [event for event in read_lines(here / "runs" / "half" / EVENTS) if event["event"] != "evaluation"]
    expected = read_lines(here / "runs" / "whole" / EVENTS)[:-1]
    assert [(e["event"], e["iteration"]) for e in events] == [(e["event"], e["iteration"]) for e in expected]


def test_closing_while_training_saves_says_how_to_go_on_and_does(studio, here):
    run = here / "runs" / "half"
    studio.open_now(run)
    until(studio, lambda: studio.session.trainer.iteration >= HALF + 5)
    reached = studio.session.trainer.iteration
    words = studio.close()
    assert words == f"saved at iteration {iteration(run)}; go on with: python train.py --resume runs/half"
    assert reached <= iteration(run) <= reached + 1  # a step that had begun is finished first
    assert not is_held(run)
    again = Studio()
    again.open_now("half")
    assert again.session.trainer.iteration == iteration(run)
    again.close()


def test_stop_lets_go_of_the_folder_and_the_next_step_takes_it_back(studio, here):
    run = here / "runs" / "half"
    studio.open_now(run)
    until(studio, lambda: studio.session.trainer.iteration > HALF)
    studio.stop()
    assert not is_held(run)
    assert not studio.session.training
    stopped = iteration(run)
    assert studio.session.trainer.iteration == stopped
    assert f"iteration {stopped}" in said(studio)
    assert "--resume runs/half" in said(studio)
    studio.session.toggle_training()
    until(studio, lambda: studio.session.trainer.iteration > stopped)
    assert is_held(run)


def test_after_a_stop_a_run_that_another_process_took_up_is_left_to_it(studio, here):
    run = here / "runs" / "half"
    studio.open_now(run)
    studio.stop()
    shutil.copy(here / "runs" / "whole" / checkpoint.NAME, here / "newer")
    os.replace(here / "newer", run / checkpoint.NAME)  # as if it had been trained further
    before = contents(run)
    studio.session.toggle_training()
    until(studio, lambda: not studio.session.training)
    assert "open it again" in alarm(studio)
    assert not is_held(run)
    studio.close()
    assert contents(run) == before
    with held_by_another(run) as pid:
        again = Studio()
        again.open_now("half")
        assert str(pid) in alarm(again)


def test_nothing_to_stop_is_said(studio):
    studio.stop()
    assert "nothing" in alarm(studio)


def test_restart_trains_the_same_recipe_from_the_start_in_a_new_folder(studio, here):
    change_config(here / "runs" / "half", views=6)
    write = read_json(here / "runs" / "half" / CONFIG)
    shutil.rmtree(here / "runs" / "half")  # a run of six views, so that the recipe is not the usual one
    recipe = Recipe.from_json(write, here)
    RunFolder(here / "runs" / "six").path.mkdir()
    studio.source, studio.preset = recipe.source, "quick"
    studio.start()
    until(studio, lambda: studio.run)
    first = studio.run
    until(studio, lambda: first.training.iteration > 3)
    studio.session.share = 0.3
    assert studio.restart()
    assert studio.ready  # the scene is at hand
    studio.switch()
    second = studio.run
    assert second.training.folder.path == here / "runs" / "balls-2"
    assert second.recipe == first.recipe
    assert second.training.iteration == 0
    assert studio.session.share == 0.3  # the share of time is the person's, not the run's
    assert iteration(here / "runs" / "balls-1") >= 4
    assert not is_held(here / "runs" / "balls-1")


def test_a_finished_run_that_is_only_looked_at_can_be_restarted_and_a_lone_model_cannot(studio, here):
    shutil.copy(here / "runs" / "whole" / MODEL, here / "lone.trf")
    studio.open_now("lone.trf")
    assert not studio.restart()
    assert "choose its scene" in alarm(studio)
    studio.open_now("whole")
    settle(studio)
    assert studio.restart()
    until(studio, lambda: studio.run)
    assert studio.run.recipe.config == TINY


def test_a_loss_that_is_no_number_is_said_and_restarted_with_another_seed(studio, here, monkeypatch):
    run = here / "runs" / "half"
    studio.open_now(run)
    until(studio, lambda: studio.session.trainer.iteration > HALF)
    genuine = PhotometricLoss.__call__
    monkeypatch.setattr(PhotometricLoss, "__call__", lambda *a, **k: (float("nan"), genuine(*a, **k)[1]))
    until(studio, lambda: studio.run.over)
    monkeypatch.undo()
    os.chdir(here)
    monkeypatch.setitem(PRESETS, "quick", TINY.changed(preset="quick"))
    assert "the loss became nan" in alarm(studio)
    assert not is_held(run)
    assert iteration(run) == HALF
    studio.advance(0.01)
    assert studio.restart()
    studio.switch()
    assert studio.run.recipe.config == TINY.changed(seed=TINY.seed + 1)
    until(studio, lambda: studio.session.trainer.iteration > 2)
    assert studio.session.failure is None


# Looking


def test_the_remembered_share_is_that_of_a_session_begun_later_and_goes_on_to_the_next(here):
    studio = Studio(settings=Settings(share=0.3))
    studio.open_now("whole")
    assert studio.session.share == 0.3
    studio.session.share = 0.6
    studio.open_now("half")
    assert studio.session.share == 0.6
    studio.close()


def test_a_recording_that_is_left_is_said_to_be_cancelled_in_what_comes_next(studio, here):
    studio.open_now("whole")
    studio.session.keeper.film.size = (32, 24)
    studio.session.keeper.turntable()
    studio.open_now("half")
    assert "iteration 25" in said(studio)
    assert "the turntable was cancelled" in said(studio)
    assert list((here / "runs" / "whole").glob("*turntable*")) == []


def test_a_chosen_scene_is_trained_at_once_without_a_window(studio, here):
    studio.open_now("balls")
    assert studio.session is None
    seen = []
    studio.start_now(lambda text, progress: seen.append(text))
    assert studio.run.training.folder.path == here / "runs" / "balls-1"
    assert studio.session.training


def test_a_finished_run_is_shown_with_its_photographs_as_soon_as_they_are_there(studio, here):
    studio.open("whole")
    until(studio, lambda: studio.session)
    assert studio.session.trainer is None
    assert studio.run is None
    until(studio, lambda: studio.session.scene)
    assert [view.split for view in studio.session.views] == ["test"] * 2 + ["train"] * 8
    assert studio.session.frame(32, 24, 1.0).shape == (24, 32, 3)
    assert not is_held(here / "runs" / "whole")


def test_a_model_in_its_folder_finds_its_photographs_and_a_lone_one_says_nothing(studio, here):
    studio.open_now(f"runs/half/{MODEL}")
    settle(studio)
    assert len(studio.session.views) == 10
    shutil.copy(here / "runs" / "half" / MODEL, here / "lone.trf")
    studio.open_now("lone.trf")
    settle(studio)
    assert studio.session.views == []
    assert studio.message is None


def test_photographs_that_were_replaced_are_said_to_be_others(studio, here):
    shutil.copy(here / "balls" / "train" / "r_0.png", here / "balls" / "train" / "r_1.png")
    studio.open_now("whole")
    settle(studio)
    assert studio.session.views == []
    assert "1 of 8, the first is" in said(studio)
    studio.open_now("half")  # would go on
    settle(studio)
    assert studio.run is None
    assert studio.session.views == []
    assert "1 of 8, the first is" in alarm(studio)


def test_what_a_run_leaves_names_no_place_but_in_its_configuration(place):
    for run in (place / "runs").iterdir():
        for path in run.iterdir():
            assert (os.fsencode(place) in path.read_bytes()) == (path.name == CONFIG), path


def test_names_mean_what_they_meant_when_they_were_given(studio, here, monkeypatch):
    assert studio.open("runs/whole")
    monkeypatch.chdir("/")
    settle(studio)
    assert studio.session is not None
