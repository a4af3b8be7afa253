"""Images of several sizes in one scene, and scenes that do not fit the memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.inspection import facts, picture
from scenes.readers import storing
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_file import PixelFile
from taichi_rf.evaluation.evaluate import evaluate
from taichi_rf.evaluation.heldout import HeldOut
from taichi_rf.storage.scene_identity import compare, content, identity
from taichi_rf.training.trainer import Trainer
from tests.capture_files import COUNT, FX, HEIGHT, WIDTH, write_colmap, write_nerfstudio
from tests.places import DATA
from tests.tiny import ROWS, tiny_config


def write_several_sizes(root):
    """Every second image is twice as large."""
    names = write_colmap(root)
    for name in names[1::2]:
        path = root / "images" / name
        with Image.open(path) as image:
            image.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST).save(path)
    return names


def test_each_camera_has_the_size_of_its_image(tmp_path):
    write_several_sizes(tmp_path)
    scene = scenes.load(str(tmp_path))
    cameras = scene.train.cameras
    twice = np.array([int(name[-7:-4]) % 2 for name in scene.train.names])
    np.testing.assert_array_equal(cameras.widths, WIDTH * (1 + twice))
    np.testing.assert_allclose(cameras.intrinsics[:, 0], FX * (1 + twice), rtol=1e-6)
    assert f"{WIDTH} to {2 * WIDTH} x {HEIGHT} to {2 * HEIGHT} pixels" in scene.describe()
    for index, camera in enumerate(cameras):
        assert scene.train.pixels[index].shape == (camera.height, camera.width, 4)
        pixels = np.arange(cameras.offsets[index], cameras.offsets[index + 1])
        view, x, y = cameras.locate(pixels)
        assert (view == index).all()
        np.testing.assert_array_equal(scene.train.pixels.take(pixels), scene.train.pixels[index][y, x])
    with pytest.raises(ValueError, match="several sizes"):
        scene.train.images  # noqa: B018
    assert dict(facts(scene))["images"].startswith(f"{WIDTH} to")
    assert picture(scene).width > 100


def test_images_of_several_sizes_are_trained_on_and_evaluated(tmp_path):
    backend.init("cpu")
    write_several_sizes(tmp_path)
    scene = scenes.load(str(tmp_path))
    trainer = Trainer(scene, tiny_config(held_out=200, iterations=4), rows=ROWS)
    while not trainer.done:
        assert np.isfinite(trainer.step().loss)
    found = evaluate(trainer.model, scene.test, [1, 2, 3, 4], views=2)
    assert found.photograph.shape == (*scene.test.pixels[0].shape[:2], 3)
    measured = HeldOut(scene.test, pixels=60)
    while not measured.advance(trainer.model, 4, 1.0, lambda: 0.0):
        pass
    assert compare(identity(scene), scene, depth=False) == ()
    trainer.save(tmp_path)
    assert Trainer.resume(tmp_path, scenes.load(str(tmp_path)), rows=ROWS).iteration == 4


def test_a_real_capture_of_23_sizes_opens():
    scene = scenes.load(str(DATA / "colmap/mixed_sizes"), downscale=8)
    assert len({*zip(scene.train.cameras.widths.tolist(), scene.train.cameras.heights.tolist(), strict=True)}) > 1


# What does not fit


def test_opaque_images_are_bytes_and_the_same_in_half_precision(tmp_path):
    data = write_nerfstudio(tmp_path)
    plain = scenes.load(str(tmp_path)).train.pixels
    assert plain.opaque
    for index in range(COUNT):
        path = tmp_path / data["frames"][index]["file_path"]
        with Image.open(path) as image:
            image.convert("RGBA").save(path)
    with_alpha = scenes.load(str(tmp_path)).train.pixels
    assert not with_alpha.opaque
    for index in range(len(plain)):
        np.testing.assert_array_equal(plain[index], with_alpha[index])


@pytest.mark.parametrize("downscale", [1, 2])
def test_a_scene_that_does_not_fit_the_memory_is_the_same_from_the_disk(tmp_path, monkeypatch, downscale):
    monkeypatch.setenv("TAICHI_RF_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "scene"
    write_several_sizes(root)
    kept = scenes.load(str(root), downscale=downscale)
    monkeypatch.setattr(storing, "available_memory", lambda: 1000)
    read = scenes.load(str(root), downscale=downscale)
    assert isinstance(read.train.pixels.stored, PixelFile)
    (text,) = [text for text in read.warnings if "kept in a file" in text]
    assert str(tmp_path / "cache") in text
    for index in range(len(kept.train)):
        a, b = (scene.train.pixels[index].astype(float) for scene in (kept, read))
        np.testing.assert_allclose(a, b, atol=0 if downscale == 1 else 0.5 / 255 + 5e-4)
    if downscale == 1:
        assert content(kept) == content(read)
    assert compare(identity(kept), read, depth=False) == () or downscale > 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_scene_that_fits_neither_memory_nor_disk_is_refused(tmp_path, monkeypatch):
    write_nerfstudio(tmp_path)
    monkeypatch.setattr(storing, "available_memory", lambda: 1000)
    monkeypatch.setattr("taichi_rf.core.pixel_file.SPARED", 1 << 60)
    with pytest.raises(UserError, match="--downscale"):
        scenes.load(str(tmp_path))


def test_downscale_auto_is_the_smallest_that_fits(tmp_path, monkeypatch):
    data = write_nerfstudio(tmp_path, w=400, h=300)
    for index in range(COUNT):
        path = tmp_path / data["frames"][index]["file_path"]
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (300, 400, 3), np.uint8)).save(path)
    assert scenes.load(str(tmp_path), downscale="auto", max_test_views=0).downscale == 1
    for factor in (2, 3):
        pixels = (COUNT - 3) * round(300 / factor) * round(400 / factor)
        monkeypatch.setattr(storing, "available_memory", lambda pixels=pixels: int(3 * pixels / 0.6) + 10)
        scene = scenes.load(str(tmp_path), downscale="auto", max_test_views=0)
        assert scene.downscale == factor
        assert scene.train.cameras[0].width == round(400 / factor)
        assert any(f"--downscale auto is {factor}" in text for text in scene.warnings)
    assert json.loads((tmp_path / "transforms.json").read_text())["w"] == 400
    assert scenes.load("lantern", downscale=25, views=2, max_test_views=0).downscale == 25
