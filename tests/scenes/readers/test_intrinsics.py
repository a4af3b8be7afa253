"""Cameras that are no pinhole, and numbers that contradict each other: refused or warned about, never silent."""

from __future__ import annotations

import math

import numpy as np
import pytest

import scenes
from taichi_rf.core.errors import UserError
from tests.scene_files import plain_image, pose, refused, rewrite, spoil, warned, write_scene

FOCAL = 4 / math.tan(0.35)  # of 8 pixels across 0.7 radians
HUNDRED = [plain_image(100, 80)] * 2


def spoilt(folder, change, images=None):
    """A scene whose json ``change`` has changed."""
    data = write_scene(folder, images)
    change(data)
    rewrite(folder, data)
    return folder


@pytest.mark.parametrize("level", ["top_", ""])
@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("camera_model", "EQUIRECTANGULAR", "'EQUIRECTANGULAR'"),
        ("camera_model", "ORTHOGRAPHIC", "'ORTHOGRAPHIC'"),
        ("camera_model", "THIN_PRISM_FISHEYE", "'THIN_PRISM_FISHEYE'"),
        ("camera_model", "made up", "'made up'"),
        ("camera_model", ["PINHOLE"], "a list"),
        ("lens", "Equirectangular 360", "'Equirectangular 360'"),
        ("sensor_type", "OMNIDIRECTIONALSTEREO_L", "'OMNIDIRECTIONALSTEREO_L'"),
        ("ftheta_p0", 0.3, "0.3"),
        ("orthographic", True, "True"),
        ("latlong", True, "True"),
        ("k4", "a lot", "'a lot'"),
        ("distortion", "brown", "a list of numbers"),
    ],
)
def test_a_camera_that_is_not_supported_is_refused_by_name(tmp_path, level, key, value, says):
    message = refused(spoilt(tmp_path, spoil(**{level + key: value})))
    assert says in message
    assert f"'{key}'" in message or f"'{key}'" in str(list(value))
    assert ("frame 1" in message) == (level == "")


@pytest.mark.parametrize("level", ["top_", ""])
@pytest.mark.parametrize(
    "keys",
    [
        {"camera_model": "PINHOLE"},
        {"camera_model": "simple_pinhole "},
        {"camera": "Canon EOS", "lens": "EF 50mm", "model": "orrery", "note": "fisheye images were undistorted"},
        {"camera_model": "OPENCV", "k1": 0, "k2": 0.0, "p1": 0, "p2": 0},
        {"camera_model": "SIMPLE_RADIAL", "k1": 0},
        {"camera_model": None, "k1": None},
        {"is_fisheye": False},
        {"distortion_params": [0, 0, 0, 0]},
        {"distortion": {}},
    ],
)
def test_a_pinhole_by_any_name_passes(tmp_path, level, keys):
    scene = scenes.load(str(spoilt(tmp_path, spoil(**{level + key: value for key, value in keys.items()}))))
    np.testing.assert_allclose(scene.train.cameras.intrinsics, [[FOCAL, FOCAL, 4, 3]] * 3, rtol=1e-6)
    assert scene.warnings == ()


@pytest.mark.parametrize("level", ["top_", ""])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale", 0.5),
        ("offset", [0.5, 0.5, 0.5]),
        ("aabb_scale", 4),
        ("rolling_shutter", [0, 0, 0.1, 0]),
        ("envmap", "sky.exr"),
        ("shift_x", 0.2),
    ],
)
def test_a_key_that_is_not_supported_is_warned_about_by_name(tmp_path, level, key, value):
    assert f"key '{key}'" in warned(spoilt(tmp_path, spoil(**{level + key: value})))


@pytest.mark.parametrize(
    "keys",
    [
        {"scale": 1.0, "offset": [0, 0, 0], "aabb_scale": 1, "rolling_shutter": [0, 0, 0, 0]},
        {"mask_path": "", "depth_path": None, "applied_scale": 2, "sharpness": 35.5, "rotation": 0.01, "n_frames": 9},
    ],
)
def test_keys_that_change_nothing_pass_without_a_word(tmp_path, keys):
    spoilt(tmp_path, lambda data: (data.update(keys), data["frames"][0].update(keys)))
    assert scenes.load(str(tmp_path)).warnings == ()


@pytest.mark.parametrize("key", ["mask_file_path", "dynamic_mask_path"])
def test_masks_by_the_keys_of_others_are_refused(tmp_path, key):
    assert f"frame 1, key '{key}': 'masks/1.png'" in refused(spoilt(tmp_path, spoil(**{key: "masks/1.png"})))


def test_scenes_that_move_are_refused_and_one_moment_passes(tmp_path):
    def at(*times):
        return lambda data: [frame.update(time=time) for frame, time in zip(data["frames"], times)]

    spoilt(tmp_path, at(0.0, 0.5, 1.0))
    assert "key 'time': frames from 0 to 1" in refused(tmp_path)
    spoilt(tmp_path / "still", at(0.5, 0.5, 0.5))
    assert scenes.load(str(tmp_path / "still")).warnings == ()
    spoilt(tmp_path / "exposure", spoil(transform_matrix_start=pose(c03=4.1)))
    assert "key 'transform_matrix_start'" in refused(tmp_path / "exposure")


def test_depth_keys_of_others_are_named_where_depth_is_wanted(tmp_path):
    spoilt(tmp_path, spoil(depth_path="d.png", top_integer_depth_scale=0.001))
    text = warned(tmp_path)
    assert "'depth_path'" in text
    assert "'integer_depth_scale'" in text
    assert scenes.load(str(tmp_path), depth=False).warnings == ()


# Contradictions


def test_width_and_height_that_are_swapped_are_refused(tmp_path):
    message = refused(spoilt(tmp_path, spoil(top_w=6, top_h=8)))
    assert "6 x 8 is not the shape" in message
    assert "8 x 6 pixels; width and height are swapped" in message


@pytest.mark.parametrize(("w", "h", "fits"), [(800, 600, True), (800, 601, True), (80, 67, False), (800, 800, False)])
def test_width_and_height_of_another_shape_are_refused_but_for_rounding(tmp_path, w, h, fits):
    images = [plain_image(80, 60)] * 2
    spoilt(tmp_path, spoil(top_w=w, top_h=h, top_fl_x=1000, top_camera_angle_x=None), images)
    if fits:
        np.testing.assert_allclose(scenes.load(str(tmp_path)).train.cameras.intrinsics[0, 0], 100)
    else:
        assert f"{w} x {h} is not the shape" in refused(tmp_path)


@pytest.mark.parametrize("w", [0, -8, 1e-9, 1e300, float("inf"), "8", None, True])
def test_a_width_that_is_none_is_refused(tmp_path, w):
    data = write_scene(tmp_path)
    data |= {"w": w, "fl_x": 10}
    rewrite(tmp_path, data)
    assert "'w'" in refused(tmp_path)


@pytest.mark.parametrize("factor", [2, 0.5, 25])
def test_a_focal_length_that_contradicts_the_angle_of_view_is_refused(tmp_path, factor):
    message = refused(spoilt(tmp_path, spoil(top_fl_x=FOCAL * factor)))
    assert "'fl_x'" in message
    assert "'camera_angle_x'" in message
    assert "add 'w' and 'h'" in message


def test_a_focal_length_that_nearly_agrees_with_the_angle_of_view_is_used_with_a_warning(tmp_path):
    assert "the focal length is used" in warned(spoilt(tmp_path, spoil(top_fl_x=FOCAL * 1.05)))
    np.testing.assert_allclose(scenes.load(str(tmp_path)).train.cameras.intrinsics[0, 0], FOCAL * 1.05, rtol=1e-6)
    spoilt(tmp_path / "same", spoil(top_fl_x=FOCAL * 1.0001))
    assert scenes.load(str(tmp_path / "same")).warnings == ()


@pytest.mark.parametrize(
    ("own", "general"),
    [
        ({"camera_angle_x": 0.35}, {}),
        ({"fl_x": 22.0}, {}),
        ({"camera_angle_x": 0.35}, {"fl_x": FOCAL}),
        ({"fx": 22.0, "fy": 22.0}, {"fl_x": FOCAL, "fl_y": FOCAL}),
    ],
)
def test_a_frame_of_its_own_focal_length_has_it_and_the_file_s_is_said_to_differ(tmp_path, own, general):
    spoilt(tmp_path, lambda data: (data.update(general), data["frames"][1].update(own)))
    scene = scenes.load(str(tmp_path))
    expected = 22.0 if "camera_angle_x" not in own else 4 / math.tan(0.175)
    np.testing.assert_allclose(scene.train.cameras.intrinsics[:, 0], [FOCAL, expected, FOCAL], rtol=1e-6)
    np.testing.assert_allclose(scene.train.cameras.intrinsics[:, 1], [FOCAL, expected, FOCAL], rtol=1e-6)
    assert "frame 1" in scene.warnings[0]
    assert f"'{next(iter(own))}'" in scene.warnings[0]
    assert f"'{next(iter({**general, 'camera_angle_x': 0}))}'" in scene.warnings[0]


def test_two_names_of_one_focal_length_must_agree(tmp_path):
    spoilt(tmp_path, spoil(top_camera_angle_x=None, top_fl_x=10, top_fx=10))
    np.testing.assert_allclose(scenes.load(str(tmp_path)).train.cameras.intrinsics[0], [10, 10, 4, 3])
    spoilt(tmp_path / "other", spoil(top_fl_x=FOCAL, top_fx=2 * FOCAL))
    assert "'fl_x' and 'fx' contradict each other" in refused(tmp_path / "other")


def test_an_angle_down_alone_gives_square_pixels(tmp_path):
    spoilt(tmp_path, spoil(top_camera_angle_x=None, top_camera_angle_y=0.6))
    focal = 3 / math.tan(0.3)
    np.testing.assert_allclose(scenes.load(str(tmp_path)).train.cameras.intrinsics[0], [focal, focal, 4, 3], rtol=1e-6)


@pytest.mark.parametrize("factor", [1.1, 0.5])
def test_pixels_that_are_not_square_are_kept_and_said(tmp_path, factor):
    assert "not square" in warned(spoilt(tmp_path, spoil(top_fl_x=FOCAL, top_fl_y=FOCAL * factor)))
    np.testing.assert_allclose(scenes.load(str(tmp_path)).train.cameras.intrinsics[0, 1], FOCAL * factor, rtol=1e-6)


# Numbers of another size, and numbers that nothing has


@pytest.mark.parametrize("width", [100, 400])
def test_a_focal_length_whose_images_no_key_gives_the_size_of_is_warned_about(tmp_path, width):
    """1111 pixels are those of 800 across; of 100 across they are an angle of view of 5 degrees."""
    text = warned(spoilt(tmp_path, spoil(top_camera_angle_x=None, top_fl_x=1111.1), [plain_image(width, 80)] * 2))
    assert f"{math.degrees(2 * math.atan(width / 2 / 1111.1)):.3g} degrees" in text
    assert f"{width} x 80" in text
    assert "add 'w' and 'h'" in text


def test_a_focal_length_whose_size_is_told_passes_without_a_word(tmp_path):
    spoilt(tmp_path, spoil(top_camera_angle_x=None, top_fl_x=1111.1, top_w=100, top_h=80), HUNDRED)
    assert scenes.load(str(tmp_path)).warnings == ()


def test_an_odd_angle_of_view_is_warned_about(tmp_path):
    text = warned(spoilt(tmp_path, spoil(top_camera_angle_x=0.09), HUNDRED))
    assert "5.16 degrees" in text


@pytest.mark.parametrize("centre", [(400, 400), (0.5, 0.5), (-3, 40), (50, 1e308), (1e308, 1e308), (-1e308, 40)])
def test_a_principal_point_outside_or_of_another_size_is_refused(tmp_path, centre):
    message = refused(spoilt(tmp_path, spoil(top_cx=centre[0], top_cy=centre[1]), HUNDRED))
    assert "'cx' and 'cy'" in message
    assert "100 x 80" in message


def test_a_principal_point_outside_is_refused_though_the_size_is_told(tmp_path):
    assert "'cx' and 'cy'" in refused(spoilt(tmp_path, spoil(top_cx=130, top_cy=40, top_w=100, top_h=80), HUNDRED))


def test_a_principal_point_far_off_is_used_with_a_warning(tmp_path):
    assert "'cx' and 'cy'" in warned(spoilt(tmp_path, spoil(top_cx=75, top_cy=40), HUNDRED))
    np.testing.assert_allclose(scenes.load(str(tmp_path)).train.cameras.intrinsics[0, 2:], [75, 40])


@pytest.mark.parametrize("level", ["top_", ""])
@pytest.mark.parametrize(
    "keys",
    [
        {"fl_x": 1e-300},
        {"fl_x": 5e-324},
        {"fl_x": 1e308},
        {"fl_x": FOCAL, "fl_y": 1e-300},
        {"fl_x": 10.0, "w": 1e-300, "h": 1e-300},
        {"fl_x": 10.0, "w": 1e308, "h": 1e308},
        {"fl_y": 1e308},
        {"camera_angle_x": 1e-320},
        {"camera_angle_x": math.pi - 1e-9},
    ],
)
def test_focal_lengths_that_no_camera_has_are_refused(tmp_path, level, keys):
    change = {level + key: value for key, value in keys.items()}
    change["top_camera_angle_x"] = keys.get("camera_angle_x") if level else None
    data = write_scene(tmp_path)
    if not level:  # the other frames have one that is right
        for frame in data["frames"]:
            frame["fl_x"] = FOCAL
        change.setdefault("fl_x", None)
    spoil(**change)(data)
    rewrite(tmp_path, data)
    message = refused(tmp_path)
    assert any(f"'{key}'" in message for key in ("fl_x", "fl_y", "w", "camera_angle_x")), message


@pytest.mark.parametrize(
    "change",
    [
        spoil(top_fl_x="9" * 100_000),
        spoil(top_camera_model="\u202e" * 100_000),
        spoil(file_path="x/" * 50_000),
        spoil(transform_matrix="y" * 100_000),
        spoil(transform_matrix=[["z" * 100_000] * 4] * 4),
        spoil(k1="k" * 100_000),
        spoil(scale="s" * 100_000),
        spoil(depth_file_path="d" * 100_000),
        spoil(time="t" * 100_000),
        spoil(mask_path="m" * 100_000),
    ],
)
def test_messages_repeat_no_more_than_a_little_of_a_value(tmp_path, change):
    spoilt(tmp_path, change)
    try:
        texts = scenes.load(str(tmp_path)).warnings
    except UserError as error:
        texts = (str(error),)
    assert texts
    assert all(len(text) < 800 + 2 * len(str(tmp_path)) for text in texts), [len(text) for text in texts]
