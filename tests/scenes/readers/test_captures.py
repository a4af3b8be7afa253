"""Captures of nerfstudio, COLMAP and LLFF: the same cameras from each, and what is refused."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.files.colmap_files import read_model
from scenes.readers.colmap import reprojection_errors
from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from tests.capture_files import (
    COUNT,
    CX,
    CY,
    FX,
    FY,
    HEIGHT,
    POINTS,
    WIDTH,
    poses,
    write_colmap,
    write_images,
    write_llff,
    write_nerfstudio,
)
from tests.places import DATA
from tests.scene_files import refused, warned

WRITERS = {
    "nerfstudio": write_nerfstudio,
    "colmap": write_colmap,
    "colmap text": lambda root: write_colmap(root, text=True),
    "llff": write_llff,
}


def positions(scene) -> np.ndarray:
    """Of all cameras, training views and test views in the order of their names."""
    names = [*scene.train.names, *scene.test.names]
    every = np.concatenate([scene.train.cameras.poses, scene.test.cameras.poses])
    return every[np.argsort([name.rpartition("/")[2] for name in names])]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_cameras(name, tmp_path):
    WRITERS[name](tmp_path)
    scene = scenes.load(str(tmp_path), world=World(space="box"))
    assert (len(scene.train), len(scene.test)) == (COUNT - 3, 3)  # every eighth of 17, the first among them
    assert [view.rpartition("/")[2] for view in scene.test.names] == ["IMG_000.png", "IMG_008.png", "IMG_016.png"]
    found, expected = positions(scene), poses()
    np.testing.assert_allclose(found[:, :, :3], expected[:, :, :3], atol=1e-6)
    # Places are the same up to one shift and one scale, which make the object fit the box.
    low, high = found[:, :, 3].mean(axis=0), expected[:, :, 3].mean(axis=0)
    scale = np.linalg.norm(found[:, :, 3] - low) / np.linalg.norm(expected[:, :, 3] - high)
    np.testing.assert_allclose(found[:, :, 3] - low, scale * (expected[:, :, 3] - high), atol=1e-5)
    assert float(np.abs(scene.box).max()) == pytest.approx(1.5)
    fy, cx, cy = (FX, WIDTH / 2, HEIGHT / 2) if name == "llff" else (FY, CX, CY)
    np.testing.assert_allclose(scene.train.cameras.intrinsics, [[FX, fy, cx, cy]] * (COUNT - 3), rtol=1e-6)
    assert scene.train.cameras.lenses == ()
    assert "the scene is moved by" in "\n".join(scene.warnings)


@pytest.mark.parametrize("name", WRITERS)
def test_what_the_points_span_fits_the_box(name, tmp_path):
    """The cameras are 6 from the middle, and the points within some 3 of it."""
    WRITERS[name](tmp_path)
    scene = scenes.load(str(tmp_path), world=World(space="box"))
    away = np.linalg.norm(positions(scene)[:, :, 3], axis=1)
    half = 1.5 / (away.mean() / 6.1)  # of the box, in the units of before
    assert 2 < half < 6.5
    if name.startswith("colmap"):
        assert half == pytest.approx(1.1 * np.percentile(np.abs(POINTS), 98, axis=0).max(), rel=0.15)


def test_a_lens_is_kept_in_the_cameras_of_both_formats(tmp_path):
    write_nerfstudio(tmp_path / "a", camera_model="OPENCV", k1=0.1, k2=-0.02, p1=1e-3, p2=-2e-3)
    write_colmap(tmp_path / "b", model=4, parameters=(FX, FY, CX, CY, 0.1, -0.02, 1e-3, -2e-3))
    one, other = (scenes.load(str(tmp_path / name)).train.cameras for name in "ab")
    assert one.lenses == other.lenses
    assert one.lenses[0].radial[:2] == (0.1, -0.02)
    assert one.lenses[0].tangential == (1e-3, -2e-3)
    origins, directions = one[0].rays()
    pixels, _ = one[0].project(origins + 3 * directions)
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    np.testing.assert_allclose(pixels, np.stack([x, y], axis=-1).reshape(-1, 2), atol=1e-3)


def test_lists_of_views_to_train_and_to_test_with_are_followed(tmp_path):
    write_nerfstudio(
        tmp_path, train_filenames=[f"images/IMG_{i:03}.png" for i in range(10)], test_filenames=["images/IMG_012.png"]
    )
    scene = scenes.load(str(tmp_path))
    assert len(scene.train) == 10
    assert scene.test.names == ("images/IMG_012.png",)


def test_smaller_copies_of_the_images_scale_the_focal_length_and_it_is_said(tmp_path):
    write_llff(tmp_path, "images_4", scale=2)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.cameras.intrinsics[0], [FX / 2, FX / 2, WIDTH / 4, HEIGHT / 4])
    assert "the focal length is scaled to it" in warned(tmp_path)


@pytest.mark.parametrize("folder", ["sparse", "colmap/sparse/0", "."])
def test_a_model_is_found_wherever_it_usually_lies(folder, tmp_path):
    write_colmap(tmp_path, folder=folder)
    assert len(scenes.load(str(tmp_path)).train) == COUNT - 3


def test_of_several_models_the_one_with_most_images_is_used_and_it_is_said(tmp_path):
    write_colmap(tmp_path, folder="sparse/1")
    write_colmap(tmp_path, folder="sparse/0", text=True)
    lines = (tmp_path / "sparse/0/images.txt").read_text().splitlines()
    (tmp_path / "sparse/0/images.txt").write_text("\n".join(lines[:9]) + "\n")
    assert len(scenes.load(str(tmp_path)).train) == COUNT - 3
    assert "'0' placed 4: they share no world" in warned(tmp_path)


def test_images_that_the_model_lists_and_the_disk_lacks_are_left_out(tmp_path):
    names = write_colmap(tmp_path)
    for name in names[:3]:
        (tmp_path / "images" / name).unlink()
    assert f"image '{names[0]}': there is no such file" in warned(tmp_path)
    assert "(2 more alike)" in warned(tmp_path)
    shutil.rmtree(tmp_path / "images")
    assert f"none of the {COUNT} images" in refused(tmp_path)


def test_pictures_that_were_turned_since_are_refused(tmp_path):
    write_colmap(tmp_path)
    write_images(tmp_path / "images", HEIGHT, WIDTH)
    assert "it has been turned since" in refused(tmp_path)


def test_images_of_other_number_than_poses_are_refused(tmp_path):
    write_llff(tmp_path)
    next((tmp_path / "images").iterdir()).unlink()
    assert f"the poses of {COUNT} images" in refused(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda v: v[:, :16], "n x 17"), (lambda v: v.astype("U8"), "n x 17"), (lambda v: v * np.nan, "NaN"),
        (lambda v: np.concatenate([2 * v[:, :4], v[:, 4:]], axis=1), "is not a rotation"),
        (lambda v: np.concatenate([v[:, :15], v[:, 16:], v[:, 15:16]], axis=1), "0 < nearest < farthest"),
    ],
)  # fmt: skip
def test_broken_poses_of_llff_are_refused(spoil, says, tmp_path):
    np.save(tmp_path / "poses_bounds.npy", spoil(write_llff(tmp_path)))
    assert says in refused(tmp_path)


def test_poses_that_are_no_array_or_hold_objects_are_refused(tmp_path):
    write_llff(tmp_path)
    np.save(tmp_path / "poses_bounds.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert "no array" in refused(tmp_path)
    (tmp_path / "poses_bounds.npy").write_bytes(b"\x93NUMPY")
    assert "no array" in refused(tmp_path)


def test_images_that_lead_out_of_the_folder_are_refused_in_every_format(tmp_path):
    outside = tmp_path / "outside"
    write_images(outside)
    for name, writer in WRITERS.items():
        root = tmp_path / name
        root.mkdir()
        writer(root)
        (root / "images" / "IMG_003.png").unlink()
        os.symlink(outside / "IMG_003.png", root / "images" / "IMG_003.png")
        assert "link" in refused(root)
        assert len(scenes.load(str(root), follow_links=True).train) == COUNT - 3


def test_a_format_can_be_named(tmp_path):
    write_nerfstudio(tmp_path)
    write_colmap(tmp_path)
    assert "transforms.json" in "\n".join(scenes.load(str(tmp_path)).warnings)
    assert "sparse" in "\n".join(scenes.load(str(tmp_path), world=World(format="colmap")).warnings)
    assert "poses_bounds.npy" in refused(tmp_path, world=World(format="llff"))
    assert "choose one of" in refused(tmp_path, world=World(format="nerf"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frames": []}, "lists no image"), ({"train_filenames": 3}, "a list of images"),
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR"), ({"test_filenames": ["../../x.png"]}, "leads out"),
    ],
)  # fmt: skip
def test_a_list_of_views_that_cannot_be_is_refused(change, says, tmp_path):
    data = write_nerfstudio(tmp_path)
    (tmp_path / "transforms.json").write_text(json.dumps(data | change))
    assert says in refused(tmp_path)


@pytest.mark.parametrize("name", ["room", "bonsai", "two_cameras"])
def test_the_cameras_of_real_models_show_their_points_where_they_were_found(name):
    errors = reprojection_errors(read_model(DATA / "colmap" / name / "sparse/0"))
    assert len(errors) > 1000
    assert np.isfinite(errors).all()
    assert errors.mean() < 1.5  # pixels


@pytest.mark.parametrize("name", ["transforms/fox", "transforms/fruit", "llff/fern", "colmap/room"])
def test_real_captures_are_read_without_a_word_about_how(name):
    scene = scenes.load(str(DATA / name), downscale=8, views=12, max_test_views=2)
    assert (len(scene.train), len(scene.test)) == (12, 2)
    assert scene.near < scene.far
    with pytest.raises(UserError, match="too few"):
        scenes.load(str(DATA / name), views=1)


def test_a_world_that_lies_on_its_side_is_turned_upright(tmp_path):
    """COLMAP's worlds begin with the first camera, whose y axis points down."""
    write_colmap(tmp_path / "a")
    data = write_nerfstudio(tmp_path / "b")
    aside = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # z comes to be -y
    for frame in data["frames"]:
        matrix = np.array(frame["transform_matrix"])
        matrix[:3] = aside @ matrix[:3]
        frame["transform_matrix"] = matrix.tolist()
    (tmp_path / "b/transforms.json").write_text(json.dumps(data))
    scene = scenes.load(str(tmp_path / "b"))
    assert "turned upright" in "\n".join(scene.warnings)
    assert scene.train.cameras.poses[:, 2, 1].mean() > 0.7
    rotations = scene.train.cameras.poses[:, :, :3]
    np.testing.assert_allclose(
        rotations.transpose(0, 2, 1) @ rotations, np.tile(np.eye(3), (len(rotations), 1, 1)), atol=1e-6
    )
    # The cameras stand to each other as they did.
    same = scenes.load(str(tmp_path / "a"))
    for one, other in ((0, 5), (3, 11)):
        np.testing.assert_allclose(
            rotations[one].T @ rotations[other],
            same.train.cameras.poses[one, :, :3].T @ same.train.cameras.poses[other, :, :3],
            atol=1e-5,
        )


@pytest.mark.parametrize("name", WRITERS)
def test_some_of_the_views_lie_where_all_of_them_do(name, tmp_path):
    """Else a model that was trained on few views would be judged in another world."""
    WRITERS[name](tmp_path)
    whole, few = (scenes.load(str(tmp_path), views=views) for views in (None, 3))
    np.testing.assert_array_equal(few.test.cameras.poses, whole.test.cameras.poses)
    np.testing.assert_array_equal(few.box, whole.box)


def test_a_view_to_test_with_is_never_one_to_train_with(tmp_path):
    names = [f"images/IMG_{i:03}.png" for i in range(COUNT)]
    write_nerfstudio(tmp_path, train_filenames=names, test_filenames=names[:2])
    scene = scenes.load(str(tmp_path))
    assert not set(scene.train.names) & set(scene.test.names)


def test_a_capture_with_a_background_lies_in_a_contraction(tmp_path):
    write_colmap(tmp_path)
    scene = scenes.load(str(tmp_path))
    assert scene.space.kind == "contract"
    away = np.abs(positions(scene)[:, :, 3]).max(axis=1)
    assert 0.8 < away.max() < 1.5  # the cameras, which look at the middle of the inner cube, are at its border
    assert 0 < scene.near <= 0.5 < 100 < scene.far
    assert any("contraction" in text for text in scene.warnings)


def test_cameras_that_look_ahead_lie_in_device_coordinates(tmp_path):
    write_llff(tmp_path, ahead=True)
    scene = scenes.load(str(tmp_path))
    assert scene.space.kind == "ndc"
    places = np.concatenate([scene.train.cameras.poses, scene.test.cameras.poses])[:, :, 3]
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-5)
    assert places[:, 2].min() > -1, "all before the near plane"
    low, high = scene.field_box
    for split in (scene.train, scene.test):
        for camera in split.cameras:
            starts, along = scene.space.rays(*camera.rays())
            for points, least in ((starts, 1.5), (starts + along * (2 / along[:, 2:]), np.inf)):
                outside = (points < low - 1e-5) | (points > high + 1e-5)
                assert (np.abs(points[outside]) > least).all(), "all that is far away is in the box"


def test_images_that_are_transparent_somewhere_lie_in_a_box(tmp_path):
    write_colmap(tmp_path, alpha=True)
    assert scenes.load(str(tmp_path)).space.kind == "box"
    for path in (tmp_path / "images").iterdir():  # as many programs write what has no alpha
        Image.open(path).convert("RGB").convert("RGBA").save(path)
    assert scenes.load(str(tmp_path)).space.kind == "contract"


def test_a_space_that_cannot_be_is_refused(tmp_path):
    write_colmap(tmp_path)
    assert "--space sphere: choose one of" in refused(tmp_path, world=World(space="sphere"))
    assert "look the same way" in refused(tmp_path, world=World(space="ndc"))


def test_what_nothing_is_known_of_has_the_mean_colour_of_opaque_photographs(tmp_path):
    write_nerfstudio(tmp_path)
    space = scenes.load(str(tmp_path), world=World(space="contract"))
    images = np.concatenate([image.reshape(-1, 4) for image in space.train.images]).astype(np.float32)
    np.testing.assert_allclose(space.background, images[:, :3].mean(axis=0), atol=0.01)
    assert scenes.load(str(tmp_path), world=World(space="box")).background == (1, 1, 1)
