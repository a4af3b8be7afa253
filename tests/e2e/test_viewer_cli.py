"""``run_viewer.py`` as a user runs it, where it needs no window: pictures, videos, and plain answers to what cannot be
done."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from taichi_rf.motion.camera_path import CameraPath, Frame, turntable
from taichi_rf.motion.orbit import Orbit
from taichi_rf.storage.trf import read_trf
from tests.tiny import write_tiny_scene

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "VK_ICD_FILENAMES": "/nonexistent.json"}  # no display and no Vulkan


def run_viewer(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """The program, run in ``folder`` on a machine with neither display nor Vulkan."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run_viewer.py"), *map(str, arguments)],
        cwd=folder, env={**os.environ, **NOWHERE}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def refuses(*arguments: object, folder: Path, because: str) -> None:
    """The program ends with 2, one plain line that holds ``because``, and nothing new in the folder."""
    before = sorted(folder.iterdir())
    done = run_viewer(*arguments, folder=folder)
    assert done.returncode == 2, done.stderr
    assert because in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.iterdir()) == before


@pytest.fixture
def empty_model(tmp_path: Path) -> Path:
    """A file that is there, for errors that come before it is read."""
    path = tmp_path / "model.trf"
    path.write_bytes(b"")
    return path


def test_help_names_every_option(tmp_path):
    done = run_viewer("--help", folder=tmp_path)
    assert done.returncode == 0
    for option in (
        "--level", "--rank", "--lod", "--headless", "--screenshot", "--width", "--arch", "--azimuth", "--turntable",
        "--path", "--output", "--seconds", "--fps", "--sweep", "--caption", "--size",
    ):  # fmt: skip
        assert option in done.stdout


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (["--headless"], "--screenshot"),
        (["--screenshot", "out.jpg"], "ends in .png"),
        (["--screenshot", "out.png", "--width", 0], "--width 0"),
        (["--screenshot", "out.png", "--height", 10**9], "--height 1000000000"),
        (["--screenshot", "out.png", "--fov", "nan"], "--fov nan"),
        (["--screenshot", "out.png", "--distance", -1], "--distance -1"),
        (["--screenshot", "out.png", "--mode", "smell"], "smell"),
        (["--screenshot", "out.png", "--level", "high"], "high"),
        (["--screenshot", "out.png", "--size", "much"], "--size much: a size is expected"),
        (["--screenshot", "out.png", "--size", "1MB", "--rank", 2], "--size chooses the level"),
        (["--turntable", "out.avi"], "ends in .mp4, .gif, .webp or .avif"),
        (["--turntable", "out.gif", "--fps", 60], "GIF plays 1 to 50 frames a second"),
        (["--turntable", "out.mp4", "--fps", 0], "--fps 0"),
        (["--turntable", "out.mp4", "--seconds", "nan"], "--seconds nan"),
        (["--turntable", "out.mp4", "--seconds", 0], "--seconds 0"),
        (["--turntable", "out.mp4", "--seconds", 3600], "1 to 18000 frames"),
        (["--turntable", "out.mp4", "--width", 5000], "1 to 4096 pixels wide"),
        (["--turntable", "out.mp4", "--screenshot", "out.png"], "one at a time"),
        (["--path", "camera_path.json"], "--output"),
        (["--output", "out.mp4"], "--path"),
        (["--path", "camera_path.json", "--output", "out.mp4"], "camera_path.json: there is no such file"),
        (["--path", "camera_path.json", "--output", "out.mp4", "--azimuth", 3], "--azimuth does not go with --path"),
        (["--path", "camera_path.json", "--output", "out.mp4", "--seconds", 3], "--seconds goes with --turntable"),
        (["--screenshot", "out.png", "--sweep"], "--sweep goes with"),
        (["--screenshot", "out.png", "--caption", "on"], "--caption goes with"),
        (["--demo-seconds", 0], "choose 1 to 60 seconds"),
        (["--screenshot", "out.png", "--fps", 20], "--fps goes with"),
        (["--screenshot", "out.png", "--state-file", "s"], "--state-file goes with a window"),
        (["--screenshot", "out.png", "--port", 80], "--port goes with --web"),
        (["--host", "0.0.0.0"], "--host goes with --web"),
        (["--web", "--width", 640], "--width does not go with --web"),
        (["--web", "--height", 480], "--height does not go with --web"),
        (["--web", "--state-file", "s"], "--state-file does not go with --web"),
        (["--web", "--port", 65536], "--port 65536"),
        (["--web", "--headless", "--screenshot", "out.png"], "one at a time"),
        ([], "--headless"),
    ],
)
def test_option_that_makes_no_sense_is_named(empty_model, arguments, because):
    refuses(empty_model, *arguments, folder=empty_model.parent, because=because)


def test_web_without_anything_to_show_says_what_to_name(tmp_path):
    refuses("--web", "--host", "0.0.0.0", folder=tmp_path, because="--browse FOLDER")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_scene_named_with_web_is_trained_as_the_last_one_was(tmp_path):
    importlib.import_module("viser")  # fails, not skips, where it is missing
    write_tiny_scene(tmp_path / "balls")
    (tmp_path / "settings.json").write_text('{"preset": "balanced", "downscale": 4, "share": 0.5}')
    environment = {**os.environ, **NOWHERE, "TAICHI_RF_CONFIG": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_viewer.py"), "balls", "--web", "--port", "0", "--arch", "cpu"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = iter(process.stdout)
        output = next(line for line in lines if "training" in line)
        assert "in runs/balls-1 with the preset balanced and images at 1/4 of their size" in output
        assert any("in a browser" in line for line in lines)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "--resume runs/balls-1" in errors
    assert "Traceback" not in errors
    config = json.loads((tmp_path / "runs" / "balls-1" / "config.json").read_text())
    assert (config["config"]["preset"], config["scene"]["downscale"]) == ("balanced", 4)
    settings = json.loads((tmp_path / "settings.json").read_text())  # written although it was interrupted
    assert (settings["preset"], settings["downscale"], settings["share"]) == ("balanced", 4, 0.5)
    assert str(tmp_path / "balls") in settings["recent"]


def test_missing_model_is_named(tmp_path):
    refuses("nothing.trf", "--screenshot", "out.png", folder=tmp_path, because="nothing.trf does not exist")
    refuses(".", "--screenshot", "out.png", folder=tmp_path, because="holds no model.trf")


def test_broken_model_is_named(empty_model):
    for content in (b"", b"not a model", bytes(100_000)):
        empty_model.write_bytes(content)
        refuses(empty_model, "--screenshot", "out.png", folder=empty_model.parent, because="model.trf")


def test_level_outside_the_model_is_named(tiny_run, tmp_path):
    for level in (0, 5, -1):
        refuses(tiny_run, "--screenshot", "out.png", "--level", level, folder=tmp_path, because="rank 1 to 4")


def test_arch_that_is_not_there_is_named(tiny_run, tmp_path):
    refuses(tiny_run, "--screenshot", "out.png", "--arch", "metal", folder=tmp_path, because="'metal'")


def test_picture_that_cannot_be_written_is_named(tiny_run, tmp_path):
    refuses(tiny_run, "--screenshot", "no/such/folder/out.png", folder=tmp_path, because="no/such/folder/out.png")


def test_truncated_model_is_shown_as_far_as_it_goes(tiny_run, tmp_path):
    whole = (tiny_run / "model.trf").read_bytes()
    (tmp_path / "cut.trf").write_bytes(whole[: len(whole) * 3 // 4])
    done = run_viewer("cut.trf", "--screenshot", "out.png", "--width", 64, "--height", 64, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cut.trf" in done.stderr  # the warning
    refuses("cut.trf", "--screenshot", "more.png", "--rank", 4, folder=tmp_path, because="rank 4")


def test_pictures_of_levels_modes_and_views_differ_and_the_flag_has_three_names(tiny_run, tmp_path):
    def picture(*arguments: object) -> np.ndarray:
        arguments = ("--headless", "--screenshot", "out.png", "--width", 96, "--height", 64, *arguments)
        done = run_viewer(tiny_run, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        pixels = np.asarray(Image.open(tmp_path / "out.png"))
        assert pixels.shape == (64, 96, 3)
        return pixels.astype(int)

    full = picture()
    assert full.std() > 10  # there is something to see
    np.testing.assert_array_equal(picture("--level", 4), full)
    second = picture("--level", 2)
    np.testing.assert_array_equal(picture("--rank", 2), second)
    np.testing.assert_array_equal(picture("--lod", 2), second)
    size = read_trf(tiny_run / "model.trf").prefix_bytes[1]
    np.testing.assert_array_equal(picture("--size", f"{size}"), second)
    for other in (second, picture("--mode", "opacity"), picture("--azimuth", 100), picture("--elevation", 70)):
        assert np.abs(other - full).mean() > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png"]


def test_object_stays_in_the_picture_when_one_steps_back(tiny_run, tmp_path):
    sizes = []
    for distance in (4, 8, 16):
        arguments = ("--screenshot", "out.png", "--width", 96, "--height", 96, "--distance", distance)
        assert run_viewer(tiny_run, "--mode", "opacity", *arguments, folder=tmp_path).returncode == 0
        sizes.append((np.asarray(Image.open(tmp_path / "out.png")) / 255).sum())
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2] > 0


# Videos


def frames(path: Path) -> np.ndarray:
    return iio.imread(path)[..., :3].astype(int)


def screenshot(model: Path, *arguments: object, folder: Path) -> np.ndarray:
    done = run_viewer(model, "--screenshot", "still.png", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    picture = np.asarray(Image.open(folder / "still.png")).astype(int)
    (folder / "still.png").unlink()
    return picture


SIZE = ("--width", 96, "--height", 64)


@pytest.mark.parametrize("name", ["turn.mp4", "turn.gif"])
def test_a_turn_shows_what_pictures_show_from_there(tiny_run, tmp_path, name):
    turn = ("--headless", "--turntable", name, "--seconds", 0.8, "--fps", 10, "--sweep", "--azimuth", 20)
    done = run_viewer(tiny_run, *turn, *SIZE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{name}: 8 frames, 96x64" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]
    shown = frames(tmp_path / name)
    assert shown.shape == (8, 64, 96, 3)
    for index, level in ((0, 1), (5, 3)):
        there = ("--azimuth", 20 + 45 * index, "--level", level)
        wrong = np.abs(shown - screenshot(tiny_run, *there, *SIZE, folder=tmp_path)).mean(axis=(1, 2, 3))
        assert np.argmin(wrong) == index
        assert wrong[index] < 4


def test_a_camera_path_is_followed_at_its_own_size_and_rate_or_at_another(tiny_run, tmp_path):
    around = Orbit(distance=4.0, field_of_view=0.7)
    path = turntable(around, seconds=0.5, fps=8, width=65, height=47)
    path.save(tmp_path / "camera_path.json")
    follow = ("--path", "camera_path.json", "--output")
    done = run_viewer(tiny_run, *follow, "a.gif", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = frames(tmp_path / "a.gif")[:2]
    assert frames(tmp_path / "a.gif").shape == (4, 47, 65, 3)
    assert sum(frame.info["duration"] for frame in _frames_of(tmp_path / "a.gif")) == 500
    assert np.abs(first - second).mean() > 1
    done = run_viewer(tiny_run, *follow, "b.mp4", *SIZE, "--fps", 5, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert frames(tmp_path / "b.mp4").shape == (4, 64, 96, 3)
    assert iio.immeta(tmp_path / "b.mp4")["fps"] == 5


def _frames_of(path: Path):
    picture = Image.open(path)
    for index in range(picture.n_frames):
        picture.seek(index)
        yield picture


def test_a_camera_path_that_makes_no_sense_is_named(empty_model):
    folder = empty_model.parent
    for content, because in (("{}", "render_width"), ("NaN", "NaN"), ('{"camera_path": [', "not valid JSON")):
        (folder / "p.json").write_text(content)
        refuses(empty_model, "--path", "p.json", "--output", "o.mp4", folder=folder, because="p.json")
        refuses(empty_model, "--path", "p.json", "--output", "o.mp4", folder=folder, because=because)
    frame = Frame(np.eye(3, 4), 40)
    CameraPath((frame,), 64, 48, 60).save(folder / "p.json")
    refuses(empty_model, "--path", "p.json", "--output", "o.gif", folder=folder, because="GIF plays 1 to 50")
    assert json.loads((folder / "p.json").read_text())["fps"] == 60


def test_a_video_that_cannot_be_written_is_named(tiny_run, tmp_path):
    refuses(tiny_run, "--turntable", "no/such/out.mp4", *SIZE, folder=tmp_path, because="no/such/out.mp4")
    refuses(tiny_run, "--turntable", "no/such/out.gif", *SIZE, folder=tmp_path, because="no/such/out.gif")


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["turn.mp4", "turn.gif"])
def test_ctrl_c_leaves_nothing_half_written(tiny_run, tmp_path, name):
    command = [sys.executable, str(ROOT / "run_viewer.py"), str(tiny_run), "--turntable", name, "--seconds", "600"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **NOWHERE}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while "frame" not in process.stdout.readline():  # the first line of its progress
            assert time.monotonic() < deadline
            assert process.poll() is None
        assert [path.name.endswith(".partial") for path in tmp_path.iterdir()] == [True]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
