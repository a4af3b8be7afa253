"""Eight photographs of a real place are posed for real, once, and held against the cameras that came with them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.files.colmap_files import read_model
from scenes.files.locate import Finder
from scenes.files.values import Notes
from scenes.posing import process
from scenes.posing.cameras import CameraGuess
from scenes.posing.job import Job, Photograph
from scenes.readers import llff
from scenes.readers.colmap import reprojection_errors
from taichi_rf.core.errors import UserError
from tests.places import DATA, ROOT
from tests.unposed import write_fern, write_photographs

TURNED = "image002.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The photographs; one of them as a camera stores it that was held upright, with EXIF orientation 6."""
    folder = tmp_path_factory.mktemp("real") / "my photographs"
    write_fern(folder)
    with Image.open(folder / TURNED) as image:
        stored = Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(image))))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(folder / TURNED, exif=exif)
    return folder


@pytest.fixture(scope="module")
def posed(photos):
    """The scene, and the stages with how far each had come."""
    seen: dict[str, list[tuple[int, int]]] = {}
    scene = scenes.load(
        str(photos),
        max_test_views=0,
        stage=lambda name: seen.setdefault(name, []),
        progress=lambda *step: list(seen.values())[-1].append(step),
    )
    return scene, seen


def aligned(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation and shift that bring points (n, 3) to others with the least squares (Umeyama 1991)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ flip @ vt
    scale = float((s * np.diag(flip)).sum() / (a**2).sum())
    return scale, rotation, target.mean(axis=0) - scale * rotation @ source.mean(axis=0)


def test_all_are_placed_where_others_placed_them(posed):
    scene, _ = posed
    assert len(scene.train) == 8
    assert not [text for text in scene.warnings if "placed" in text]
    every, _ = llff.read_views(Finder(DATA / "llff/fern", Notes()), 1, Notes())
    given = {frame.name.rpartition("/")[2]: frame.pose for frame in every.frames}
    theirs = np.stack([given[name] for name in scene.train.names])
    ours = scene.train.cameras.poses.astype(np.float64)
    scale, rotation, shift = aligned(ours[:, :, 3], theirs[:, :, 3])
    size = np.linalg.norm(np.ptp(theirs[:, :, 3], axis=0))
    off = np.linalg.norm(scale * ours[:, :, 3] @ rotation.T + shift - theirs[:, :, 3], axis=1)
    assert off.max() < 0.05 * size
    turned = np.einsum("nij,nik->njk", rotation @ ours[:, :, :3], theirs[:, :, :3])
    degrees = np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert degrees.max() < 3  # the turned photograph among them


def test_points_are_shown_where_they_were_found(posed):
    scene, _ = posed
    assert scene.reprojection_error < 1
    assert len(scene.points) > 300


def test_every_stage_says_how_far_it_is(posed):
    _, seen = posed
    placing = ["placing photographs", "placing them all at once"]
    assert list(seen) == ["looking for features", "comparing photographs", *placing, scenes.LOADING]
    assert seen["looking for features"][-1] == (8, 8)
    assert seen["comparing photographs"][-1] == (28, 28)
    assert seen["placing photographs"][-1] == (8, 8)


def test_it_is_done_once(posed, photos, monkeypatch):
    monkeypatch.setattr(process, "run", lambda *_: pytest.fail("posed again"))
    again = scenes.load(str(photos), max_test_views=0)
    np.testing.assert_array_equal(again.train.cameras.poses, posed[0].train.cameras.poses)
    (entry,) = (photos / ".taichi-rf-poses").iterdir()
    assert [path.name for path in entry.iterdir()] == ["sparse"]


def test_the_turned_photograph_is_upright(posed, photos):
    index = posed[0].train.names.index(TURNED)
    with Image.open(DATA / "llff/fern/images_8" / TURNED) as image:
        size = posed[0].train.cameras[index].width, posed[0].train.cameras[index].height
        expected = np.asarray(image.convert("RGB").resize(size)) / 255
    assert np.abs(posed[0].train.images[index, ..., :3] - expected).mean() < 0.01


def test_a_model_made_from_smaller_copies_is_as_large_as_the_photographs(posed, photos, tmp_path, monkeypatch):
    pycolmap = importlib.import_module("pycolmap")
    from scenes.posing import worker

    (entry,) = (photos / ".taichi-rf-poses").iterdir()
    small = read_model(entry / "sparse/0")
    camera = next(iter(small.cameras.values()))
    width, height = 3 * camera.width, 3 * camera.height
    monkeypatch.setattr(worker, "LONGER_SIDE", camera.width)
    names = [image.name for image in small.images]
    job = Job(tuple(Photograph("", f"large {name}", 0) for name in names), (CameraGuess(width, height),), (), "")
    model = pycolmap.Reconstruction(entry / "sparse/0")
    for identifier in model.reg_image_ids():
        model.image(identifier).name = f"{names.index(model.image(identifier).name)}.png"
    assert sorted(worker._as_photographs(model, job)) == [f"large {name}" for name in names]
    model.write_binary(tmp_path)
    large = read_model(tmp_path)
    grown = next(iter(large.cameras.values()))
    assert (grown.width, grown.height) == (width, height)
    np.testing.assert_allclose(reprojection_errors(large), 3 * reprojection_errors(small), rtol=1e-3, atol=1e-3)


def test_of_two_models_that_in_which_more_features_agree_is_kept(tmp_path):
    importlib.import_module("pycolmap")  # fails, not skips, where it is missing
    from scenes.posing import worker

    def model(photographs: int, observations: int) -> SimpleNamespace:
        return SimpleNamespace(
            num_reg_images=lambda: photographs, compute_num_observations=lambda: observations
        )  # fmt: skip

    wrong, right, tiny = model(73, 32_711), model(72, 79_356), model(2, 90_000)
    assert worker._better(wrong, None, right, tiny) is right
    assert worker._better(None, tiny) is None
    (tmp_path / "nothing.db").touch()  # a database without photographs, of which the global mapper makes nothing
    assert worker._at_once(tmp_path / "nothing.db", tmp_path / "made") is None


def test_photographs_of_nothing_in_common_are_refused_and_the_terminal_stays_clean(tmp_path, capfd):
    write_photographs(tmp_path / "noise", 3, (120, 80))
    with pytest.raises(UserError, match="none of the 3 photographs"):
        scenes.load(str(tmp_path / "noise"))
    assert capfd.readouterr() == ("", "")


def test_a_photograph_that_breaks_off_is_named(tmp_path, capfd):
    write_photographs(tmp_path / "photos", 3, (120, 80))
    path = tmp_path / "photos/IMG_001.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"photograph 'IMG_001.png': .* broken or truncated"):
        scenes.load(str(tmp_path / "photos"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.name == "nt", reason="has no pipes with names")
def test_the_process_ends_with_the_one_that_asked(tmp_path):
    os.mkfifo(tmp_path / "job.json")  # nobody ever writes what it waits for
    child = subprocess.Popen(
        [sys.executable, "-m", "scenes.posing", str(tmp_path / "job.json")], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(1)
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(timeout=60) != 0
    child.stdout.close()
    child.stderr.close()
