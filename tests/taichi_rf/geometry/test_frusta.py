"""Which cells cameras see, against every cell looked at by itself."""

from __future__ import annotations

import numpy as np

from taichi_rf.geometry.frusta import COARSE, FEWEST, seen
from taichi_rf.kernels.rays import Cameras, look_at
from taichi_rf.kernels.spaces import CONTRACTED_BOX, Contraction

NEAR = 0.2


def cameras() -> Cameras:
    """Five around the origin that look at it through a narrow lens."""
    angles = 2 * np.pi * np.arange(5) / 5
    poses = np.stack([look_at((np.cos(a), np.sin(a), 0.3), (0, 0, 0)) for a in angles])
    return Cameras(poses, np.tile(np.float32([60, 60, 20, 15]), (5, 1)), 40, 30)


def test_cells_that_two_cameras_see_are_kept_and_no_others():
    space, every = Contraction(), cameras()
    hull = seen(every, CONTRACTED_BOX, space.world_points, NEAR)
    assert hull is not None
    cells = hull.cells[::2, ::2, ::2]  # as they were looked at
    assert 0.02 < cells.mean() < 0.9
    rng = np.random.default_rng(0)
    for z, y, x in rng.integers(0, COARSE, (300, 3)):
        low = -2 + 4 * np.array([x, y, z]) / COARSE
        inside = space.world_points(low + 4 / COARSE * rng.random((2000, 3)))
        views = 0
        for camera in every:
            pixels, depth = camera.project(inside)
            with np.errstate(invalid="ignore"):
                views += bool(((pixels >= 0).all(1) & (pixels <= (40, 30)).all(1) & (depth >= NEAR)).mean() > 0.2)
        if views >= FEWEST:  # a fifth of it is seen: one of nine points in it cannot be missed by much
            assert cells[max(z - 1, 0) : z + 2, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()
        if cells[z, y, x]:
            some = [
                bool(((p >= -6).all(1) & (p <= (46, 36)).all(1) & (d > 0)).any())
                for p, d in (camera.project(inside) for camera in every)
            ]
            assert sum(some) >= FEWEST


def test_where_all_is_seen_there_is_no_limit():
    close = np.array([[-0.05] * 3, [0.05] * 3], np.float32)
    assert seen(cameras(), close, lambda points: points, NEAR) is None


def test_where_nothing_is_seen_there_is_no_limit_either():
    far = np.array([[50, 50, 50], [51, 51, 51]], np.float32)
    assert seen(cameras(), far, lambda points: points, NEAR) is None
