"""Training in the real window: from the choice of a scene to going on another day, and all that can be in the way."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.storage.trf import load_checkpoint, read_trf
from taichi_rf.training.run import CONFIG, EVENTS, METRICS, MODEL, REPORT
from tests.e2e.windows import CLEAR, FAKE, ROOT, RUN_VIEWER, Viewer, files_of_at_most
from tests.tiny import write_tiny_scene

TINY = str(ROOT / "tests" / "e2e" / "tiny_viewer.py")
STATE = ("--state-file", "STATE")
LEVELS = 4


def iterations(run: Path) -> int:
    """How far the checkpoint is."""
    return load_checkpoint(run / "checkpoint")[1]["iteration"]


def trains(viewer: Viewer, steps: int = 5) -> dict:
    """Wait until so many more steps are taken; returns the state then."""
    state = viewer.wait(lambda state: state["training"]["state"] == "running", "a training")
    least = state["training"]["iteration"] + steps
    return viewer.wait(lambda state: state["training"]["iteration"] >= least, f"iteration {least}")


def stands(viewer: Viewer) -> None:
    """Nothing is trained although frames go by."""
    state = viewer.wait(lambda state: state["training"]["state"] != "running", "a pause")
    assert viewer.frames_later(8)["training"]["iteration"] == state["training"]["iteration"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene in it, and ``runs/balls-1``, which was begun and stopped; not to be written to."""
    folder = tmp_path_factory.mktemp("place")
    write_tiny_scene(folder / "balls")
    with Viewer(TINY, "balls", *STATE, folder=folder) as viewer:
        viewer.started()
        viewer.press("Start training")
        trains(viewer)
        assert viewer.close() == 0
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A copy of the run that was begun."""
    return Path(shutil.copytree(place / "runs" / "balls-1", tmp_path / "run"))


# A training of no cost


def test_training_goes_on_while_the_level_is_dragged(start):
    viewer = start(FAKE, "trainer", "STATE")
    viewer.wait(lambda state: state["training"]["level"] == LEVELS, "all levels")
    before = viewer.state()["training"]["iteration"]
    state = viewer.slide(1)
    assert state["training"]["level"] == LEVELS
    trains(viewer)
    assert viewer.state()["level"] == 1
    assert viewer.state()["training"]["iteration"] > before + 5
    viewer.slide(3)

    viewer.key("space")
    stands(viewer)
    viewer.sharp()
    viewer.key("space")
    trains(viewer)
    assert viewer.close() == 0
    assert viewer.output.strip().endswith("saved 1")


# From the choice of a scene


def test_scene_is_chosen_trained_paused_stopped_and_trained_again(start, tmp_path):
    write_tiny_scene(tmp_path / "balls")
    viewer = start(TINY, *STATE)
    viewer.press("balls (scene)")
    viewer.wait(lambda state: state["scene"] == str(tmp_path / "balls"), "the scene chosen")
    viewer.press("Start training")
    first = trains(viewer, 40)
    assert first["training"]["loss"] > 0
    assert first["training"]["rays_per_second"] > 0
    assert first["training"]["seconds_left"] > 0
    viewer.wait(lambda state: state["psnr"] > 10, "a PSNR on the test views")
    begun = viewer.screenshot()[CLEAR]

    viewer.press("Pause training")
    stands(viewer)
    viewer.sharp()
    viewer.key("space")
    trains(viewer)
    x, y, width, height = viewer.widget("% of time")
    viewer.click((x + width / 4, y + height / 2))
    viewer.wait(lambda state: state["training"]["share"] < 0.4, "a smaller share")
    trains(viewer, 10)
    assert np.any(viewer.screenshot()[CLEAR] != begun)

    viewer.press("Stop and save")
    assert "runs/balls-1" in viewer.says("stopped and saved")
    stands(viewer)
    stopped = viewer.state()["training"]["iteration"]
    assert iterations(tmp_path / "runs" / "balls-1") == stopped
    viewer.press("Start again")
    viewer.wait(lambda state: (tmp_path / "runs" / "balls-2" / "checkpoint").exists(), "a new run")
    assert trains(viewer)["training"]["share"] < 0.4
    last = viewer.state()["training"]["iteration"]
    assert viewer.close() == 0
    assert "python train.py --resume runs/balls-2" in viewer.output
    assert iterations(tmp_path / "runs" / "balls-1") == stopped
    assert iterations(tmp_path / "runs" / "balls-2") >= last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["balls", "runs"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["balls-1", "balls-2"]


def test_another_model_is_opened_while_training_and_the_run_again(start, run, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(run / MODEL, tmp_path / "other" / "slim.trf")
    viewer = start(RUN_VIEWER, run, *STATE, folder=tmp_path / "other")
    last = trains(viewer)["training"]["iteration"]
    viewer.press("Open or train")
    viewer.press("slim.trf")
    viewer.wait(lambda state: not state["training"], "the other model")
    viewer.sharp()
    saved = iterations(run)
    assert saved >= last
    viewer.press("Open or train")
    viewer.press(".. (up)")
    viewer.press("run (run)")
    state = viewer.wait(lambda state: state["training"], "the run")
    assert state["training"]["iteration"] >= saved
    trains(viewer)
    assert viewer.close() == 0
    assert iterations(run) > saved
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["slim.trf"]


def test_training_that_is_done_is_evaluated_and_can_be_looked_at(start, place, tmp_path):
    viewer = start(TINY, place / "balls", *STATE, environment={"TINY_ITERATIONS": "60"})
    viewer.press("Start training")
    viewer.says("trained and evaluated", "dB")
    run = tmp_path / "runs" / "balls-1"
    for name in (CONFIG, MODEL, METRICS, REPORT):
        assert (run / name).exists()
    state = viewer.sharp()
    assert state["training"]["state"] == "done"
    assert state["psnr"] > 15
    viewer.slide(1)
    sharp = viewer.sharp()
    assert sharp["megabytes"] < state["megabytes"]
    assert viewer.close() == 0
    assert iterations(run) == 60


def test_method_is_chosen_and_levels_of_detail_are_trained_and_dragged(start, tmp_path):
    write_tiny_scene(tmp_path / "balls")
    viewer = start(TINY, "balls", *STATE, environment={"TINY_ITERATIONS": "60"})
    viewer.press("Method: slimmerf")
    viewer.press("Start training")
    state = viewer.wait(lambda state: state["training"]["iteration"] >= 1, "a training")
    assert (state["level_name"], state["num_levels"], state["training"]["level"]) == ("LOD", 3, 2)
    viewer.wait(lambda state: state["training"]["level"] == 3, "the last level")
    viewer.says("trained and evaluated", "dB")
    whole = viewer.sharp()
    assert whole["level"] == 3
    assert whole["psnr"] > 15
    picture = viewer.screenshot()[CLEAR]
    viewer.slide(1)
    coarse = viewer.sharp()
    assert coarse["megabytes"] < whole["megabytes"]
    assert coarse["psnr"] < whole["psnr"]
    assert np.abs(viewer.screenshot()[CLEAR] - picture).max() > 20
    for mode in ("depth", "normals", "opacity", "occupancy", "samples"):
        viewer.key("m")
        assert viewer.sharp()["mode"] == mode
    assert viewer.close() == 0
    assert len(read_trf(tmp_path / "runs" / "balls-1" / MODEL).chunks) == 3


def test_scene_without_test_views_is_trained_without_a_psnr(start, tmp_path):
    write_tiny_scene(tmp_path / "untested", test=0)
    viewer = start(TINY, "untested", *STATE)
    viewer.press("Start training")
    state = trains(viewer, 40)
    assert state["psnr"] is None
    assert viewer.key("v")["view"]["split"] == "train"
    viewer.key("b")
    viewer.says("no test views")
    assert viewer.key("c", "c")["compare"]["kind"] == "photo"
    trains(viewer)
    viewer.key("space")
    viewer.sharp()
    assert viewer.close() == 0
    assert iterations(tmp_path / "runs" / "untested-1") > 40


# Another day


def test_training_is_saved_however_it_ends_and_goes_on_from_there(start, run):
    before = iterations(run)
    for end, code in (
        (Viewer.close, 0),
        (Viewer.close_button, 0),
        (lambda viewer: viewer.signalled(signal.SIGINT), 130),
        (lambda viewer: viewer.signalled(signal.SIGTERM), 143),
    ):
        viewer = start(RUN_VIEWER, run, *STATE)
        assert viewer.wait(lambda state: state["training"], "a training")["training"]["iteration"] >= before
        last = trains(viewer)["training"]["iteration"]
        assert end(viewer) == code
        before = iterations(run)
        assert before >= last
        assert f"iteration {before:,}" in viewer.output
        assert "--resume run" in viewer.output
        assert {path.name for path in run.iterdir()} <= {"checkpoint", CONFIG, EVENTS, MODEL}


def test_run_that_another_window_trains_is_only_looked_at(start, run):
    first = start(RUN_VIEWER, run, *STATE)
    trains(first)
    second = start(RUN_VIEWER, run, *STATE)
    assert "another process" in second.says("cannot go on here", "as it was saved last")
    assert second.sharp()["training"] is None
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    assert second.close() == 0
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before
    trains(first)
    assert first.close() == 0
    assert iterations(run) >= first.state()["training"]["iteration"]


def test_training_waits_while_the_disk_is_full(start, run):
    viewer = start(TINY, run, *STATE, environment={"TINY_SAVE_SECONDS": "1"})
    begun = trains(viewer)["training"]["iteration"]
    viewer.wait(lambda state: iterations(run) >= begun, "a checkpoint")
    with files_of_at_most(1000, viewer):
        state = viewer.wait(lambda state: state["message"]["alarm"], "an alarm")
        assert "larger than this system allows" in state["message"]["text"]
        stands(viewer)
        saved, at = iterations(run), viewer.state()["training"]["iteration"]
        assert saved < at
        viewer.key("Escape")
        viewer.says("cannot be saved", "escape again")
        assert iterations(run) == saved
    viewer.key("space")
    trains(viewer)
    viewer.wait(lambda state: iterations(run) >= at, "a checkpoint with all that was trained")
    with files_of_at_most(1000, viewer):
        viewer.key("Escape")
        viewer.says("cannot be saved", "escape again")
        assert viewer.close() == 2
    assert "larger than this system allows" in viewer.output
    assert iterations(run) >= at
    assert read_trf(run / MODEL).chunks


# What is not there, or broken


@pytest.fixture
def without_scene(place: Path) -> Iterator[None]:
    (place / "balls").rename(place / "gone")
    yield
    (place / "gone").rename(place / "balls")


def test_run_whose_scene_is_gone_is_only_looked_at(start, run, without_scene):
    before = sorted(run.iterdir())
    viewer = start(RUN_VIEWER, run, *STATE)
    viewer.says("cannot go on without its scene", "balls", "as it was saved last")
    assert viewer.sharp()["training"] is None
    assert viewer.key("v")["view"] is None
    viewer.says("photographs are not at hand")
    assert viewer.close() == 0
    assert sorted(run.iterdir()) == before


def test_damaged_files_are_said_and_cost_nothing_else(start, run, tmp_path):
    whole = (run / MODEL).read_bytes()
    (tmp_path / "noise.trf").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "cut.trf").write_bytes(whole[: len(whole) * 3 // 4])
    broken = tmp_path / "runs" / "broken"
    shutil.copytree(run, broken)
    (broken / MODEL).write_bytes(b"")
    (broken / "checkpoint").write_bytes(b"")
    viewer = start(RUN_VIEWER, *STATE)

    viewer.press("noise.trf")
    viewer.wait(lambda state: "noise.trf" in state["said"], "what is wrong")
    viewer.press("broken")
    viewer.wait(lambda state: "checkpoint" in state["said"], "what is wrong")
    assert "level" not in viewer.state()
    viewer.press("cut.trf")
    viewer.wait(lambda state: state["level"] < LEVELS or state["message"]["alarm"], "a part of the model")
    viewer.sharp()
    viewer.press("Open or train")
    viewer.press("noise.trf")
    viewer.says("noise.trf")
    assert viewer.state()["level"]  # what was on show still is
    assert viewer.close() == 0


def test_run_with_a_damaged_model_goes_on_from_its_checkpoint(start, run):
    (run / MODEL).write_bytes(b"no model")
    before = iterations(run)
    viewer = start(RUN_VIEWER, run, *STATE)
    assert trains(viewer)["training"]["iteration"] > before
    assert viewer.close() == 0
    assert read_trf(run / MODEL).chunks


def test_broken_model_on_the_command_line_is_named(tmp_path):
    (tmp_path / "noise.trf").write_bytes(b"noise" * 1000)
    with Viewer(RUN_VIEWER, "noise.trf", *STATE, folder=tmp_path) as viewer:
        assert viewer.ended() == 2
        assert "noise.trf" in viewer.output
