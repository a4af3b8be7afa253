"""Run folders: who may write to one, when, and what a training leaves in it."""

from __future__ import annotations

import errno
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from taichi_rf import backend, checkpoint, run
from taichi_rf.errors import UserError
from taichi_rf.files import read_json, read_lines
from taichi_rf.finish import finish
from taichi_rf.model import Model
from taichi_rf.presets import PRESETS
from taichi_rf.run import CONFIG, EVENTS, LOCK, METRICS, MODEL, REPORT, Recipe, RunFolder, Training
from taichi_rf.trainer import Trainer
from tests.tiny import ROWS, tiny_config, tiny_scene

HOLD = """
import sys
from taichi_rf.run import RunFolder
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
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
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
    trainer = SimpleNamespace(model=SimpleNamespace(parameters=list), scene=tiny_scene())
    needed = 2 * checkpoint.size_limit(trainer)
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: SimpleNamespace(free=needed))
    assert RunFolder(tmp_path).room_warning(trainer) is None
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1))
    assert str(tmp_path) in (RunFolder(tmp_path).room_warning(trainer) or "")


# What config.json says


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS.keys())
def test_a_recipe_survives_json(config):
    recipe = Recipe(config, "builtin:lantern", downscale=2, views=10, background="black", eval_views=0, arch="cpu")
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json())), Path("config.json")) == recipe


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: [],
        lambda values: {},
        lambda values: {**values, "scene": {**values["scene"], "downscale": "two"}},
        lambda values: {**values, "scene": {**values["scene"], "colour": "blue"}},
        lambda values: {**values, "scene": {**values["scene"], "source": None}},
        lambda values: {**values, "config": {**values["config"], "ranks_of_the_future": 3}},
        lambda values: {**values, "config": {**values["config"], "iterations": "many"}},
        lambda values: {**values, "config": {**values["config"], "num_ranks": 10**9}},
        lambda values: {**values, "config": 7},
    ],
)
def test_a_spoilt_config_is_refused_by_name(tmp_path, spoil):
    values = Recipe(tiny_config(), "builtin:lantern").to_json()
    (tmp_path / CONFIG).write_text(json.dumps(spoil(values)))
    with pytest.raises(UserError):
        RunFolder(tmp_path).recipe()


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
    assert names == {CONFIG, checkpoint.NAME, MODEL, METRICS, EVENTS, REPORT}
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
    loaded = Model.load(training.folder / MODEL)
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
    monkeypatch.setattr(training.trainer, "step", lambda: None)
    for seconds in (training.trainer.elapsed + 59, training.trainer.elapsed + 61):
        monkeypatch.setattr(training.trainer, "elapsed", seconds)
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


def test_without_test_views_there_is_no_psnr_and_everything_else(trained, tmp_path):
    training, _ = trained
    blind = Training(training.trainer, RunFolder(tmp_path))
    recipe = Recipe(tiny_config(), "tests:balls", eval_views=0)
    metrics = finish(blind, recipe)
    assert metrics["views"] == 0
    assert [level["psnr"] for level in metrics["levels"]] == [None] * 4
    assert all(level["bytes"] > 0 for level in metrics["levels"])
    assert "level_psnr" not in Model.load(tmp_path / MODEL).metadata
    assert (tmp_path / REPORT).exists()
