"""The rule that imports run one way: it holds what it says, and importing the library is quick."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

UPWARD = {
    "a kernel that imports a field": ("taichi_rf/kernels/volume.py", "from taichi_rf.fields import base"),
    "the library that imports the viewer": ("taichi_rf/training/schedule.py", "from viewer.session import orbit"),
    "a scene that imports a command": ("scenes/base.py", "from taichi_rf.cli import console"),
    "the library that imports a script": ("taichi_rf/core/errors.py", "import train"),
    "a circle within a package": ("taichi_rf/coding/headers.py", "from taichi_rf.coding import checks"),
    "a circle that a function hides": (
        "taichi_rf/coding/headers.py",
        "def late():\n    from taichi_rf.coding import checks",
    ),
}


def kept(folder: Path) -> tuple[bool, str]:
    """Whether the packages in ``folder`` keep the contracts of pyproject.toml, and what is said of it."""
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run(
        [linter, "--no-cache"], cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=120
    )
    return found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", UPWARD)
def test_an_import_upward_and_a_circle_are_found(name, tmp_path):
    for package in ("taichi_rf", "scenes", "viewer"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "train.py", "run_viewer.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    path, statement = UPWARD[name]
    with open(tmp_path / path, "a") as file:
        file.write(f"\n{statement}\n")
    well, said = kept(tmp_path)
    assert not well
    assert path.removesuffix(".py").rpartition("/")[2] in said


def test_every_import_runs_down():
    well, said = kept(ROOT)
    assert well, said


def test_importing_the_library_starts_no_taichi():
    script = "import sys, taichi_rf as trf; trf.load; print(sorted({'taichi', 'numpy', 'scenes'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (found.stdout.strip(), found.stderr) == ("[]", "")
