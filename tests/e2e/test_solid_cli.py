"""A mesh, from ``train.py`` to its pictures, as a user does it; and meshes that are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taichi_rf.core.files import read_json
from taichi_rf.storage.trf import read_trf
from taichi_rf.training.run import CONFIG, METRICS, MODEL, REPORT
from tests.e2e.train_cli import HERE, TIMEOUT, refuses, train
from tests.solids import ball, write_obj

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a mesh, and a finished run of it."""
    folder = tmp_path_factory.mktemp("place")
    write_obj(folder / "ball.obj", *ball(48))
    done = train("ball.obj", "--method", "vqad", "--downscale", 8, "--out", "runs/ball", folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout)
    return folder


def run(program: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program.split(), *map(str, arguments)], cwd=folder, env={**os.environ, **HERE},
        capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip


def test_a_mesh_becomes_a_model_with_scores_of_every_level(place):
    folder, said = place / "runs" / "ball", (place / "output").read_text()
    metrics = read_json(folder / METRICS)
    levels = metrics["levels"]
    assert [level["level"] for level in levels] == [1, 2]
    assert metrics["method"] == "vqad"
    assert metrics["unit"] == "points"
    assert metrics["level_name"] == "LOD"
    assert levels[0]["iou"] > 0.97
    assert levels[0]["iou"] < levels[1]["iou"]
    assert levels[0]["chamfer"] > levels[1]["chamfer"] > 0
    assert levels[0]["psnr"] < levels[1]["psnr"]
    assert levels[0]["bytes"] < levels[1]["bytes"] == (folder / MODEL).stat().st_size
    assert Image.open(folder / REPORT).size[0] == 1400
    assert read_trf(folder / MODEL).header["render"] == "surface"
    for words in ("a mesh of", "measuring distances", "IoU", "chamfer", "points/s"):
        assert words in said


def test_it_goes_on_from_its_checkpoint_to_the_same_model(place, tmp_path):
    mesh = place / "ball.obj"
    options = "--method", "vqad", "--downscale", 8, "--eval-views", 1
    half = train(mesh, *options, "--iterations", 10, "--out", "run", folder=tmp_path)
    assert half.returncode == 0, half.stderr
    again = train("--resume", "run", "--iterations", 20, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert read_json(tmp_path / "run" / METRICS)["iterations"] == 20
    assert read_json(tmp_path / "run" / CONFIG)["scene"]["source"] == str(mesh)


def test_pictures_and_scores_come_from_the_file_alone(place, tmp_path):
    folder = place / "runs" / "ball"
    for mode in ("colour", "depth", "normals"):
        done = run(
            "-m taichi_rf render", folder, "--output", tmp_path / f"{mode}.png", "--mode", mode, "--width", 40,
            "--height", 40, folder=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        picture = np.asarray(Image.open(tmp_path / f"{mode}.png").convert("RGB"))
        assert picture[20, 20].tolist() != picture[0, 0].tolist()
    scored = run("-m taichi_rf evaluate", folder, "--json", tmp_path / "scores.json", folder=ROOT)
    assert scored.returncode == 0, scored.stderr
    found, known = read_json(tmp_path / "scores.json")["levels"], read_json(folder / METRICS)["levels"]
    for one, other in zip(found, known, strict=True):
        assert one["iou"] == pytest.approx(other["iou"])
        assert one["psnr"] == pytest.approx(other["psnr"], abs=1e-3)
    described = run("-m taichi_rf info", folder, folder=ROOT)
    assert described.returncode == 0, described.stderr


def test_what_is_no_mesh_is_refused_in_a_line(place, tmp_path):
    (tmp_path / "text.obj").write_text("hello\n")
    write_obj(tmp_path / "sheet.obj", np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]), np.array([[0, 1, 2]]))
    write_obj(tmp_path / "nan.obj", np.array([[0, 0, np.nan], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    (tmp_path / "thing.stl").write_text("solid\n")
    refuses("text.obj", "--method", "vqad", folder=tmp_path, because="no vertices")
    refuses("sheet.obj", "--method", "vqad", folder=tmp_path, because="encloses nothing")
    refuses("nan.obj", "--method", "vqad", folder=tmp_path, because="line 1")
    refuses("thing.stl", "--method", "vqad", folder=tmp_path, because="no mesh")
    refuses(place / "ball.obj", folder=tmp_path, because="give --method vqad")
