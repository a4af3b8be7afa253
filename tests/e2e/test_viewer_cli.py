"""``run_viewer.py`` as a user runs it, where it needs no window: pictures, and plain answers to what cannot be done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    for option in ("--level", "--rank", "--lod", "--headless", "--screenshot", "--width", "--arch", "--azimuth"):
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
        ([], "--headless"),
    ],
)
def test_option_that_makes_no_sense_is_named(empty_model, arguments, because):
    refuses(empty_model, *arguments, folder=empty_model.parent, because=because)


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
