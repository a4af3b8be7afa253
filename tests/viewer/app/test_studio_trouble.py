"""What stands in the way of the studio: other processes, damaged files, full disks."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, write_json
from taichi_rf.storage.trf import read_trf
from taichi_rf.training import checkpoint
from taichi_rf.training.run import CONFIG, MODEL
from tests.tiny import write_tiny_scene
from tests.viewer.app.studios import (
    HALF,
    alarm,
    chunks,
    contents,
    held_by_another,
    is_held,
    iteration,
    quality,
    said,
    settle,
    spoil,
    until,
)
from viewer.app.studio import Studio


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
