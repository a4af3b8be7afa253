"""The orbit camera moves by pixels, keeps its horizon and reproduces a scene's cameras."""

from __future__ import annotations

import math

import numpy as np
import pytest

from taichi_rf.kernels.rays import Cameras, look_at
from taichi_rf.motion.orbit import Orbit

BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]], dtype=np.float32)


def ring(count: int = 12, up=(0.0, 0.0, 1.0), turn=None) -> Cameras:
    """Level cameras around the origin, looking at it from different heights; ``turn`` rotates the whole world."""
    poses, turn = [], np.eye(3) if turn is None else turn
    for k in range(count):
        angle, height = 2 * math.pi * k / count, 0.3 + 0.4 * (k % 3)
        eye = turn @ np.array([4 * math.cos(angle), 4 * math.sin(angle), height])
        poses.append(look_at(eye, np.zeros(3), up))
    intrinsics = np.tile(np.array([[120.0, 120.0, 50.0, 40.0]], dtype=np.float32), (count, 1))
    return Cameras(np.stack(poses), intrinsics, 100, 80)


def test_target_is_in_the_middle_of_the_picture_wherever_one_stands():
    view = Orbit.around(BOX)
    view.pan(31, -17, 200)
    for right, down in [(0, 0), (40, 10), (-300, 50), (7, -90)]:
        view.rotate(right, down, 200)
        pixel, depth = view.camera(320, 200).project(view.target)
        np.testing.assert_allclose(pixel, [160, 100], atol=1e-3)
        assert depth == pytest.approx(view.distance, rel=1e-5)


def test_one_long_drag_equals_many_short_ones():
    once, often = Orbit.around(BOX), Orbit.around(BOX)
    once.rotate(120, 30, 400)
    once.dolly(80, 400)
    for _ in range(60):
        often.rotate(2, 0.5, 400)
        often.dolly(80 / 60, 400)
    assert often.azimuth == pytest.approx(once.azimuth)
    assert often.elevation == pytest.approx(once.elevation)
    assert often.distance == pytest.approx(once.distance)


def test_same_share_of_a_larger_window_turns_equally_far():
    small, large = Orbit.around(BOX), Orbit.around(BOX)
    small.rotate(50, 20, 200)
    large.rotate(250, 100, 1000)
    np.testing.assert_allclose(large.camera(10, 10).pose, small.camera(10, 10).pose)


def test_dragging_right_moves_the_near_side_right():
    view = Orbit.around(BOX)
    near = view.target + 0.2 * (view.camera(100, 100).position - view.target)
    before, _ = view.camera(100, 100).project(near)
    view.rotate(5, 0, 100)
    after, _ = view.camera(100, 100).project(near)
    assert after[0] > before[0]


def test_pan_keeps_the_point_under_the_mouse():
    view = Orbit.around(BOX)
    point = view.target.copy()
    before, _ = view.camera(320, 200).project(point)
    view.pan(23, -11, 200)
    after, _ = view.camera(320, 200).project(point)
    np.testing.assert_allclose(after - before, [23, -11], atol=1e-3)


def test_no_drag_turns_over_the_top_or_through_the_target():
    view = Orbit.around(BOX)
    view.rotate(0, 100_000, 100)
    assert view.elevation < math.pi / 2
    view.dolly(-100_000, 100)
    assert view.distance > 0
    view.dolly(100_000, 100)
    assert view.distance < 1000
    assert np.all(np.isfinite(view.camera(10, 10).pose))


@pytest.mark.parametrize(
    ("up", "turn"),
    [
        ((0.0, 0.0, 1.0), np.eye(3)),
        ((0.0, 1.0, 0.0), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])),  # a world whose y is up
    ],
)
def test_first_view_is_the_scene_camera_itself(up, turn):
    cameras = ring(up=up, turn=turn)
    for index in (0, 1, 5):
        view = Orbit.from_camera(cameras[index], cameras.poses, BOX)
        assert view.up == up
        np.testing.assert_allclose(view.camera(100, 80).pose, cameras[index].pose, atol=1e-5)
        assert view.camera(100, 80).fx == pytest.approx(cameras[index].fx, rel=1e-6)


def test_two_cameras_are_enough_to_know_what_is_up():
    cameras = ring()
    assert Orbit.from_camera(cameras[0], cameras.poses[[0, 4]], BOX).up == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("count", [1, 5])
def test_cameras_side_by_side_have_their_own_up(count):
    poses = np.stack([look_at((0.1 * k, 0, 4), (0.1 * k, 0, 0), (0, 1, 0)) for k in range(count)])
    cameras = Cameras(poses, np.tile(np.float32([[90, 90, 50, 40]]), (count, 1)), 100, 80)
    view = Orbit.from_camera(cameras[0], poses, BOX)
    assert view.up == (0.0, 1.0, 0.0)
    np.testing.assert_allclose(view.camera(100, 80).pose, poses[0], atol=1e-5)


def test_ball_in_the_box_is_in_the_first_picture():
    box = np.array([[-3.0, 1.0, 0.0], [1.0, 2.0, 5.0]])
    camera = Orbit.around(box).camera(400, 400)
    directions = np.random.default_rng(0).standard_normal((1000, 3))
    ball = box.mean(axis=0) + 2.5 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    pixels, depth = camera.project(ball)
    assert np.all(depth > 0)
    assert np.all((pixels >= 0) & (pixels <= 400))


def test_view_survives_being_written_down():
    cameras = ring()
    view = Orbit.from_camera(cameras[3], cameras.poses, BOX)
    view.rotate(12, 5, 100)
    view.pan(9, 4, 100)
    again = Orbit.from_state(view.state(), BOX)
    np.testing.assert_allclose(again.camera(64, 48).pose, view.camera(64, 48).pose, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"target": [0, 0]},
        {"up": [0, 0, 0]},
        {"up": [0, 0, 1e-300]},
        {"up": [0, 0, 10**400]},
        {"up": [[0, 0, 1]]},
        {"target": [0, 0, [1]]},
        {"distance": -1e-300},
        {"elevation": 10**400},
        {"distance": math.nan},
        {"azimuth": "east"},
        {"field_of_view": 1e300},
        None,
    ],
)
def test_senseless_view_from_a_file_falls_back_to_the_whole_box(change):
    state = None if change is None else Orbit.around(BOX).state() | change
    assert Orbit.from_state(state, BOX).state() == Orbit.around(BOX).state()


def test_nobody_goes_so_far_that_nothing_is_left_to_see():
    box = np.array([[9, 9, 9], [11, 11, 11]], float)
    view = Orbit.around(box)
    view.stand((9e5, 9e5, 0), (9e5, 9e5, 1), (0, 0, 1))
    for _ in range(50):
        view.fly(1e5, 0, 1e5)
        view.pan(1e6, 1e6, 1)
        view.dolly(1e9, 1)
    assert np.abs(view.camera(8, 8).position - 10).max() < 1100 * view.extent
    assert Orbit.from_state(view.state(), box).state() == view.state()
