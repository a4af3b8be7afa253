"""Bad input to the NeRF-synthetic reader: the message says which file, which frame, which key."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import scenes
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import look_at
from tests.scene_files import plain_image, pose, refused, rewrite, spoil, write_scene

MIRRORED = (np.array(pose()) * [-1, 1, 1, 1]).tolist()
STRETCHED = (np.array(pose()) * [2, 2, 1, 1]).tolist()


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
        (spoil(top_k1="a lot"), ["k1", "a finite number"]),
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
        (spoil(transform_matrix=STRETCHED), ["frame 1", "transform_matrix", "not a rotation"]),
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


def test_images_of_unequal_size_may_all_be_too_small_to_be_made_smaller(tmp_path):
    write_scene(tmp_path, [plain_image(), plain_image(), plain_image(9, 3), plain_image(7, 6)])
    message = refused(tmp_path, downscale=5)
    assert "frame 2" in message
    assert "nothing of 'train/r_2.png' of 9 x 3 pixels" in message


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
