"""Every command of the README ends with 0, in the order in which they are printed, in a folder that holds nothing else.

What is replaced so that this takes seconds is listed in :mod:`tests.e2e.readme_commands`. The folders of scenes that
the README calls ``path/to/...`` are small ones, and ``camera_path.json`` is there. ``make`` is asked what it would do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from taichi_rf.core.version import VERSION
from taichi_rf.kernels.rays import look_at
from taichi_rf.motion.camera_path import CameraPath, Frame
from tests.places import ROOT
from tests.solids import ball, write_obj
from tests.tiny import write_tiny_scene
from tests.trickle import Trickle, served
from tests.unposed import write_photographs

BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:python|make|source|pip) .*$", re.MULTILINE)
NEEDS = {"armadillo": "igl", "video.mp4": "imageio_ffmpeg", "photos": "pycolmap", ".mp4": "imageio_ffmpeg"}
"""Modules without which a command with these words in it is left out."""


def commands() -> list[str]:
    """The lines of the README's shell blocks."""
    text = (ROOT / "README.md").read_text()
    return [line for block in BLOCK.findall(text) for line in COMMAND.findall(block)]


def test_readme_has_no_line_of_a_shell_block_that_is_not_tried():
    lines = [line for block in BLOCK.findall((ROOT / "README.md").read_text()) for line in block.splitlines()]
    assert [line for line in lines if line.strip()] == commands()
    assert len(lines) > 25


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with what the README's commands name."""
    scene = tmp_path / "path/to/lego"
    write_tiny_scene(scene)
    shutil.copytree(scene, tmp_path / "path/to/scene")
    shutil.copytree(scene, tmp_path / "path/to/nerf_synthetic/lego")
    write_photographs(tmp_path / "path/to/photos")
    write_obj(tmp_path / "path/to/armadillo.obj", *ball(12))
    frames = [np.random.default_rng(index).integers(0, 256, (32, 48, 3), np.uint8) for index in range(12)]
    if importlib.util.find_spec("imageio_ffmpeg"):
        iio.imwrite(tmp_path / "path/to/video.mp4", np.stack(frames), plugin="FFMPEG", macro_block_size=None)
    views = [Frame(look_at((3, side, 1), (0, 0, 0)), 40.0) for side in (0.0, 0.5)]
    CameraPath(frames=tuple(views), fps=4, width=32, height=32).save(tmp_path / "camera_path.json")
    return tmp_path


def test_every_command_of_the_readme_ends_well(place: Path):
    wanted = [command for command in commands() if command.startswith("python") and not missing(command)]
    assert len(wanted) > 25
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TAICHI_RF_CONFIG": str(place / "config"), "DISPLAY": ""}
    model = (ROOT / "tests/data/tensor.trf").read_bytes()
    with served(Trickle(model)) as server:
        port = re.search(r":(\d+)", server.url)[1]
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/e2e/readme_commands.py"), port], cwd=place, env=environment,
            input="\n".join(wanted), capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    ran = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [f"{command}: {code}" for command, code, _ in ran if code]
    assert not failed, done.stderr[-5000:]
    assert len(ran) == len(wanted), done.stderr[-5000:]


def missing(command: str) -> bool:
    """Whether a module is missing that ``command`` needs."""
    return any(word in command and importlib.util.find_spec(module) is None for word, module in NEEDS.items())


def test_what_make_is_asked_for_is_there():
    for command in [command for command in commands() if command.startswith("make")]:
        words = command.partition("#")[0].split()
        done = subprocess.run([words[0], "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", [["train.py"], ["run_viewer.py"], ["-m", "taichi_rf"]])
def test_a_program_says_its_version(program: list[str], tmp_path: Path):
    path = [str(ROOT / word) if word.endswith(".py") else word for word in program]
    done = subprocess.run(
        [sys.executable, *path, "--version"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"Taichi RF {VERSION}\n"), done.stderr
