"""Rays that kernels make and the box that they meet, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.kernels import pixel_rays
from taichi_rf.kernels.lenses import Lens
from taichi_rf.kernels.pixel_rays import camera_rays, image_rays, meets_box
from taichi_rf.kernels.rays import Cameras, look_at

BOX = np.array([[-0.5, -0.4, -0.3], [0.6, 0.7, 0.8]], np.float32)


@pytest.fixture(autouse=True)
def cpu():
    backend.init("cpu")


def cameras(count: int = 12, lenses: tuple[Lens | None, ...] = ()) -> Cameras:
    """Around the box, above it, and within it; off-centre, and each image of another size."""
    rng = np.random.default_rng(0)
    eyes = rng.normal(size=(count, 3))
    eyes *= 3 / np.linalg.norm(eyes, axis=1, keepdims=True)
    eyes[0] = 0.1
    eyes[1] = 0, 0, 3  # looks along an axis: every ray of a row is parallel to a plane
    poses = np.stack([look_at(eye, (0.05, 0.02, 0.04)) for eye in eyes])
    poses[1] = look_at((0, 0, 3), (0, 0, 0))
    widths, heights = 60 + np.arange(count), 50 - np.arange(count)
    intrinsics = np.stack([70 + rng.random(count), 71 + rng.random(count), widths / 2, heights / 2 + 0.7], axis=1)
    intrinsics[1, 2:] = 30.5, 24.5
    return Cameras(poses, intrinsics, widths, heights, lenses)


def test_rays_of_kernels_are_those_of_numpy():
    every = cameras()
    for view, camera in enumerate(every):
        places = np.arange(camera.width * camera.height, dtype=np.int32)
        origins, directions = image_rays(every, view, places)
        y, x = np.divmod(places.astype(np.int64), camera.width)
        expected = every.pixel_rays(np.full(len(places), view), x, y)
        np.testing.assert_array_equal(origins, expected[0])
        np.testing.assert_array_equal(directions, expected[1])
        for found, whole in zip(camera_rays(camera), camera.rays()):
            np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(("near", "far"), [(0.0, 10.0), (2.9, 3.1), (0.3, 0.4)])
def test_the_box_that_rays_meet_is_that_of_numpy(near, far):
    every = cameras()
    for view, camera in enumerate(every):
        expected = pixel_rays._meets(*camera.rays(), BOX, near, far)
        np.testing.assert_array_equal(meets_box(every, view, BOX, near, far), expected)


def test_bent_rays_are_numpys():
    every = cameras(4, (None, None, Lens(radial=(-0.2, 0.05, 0.0, 0.0, 0.0, 0.0)), None))
    places = np.arange(every[2].width * every[2].height, dtype=np.int32)
    np.testing.assert_array_equal(image_rays(every, 2, places)[1], every[2].rays()[1])
    for near, far in ((0.0, 10.0), (2.9, 3.1)):
        expected = pixel_rays._meets(*every[2].rays(), BOX, near, far)
        np.testing.assert_array_equal(meets_box(every, 2, BOX, near, far), expected)
    tiny = np.array([[0.05, 0.02, 0.04], [0.07, 0.04, 0.06]], np.float32)  # smaller than a block of pixels
    np.testing.assert_array_equal(meets_box(every, 2, tiny, 0, 10), pixel_rays._meets(*every[2].rays(), tiny, 0, 10))
    assert meets_box(every, 2, tiny, 0, 10).sum() < pixel_rays.BLOCK**2
    straight, bent = (meets_box(found, 2, BOX, 0.0, 10.0) for found in (cameras(4), every))
    assert (straight != bent).any()
