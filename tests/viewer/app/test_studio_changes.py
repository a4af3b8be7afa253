"""Changing one's mind, signals, and the ends of things in the studio."""

from __future__ import annotations

import contextlib
import gc
import shutil
import threading
import time
from collections.abc import Iterator

import pytest

import scenes
from taichi_rf.cli.entry import Stopped
from taichi_rf.core import backend
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.training.run import LOCK, METRICS, MODEL
from taichi_rf.training.trainer import Trainer
from tests.viewer.app.studios import HALF, PATIENCE, alarm, chunks, contents, is_held, quality, settle, until
from viewer.app.settings import Settings
from viewer.app.studio import Studio

# Changing one's mind


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
        self.record.iteration += 1  # half of what warming up does
        raise Stopped

    with monkeypatch.context() as signal:
        signal.setattr(Trainer, "part", interrupted)
        with pytest.raises(Stopped):
            studio.session.work(120.0)
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
