"""Scenes that do not lie in the box, or show nothing, are refused with what would be right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scenes.base import Split
from scenes.framing import check_aim, check_framing, focus_of, near_far
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.rays import Cameras, look_at

BOX = np.array([[-1.5] * 3, [1.5] * 3], np.float32)
SIZE = 32


def ball(
    *, centre=(0.0, 0.0, 0.0), radius: float = 0.8, distance: float = 4.0, views: int = 12, angle: float = 0.7
) -> Split:
    """Silhouettes of a white ball from all round it."""
    middle = np.array(centre)
    heights = -0.2 + 1.1 * (np.arange(views) + 0.5) / views
    turns = np.arange(views) * math.pi * (3 - math.sqrt(5))
    across = np.sqrt(1 - heights**2)
    eyes = middle + distance * np.stack([across * np.cos(turns), across * np.sin(turns), heights], axis=1)
    focal = SIZE / 2 / math.tan(angle / 2)
    cameras = Cameras(
        np.stack([look_at(eye, middle) for eye in eyes]),
        np.tile([focal, focal, SIZE / 2, SIZE / 2], (views, 1)),
        SIZE,
        SIZE,
    )
    images = np.zeros((views, SIZE, SIZE, 4), np.float16)
    for i, camera in enumerate(cameras):
        origins, directions = (a.astype(np.float64) for a in camera.rays())
        images[i] = (np.linalg.norm(np.cross(middle - origins, directions), axis=1) < radius).reshape(SIZE, SIZE, 1)
    return Split(PixelPool.of(images), cameras, tuple(f"r_{i}" for i in range(views)))


def test_a_scene_in_the_box_has_nothing_to_be_said_about():
    assert check_framing(ball(), BOX, "it") == ()


@pytest.mark.parametrize(
    ("centre", "move"), [((3, 0, 0), "(-3, 0, 0)"), ((0, -2, 0), "(0, 2, 0)"), ((50, 20, 5), "(-50, -20, -5)")]
)
def test_a_scene_beside_the_box_is_refused_with_the_way_back(centre, move):
    split = ball(centre=centre)
    with pytest.raises(UserError, match="look at") as caught:
        check_framing(split, BOX, "it")
    assert f"move the cameras' positions by {move}" in str(caught.value)


def test_a_scene_larger_than_the_box_is_warned_about_or_refused_by_its_share():
    (warning,) = check_framing(ball(radius=2.5, distance=8), BOX, "it")
    assert "of the opaque pixels look through the box" in warning
    scale = float(warning.rsplit(" by ", 1)[1])
    assert 0.4 < scale < 0.6  # 2.5 times that fits 1.5
    with pytest.raises(UserError, match="only .* of the opaque pixels"):
        check_framing(ball(radius=5, distance=12), BOX, "it")


def test_a_tiny_scene_is_warned_about_with_the_scale_and_not_clipped():
    split = ball(radius=0.01, distance=0.04)
    (warning,) = check_framing(split, BOX, "it")
    assert 80 < float(warning.rsplit(" by ", 1)[1]) < 160
    near, _ = near_far(split.cameras, BOX)
    assert near < 0.03


@pytest.mark.parametrize("half", [0.5, 1.4, 1.5])
@pytest.mark.parametrize("distance", [3.4, 3.55, 4.0, 9.0])
def test_nothing_in_the_box_is_nearer_than_near_or_farther_than_far(half, distance):
    cameras = ball(distance=distance).cameras
    near, far = near_far(cameras, BOX)
    corners = half * np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1).reshape(-1, 3)
    distances = np.linalg.norm(corners[:, None] - cameras.poses[:, :, 3], axis=-1)
    faces = np.linalg.norm(cameras.poses[:, :, 3] - np.clip(cameras.poses[:, :, 3], -half, half), axis=1)
    assert near <= min(distances.min(), faces.min()) + 1e-6
    assert far >= distances.max() - 1e-6


def test_cameras_in_one_place_are_refused():
    poses = np.stack([look_at((1, 2, 3), (math.cos(i), math.sin(i), 0)) for i in range(8)])
    cameras = Cameras(poses, np.tile([40.0, 40.0, 16.0, 16.0], (8, 1)), SIZE, SIZE)
    with pytest.raises(UserError, match=r"stand in one place, \(1, 2, 3\)"):
        check_aim(cameras, BOX, "it")


@pytest.mark.parametrize(("colour", "says"), [((0, 0, 0, 0), "transparent"), ((1, 1, 1, 1), "one colour")])
def test_pictures_of_nothing_are_refused(colour, says):
    split = ball()
    split.images[...] = colour
    with pytest.raises(UserError, match=says):
        check_framing(split, BOX, "it")


def test_the_focus_is_where_the_cameras_look():
    focus = focus_of(ball(centre=(0.3, -0.2, 1.0)).cameras)
    assert focus is not None
    np.testing.assert_allclose(focus, (0.3, -0.2, 1.0), atol=1e-4)


def test_cameras_that_look_ahead_have_no_focus():
    poses = np.stack([look_at((0.1 * i, 0, 4), (0.1 * i, 0, 0), (0, 1, 0)) for i in range(8)])
    assert focus_of(Cameras(poses, np.tile([40.0, 40.0, 16.0, 16.0], (8, 1)), SIZE, SIZE)) is None
