"""EXIF orientation is applied once: to image and depth alike, or to neither where the JSON knows nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

import scenes
from tests.scene_files import rewrite, warned, write_scene

UPRIGHT = np.random.default_rng(2).integers(0, 256, (6, 8, 3), dtype=np.uint8)
DISTANCES = np.random.default_rng(3).integers(1000, 9000, (6, 8)).astype(np.uint16)
STORED_AS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.swapaxes(a[:, ::-1], 0, 1),
    7: lambda a: np.swapaxes(a[::-1, ::-1], 0, 1),
    8: lambda a: np.swapaxes(a[::-1], 0, 1),
}
"""What a camera held that way stores of an upright picture."""
SUFFIXES = [".png", ".tif", ".webp"]


def store(upright, orientation, path, tag=True):
    image = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if path.suffix == ".webp" else {}
    image.save(path, **options, **({"exif": exif} if tag else {}))


def scene_of(folder, orientation, suffix=".png", **keys):
    """A scene whose images a camera held in that way has stored."""
    data = write_scene(folder)
    data |= keys
    for index, frame in enumerate(data["frames"]):
        (folder / f"train/r_{index}.png").unlink()
        store(UPRIGHT, orientation, folder / f"train/r_{index}{suffix}")
        frame["file_path"] = f"train/r_{index}{suffix}"
    rewrite(folder, data)
    return data


def test_the_table_of_this_test_is_that_of_pillow(tmp_path):
    for orientation in STORED_AS:
        store(UPRIGHT, orientation, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), UPRIGHT)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", STORED_AS)
def test_an_image_is_turned_once(tmp_path, orientation, suffix):
    scene_of(tmp_path, orientation, suffix)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.images[1, ..., :3], UPRIGHT / 255, atol=1e-3)
    np.testing.assert_allclose(scene.train.cameras.intrinsics[0], [4 / np.tan(0.35)] * 2 + [4, 3], rtol=1e-6)
    assert ("EXIF orientation" in "".join(scene.warnings)) == (orientation != 1)


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
@pytest.mark.parametrize("orientation", [2, 5, 6, 8])
def test_a_plain_tiff_of_any_mode_is_turned_once(tmp_path, orientation, mode):
    pixels = {"L": UPRIGHT[..., 0], "RGBA": np.dstack([UPRIGHT, np.full((6, 8), 255, np.uint8)]), "I;16": DISTANCES}
    data = write_scene(tmp_path)
    for index, frame in enumerate(data["frames"]):
        store(pixels[mode], orientation, tmp_path / f"train/r_{index}.tif")
        frame["file_path"] = f"train/r_{index}.tif"
    rewrite(tmp_path, data)
    expected = pixels[mode] / (65535 if mode == "I;16" else 255)
    found = scenes.load(str(tmp_path)).train.images[2, ..., 0]
    np.testing.assert_allclose(found, expected if expected.ndim == 2 else expected[..., 0], atol=1e-3)


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_a_photograph_of_a_telephone_is_turned_and_made_smaller(tmp_path, orientation):
    data = write_scene(tmp_path)
    upright = np.zeros((60, 80, 3), np.uint8)
    upright[:30, :40] = (250, 120, 10)  # the upper left quarter
    for index, frame in enumerate(data["frames"]):
        store(upright, orientation, tmp_path / f"train/r_{index}.jpg")
        frame["file_path"] = f"train/r_{index}.jpg"
    rewrite(tmp_path, data)
    image = scenes.load(str(tmp_path), downscale=10).train.images[0, ..., :3].astype(np.float64) * 255
    np.testing.assert_allclose(image[0, 0], (250, 120, 10), atol=5)
    np.testing.assert_allclose(image[[0, 5, 5], [7, 0, 7]], 0, atol=5)


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("keys", [{"w": 8, "h": 6}, {"w": 80, "h": 60}, {"cx": 4.1, "cy": 3.0}, {"w": 8}])
def test_a_json_that_tells_the_upright_size_has_the_image_turned(tmp_path, orientation, keys):
    scene_of(tmp_path, orientation, **keys)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.images[0, ..., :3], UPRIGHT / 255, atol=1e-3)
    assert "is turned" in scene.warnings[0]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("keys", [{"w": 6, "h": 8}, {"w": 60, "h": 80}, {"cx": 3.0, "cy": 4.1}])
def test_a_json_that_tells_the_stored_size_has_the_image_as_it_is_stored(tmp_path, orientation, keys):
    scene_of(tmp_path, orientation, **keys)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.images[0, ..., :3], STORED_AS[orientation](UPRIGHT) / 255, atol=1e-3)
    assert "is not applied" in scene.warnings[0]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("how", ["tagged", "stored alike", "upright"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7, 8])
def test_depth_is_turned_with_its_image(tmp_path, orientation, how, suffix):
    if how == "stored alike" and orientation < 5:
        return  # of the same shape upright and stored: then the depth image's own orientation is all that is known
    data = scene_of(tmp_path, orientation)
    data["frames"][1]["depth_file_path"] = f"train/d{suffix}"
    rewrite(tmp_path, data)
    store(DISTANCES, 1 if how == "upright" else orientation, tmp_path / f"train/d{suffix}", tag=how == "tagged")
    depths = scenes.load(str(tmp_path)).train.depths
    np.testing.assert_allclose(depths[1], DISTANCES * 1e-3, rtol=1e-6)


def test_broken_exif_is_no_reason_to_refuse_an_image(tmp_path):
    data = write_scene(tmp_path)
    for index, frame in enumerate(data["frames"]):
        Image.fromarray(UPRIGHT).save(tmp_path / f"train/r_{index}.webp", lossless=True, exif=b"Exif\0\0nonsense")
        frame["file_path"] = f"train/r_{index}.webp"
    rewrite(tmp_path, data)
    np.testing.assert_allclose(scenes.load(str(tmp_path)).train.images[0, ..., :3], UPRIGHT / 255, atol=1e-3)


@pytest.mark.parametrize("nonsense", [0, 9, 65535])
def test_an_orientation_that_there_is_not_is_upright(tmp_path, nonsense):
    data = write_scene(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = nonsense
    for index in range(3):
        Image.fromarray(UPRIGHT).save(tmp_path / f"train/r_{index}.png", exif=exif)
    rewrite(tmp_path, data)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.images[0, ..., :3], UPRIGHT / 255, atol=1e-3)
    assert scene.warnings == ()


def test_that_images_are_turned_is_said_once(tmp_path):
    scene_of(tmp_path, 6)
    text = warned(tmp_path)
    assert text.count("EXIF") == 1
    assert "(2 more alike)" in text
