"""NSVF and RTMV, written from a scene that is at hand, give that scene back."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.base import Scene
from scenes.files.exr import INSTALL
from scenes.readers import nsvf
from taichi_rf.storage.world import World
from tests.capture_files import HEIGHT, WIDTH, write_nerfstudio
from tests.dataset_files import light, write_nsvf, write_rtmv
from tests.places import DATA
from tests.scene_files import refused, warned

MARGIN = 1.1
"""By which a scene's own box is made larger."""


@pytest.fixture(scope="module")
def duck() -> Scene:
    return scenes.load(str(DATA / "rgbd/duck"), downscale=8, views=8, max_test_views=4)


def same(found: Scene, expected: Scene, *, colours: float) -> None:
    """The scene ``found`` is ``expected``, but for its box."""
    for one, other in ((found.train, expected.train), (found.test, expected.test)):
        np.testing.assert_allclose(one.cameras.poses[:, :, :3], other.cameras.poses[:, :, :3], atol=1e-5)
        np.testing.assert_allclose(MARGIN * one.cameras.poses[:, :, 3], other.cameras.poses[:, :, 3], atol=1e-4)
        np.testing.assert_allclose(one.cameras.intrinsics, other.cameras.intrinsics, rtol=1e-5)
        np.testing.assert_allclose(one.images.astype(float), other.images.astype(float), atol=colours)
    np.testing.assert_array_equal(found.box, expected.box)


@pytest.mark.parametrize("old_intrinsics", [False, True])
def test_nsvf_gives_the_scene_back(old_intrinsics, duck, tmp_path):
    write_nsvf(duck, tmp_path, old_intrinsics=old_intrinsics)
    scene = scenes.load(str(tmp_path))
    assert scene.format == "NSVF or Tanks and Temples"
    same(scene, duck, colours=1.2 / 255)


def test_rtmv_gives_the_scene_back_with_its_depth(duck, tmp_path):
    write_rtmv(duck, tmp_path / "scene")
    scene = scenes.load(str(tmp_path / "scene"))
    assert scene.format == "RTMV"
    same(scene, duck, colours=2e-3)  # half precision of linear light
    for one, other in ((scene.train, duck.train), (scene.test, duck.test)):
        assert ((one.depths > 0) == (other.depths > 0)).all()
        np.testing.assert_allclose(MARGIN * one.depths, other.depths, rtol=1e-5)
    assert scenes.load(str(tmp_path / "scene"), depth=False).train.depths is None
    half = scenes.load(str(tmp_path / "scene"), downscale=2)
    assert half.train.images.shape[1] == duck.train.images.shape[1] // 2


def test_two_thirds_of_rtmv_are_to_train_with_and_a_thirtieth_is_left_out(duck, tmp_path):
    write_rtmv(duck, tmp_path / "scene")
    for number in range(12, 30):
        for suffix in (".exr", ".json"):
            os.link(tmp_path / f"scene/{number % 12:05}{suffix}", tmp_path / f"scene/{number:05}{suffix}")
    scene = scenes.load(str(tmp_path / "scene"), depth=False)
    assert scene.train.names == tuple(f"{number:05}.exr" for number in range(20))
    assert scene.test.names == tuple(f"{number:05}.exr" for number in range(21, 30))


def test_without_a_box_prefixes_or_all_poses_nsvf_is_read_all_the_same(duck, tmp_path):
    write_nsvf(duck, tmp_path)
    (tmp_path / "bbox.txt").unlink()
    for file in [*(tmp_path / "rgb").iterdir(), *(tmp_path / "pose").iterdir()]:
        file.rename(file.with_name(f"view{file.name}"))
    (tmp_path / "pose/view0_0001.txt").unlink()
    assert "there is no 'pose/view0_0001.txt'" in warned(tmp_path)
    scene = scenes.load(str(tmp_path))
    assert scene.test.names == ("rgb/view0_0000.png", "rgb/view2_0001.png")
    assert len(scene.train) == 9


def test_views_to_validate_with_are_test_views_where_there_are_no_others(duck, tmp_path):
    write_nsvf(duck, tmp_path)
    for folder in ("rgb", "pose"):
        for file in (tmp_path / folder).glob("2_*"):
            file.rename(file.with_name(f"1{file.name[1:]}"))
    assert all(name.startswith("rgb/1_") for name in scenes.load(str(tmp_path)).test.names)


def test_smaller_copies_of_nsvf_images_scale_the_camera(duck, tmp_path):
    write_nsvf(duck, tmp_path)
    for path in (tmp_path / "rgb").iterdir():
        with Image.open(path) as image:
            image.resize((14, 14)).save(path)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.cameras.intrinsics, duck.train.cameras.intrinsics / 2, rtol=1e-5)
    assert "the focal length is scaled" in "\n".join(scene.warnings)


def test_a_world_on_its_side_is_turned_by_quarters_so_that_the_box_keeps_its_sides(duck, tmp_path):
    write_nsvf(duck, tmp_path)
    aside = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # what was z is y now
    for path in (tmp_path / "pose").iterdir():
        pose = np.loadtxt(path)
        pose[:3] = aside @ pose[:3]
        np.savetxt(path, pose)
    (tmp_path / "bbox.txt").write_text("-1.5 -0.5 -1.0 1.5 0.5 1.0\n")
    scene = scenes.load(str(tmp_path))
    assert "turned upright" in "\n".join(scene.warnings)
    np.testing.assert_allclose(np.sort(scene.box[1]), [0.5, 1.0, 1.5], atol=1e-6)
    assert scene.box[1, 2] == 0.5
    assert scene.train.cameras.poses[:, 2, 1].mean() > 0.3
    turned = scenes.load(str(tmp_path), world=World(up="z"))
    assert turned.train.cameras.poses[:, 1, 1].mean() > 0.3


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("intrinsics.txt", "", "is empty"), ("intrinsics.txt", "a b c", "not a row of numbers"),
        ("intrinsics.txt", "1 2", "a matrix of 4 x 4"), ("intrinsics.txt", "nan 1 1 1", "finite"),
        ("intrinsics.txt", "0 14 14 0", "cannot be"), ("intrinsics.txt", "30 500 14 0", "outside"),
        ("intrinsics.txt", "1 " * 50_000, "larger than 64 KiB"), ("bbox.txt", "0 0 0 1 1", "5 numbers"),
        ("bbox.txt", "1 1 1 0 0 0", "is no box"), ("bbox.txt", "0 0 0 1 1 1e9 0", "is no box"),
        ("pose/0_0002.txt", "1 2 3", "3 numbers"), ("pose/0_0002.txt", "1 0 0 0 " * 4, "0_0002.txt"),
        ("pose/0_0002.txt", "1e999", "finite"),
    ],
)  # fmt: skip
def test_broken_files_of_nsvf_are_refused_by_name(file, content, says, duck, tmp_path):
    write_nsvf(duck, tmp_path)
    (tmp_path / file).write_text(content)
    message = refused(tmp_path)
    assert says in message
    assert file.rpartition("/")[2] in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cam2world": 3}, "key 'cam2world'"), ({"cam2world": [[0] * 4] * 4}, "last row"),
        ({"intrinsics": None}, "key 'intrinsics'"), ({"width": "a"}, "key 'width'"), ({"width": 3}, "cannot be"),
        ({"scene_max_3d_box": [0, 0]}, "scene_max_3d_box"), ({"scene_max_3d_box": [-9, -9, -9]}, "is no box"),
        ({"intrinsics": {"fx": 1, "fy": 1, "cx": -3, "cy": 1}}, "principal point"),
    ],
)  # fmt: skip
def test_what_a_view_of_rtmv_cannot_say_is_refused(change, says, duck, tmp_path):
    write_rtmv(duck, tmp_path / "scene")
    path = tmp_path / "scene/00000.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({"camera_data": data["camera_data"] | change}))
    message = refused(tmp_path / "scene")
    assert says in message
    assert "00000.json" in message


def test_images_of_transforms_json_may_be_openexr_whose_colours_are_multiplied_by_alpha(tmp_path):
    import OpenEXR

    data = write_nerfstudio(tmp_path)
    dice = np.random.default_rng(0)
    expected = {}
    for frame in data["frames"]:
        path = tmp_path / frame["file_path"]
        alpha = dice.integers(0, 2, (HEIGHT, WIDTH, 1)) * dice.random((HEIGHT, WIDTH, 1))
        colour = dice.random((HEIGHT, WIDTH, 3)) * 1.2  # some of it brighter than white
        pixels = np.concatenate([light(colour) * alpha, alpha], axis=-1).astype(np.float32)
        path.unlink()
        OpenEXR.File({}, {name: pixels[..., at].copy() for at, name in enumerate("RGBA")}).write(
            str(path.with_suffix(".exr"))
        )
        expected[path.stem] = np.concatenate([np.minimum(colour, 1) * alpha, alpha], axis=-1)
    scene = scenes.load(str(tmp_path))
    assert scene.space.kind == "box"  # it has alpha, so it has no background
    for index, name in enumerate(scene.train.names):
        image = expected[name.rpartition("/")[2].removesuffix(".exr")]
        white = image[..., :3] + 1 - image[..., 3:]
        np.testing.assert_allclose(scene.train.composite(index, (1, 1, 1)), white, atol=2e-3)


def test_without_openexr_it_is_said_how_to_get_it(duck, tmp_path, monkeypatch):
    write_rtmv(duck, tmp_path / "scene")
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    assert INSTALL in refused(tmp_path / "scene", depth=False)


def test_broken_openexr_images_are_refused(duck, tmp_path):
    write_rtmv(duck, tmp_path / "scene")
    path = tmp_path / "scene/00001.exr"
    whole = path.read_bytes()
    for content in (whole[:100], whole[: len(whole) // 2], b"v/1\x01", whole[:4] + b"\x02\x10\0\0" + whole[8:]):
        path.write_bytes(content)
        assert "00001.exr" in refused(tmp_path / "scene", depth=False)


def test_nsvf_is_recognised_by_its_folders_alone(duck, tmp_path):
    assert not nsvf.recognises(tmp_path)
    write_nsvf(duck, tmp_path)
    assert nsvf.recognises(tmp_path)
