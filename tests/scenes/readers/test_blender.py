"""The NeRF-synthetic reader: real captures, hand-computed averages, and every kind of bad input."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.base import Scene, Split, spread
from scenes.readers.depth_images import shrink_depth
from scenes.readers.images import shrink
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Cameras, look_at
from tests.places import DATA
from tests.scene_files import plain_image, pose, refused, rewrite, spoil, write_scene


def real(name: str) -> str:
    folder = DATA / name
    assert folder.is_dir(), f"test data '{folder}' is missing: set TAICHI_RF_DATA to the folder that holds {name}"
    return str(folder)


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
    assert scene.test.images.shape == (0, 6, 8, 4)


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


# Bad input: the message says which file, which frame, which key


MIRRORED = (np.array(pose()) * [-1, 1, 1, 1]).tolist()
DOUBLED = (np.array(pose()) * [2, 2, 2, 1]).tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (spoil(top_camera_angle_x=None), ["neither 'camera_angle_x' nor 'fl_x'"]),
        (spoil(top_camera_angle_x="wide"), ["camera_angle_x", "a finite number", "'wide'"]),
        (spoil(top_camera_angle_x=True), ["camera_angle_x", "a finite number"]),
        (spoil(top_camera_angle_x=-1), ["camera_angle_x", "above 0"]),
        (spoil(top_camera_angle_x=4), ["camera_angle_x", "between 0 and pi"]),
        (spoil(top_camera_angle_x=float("nan")), ["camera_angle_x", "a finite number", "nan"]),
        (spoil(top_camera_angle_x=10**400), ["camera_angle_x", "a finite number"]),
        (spoil(top_fl_x=0), ["fl_x", "above 0"]),
        (spoil(top_k1=0.1), ["k1", "distortion"]),
        (spoil(top_frames=None), ["'frames'", "a list"]),
        (spoil(top_frames={"a": 1}), ["'frames'", "a list", "an object"]),
        (spoil(top_frames=[]), ["only 0 training images"]),
        (spoil(top_frames=[0] * 20_001), ["20001 frames"]),
        (spoil(top_frames=[1, 2]), ["frame 0", "an object"]),
        (spoil(file_path=None), ["frame 1", "file_path"]),
        (spoil(file_path=7), ["frame 1", "file_path", "7"]),
        (spoil(file_path="./train/none"), ["frame 1", "file_path", "no image", "train/none"]),
        (spoil(file_path="../../../../etc/passwd"), ["frame 1", "file_path", "leads out of"]),
        (spoil(file_path="/etc/passwd"), ["frame 1", "file_path", "leads out of"]),
        (spoil(file_path="train/\0"), ["frame 1", "file_path"]),
        (spoil(file_path="a" * 5000), ["frame 1", "file_path", "cannot be opened"]),
        (spoil(file_path="train"), ["frame 1", "file_path", "no image"]),
        (spoil(file_path="transforms_train.json"), ["frame 1", "not a readable image"]),
        (spoil(transform_matrix=None), ["frame 1", "transform_matrix", "missing"]),
        (spoil(transform_matrix="eye"), ["frame 1", "transform_matrix", "4 rows of 4"]),
        (spoil(transform_matrix=[[1, 0], [0, 1]]), ["frame 1", "transform_matrix", "(2, 2)"]),
        (spoil(transform_matrix=[[1, 2], [3]]), ["frame 1", "transform_matrix", "4 rows of 4"]),
        (spoil(transform_matrix=pose(c03=float("nan"))), ["frame 1", "transform_matrix", "NaN"]),
        (spoil(transform_matrix=pose(c11=float("inf"))), ["frame 1", "transform_matrix", "infinity"]),
        (spoil(transform_matrix=pose(c03=1e30)), ["frame 1", "transform_matrix", "1e+30"]),
        (spoil(transform_matrix=pose(c33=2)), ["frame 1", "transform_matrix", "last row"]),
        (spoil(transform_matrix=MIRRORED), ["frame 1", "transform_matrix", "left-handed"]),
        (spoil(transform_matrix=DOUBLED), ["frame 1", "transform_matrix", "not a rotation"]),
        (spoil(depth_file_path="./train/none"), ["frame 1", "depth_file_path", "no depth image", "--no-depth"]),
        (spoil(depth_file_path="./train/r_0"), ["frame 1", "depth_file_path", "16-bit grey"]),
        (spoil(depth_file_path=7), ["frame 1", "depth_file_path", "7"]),
        (spoil(depth_file_path="../../../../etc/passwd"), ["frame 1", "depth_file_path", "leads out of"]),
        (spoil(top_depth_unit_scale_factor=0), ["depth_unit_scale_factor", "above 0"]),
        (spoil(top_depth_unit_scale_factor="mm"), ["depth_unit_scale_factor", "a finite number", "'mm'"]),
        (spoil(top_depth_unit_scale_factor=1e300), ["depth_unit_scale_factor", "1e+300", "0.001 for millimetres"]),
        (spoil(top_depth_unit_scale_factor=1e-40), ["depth_unit_scale_factor", "1e-40", "1e-12 to 1e+06"]),
    ],
)
def test_a_spoilt_json_is_refused_with_its_place(tmp_path, change, says):
    data = write_scene(tmp_path)
    change(data)
    rewrite(tmp_path, data)
    message = refused(tmp_path)
    assert "transforms_train.json" in message
    assert len(message) < 1000
    for part in says:
        assert part in message, message


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\x00", "[" * 100_000, '{"frames": ' + "9" * 5000 + "}"])
def test_a_file_that_is_not_the_json_expected_is_refused(tmp_path, text):
    write_scene(tmp_path)
    rewrite(tmp_path, text)
    assert "transforms_train.json" in refused(tmp_path)


def test_a_json_in_another_encoding_is_refused(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "transforms_train.json").write_bytes(b'{"camera_angle_x": "\xff\xfe"}')
    assert "not valid JSON" in refused(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_json_in_any_unicode_is_read(tmp_path, encoding):
    write_scene(tmp_path)
    path = tmp_path / "transforms_train.json"
    path.write_text(path.read_text(), encoding=encoding)
    assert len(scenes.load(str(tmp_path)).train) == 3


def test_a_huge_json_is_refused_unread(tmp_path):
    write_scene(tmp_path)
    with open(tmp_path / "transforms_train.json", "r+b") as file:
        file.truncate(65 * 2**20)
    assert "larger than 64 MiB" in refused(tmp_path)


def test_a_broken_test_json_is_refused_too(tmp_path):
    write_scene(tmp_path, splits=("train", "test"))
    (tmp_path / "transforms_test.json").write_text("{")
    assert "transforms_test.json" in refused(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    write_scene(tmp_path / "scene")
    Image.new("RGBA", (8, 6)).save(tmp_path / "secret.png")
    (tmp_path / "scene/train/r_1.png").unlink()
    (tmp_path / "scene/train/r_1.png").symlink_to(tmp_path / "secret.png")
    message = refused(tmp_path / "scene")
    assert "frame 1" in message
    assert "leads out of" in message


def test_a_pipe_in_place_of_an_image_does_not_hang(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "train/r_1.png").unlink()
    os.mkfifo(tmp_path / "train/r_1.png")
    assert "frame 1" in refused(tmp_path)


def test_images_of_unequal_size_are_refused_naming_the_first(tmp_path):
    small = Image.new("RGB", (8, 6))
    write_scene(tmp_path, [small, small, Image.new("RGB", (9, 6)), Image.new("RGB", (7, 6))])
    message = refused(tmp_path)
    assert "frame 2" in message
    assert "'train/r_2.png' is 9 x 6" in message
    assert "'train/r_0.png' is 8 x 6" in message


def test_a_depth_image_of_another_shape_is_refused(tmp_path):
    data = write_scene(tmp_path)
    Image.fromarray(np.ones((8, 4), np.uint16)).save(tmp_path / "train/d.png")
    spoil(depth_file_path="train/d.png")(data)
    rewrite(tmp_path, data)
    message = refused(tmp_path)
    assert "frame 1" in message
    assert "'d.png' is 4 x 8" in message


@pytest.mark.parametrize("downscale", [1, 2])
def test_a_depth_image_may_be_missing_of_some_frames_only(tmp_path, downscale):
    data = write_scene(tmp_path)
    Image.fromarray(np.full((6, 8), 65534, np.uint16)).save(tmp_path / "train/d.png")
    spoil(depth_file_path="train/d", top_depth_unit_scale_factor=1e-4)(data)
    rewrite(tmp_path, data)
    depths = scenes.load(str(tmp_path), downscale=downscale).train.depths
    assert depths is not None
    assert depths.dtype == np.float32
    assert depths.shape == (3, 6 // downscale, 8 // downscale)
    np.testing.assert_allclose(depths[1], 6.5534, rtol=1e-6)  # all 16 bits, none taken for a sign
    assert (depths[[0, 2]] == 0).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_a_depth_image_of_other_than_16_bits_is_refused(tmp_path, mode):
    data = write_scene(tmp_path)
    Image.new(mode, (8, 6)).save(tmp_path / "train/d.png")
    spoil(depth_file_path="train/d.png")(data)
    rewrite(tmp_path, data)
    message = refused(tmp_path)
    for part in ("frame 1", "depth_file_path", "d.png", f"mode {mode}", "16-bit grey"):
        assert part in message, message


def test_a_truncated_depth_image_is_refused(tmp_path):
    data = write_scene(tmp_path)
    noise = np.random.default_rng(0).integers(0, 65536, (6, 8)).astype(np.uint16)
    Image.fromarray(noise).save(tmp_path / "train/d.png")
    whole = (tmp_path / "train/d.png").read_bytes()
    (tmp_path / "train/d.png").write_bytes(whole[: len(whole) * 2 // 3])
    spoil(depth_file_path="train/d.png")(data)
    rewrite(tmp_path, data)
    message = refused(tmp_path)
    assert "frame 1, key 'depth_file_path'" in message
    assert "broken or truncated" in message


def small_png_that_claims(width: int, height: int) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (12_000, 12_000), (20_000, 10)])
def test_an_image_that_claims_to_be_enormous_is_refused_from_its_header(tmp_path, width, height):
    write_scene(tmp_path)
    (tmp_path / "train/r_1.png").write_bytes(small_png_that_claims(width, height))
    message = refused(tmp_path)
    assert "frame 1" in message
    assert "pixels" in message


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_truncated_image_is_refused(tmp_path, keep):
    data = np.random.default_rng(0).integers(0, 255, (6, 8, 4), dtype=np.uint8)
    write_scene(tmp_path, [Image.fromarray(data)] * 3)
    path = tmp_path / "train/r_1.png"
    path.write_bytes(path.read_bytes()[:keep])
    message = refused(tmp_path)
    assert "frame 1" in message
    assert "r_1.png" in message


def test_mutated_images_are_read_or_refused_but_never_crash(tmp_path):
    rng = np.random.default_rng(5)
    write_scene(tmp_path, [Image.fromarray(rng.integers(0, 255, (6, 8, 4), dtype=np.uint8))] * 2)
    path = tmp_path / "train/r_1.png"
    whole = path.read_bytes()
    for _ in range(200):
        spoilt = bytearray(whole)
        for at in rng.integers(8, len(spoilt), 3):
            spoilt[at] = rng.integers(256)
        path.write_bytes(bytes(spoilt))
        with contextlib.suppress(UserError):
            assert np.isfinite(scenes.load(str(tmp_path)).train.images).all()


def test_one_training_image_is_refused(tmp_path):
    write_scene(tmp_path, [Image.new("RGB", (8, 6))])
    assert "only 1 training image;" in refused(tmp_path)


def test_cameras_that_look_away_are_refused_or_warned_about(tmp_path):
    data = write_scene(tmp_path, [plain_image()] * 12)

    def look_away(count: int) -> None:
        for index, frame in enumerate(data["frames"]):
            eye = np.array((4 * math.cos(index), 4 * math.sin(index), 0.5))
            aim = look_at(eye, 2 * eye if index < count else 0 * eye)
            frame["transform_matrix"] = np.vstack([aim, [0, 0, 0, 1]]).tolist()
        rewrite(tmp_path, data)

    look_away(12)
    assert "all 12 cameras miss the box" in refused(tmp_path)
    look_away(7)
    assert "only 42% of the cameras look through the box" in refused(tmp_path)
    look_away(1)
    assert "only 92% of the cameras look through the box" in " ".join(scenes.load(str(tmp_path)).warnings)
    look_away(0)
    assert scenes.load(str(tmp_path)).warnings == ()


def test_a_scene_larger_than_memory_is_refused_with_the_figures(tmp_path, monkeypatch):
    write_scene(tmp_path)
    most = 2**20
    monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: most)
    assert len(scenes.load(str(tmp_path)).train) == 3
    monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: 3 * 8 * 6 * 8 - 1)
    assert "GiB are free" in refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"downscale": 0}, "--downscale 0"),
        ({"downscale": 7}, "leaves nothing"),
        ({"views": 1}, "--views 1 is too few"),
        ({"views": 4}, "it has 3 training views"),
        ({"background": "pink"}, "white, black"),
        ({"max_test_views": -1}, "0 (none) or more"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options, says):
    write_scene(tmp_path)
    assert says in refused(tmp_path, **options)


# Which reader


def test_an_unknown_scene_says_what_there_is_and_what_may_have_been_meant(tmp_path):
    assert "did you mean 'lantern'" in refused(Path("lantren"))
    for name in scenes.builtin_names():
        assert name in refused(tmp_path / "none")
    assert "has no 'transforms_train.json'" in refused(tmp_path)
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
    split = Split(images, cameras, ("a", "b"))
    for broken in (
        lambda: Split(images[:1], cameras, ("a", "b")),
        lambda: Split(images.astype(np.float32), cameras, ("a", "b")),
        lambda: Split(images, cameras, ("a",)),
        lambda: Split(images, cameras, ("a", "b"), np.zeros((2, 4, 3), np.float32)),
        lambda: Scene("s", split, split, np.zeros((2, 3), np.float32), 2.0, 6.0, (1.0, 1.0, 1.0), "s"),
        lambda: Scene("s", split, split, np.array([[-1] * 3, [1] * 3], np.float32), 6.0, 2.0, (1.0, 1.0, 1.0), "s"),
    ):
        with pytest.raises(ValueError):
            broken()
