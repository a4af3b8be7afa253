"""What a scene's reader refuses and warns about, as a user of the commands sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import write_tiny_scene

ROOT = Path(__file__).resolve().parents[2]


def run(folder, *command):
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "DISPLAY": ""},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.fixture
def scene(tmp_path):
    """A scene whose training images are linked from elsewhere, with depth images that are none, an absent test image
    and a key that is not supported."""
    folder = write_tiny_scene(tmp_path / "scene")
    (folder / "train").rename(tmp_path / "elsewhere")
    (folder / "train").symlink_to(tmp_path / "elsewhere")
    (folder / "test/r_1.png").unlink()
    path = folder / "transforms_train.json"
    data = json.loads(path.read_text())
    for frame in data["frames"]:
        frame["depth_file_path"] = "train/none.png"
    path.write_text(json.dumps(data | {"scale": 0.5}))
    return folder


def test_links_are_followed_and_warnings_said_from_training_to_evaluation(scene, tmp_path):
    tiny = ROOT / "tests/e2e/tiny_train.py"
    refused = run(tmp_path, tiny, scene, "--out", "run", "--arch", "cpu")
    assert refused.returncode == 2
    assert "--follow-links" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    options = ("--out", "run", "--arch", "cpu", "--iterations", "3", "--follow-links")
    done = run(tmp_path, tiny, scene, *options)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert sum("key 'scale'" in line for line in warnings) == 1
    assert sum("r_1" in line and "left out" in line for line in warnings) == 1
    assert "depth" not in " ".join(warnings)
    again = run(tmp_path, tiny, "--resume", "run", "--iterations", "5", "--arch", "cpu")
    assert again.returncode == 0, again.stderr  # the run remembers that links are followed
    evaluate = ("-m", "taichi_rf", "evaluate", "run/model.trf", scene, "--arch", "cpu")
    assert "--follow-links" in run(tmp_path, *evaluate).stderr
    judged = run(tmp_path, *evaluate, "--follow-links")
    assert judged.returncode == 0, judged.stderr
    with_depth = run(tmp_path, tiny, scene, *options[2:], "--out", "other", "--method", "vqad")
    assert with_depth.returncode == 2
    assert "there is no depth image" in with_depth.stderr
    assert "--no-depth" in with_depth.stderr
