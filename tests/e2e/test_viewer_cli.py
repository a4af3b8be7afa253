"""``run_viewer.py`` as a user runs it, where it needs no window: pictures, and plain answers to what cannot be done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
