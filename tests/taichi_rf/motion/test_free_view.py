"""How far a ray can be inside the box, seen from anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.kernels.spaces import BOX as WORLD
from tests.viewer_fakes import BOX


@pytest.mark.parametrize(
    ("position", "near", "far"),
    [
        ((4.0, 0.0, 0.0), 3.0, np.sqrt(5**2 + 1 + 1)),
        ((0.0, 3.0, 3.0), np.sqrt(8), np.sqrt(1 + 4**2 + 4**2)),
        ((0.0, 0.0, 0.0), 1e-3 * np.sqrt(12), np.sqrt(3)),  # inside
    ],
)
def test_depth_range_spans_the_box_as_seen_from_the_eye(position, near, far):
    assert WORLD.depth_range(BOX, position) == pytest.approx((near, far))
