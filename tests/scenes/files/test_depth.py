"""Depth images of every kind that people have: read right, or refused with the reason; none matters if not wanted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.files.depth_images import shrink_depth
from tests.scene_files import plain_image, refused, rewrite, write_scene

RNG = np.random.default_rng(4)
STEPS = RNG.integers(1000, 9000, (6, 8)).astype(np.uint16)
METRES = (STEPS * 1e-3).astype(np.float32)


def scene_with(folder, depth, name="d.png", images=None, **keys):
    """A scene whose frame 1 has the ``depth`` image, an array or the bytes of a file."""
    data = write_scene(folder, images)
    path = folder / "train" / name
    if isinstance(depth, bytes):
        path.write_bytes(depth)
    elif path.suffix == ".npy":
        np.save(path, depth)
    else:
        Image.fromarray(depth).save(path)
    data["frames"][1]["depth_file_path"] = f"train/{name}"
    rewrite(folder, data | keys)
    return folder


def depth_of(folder, **options):
    return scenes.load(str(folder), **options).train.depths[1]


def with_values(array, *values):
    array = array.copy()
    array.reshape(-1)[: len(values)] = values
    return array


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("d.png", STEPS),
        ("d.tif", STEPS),
        ("d.tif", STEPS.astype(np.int32)),
        ("d.tif", METRES),
        ("d.npy", STEPS),
        ("d.npy", STEPS.astype(np.int64)),
        ("d.npy", METRES),
        ("d.npy", METRES.astype(np.float64)),
        ("d.npy", METRES.astype(">f4")),
        ("d.npy", np.asfortranarray(METRES)),
        ("d.npy", METRES[..., None]),
    ],
)
def test_whole_numbers_are_thousandths_and_others_world_units(tmp_path, name, depth):
    np.testing.assert_allclose(depth_of(scene_with(tmp_path, depth, name)), METRES, rtol=1e-6)


@pytest.mark.parametrize(("name", "depth"), [("d.png", STEPS), ("d.npy", STEPS), ("d.tif", METRES), ("d.npy", METRES)])
def test_a_unit_that_is_told_counts(tmp_path, name, depth):
    scene_with(tmp_path, depth, name, depth_unit_scale_factor=0.25)
    np.testing.assert_allclose(depth_of(tmp_path), depth * 0.25, rtol=1e-6)


@pytest.mark.parametrize("name", ["d.png", "d.tif", "d.npy"])
def test_0_and_65535_of_16_bits_are_no_depth_and_65534_is_one(tmp_path, name):
    found = depth_of(scene_with(tmp_path, with_values(STEPS, 0, 65535, 65534, 1), name))
    np.testing.assert_allclose(found[0, :4], [0, 0, 65.534, 0.001], rtol=1e-6)


@pytest.mark.parametrize("name", ["d.tif", "d.npy"])
def test_numbers_that_are_no_distance_are_no_depth(tmp_path, name):
    depth = with_values(METRES, np.nan, np.inf, -np.inf, -1.0, 0.0, 1e30, 65535.0)
    np.testing.assert_allclose(depth_of(scene_with(tmp_path, depth, name))[0, :7], [0, 0, 0, 0, 0, 0, 65535])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
@pytest.mark.parametrize("size", [(3, 4), (12, 16), (30, 40), (6, 8), (9, 12)])
def test_a_depth_image_of_another_size_is_resampled_by_the_nearest_pixel(tmp_path, size, suffix):
    rows, columns = size
    depth = RNG.integers(1000, 9000, size).astype(np.uint16)
    expected = [
        [depth[math.floor((y + 0.5) * rows / 6), math.floor((x + 0.5) * columns / 8)] * 1e-3 for x in range(8)]
        for y in range(6)
    ]
    np.testing.assert_allclose(depth_of(scene_with(tmp_path, depth, f"d{suffix}")), expected, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
@pytest.mark.parametrize(("size", "downscale"), [((96, 128), 2), ((96, 128), 7), ((48, 64), 3), ((240, 320), 5)])
def test_a_depth_image_is_read_in_bands_as_it_is_in_whole(tmp_path, monkeypatch, size, downscale, suffix):
    monkeypatch.setattr("scenes.files.depth_images.BAND_PIXELS", 900)
    depth = np.repeat(np.repeat(RNG.integers(2000, 2200, (24, 32)), 10, axis=0), 10, axis=1).astype(np.uint16)
    rows, columns = ((np.arange(count) + 0.5) * whole / count for count, whole in zip(size, depth.shape))
    depth = depth[rows.astype(int)][:, columns.astype(int)]
    scene_with(tmp_path, depth, f"d{suffix}", [plain_image(128, 96)] * 2)
    rows, columns = ((np.arange(count) + 0.5) * stored / count for count, stored in zip((96, 128), size))
    whole = depth[rows.astype(int)][:, columns.astype(int)] * np.float32(1e-3)
    found = depth_of(tmp_path, downscale=downscale)
    np.testing.assert_allclose(found, shrink_depth(whole, found.shape[1], found.shape[0]), rtol=1e-5)


BAD = {
    "another shape": (np.ones((8, 4), np.uint16), "d.png", "another shape"),
    "8 bits": ((STEPS >> 8).astype(np.uint8), "d.png", "mode L"),
    "8 bits RGBA": (np.zeros((6, 8, 4), np.uint8), "d.png", "mode RGBA"),
    "text": (b"no picture", "d.png", "not a readable image"),
    "empty": (b"", "d.png", "the file is empty"),
    "broken tif": (b"II*\0\xff\xff\xff\xff", "d.tif", "d.tif"),
    "broken npy": (b"\x93NUMPY\x01\x00\xff\xff", "d.npy", "no depth image"),
    "pickle": (np.array([[{}]], dtype=object), "d.npy", "no depth image"),
    "many channels": (np.ones((6, 8, 3), np.float32), "d.npy", "no depth image"),
    "text array": (np.array([["a"] * 8] * 6), "d.npy", "no depth image"),
    "complex": (METRES.astype(complex), "d.npy", "no depth image"),
    "nothing": (np.ones((0, 8), np.float32), "d.npy", "no depth image"),
    "exr": (b"v/1\x01\x02\0\0\0", "d.exr", "OpenEXR"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_depth_image_that_is_none_is_refused_where_depth_is_wanted_and_no_matter_where_not(tmp_path, case):
    depth, name, says = BAD[case]
    scene_with(tmp_path, depth, name)
    message = refused(tmp_path)
    assert "frame 1, key 'depth_file_path'" in message
    assert says in message
    assert "--no-depth" in message
    scene = scenes.load(str(tmp_path), depth=False)
    assert scene.train.depths is None
    assert scene.warnings == ()


@pytest.mark.parametrize("value", ["train/none.png", "../../etc/passwd", 7, [1], "x" * 5000, "train", "\0"])
def test_a_depth_path_that_leads_nowhere_is_no_matter_where_depth_is_not_wanted(tmp_path, value):
    data = write_scene(tmp_path)
    data["frames"][1]["depth_file_path"] = value
    rewrite(tmp_path, data | {"depth_unit_scale_factor": "mm"})
    assert "depth" in refused(tmp_path)
    rewrite(tmp_path, data)
    assert "frame 1, key 'depth_file_path'" in refused(tmp_path)
    rewrite(tmp_path, data | {"depth_unit_scale_factor": "mm"})
    assert scenes.load(str(tmp_path), depth=False).warnings == ()


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_depth_path_is_none(tmp_path, value):
    scene_with(tmp_path, STEPS)
    data = write_scene(tmp_path / "none")
    for frame in data["frames"]:
        frame["depth_file_path"] = value
    rewrite(tmp_path / "none", data)
    scene = scenes.load(str(tmp_path / "none"))
    assert scene.train.depths is None
    assert scene.warnings == ()


def test_a_depth_image_listed_as_png_may_be_numpy_s(tmp_path):
    scene_with(tmp_path, METRES, "d.npy")
    np.testing.assert_allclose(depth_of(tmp_path), METRES)
    data = write_scene(tmp_path / "other")
    np.save(tmp_path / "other/train/d.npy", METRES)
    data["frames"][1]["depth_file_path"] = "train/d.png"
    rewrite(tmp_path / "other", data)
    scene = scenes.load(str(tmp_path / "other"))
    np.testing.assert_allclose(scene.train.depths[1], METRES)
    assert "'d.npy' is taken for it" in scene.warnings[0]
