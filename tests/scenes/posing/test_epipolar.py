"""Features that photographs share, against their poses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import scenes
from scenes.base import Split
from scenes.inspection import compared
from scenes.posing import epipolar
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.lenses import Lens
from taichi_rf.kernels.rays import Cameras, look_at
from tests.places import DATA


def split_of(lens=None, count=5, width=64, height=48):
    """Grey photographs from ``count`` places on an arc."""
    angles = np.linspace(-0.4, 0.4, count)
    poses = np.stack([look_at((4 * np.sin(a), -4 * np.cos(a), 0.3), (0, 0, 0)) for a in angles])
    intrinsics = np.tile(np.float32([60, 60, width / 2, height / 2]), (count, 1))
    cameras = Cameras(poses, intrinsics, width, height, () if lens is None else (lens,) * count)
    pixels = PixelPool.of(np.full((count, height, width, 4), 0.5, np.float16))
    return Split(pixels, cameras, tuple(f"{index}.png" for index in range(count)))


def seen(split, view, points):
    """Where ``points`` are in a photograph, with a descriptor of its own each."""
    return split.cameras[view].project(points)[0], np.eye(len(points), dtype=np.float32)


@pytest.mark.parametrize(
    "lens", [None, Lens(radial=(0.05, 0.01, 0, 0, 0, 0), tangential=(0.001, 0.002))], ids=["hole", "lens"]
)
def test_points_that_two_cameras_see_lie_on_epipolar_lines(lens):
    split = split_of(lens)
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 3))
    found = epipolar._distances(split, (1, 2), seen(split, 1, points), seen(split, 2, points))
    assert len(found) == 40
    assert found.max() < 0.01


def test_a_wrong_pose_is_seen_in_pixels():
    split = split_of()
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 3))
    first, second = seen(split, 1, points), seen(split, 2, points)
    poses = split.cameras.poses.copy()
    tilt = np.radians(5)
    rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    poses[2, :, :3] = poses[2, :, :3] @ rotation
    wrong = dataclasses.replace(split, cameras=dataclasses.replace(split.cameras, poses=poses))
    found = epipolar._distances(wrong, (1, 2), first, second)
    assert np.median(found) == pytest.approx(60 * np.tan(tilt), rel=0.15)  # lines across, pictures moved up


def test_pairs_are_near_look_the_same_way_and_stand_apart():
    poses = split_of().cameras.poses.astype(np.float64)
    turned = poses.copy()
    turned[1, :, [0, 2]] *= -1  # the nearest of the first one looks away
    assert epipolar._pairs(poses)[0] == (0, 1)
    assert epipolar._pairs(turned)[0] == (0, 2)
    same = np.repeat(poses[:1], 4, axis=0)
    assert epipolar._pairs(same) == []


def test_matches_are_mutual_and_clear():
    a = np.float32([[1, 0, 0], [0, 1, 0], [0, 0.7, 0.714]])
    b = np.float32([[0, 1, 0], [1, 0, 0], [1, 0, 0]])  # two that are alike
    mine, other = epipolar._matches(a, b)
    assert (mine.tolist(), other.tolist()) == ([1], [0])
    assert len(epipolar._matches(a[:1], b)[0]) == 0


def test_photographs_without_features_are_not_judged():
    assert epipolar.agreement(split_of()) is None


def test_real_poses_agree_and_mirrored_ones_do_not():
    scene = scenes.load(str(DATA / "transforms" / "fox"))
    rows, doubts = compared(scene)
    assert rows[0][1].startswith("features of ")
    assert doubts == []
    mirrored = dataclasses.replace(
        scene.train, cameras=dataclasses.replace(scene.train.cameras, poses=scene.train.cameras.poses * [1, -1, -1, 1])
    )
    (doubt,) = compared(dataclasses.replace(scene, train=mirrored))[1]
    assert "pixels from where the poses say" in doubt


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    def missing(split):
        raise ImportError

    monkeypatch.setattr("scenes.inspection.agreement", missing)
    scene = scenes.load(str(DATA / "transforms" / "fox"), views=2, max_test_views=0)
    rows, doubts = compared(scene)
    assert "pip install 'taichi-rf[photos]'" in rows[0][1]
    assert doubts == []
