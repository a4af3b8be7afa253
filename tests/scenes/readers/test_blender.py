"""The NeRF-synthetic reader: real captures, hand-computed averages, cameras and splits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.base import Scene, Split, spread
from scenes.files.depth_images import shrink_depth
from scenes.files.shrinking import shrink
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.rays import Cameras, look_at
from tests.scene_files import plain_image, refused, rewrite, write_scene
from tests.scenes.readers.captures import real

# Real captures


def test_lego_has_the_published_geometry():
    seen = []
    scene = scenes.load(
        real("nerf_synthetic/lego"), downscale=8, views=7, max_test_views=3, progress=lambda *step: seen.append(step)
    )
    assert scene.train.images.shape == (7, 100, 100, 4)
    assert scene.test.images.shape == (3, 100, 100, 4)
    # 4.03 from the centre of a box whose corners are 2.6 from it
    assert 4.03 - 2.6 < scene.near < 2.0
    assert 6.0 < scene.far < 4.04 + 2.6
    np.testing.assert_array_equal(scene.box, [[-1.5] * 3, [1.5] * 3])
    assert scene.background == (1.0, 1.0, 1.0)
    assert scene.name == "lego"
    # 800 pixels across 0.6911 rad: the published focal length is 1111.11; an eighth of it here.
    np.testing.assert_allclose(scene.train.cameras.intrinsics[0], [1111.111 / 8, 1111.111 / 8, 50, 50], rtol=1e-4)
    assert scene.train.names[0] == "train/r_0.png"
    assert scene.train.names[-1] == "train/r_99.png"
    assert [done for done, _ in seen] == list(range(1, 11))
    assert {total for _, total in seen} == {10}


def test_lego_downscaled_is_the_average_of_the_full_image():
    small = scenes.load(real("nerf_synthetic/lego"), downscale=4, views=2, max_test_views=0).train
    pixels = np.asarray(Image.open(Path(real("nerf_synthetic/lego")) / "train/r_0.png"), np.float64) / 255
    pixels[..., :3] *= pixels[..., 3:]
    expected = sum(pixels[y::4, x::4] for y in range(4) for x in range(4)) / 16
    np.testing.assert_allclose(small.images[0].astype(np.float64), expected, atol=6e-4)  # half precision


@pytest.mark.parametrize("name", ["objects/ethiopian_head", "rgbd/duck", "rgbd/bike"])
def test_an_object_of_another_capture_fits_between_near_and_far_in_the_box(name):
    """Carve the object from its masks: what no mask excludes must lie in the box, and within near and far."""
    scene = scenes.load(real(name), downscale=2)
    axis = np.linspace(-2, 2, 41)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    kept, in_view = np.ones(len(points), bool), np.zeros(len(points))
    for camera, image in zip(scene.train.cameras, scene.train.images):
        pixels, _ = camera.project(points)
        column, row = np.floor(np.nan_to_num(pixels, nan=-1)).astype(int).T
        visible = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        in_view += visible
        kept[visible] &= image[row[visible], column[visible], 3] > 0.05
    carved = points[kept & (in_view > 0.95 * len(scene.train))]
    assert len(carved) > 10
    assert (carved >= scene.box[0]).all()
    assert (carved <= scene.box[1]).all()
    distances = np.linalg.norm(carved[:, None] - scene.train.cameras.poses[:, :, 3], axis=-1)
    assert scene.near < distances.min()
    assert distances.max() < scene.far


def test_depth_is_metric_and_agrees_with_the_mask():
    scene = scenes.load(real("rgbd/duck"), views=4, max_test_views=2)
    assert scene.train.depths is not None
    assert scene.test.depths is not None
    there = scene.train.depths > 0
    opaque = scene.train.images[..., 3] > 0.5
    assert (there == opaque).mean() > 0.99
    raw = np.asarray(Image.open(Path(real("rgbd/duck")) / "train/r_0_depth.png"), np.float64) * 1e-3
    np.testing.assert_allclose(scene.train.depths[0], raw, atol=1e-5)
    half = scenes.load(real("rgbd/duck"), views=4, max_test_views=2, downscale=2).train.depths
    assert half is not None
    full = scene.train.depths.reshape(4, 112, 2, 112, 2)
    lowest, highest = full.min(axis=(2, 4)), full.max(axis=(2, 4))
    known = half > 0
    assert known.sum() > 1000
    assert ((half >= lowest - 1e-4) & (half <= highest + 1e-4))[known].all()


# Pixels


def test_downscale_averages_premultiplied_colour(tmp_path):
    image = Image.new("RGBA", (2, 2))
    image.putdata([(255, 0, 0, 255), (0, 255, 0, 0), (0, 0, 255, 128), (255, 255, 255, 255)])
    write_scene(tmp_path, [image] * 2)
    scene = scenes.load(str(tmp_path), downscale=2)
    half = 128 / 255
    # Alpha: 1, 0, half, 1. The transparent green must leave no trace.
    expected = [(1 + 0 + 0 + 1) / 4, (0 + 0 + 0 + 1) / 4, (0 + 0 + half + 1) / 4, (1 + 0 + half + 1) / 4]
    np.testing.assert_allclose(scene.train.images[0, 0, 0], expected, atol=3e-4)
    on_white = [value + (1 - expected[3]) for value in expected[:3]]
    np.testing.assert_allclose(scene.train.composite(0, (1, 1, 1))[0, 0], on_white, atol=6e-4)
    np.testing.assert_allclose(scene.train.composite(0, (0, 0, 0))[0, 0], expected[:3], atol=3e-4)


def test_shrink_shares_pixels_that_straddle_an_edge():
    row = np.array([0.0, 0.6, 1.0], np.float32).reshape(1, 3, 1)
    # Two pixels of 1.5 each: (0 + 0.6 / 2) / 1.5 and (0.6 / 2 + 1) / 1.5.
    np.testing.assert_allclose(shrink(row, 2, 1)[0, :, 0], [0.2, 1.3 / 1.5], rtol=1e-6)
    column = np.swapaxes(row, 0, 1)
    np.testing.assert_allclose(shrink(column, 1, 2)[:, 0, 0], [0.2, 1.3 / 1.5], rtol=1e-6)


def test_shrink_keeps_the_mean():
    image = np.random.default_rng(3).random((37, 53, 4), dtype=np.float32)
    np.testing.assert_allclose(shrink(image, 17, 12).mean((0, 1)), image.mean((0, 1)), rtol=1e-5)


def test_shrink_depth_averages_one_surface_and_leaves_edges_and_gaps_unknown():
    depth = np.array([[2.0, 2.02, 2.0, 3.0, 2.0, 0.0], [2.0, 2.02, 2.0, 3.0, 2.0, 2.0]], np.float32)
    np.testing.assert_allclose(shrink_depth(depth, 3, 1), [[2.01, 0, 0]], rtol=1e-6)


def test_a_size_that_does_not_divide_keeps_the_whole_image_and_its_field_of_view(tmp_path):
    image = Image.new("RGB", (10, 7), (255, 128, 0))
    write_scene(tmp_path, [image, plain_image(10, 7)])
    scene = scenes.load(str(tmp_path), downscale=3)
    assert scene.train.images.shape == (2, 2, 3, 4)
    np.testing.assert_allclose(scene.train.images[0], np.broadcast_to([1, 128 / 255, 0, 1], (2, 3, 4)), atol=3e-4)
    fx, fy, cx, cy = scene.train.cameras.intrinsics[0]
    focal = 5 / math.tan(0.35)
    np.testing.assert_allclose([fx, fy, cx, cy], [focal * 3 / 10, focal * 2 / 7, 1.5, 1.0], rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16", "1", "palette with transparency"])
def test_images_of_every_common_mode_are_accepted(tmp_path, mode):
    grey = np.array([[0, 64], [128, 255]], np.uint8)
    alpha = np.ones((2, 2))
    expected = np.repeat(grey[..., None], 3, axis=-1) / 255
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "palette with transparency":
        image = Image.fromarray(grey).convert("P")
        image.info["transparency"] = 0
        alpha[0, 0] = 0
    elif mode == "1":
        image = Image.fromarray(grey > 100)
        expected = np.repeat((grey > 100)[..., None], 3, axis=-1)
    else:
        image = Image.fromarray(grey).convert(mode)
    write_scene(tmp_path, [image] * 2)
    if mode == "palette with transparency":
        for index in range(2):
            image.save(tmp_path / f"train/r_{index}.png", transparency=0)
    loaded = scenes.load(str(tmp_path)).train.images[0].astype(np.float64)
    np.testing.assert_allclose(loaded[..., 3], alpha, atol=1e-3)
    np.testing.assert_allclose(loaded[..., :3], expected * alpha[..., None], atol=1e-3)


def test_jpeg_and_paths_with_a_suffix_are_read(tmp_path):
    data = write_scene(tmp_path)
    data["frames"][0]["file_path"] = "train/r_0.png"
    Image.new("RGB", (8, 6), (200, 100, 50)).save(tmp_path / "train/photo.jpg")
    data["frames"][1]["file_path"] = "./train/photo"
    rewrite(tmp_path, data)
    images = scenes.load(str(tmp_path)).train.images.astype(np.float32)
    np.testing.assert_allclose(images[1].reshape(-1, 4)[1:], images[0].reshape(-1, 4)[1:], atol=0.02)


# Cameras, splits and choices


def test_explicit_intrinsics_win_and_scale_with_the_image(tmp_path):
    data = write_scene(tmp_path)
    data |= {"fl_x": 20.0, "fl_y": 22.0, "cx": 7.0, "cy": 5.0, "w": 16, "h": 12}
    data["frames"][1]["fl_x"] = 24.0
    rewrite(tmp_path, data)
    intrinsics = scenes.load(str(tmp_path)).train.cameras.intrinsics
    np.testing.assert_allclose(intrinsics[0], [10, 11, 3.5, 2.5])
    np.testing.assert_allclose(intrinsics[1], [12, 11, 3.5, 2.5])


def test_near_and_far_are_those_of_the_box(tmp_path):
    data = write_scene(tmp_path)
    for index, frame in enumerate(data["frames"]):
        frame["transform_matrix"] = np.vstack([look_at((8 + index, 0, 0), (0, 0, 0)), [0, 0, 0, 1]]).tolist()
    rewrite(tmp_path, data)
    scene = scenes.load(str(tmp_path))
    assert scene.near == pytest.approx(8 - 1.5)
    assert scene.far == pytest.approx(math.sqrt((10 + 1.5) ** 2 + 2 * 1.5**2))


def test_a_camera_inside_the_box_keeps_near_above_zero(tmp_path):
    data = write_scene(tmp_path)
    data["frames"][0]["transform_matrix"] = np.vstack([look_at((1, 0, 0), (0, 0, 0)), [0, 0, 0, 1]]).tolist()
    rewrite(tmp_path, data)
    assert scenes.load(str(tmp_path)).near == pytest.approx(0.05)


@pytest.mark.parametrize("how", ["missing", "empty", "not wanted"])
def test_a_scene_without_test_views_has_an_empty_test_split(tmp_path, how):
    write_scene(tmp_path)
    if how == "empty":
        (tmp_path / "transforms_test.json").write_text('{"camera_angle_x": 0.7, "frames": []}')
    if how == "not wanted":
        (tmp_path / "transforms_test.json").write_text("not even read")
    scene = scenes.load(str(tmp_path), max_test_views=0 if how == "not wanted" else None)
    assert len(scene.test) == 0
    assert scene.test.names == ()
    assert len(scene.test.pixels) == scene.test.pixels.total == 0


def test_validation_views_stand_in_for_missing_test_views(tmp_path):
    write_scene(tmp_path, splits=("train", "val"))
    assert scenes.load(str(tmp_path)).test.names == ("val/r_0.png", "val/r_1.png", "val/r_2.png")


def test_test_views_may_be_of_another_size(tmp_path):
    write_scene(tmp_path, splits=("train", "test"))
    for index in range(3):
        Image.new("RGB", (16, 10)).save(tmp_path / f"test/r_{index}.png")
    scene = scenes.load(str(tmp_path))
    assert scene.train.images.shape[1:3] == (6, 8)
    assert scene.test.images.shape[1:3] == (10, 16)
    assert scene.test.cameras[0].cx == 8


def test_views_are_evenly_spread_with_both_ends():
    assert spread(100, 4) == [0, 33, 66, 99]
    assert spread(5, None) == [0, 1, 2, 3, 4]
    assert spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(5, 0) == []


def test_black_background(tmp_path):
    write_scene(tmp_path)
    assert scenes.load(str(tmp_path), background="black").background == (0.0, 0.0, 0.0)


# Which reader


def test_an_unknown_scene_says_what_there_is_and_what_may_have_been_meant(tmp_path):
    assert "did you mean 'lantern'" in refused(Path("lantren"))
    for name in scenes.builtin_names():
        assert name in refused(tmp_path / "none")
    assert "is no scene that is known: a folder with 'transforms_train.json'" in refused(tmp_path)
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(tmp_path / "file")
    assert "there is no scene" in refused(Path("builtin:none"))


def test_odd_sources_are_refused_plainly(tmp_path):
    for source in ("", "a\0b", "x" * 5000):
        with pytest.raises(UserError):
            scenes.load(source)


# The types


def test_split_and_scene_refuse_shapes_that_disagree():
    cameras = Cameras(np.zeros((2, 3, 4)), np.ones((2, 4)), 4, 3)
    images = np.zeros((2, 3, 4, 4), np.float16)
    pixels = PixelPool.of(images)
    split = Split(pixels, cameras, ("a", "b"))
    for broken in (
        lambda: Split(PixelPool.of(images[:1]), cameras, ("a", "b")),
        lambda: Split(PixelPool.of(images.astype(np.float32)), cameras, ("a", "b")),
        lambda: Split(pixels, cameras, ("a",)),
        lambda: Split(pixels, cameras, ("a", "b"), np.zeros((2, 4, 3), np.float32)),
        lambda: Scene("s", split, split, np.zeros((2, 3), np.float32), 2.0, 6.0, (1.0, 1.0, 1.0), "s"),
        lambda: Scene("s", split, split, np.array([[-1] * 3, [1] * 3], np.float32), 6.0, 2.0, (1.0, 1.0, 1.0), "s"),
    ):
        with pytest.raises(ValueError):
            broken()
