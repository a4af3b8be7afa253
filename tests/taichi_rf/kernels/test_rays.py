"""Cameras in plain numpy: conventions, by hand-computed values and round trips."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.kernels.rays import Camera, Cameras, look_at

IDENTITY = np.eye(4)[:3]


def test_the_middle_of_the_image_looks_down_minus_z_with_row_0_at_the_top():
    camera = Camera(IDENTITY, fx=2.0, fy=4.0, cx=1.5, cy=1.5, width=3, height=3)
    origins, directions = camera.rays()
    directions = directions.reshape(3, 3, 3)
    np.testing.assert_allclose(directions[1, 1], (0, 0, -1))
    # Top right pixel: centre (2.5, 0.5), so (1/2, 1/4, -1) before it is made a unit vector.
    np.testing.assert_allclose(directions[0, 2], np.array([0.5, 0.25, -1]) / np.sqrt(0.25 + 0.0625 + 1), rtol=1e-6)
    assert origins.shape == (9, 3)
    assert origins.dtype == directions.dtype == np.float32
    assert not origins.any()


def test_rays_of_a_turned_camera_are_turned_with_it():
    pose = np.array([[0, 0, 1, 5], [1, 0, 0, 6], [0, 1, 0, 7]])  # camera x, y, z are world y, z, x
    origins, directions = Camera(pose, 1.0, 1.0, 0.5, 0.5, 1, 1).rays()
    np.testing.assert_allclose(origins, [[5, 6, 7]])
    np.testing.assert_allclose(directions, [[-1, 0, 0]])


def test_projection_undoes_rays():
    rng = np.random.default_rng(1)
    pose = look_at(rng.normal(size=3) * 3, rng.normal(size=3), (0, 0, 1))
    camera = Camera(pose, 31.0, 29.0, 11.3, 8.9, 24, 18)
    origins, directions = camera.rays()
    pixels, depth = camera.project(origins + 2.5 * directions)
    x, y = np.meshgrid(np.arange(24) + 0.5, np.arange(18) + 0.5)
    np.testing.assert_allclose(pixels, np.stack([x, y], axis=-1).reshape(-1, 2), atol=2e-4)
    np.testing.assert_allclose(depth, 2.5 * (directions @ -pose[:, 2]), atol=1e-5)
    behind, depth = camera.project(origins[:1] - directions[:1])
    assert np.isnan(behind).all()
    assert depth[0] < 0


def test_resized_keeps_what_the_edges_see():
    camera = Camera(IDENTITY, 100.0, 110.0, 41.0, 29.0, 80, 60)
    small = camera.resized(40, 20)
    assert (small.fx, small.cx, small.width) == (50.0, 20.5, 40)
    assert small.fy == pytest.approx(110 / 3)
    assert small.cy == pytest.approx(29 / 3)
    corner = camera.pose[:, 3] + np.array([(0 - 41.0) / 100.0, 29.0 / 110.0, -1])  # through the top left corner
    np.testing.assert_allclose(camera.project(corner)[0], (0, 0), atol=1e-6)
    np.testing.assert_allclose(small.project(corner)[0], (0, 0), atol=1e-6)


def test_look_at_is_a_right_handed_rotation_that_sees_its_target_upright_in_the_middle():
    rng = np.random.default_rng(2)
    for _ in range(20):
        eye, target = rng.normal(size=3), rng.normal(size=3)
        pose = look_at(eye, target, (0, 0, 1)).astype(np.float64)
        np.testing.assert_allclose(pose[:, :3].T @ pose[:, :3], np.eye(3), atol=1e-6)
        assert np.linalg.det(pose[:, :3]) == pytest.approx(1, abs=1e-6)
        camera = Camera(pose, 10.0, 10.0, 5.0, 5.0, 10, 10)
        np.testing.assert_allclose(camera.project(target)[0], (5, 5), atol=1e-4)
        above = camera.project(target + np.array([0, 0, 0.01]))[0]
        assert above[0] == pytest.approx(5, abs=1e-4)
        assert above[1] < 5


def test_look_at_straight_down_is_still_a_rotation():
    pose = look_at((0, 0, 4), (0, 0, 0), (0, 0, 1))
    np.testing.assert_allclose(pose[:, :3].T @ pose[:, :3], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(pose[:, 2], (0, 0, 1))


@pytest.mark.parametrize(("target", "up"), [((1, 2, 3), (0, 0, 1)), ((0, 0, 0), (0, 0, 0))])
def test_look_at_refuses_what_has_no_direction(target, up):
    with pytest.raises(ValueError, match="look_at"):
        look_at((1, 2, 3), target, up)


def test_cameras_hand_out_single_cameras():
    poses = np.stack([look_at((4, index, 1), (0, 0, 0), (0, 0, 1)) for index in range(3)])
    cameras = Cameras(poses, np.array([[1, 2, 3, 4]] * 3) + np.arange(3)[:, None], 8, 6)
    assert len(cameras) == len(list(cameras)) == 3
    assert (cameras[1].fx, cameras[1].fy, cameras[1].cx, cameras[1].cy) == (2, 3, 4, 5)
    assert (cameras[-1].width, cameras[-1].height) == (8, 6)
    np.testing.assert_array_equal(cameras[2].pose, poses[2])
    assert cameras.poses.dtype == cameras.intrinsics.dtype == np.float32
    with pytest.raises(IndexError):
        cameras[3]


def test_wrong_shapes_are_refused_at_once():
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        Camera(np.eye(4), 1.0, 1.0, 0.0, 0.0, 1, 1)
    with pytest.raises(ValueError, match="at least 1 x 1"):
        Camera(IDENTITY, 1.0, 1.0, 0.0, 0.0, 0, 1)
    with pytest.raises(ValueError, match=r"\(N, 3, 4\)"):
        Cameras(np.zeros((2, 4, 4)), np.ones((2, 4)), 1, 1)
    with pytest.raises(ValueError, match="intrinsics"):
        Cameras(np.zeros((2, 3, 4)), np.ones((3, 4)), 1, 1)
