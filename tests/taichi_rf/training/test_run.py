"""Run folders: who may write to one, when, and what a training leaves in it."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, read_lines
from taichi_rf.rendering.model import Model
from taichi_rf.storage.model_file import load_model
from taichi_rf.training import checkpoint, run
from taichi_rf.training.finish import finish, finishing
from taichi_rf.training.run import CONFIG, EVENTS, LOCK, METRICS, MODEL, REPORT, THUMBNAIL, Recipe, RunFolder, Training
from taichi_rf.training.trainer import StepInfo, Trainer
from tests.places import ROOT
from tests.tiny import ROWS, tiny_config, tiny_scene

HOLD = """
import sys
from taichi_rf.training.run import RunFolder
with RunFolder(sys.argv[1]).claimed(new=True):
    print("held", flush=True)
    sys.stdin.read()
"""


# The folder


def test_a_new_folder_is_made_with_its_parents_and_goes_away_if_nothing_came_to_be_in_it(tmp_path):
    with RunFolder(tmp_path / "a" / "b").claimed(new=True):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with RunFolder(tmp_path / "a" / "b").claimed(new=True):
        (tmp_path / "a" / "b" / "something").touch()
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["something"]


@pytest.mark.parametrize("name", run.FILES)
def test_a_folder_that_holds_any_part_of_a_run_is_not_taken(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match="--overwrite"), RunFolder(tmp_path).claimed(new=True):
        pass
    with RunFolder(tmp_path).claimed(new=True, overwrite=True):
        pass
    assert (tmp_path / name).read_text() == "precious"  # claiming alone replaces nothing
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run"), RunFolder(tmp_path / "file" / "run").claimed(new=True):
        pass


def test_only_one_process_writes_and_one_that_was_killed_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=str(other.pid)), RunFolder(tmp_path).claimed(new=True):
            pass
    finally:
        other.kill()
        other.wait()
    assert (tmp_path / LOCK).exists()
    with RunFolder(tmp_path).claimed(new=True):
        pass
    assert not (tmp_path / LOCK).exists()


def test_free_folder_never_names_one_that_is_there(tmp_path):
    assert run.free_folder(tmp_path, "lego") == tmp_path / "lego-1"
    (tmp_path / "lego-1").mkdir()
    (tmp_path / "lego-2").touch()
    assert run.free_folder(tmp_path, "lego") == tmp_path / "lego-3"


def test_too_little_room_is_said_beforehand(tmp_path, monkeypatch):
    trainer = SimpleNamespace(owners=[])
    needed = 2 * checkpoint.size_limit(trainer)
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: SimpleNamespace(free=needed))
    assert RunFolder(tmp_path).room_warning(trainer) is None
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1))
    assert str(tmp_path) in (RunFolder(tmp_path).room_warning(trainer) or "")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("builtin:lantern", "lantern"),
        ("/data/nerf synthetic/lego", "lego"),
        ("/data/my scene: 2", "my-scene-2"),
        ("/", "scene"),
    ],
)
def test_a_run_is_called_after_its_scene(source, name):
    assert run.folder_name(source) == name


@pytest.mark.parametrize(
    ("config", "metrics", "finished"),
    [
        ({"iterations": 60}, {"iterations": 60, "train_seconds": 1.0}, True),
        ({"iterations": 61}, {"iterations": 60, "train_seconds": 1e9}, False),  # was made longer since
        ({"max_seconds": 9.0}, {"iterations": 10**9, "train_seconds": 8.9}, False),
        ({"max_seconds": 9.0}, {"iterations": 1, "train_seconds": 9.1}, True),
        ({}, {"iterations": "many"}, False),
        ({}, [], False),
        ({}, None, False),
    ],
)
def test_a_run_is_finished_when_its_metrics_cover_what_was_asked_for(tmp_path, config, metrics, finished):
    if metrics is not None:
        (tmp_path / METRICS).write_text(json.dumps(metrics))
    assert RunFolder(tmp_path).finished(Recipe(tiny_config(**config), "builtin:lantern")) is finished


# A training in its folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, dict]:
    """A training to the end with a checkpoint at every step, and its metrics."""
    gc.collect()
    backend.reset()
    backend.init("cpu")
    trainer = Trainer(tiny_scene(), tiny_config(), rows=ROWS)
    folder, recipe = RunFolder(tmp_path_factory.mktemp("run")), Recipe(tiny_config(), "tests:balls")
    folder.begin(recipe, trainer)
    assert (folder / checkpoint.NAME).exists()
    training = Training(trainer, folder)
    while not training.done:
        training.step()
    return training, finish(training, recipe)


def test_the_folder_holds_what_the_contract_names(trained):
    training, _ = trained
    names = {path.name for path in training.folder.path.iterdir()}
    assert names == {CONFIG, checkpoint.NAME, MODEL, METRICS, EVENTS, REPORT, THUMBNAIL}
    assert Image.open(training.folder / REPORT).width == 1400


def test_metrics_are_the_contract_and_those_of_the_file(trained):
    training, metrics = trained
    stored = read_json(training.folder / METRICS)
    assert stored == metrics
    keys = ("method", "scene", "preset", "arch", "seed", "iterations", "train_seconds", "rays_per_second", "levels")
    assert set(keys) <= set(stored)
    assert (stored["scene"], stored["arch"], stored["iterations"], stored["views"]) == ("balls", "cpu", 60, 2)
    assert stored["train_seconds"] == training.trainer.elapsed
    assert [level["level"] for level in stored["levels"]] == [1, 2, 3, 4]
    assert all(set(level) == {"level", "psnr", "ssim", "bytes"} for level in stored["levels"])
    assert stored["levels"][-1]["bytes"] == (training.folder / MODEL).stat().st_size
    loaded = load_model(training.folder / MODEL)
    assert loaded.metadata["prefix_bytes"] == [level["bytes"] for level in stored["levels"]]
    expected = [level["psnr"] for level in stored["levels"]]
    np.testing.assert_allclose(loaded.metadata["level_psnr"], expected, atol=1e-3)
    assert stored["levels"][-1]["psnr"] > 18


def test_every_event_has_its_line_and_the_evaluation_the_last(trained):
    training, metrics = trained
    lines = read_lines(training.folder / EVENTS)
    assert lines[:-1] == training.trainer.events
    assert lines[-1]["event"] == "evaluation"
    assert lines[-1]["psnr"] == [level["psnr"] for level in metrics["levels"]]


def test_checkpoints_come_by_training_time_and_events_are_those_of_the_checkpoint(trained, tmp_path, monkeypatch):
    training, _ = trained
    folder = RunFolder(tmp_path)
    (tmp_path / EVENTS).write_text('{"event": "of a future that was lost"}\n')
    again = Training(training.trainer, folder)
    assert read_lines(tmp_path / EVENTS) == training.trainer.events
    saves: list[float] = []
    monkeypatch.setattr(again, "save", lambda: saves.append(training.trainer.elapsed))
    monkeypatch.setattr(training.trainer, "part", lambda: StepInfo(1, 0.1, 10.0, 1, 1, 0.1))
    for seconds in (training.trainer.elapsed + 59, training.trainer.elapsed + 61):
        monkeypatch.setattr(training.trainer.record, "elapsed", seconds)
        again.step()
    assert saves == [training.trainer.elapsed]


def test_a_disk_that_fills_up_keeps_the_earlier_checkpoint(trained, monkeypatch):
    training, _ = trained
    saved = training.folder / checkpoint.NAME
    before, names = saved.read_bytes(), sorted(os.listdir(training.folder.path))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        training.trainer.save(training.folder.path)
    assert saved.read_bytes() == before
    assert sorted(os.listdir(training.folder.path)) == names


@pytest.mark.parametrize("largest", [800, 16])
def test_without_test_views_there_is_no_psnr_and_everything_else(trained, tmp_path, monkeypatch, largest):
    """Also where a training view is too large to be shown as a whole."""
    monkeypatch.setattr("taichi_rf.training.finish.LARGEST", largest)
    training, _ = trained
    blind = Training(training.trainer, RunFolder(tmp_path))
    recipe = Recipe(tiny_config(), "tests:balls", eval_views=0)
    metrics = finish(blind, recipe)
    assert metrics["views"] == 0
    assert [level["psnr"] for level in metrics["levels"]] == [None] * 4
    assert all(level["bytes"] > 0 for level in metrics["levels"])
    assert "level_psnr" not in load_model(tmp_path / MODEL).metadata
    assert (tmp_path / REPORT).exists()


# Holding the folder


@pytest.fixture
def held(trained, tmp_path, monkeypatch):
    """A training that holds its folder, whose steps do nothing."""
    training, _ = trained
    monkeypatch.setattr(training.trainer, "part", lambda: StepInfo(1, 0.1, 10.0, 1, 1, 0.1))
    folder = RunFolder(tmp_path / "run")
    with contextlib.ExitStack() as claim:
        claim.enter_context(folder.claimed(new=True))
        training.trainer.save(folder.path)
        yield Training(training.trainer, folder, claim=claim)


def is_held(folder: RunFolder) -> bool:
    try:
        with folder.claimed(new=False):
            return False
    except UserError:
        return True


def test_a_released_folder_is_free_and_the_next_step_takes_it_back(held):
    assert held.held
    assert is_held(held.folder)
    held.release()
    held.release()
    assert not held.held
    assert not is_held(held.folder)
    held.step()
    assert held.held
    assert is_held(held.folder)


def test_a_released_folder_that_someone_wrote_to_is_not_taken_back(held):
    held.release()
    held.trainer.save(held.folder.path)
    with pytest.raises(UserError, match="meanwhile"):
        held.step()
    assert not is_held(held.folder)


def test_a_released_folder_that_someone_holds_is_not_taken_back(held):
    held.release()
    with held.folder.claimed(new=False), pytest.raises(UserError, match="another process"):
        held.step()
    held.step()


def test_kernels_are_compiled_before_the_first_step_and_only_then(trained, tmp_path, monkeypatch):
    training, _ = trained
    done: list[str] = []

    def warming() -> Iterator[float]:
        for share in (0.5, 1.0):
            done.append("compiled")
            yield share

    monkeypatch.setattr(training.trainer, "warming", warming)
    monkeypatch.setattr(training.trainer, "part", lambda: done.append("part"))
    cold = Training(training.trainer, RunFolder(tmp_path), cold=True)
    shares = []
    for _ in range(3):
        assert cold.cold
        assert cold.part() is None
        shares.append(cold.warmth)
    assert shares == [0.5, 1.0, 1.0]
    cold.part()
    cold.part()
    assert done == ["compiled", "compiled", "part", "part"]


def test_a_compilation_that_is_left_half_way_leaves_no_trace(trained, tmp_path, monkeypatch):
    training, _ = trained
    left: list[str] = []

    def warming() -> Generator[float, bool | None, None]:
        if (yield 0.5):
            left.append("put back")

    monkeypatch.setattr(training.trainer, "warming", warming)
    cold = Training(training.trainer, RunFolder(tmp_path), cold=True)
    cold.part()
    assert not left
    cold.release()
    assert left == ["put back"]


def test_a_model_that_could_not_be_written_is_written_with_the_next_save(trained, tmp_path, monkeypatch):
    training, _ = trained
    folder = RunFolder(tmp_path)
    again = Training(training.trainer, folder)
    again._saved_iteration = again._saved_at = -1

    def full(model: Model, path: Path) -> list[int]:
        raise UserError("the disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(run, "save_model", full)
        with pytest.raises(UserError):
            again.save()
    (tmp_path / MODEL).write_bytes(b"of an earlier iteration")
    again.save()
    assert load_model(tmp_path / MODEL).field.num_levels == 4


def test_a_run_stays_in_its_folder_wherever_the_process_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder("runs/a")
    assert str(folder) == "runs/a"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with folder.claimed(new=True):
        assert (tmp_path / "runs" / "a").is_dir()
        assert str(folder) == str(tmp_path / "runs" / "a")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_an_interrupted_compilation_left_is_not_saved(trained, tmp_path, monkeypatch):
    training, _ = trained

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.trainer, "warming", interrupted)
    cold = Training(training.trainer, RunFolder(tmp_path), cold=True)
    with pytest.raises(KeyboardInterrupt):
        cold.part()
    cold.save(anyway=True)
    assert [path.name for path in tmp_path.iterdir()] == [EVENTS]


def test_an_evaluation_in_parts_is_the_evaluation(trained, tmp_path):
    training, metrics = trained
    again = Training(training.trainer, RunFolder(tmp_path))
    seen: list[tuple[int, int]] = []

    def all_parts():
        found = yield from finishing(again, Recipe(tiny_config(), "tests:balls"))
        assert found["levels"] == metrics["levels"]

    seen.extend(all_parts())
    assert seen == sorted(seen)
    assert seen[-1] == (2, 2)
    assert len(seen) > 2 * 4  # a part for every level of every view, at least
    assert not list(tmp_path.glob("*.partial"))


def test_a_step_that_was_torn_apart_is_not_saved(trained, tmp_path, monkeypatch):
    """Between the updates of two arrays the state is that of no step, and would pass for one."""
    training, _ = trained
    torn = Training(training.trainer, RunFolder(tmp_path))

    def part() -> StepInfo | None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.trainer, "part", part)
    with pytest.raises(KeyboardInterrupt):
        torn.part()
    assert not torn.whole
    torn.save(anyway=True)
    assert [path.name for path in tmp_path.iterdir()] == [EVENTS]
