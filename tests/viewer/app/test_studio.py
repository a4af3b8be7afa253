"""The studio: opening, training, letting go and falling back, with real trainings of seconds and without any screen."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import scenes
from taichi_rf.cli.entry import Stopped
from taichi_rf.core import backend
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, read_lines, write_json
from taichi_rf.kernels.losses import PhotometricLoss
from taichi_rf.storage.trf import load_checkpoint, read_trf
from taichi_rf.training import checkpoint
from taichi_rf.training.finish import finish
from taichi_rf.training.presets import PRESETS, SOLIDS, VQAD_PRESETS
from taichi_rf.training.run import CONFIG, EVENTS, LOCK, METRICS, MODEL, REPORT, Recipe, RunFolder, Training
from taichi_rf.training.trainer import Trainer
from tests.places import ROOT
from tests.solids import ball, write_obj
from tests.tiny import TINY, TINY_OCTREE, write_tiny_scene
from viewer.app.settings import Settings
from viewer.app.studio import Studio

HALF = 25  # iterations of the unfinished run
PATIENCE = 120.0  # seconds, on a busy machine
HOLD = """
import sys
from taichi_rf.training.run import RunFolder
with RunFolder(sys.argv[1]).claimed(new=False):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, a finished run of it and one that was stopped half way; not to be written to."""
    place = tmp_path_factory.mktemp("place")
    source = str(write_tiny_scene(place / "balls"))
    for name, steps in (("whole", TINY.iterations), ("half", HALF)):
        gc.collect()
        backend.reset()
        backend.init("cpu")
        recipe, folder = Recipe(TINY, source), RunFolder(place / "runs" / name)
        with folder.claimed(new=True):
            trainer = Trainer(scenes.load(source), TINY)
            folder.begin(recipe, trainer)
            training = Training(trainer, folder)
            for _ in range(steps):
                training.step()
            training.save()
            if training.done:
                finish(training, recipe)
        del trainer, training
    return place


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that, and the working directory."""
    shutil.copytree(place, tmp_path / "here")
    for name in ("whole", "half"):  # the scene of the copied runs is the copied one
        change_config(tmp_path / "here" / "runs" / name, source=str(tmp_path / "here" / "balls"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setitem(PRESETS, "quick", replace(TINY, preset="quick"))
    return tmp_path / "here"


@pytest.fixture
def studio(here: Path) -> Iterator[Studio]:
    studio = Studio()
    studio.downscale = 1
    yield studio
    with contextlib.suppress(UserError):
        studio.close()


def change_config(run: Path, **scene: object) -> None:
    values = read_json(run / CONFIG)
    values["scene"] |= scene
    write_json(run / CONFIG, values)


def until(studio: Studio, what: Callable[[], object]) -> None:
    """A front end's loop, but for the picture."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, studio.message
        if studio.session is not None:
            studio.session.work(0.02)
        studio.advance(0.0)  # one part of an evaluation
        if studio.ready:
            studio.switch()
        time.sleep(0.001)


def settle(studio: Studio) -> None:
    """Until nothing is being read any more, and what was asked for is on show."""
    until(studio, lambda: studio.pending is None and not studio.ready and studio._photographs is None)


def said(studio: Studio) -> str:
    assert studio.message is not None
    return studio.message.text


def alarm(studio: Studio) -> str:
    assert studio.message is not None
    assert studio.message.alarm, studio.message
    return studio.message.text


def is_held(folder: Path) -> bool:
    try:
        with RunFolder(folder).claimed(new=False):
            return False
    except UserError:
        return True


@contextlib.contextmanager
def held_by_another(folder: Path) -> Iterator[int]:
    """Another process writes to the run; gives its number."""
    command, environment = [sys.executable, "-c", HOLD, str(folder)], {**os.environ, "PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other.pid
    finally:
        other.kill()
        other.communicate()


def spoil(path: Path, at: float = 0.5) -> None:
    """Change a byte, at that fraction of the file."""
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0xFF
    path.write_bytes(data)


def chunks(run: Path) -> list[bytes]:
    return read_trf(run / MODEL).chunks


def quality(run: Path) -> list[tuple[float, float]]:
    return [(level["psnr"], level["ssim"]) for level in read_json(run / METRICS)["levels"]]


def iteration(run: Path) -> int:
    return load_checkpoint(run / checkpoint.NAME)[1]["iteration"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Training something new


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
    assert {path.name for path in run.iterdir()} == {CONFIG, checkpoint.NAME, MODEL, METRICS, EVENTS, REPORT}
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
    assert recipe.config == replace(PRESETS["balanced"], max_seconds=90.0)
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
    assert studio.recipe().config == VQAD_PRESETS["balanced"]
    write_obj(here / "ball.obj", *ball())
    studio.method = "slimmerf"
    assert studio.choose("ball.obj")
    assert (studio.methods, studio.method) == (("vqad",), "vqad")
    assert studio.recipe().config == SOLIDS["balanced"]
    studio.method = "slimmerf"
    assert not studio.start()
    assert "cannot fit a mesh" in alarm(studio)


def test_an_octree_is_trained_while_it_grows_and_evaluated(studio, here, monkeypatch):
    monkeypatch.setitem(VQAD_PRESETS, "quick", TINY_OCTREE)
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
    assert session.levels.psnr(3) == pytest.approx(levels[2]["psnr"], abs=1e-3)
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
    monkeypatch.setattr("viewer.app.opening.trainer_for", lambda scene: broken)
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
    studio.session.keeper.turntable(32, 24)
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
    monkeypatch.setitem(PRESETS, "quick", replace(TINY, preset="quick"))
    assert "the loss became nan" in alarm(studio)
    assert not is_held(run)
    assert iteration(run) == HALF
    studio.advance(0.01)
    assert studio.restart()
    studio.switch()
    assert studio.run.recipe.config == replace(TINY, seed=TINY.seed + 1)
    until(studio, lambda: studio.session.trainer.iteration > 2)
    assert studio.session.failure is None


# What stands in the way


def test_a_run_that_another_process_writes_shows_its_saved_model(studio, here):
    run = here / "runs" / "half"
    with held_by_another(run) as pid:
        before = contents(run)
        assert studio.open("half")
        settle(studio)
        assert str(pid) in alarm(studio)
        assert "saved last" in alarm(studio)
        assert studio.run is None
        assert studio.session.trainer is None
        assert len(studio.session.views) == 10  # its photographs are there
        assert studio.close() is None
        assert contents(run) == before


def test_a_run_that_another_process_writes_and_has_not_saved_yet_leaves_what_was_on_show(studio, here):
    studio.open_now("whole")
    session = studio.session
    (here / "runs" / "half" / MODEL).unlink()
    with held_by_another(here / "runs" / "half") as pid:
        studio.open("half")
        settle(studio)
        assert str(pid) in alarm(studio)
        assert studio.session is session


def test_a_run_that_is_open_here_is_not_opened_again(studio, here):
    studio.open_now("half")
    session = studio.session
    studio.open(here / "runs" / "half")
    settle(studio)
    assert "already open" in alarm(studio)
    assert studio.session is session
    assert session.training


def test_a_run_whose_scene_is_gone_shows_its_model(studio, here):
    shutil.rmtree(here / "balls")
    for name in ("half", "whole"):
        assert studio.open(name)
        settle(studio)
        assert str(here / "balls") in said(studio)
        assert studio.run is None
        assert studio.session.field.num_levels == 4
        assert studio.session.views == []


def test_a_scene_that_is_no_longer_the_one_trained_on_shows_the_model(studio, here):
    shutil.rmtree(here / "balls")
    write_tiny_scene(here / "balls", train=7)
    studio.open("half")
    settle(studio)
    assert "another scene" in alarm(studio)
    assert studio.session.trainer is None
    assert not is_held(here / "runs" / "half")


def test_a_damaged_checkpoint_shows_the_model(studio, here):
    spoil(here / "runs" / "half" / checkpoint.NAME)
    studio.open("half")
    settle(studio)
    assert "damaged" in alarm(studio)
    assert studio.session.trainer is None


def test_a_damaged_model_of_an_unfinished_run_is_written_anew_from_the_checkpoint(studio, here):
    whole = chunks(here / "runs" / "half")
    (here / "runs" / "half" / MODEL).write_bytes(b"nothing of a model")
    studio.open("half")
    settle(studio)
    assert MODEL in alarm(studio)
    assert studio.run is not None
    assert chunks(here / "runs" / "half") == whole


def test_a_damaged_model_of_a_finished_run_is_made_and_evaluated_anew(studio, here):
    run = here / "runs" / "whole"
    whole = chunks(run)
    spoil(run / MODEL, at=0.0)
    studio.open("whole")
    until(studio, lambda: studio.run and studio.run.over)
    assert chunks(run) == whole
    assert read_trf(run / MODEL).warnings == []


def test_a_model_that_is_damaged_at_its_end_shows_the_levels_before(studio, here):
    shutil.copy(here / "runs" / "whole" / MODEL, here / "lone.trf")
    spoil(here / "lone.trf", at=0.99)
    studio.open("lone.trf")
    settle(studio)
    assert "lone.trf" in alarm(studio)
    assert studio.session.num_levels == 3


@pytest.mark.parametrize("name", [CONFIG, "everything"])
def test_a_run_with_a_broken_configuration_shows_what_is_readable_or_leaves_what_was_on_show(studio, here, name):
    shutil.copy(here / "runs" / "whole" / MODEL, here / "lone.trf")
    studio.open_now("lone.trf")
    session, run = studio.session, here / "runs" / "half"
    (run / CONFIG).write_text('{"config": 7}')
    if name == "everything":
        (run / MODEL).write_bytes(b"")
        (run / checkpoint.NAME).write_bytes(b"")
    studio.open("half")
    settle(studio)
    assert CONFIG in alarm(studio)
    assert (studio.session is session) == (name == "everything")


def test_a_run_from_a_device_that_is_not_here_goes_on_with_the_one_there_is(studio, here):
    values = read_json(here / "runs" / "half" / CONFIG)
    for arch in (next(a for a in ("cuda", "metal") if not backend.available(a)), "abacus", None, "auto"):
        write_json(here / "runs" / "half" / CONFIG, {**values, "arch": arch})
        studio.open_now("half")
        assert studio.run is not None
        assert studio.close()
        studio = Studio()


@pytest.mark.parametrize("what", ["nowhere", "", "a\0b", "x" * 5000, "runs", "balls/transforms_train.json"])
def test_what_is_not_there_is_said_and_nothing_changes(studio, here, what):
    with pytest.raises(UserError):
        studio.open_now(what)
    assert not studio.open(what)
    assert alarm(studio)
    assert studio.pending is None
    assert not studio.ready
    assert studio.session is None


def test_a_full_disk_keeps_the_training_that_was_to_be_left(studio, here, monkeypatch):
    studio.open_now("half")
    until(studio, lambda: studio.session.trainer.iteration > HALF)
    session = studio.session

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        studio.open(here / "runs" / "whole")
        settle(studio)
        assert "disk is full" in alarm(studio)
        assert studio.session is session
        studio.stop()
        assert "disk is full" in alarm(studio)
        assert is_held(here / "runs" / "half")
        with pytest.raises(UserError, match="disk is full"):
            studio.close()
    assert iteration(here / "runs" / "half") == HALF


def test_a_full_disk_at_a_checkpoint_pauses_the_training_which_goes_on_later_to_the_same_model(
    studio, here, monkeypatch
):
    studio.open_now("half")
    until(studio, lambda: studio.session.trainer.iteration > HALF)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        disk.setattr("taichi_rf.training.run.SAVE_SECONDS", 0.0)
        until(studio, lambda: not studio.session.training)
        studio.advance(0.01)
        assert "disk is full" in alarm(studio)
        assert not studio.run.over
        assert is_held(here / "runs" / "half")
        reached = studio.session.trainer.iteration
        studio.session.toggle_training()
        until(studio, lambda: not studio.session.training)  # it is tried again, in vain
        assert not studio.run.over
    assert iteration(here / "runs" / "half") == HALF
    studio.session.toggle_training()
    until(studio, lambda: studio.run.over)
    assert studio.session.trainer.iteration > reached
    assert chunks(here / "runs" / "half") == chunks(here / "runs" / "whole")
    assert quality(here / "runs" / "half") == quality(here / "runs" / "whole")


def test_a_full_disk_at_the_end_keeps_the_training_until_it_can_be_saved_and_evaluated(studio, here, monkeypatch):
    studio.open_now("half")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        until(studio, lambda: studio.session.trainer.done)
        for _ in range(3):
            studio._save_at = 0.0  # as if some seconds had passed
            studio.advance(0.01)
            assert "not saved" in alarm(studio)
            assert "disk is full" in alarm(studio)
            assert not studio.run.over
            assert studio.evaluating is None
            assert is_held(here / "runs" / "half")
    assert iteration(here / "runs" / "half") == HALF
    studio.advance(0.01)
    assert studio.evaluating is None  # not at every frame
    studio._save_at = 0.0
    until(studio, lambda: studio.run.over)
    assert chunks(here / "runs" / "half") == chunks(here / "runs" / "whole")
    assert quality(here / "runs" / "half") == quality(here / "runs" / "whole")


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
    studio.session.keeper.turntable(32, 24)
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


# Changing one's mind


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Scenes take for ever to load, until the function given is called."""
    go, genuine = threading.Event(), scenes.load

    def load(source: str, *, progress=None, **arguments: object) -> scenes.Scene:
        while not go.wait(0.005):
            progress(1, 4)
        return genuine(source, progress=progress, **arguments)

    monkeypatch.setattr(scenes, "load", load)
    yield go.set
    go.set()


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loading"]


def wait_for_threads() -> None:
    for thread in loader_threads():
        thread.join(PATIENCE)
    assert loader_threads() == []


def test_what_is_read_shows_its_progress_and_is_dropped_when_cancelled(studio, here, slow):
    studio.choose("balls")
    studio.start()
    until(studio, lambda: studio.pending and studio.pending.progress == 0.25)
    assert studio.pending.text == "loading balls"
    studio.cancel()
    assert studio.pending is None
    wait_for_threads()  # it noticed by itself
    assert not studio.ready
    assert studio.message is None
    assert not (here / "runs" / "balls-1").exists()


def test_asking_for_something_else_drops_what_was_asked_for_first(studio, here, slow):
    studio.choose("balls")
    studio.start()
    until(studio, lambda: studio.pending and studio.pending.progress)
    studio.open("whole")  # a finished run needs no scene to be shown
    until(studio, lambda: studio.session)
    assert studio.session.trainer is None
    slow()
    settle(studio)
    assert studio.run is None
    assert len(studio.session.views) == 10


def test_what_was_loaded_already_is_dropped_as_well(studio, here):
    studio.open("half")
    deadline = time.monotonic() + PATIENCE
    while not studio.ready:
        assert time.monotonic() < deadline
    studio.cancel()
    assert not studio.ready
    assert studio.switch() is None


def test_photographs_of_a_model_that_was_left_are_not_attached_to_the_next(studio, here, slow):
    studio.open("whole")
    until(studio, lambda: studio.session)
    shutil.copy(here / "runs" / "whole" / MODEL, here / "lone.trf")
    first = studio.session
    studio.open("lone.trf")
    until(studio, lambda: studio.session is not first)
    slow()
    settle(studio)
    assert first.scene is None


def test_closing_does_not_wait_for_what_is_being_read(studio, here, slow):
    studio.choose("balls")
    studio.start()
    until(studio, lambda: studio.pending and studio.pending.progress)
    assert studio.close() is None
    assert all(thread.daemon for thread in loader_threads())
    wait_for_threads()


def test_a_bug_in_a_reader_is_a_message(studio, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of the reader")

    monkeypatch.setattr(scenes, "load", broken)
    studio.choose("lantern")
    studio.start()
    settle(studio)
    assert "ZeroDivisionError: of the reader" in alarm(studio)


# Signals, and the ends of things


def test_the_guard_holds_every_part_and_an_interruption_while_compiling_saves_nothing(here, monkeypatch):
    entered = []

    @contextlib.contextmanager
    def guard() -> Iterator[None]:
        entered.append(True)
        yield

    studio = Studio(guard=guard)
    studio.open_now("half")
    before = contents(here / "runs" / "half")
    steps: list[int] = []

    def interrupted(self: Trainer, **_: object) -> None:
        steps.append(1)
        self.iteration += 1  # half of what warming up does
        raise Stopped

    with monkeypatch.context() as signal:
        signal.setattr(Trainer, "part", interrupted)
        with pytest.raises(Stopped):
            studio.session.work(0.02)
    assert steps == [1]
    assert entered == []
    studio.close()
    after = contents(here / "runs" / "half")
    before.pop(LOCK)
    assert after == before

    studio = Studio(guard=guard)
    studio.open_now("half")
    until(studio, lambda: studio.session.trainer.iteration > HALF)
    assert len(entered) > 1
    studio.close()


def test_closing_while_evaluating_keeps_the_model_and_the_next_opening_evaluates(studio, here):
    run = here / "runs" / "half"
    studio.open_now(run)
    until(studio, lambda: studio.evaluating is not None)
    words = studio.close()
    assert "evaluate it with: python train.py --resume runs/half" in words
    assert not (run / METRICS).exists()
    assert chunks(run) == chunks(here / "runs" / "whole")
    again = Studio()
    again.open_now("half")
    assert not again.run.over
    until(again, lambda: again.run.over)
    assert quality(run) == quality(here / "runs" / "whole")


def test_an_evaluation_that_fails_is_said_and_the_folder_is_let_go_of(studio, here, monkeypatch):
    studio.open_now("half")
    until(studio, lambda: studio.run.training.done)

    def no_room(*_: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr("taichi_rf.training.finish.write_json", no_room)
    until(studio, lambda: studio.run.over)
    assert "the disk is full" in alarm(studio)
    assert studio.run.metrics is None
    assert not is_held(here / "runs" / "half")
    assert "evaluate it with" in studio.close()


def test_switching_leaves_nothing_behind(studio, here):
    counts = []
    for _ in range(3):
        studio.open_now("whole")
        studio.open_now("half")
        gc.collect()
        counts.append((sum(isinstance(thing, ti.Ndarray) for thing in gc.get_objects()), len(backend._dead)))
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][0] > counts[0][1]


def test_arrays_that_someone_still_holds_are_kept_from_harming_later_ones(here):
    backend.init("cpu")
    held = ti.ndarray(ti.f32, 8)
    backend.reset()
    assert any(thing is held for thing in backend._dead)
    backend.init("cpu")
    later = [ti.ndarray(ti.f32, 8) for _ in range(64)]
    for number, array in enumerate(later):
        array.fill(number)
    del held
    gc.collect()
    assert [array.to_numpy()[0] for array in later] == list(range(64))
    backend._dead.clear()


def test_settings_choose_and_remember(here):
    settings = Settings(preset="balanced", method="unknown", downscale=4)
    studio = Studio(settings=settings)
    assert (studio.preset, studio.method, studio.downscale) == ("balanced", "slimmerf", 4)
    studio.choose("balls")
    studio.open_now("whole")
    assert studio.settings.recent == (str(here / "runs" / "whole"), str(here / "balls"))
    studio.close()
