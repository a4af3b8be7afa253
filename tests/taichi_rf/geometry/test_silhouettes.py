"""Which views contradict the others, counted against a slow and obvious count."""

from __future__ import annotations

import numpy as np
import pytest

from scenes.base import Split
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.geometry import silhouettes
from taichi_rf.kernels.rays import Cameras, look_at


def slow(cleared, judges, judged, cells, owners, limit):
    """``cleared`` (views, cells) as flags."""
    scores = {}
    empty = cleared[judges].sum(axis=0) >= limit
    for view in judged:
        own, missed, theirs, lost = 0, 0, 0, 0
        for ray, owner in zip(cells, owners, strict=True):
            if owner not in judges:
                continue
            left = [cell for cell in ray if cell >= 0 and not empty[cell]]
            if owner == view:
                own, missed = own + 1, missed + (not left)
            elif left:
                theirs, lost = theirs + 1, lost + all(cleared[view, cell] for cell in left)
        scores[view] = max(missed / own if own else 0.0, lost / theirs if theirs else 0.0)
    return scores


@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_scores_are_those_of_a_slow_count(share, monkeypatch):
    monkeypatch.setattr(silhouettes, "BAND", 16)
    rng = np.random.default_rng(1)
    views, count = 11, 60
    cleared = rng.random((views, count)) < share
    cells = rng.integers(-1, count, (70, 6))
    owners = rng.integers(0, views, 70)
    clears = np.ascontiguousarray(np.packbits(cleared, axis=0).T)
    judges = [0, 2, 3, 5, 8, 9, 10]
    for judged in (judges, [1, 4]):
        found = silhouettes._contradictions(clears, judges, judged, cells, owners, 3)
        assert found == pytest.approx(slow(cleared, judges, judged, cells, owners, 3))


def test_tables_count_opaque_pixels_view_after_view():
    rng = np.random.default_rng(2)
    images = (rng.random((7, 6, 9, 4)) * (rng.random((7, 6, 9, 1)) < 0.5)).astype(np.float16)
    poses = np.tile(look_at((3, 0, 0), (0, 0, 0))[None], (7, 1, 1))
    split = Split(PixelPool.of(images), Cameras(poses, np.tile([9.0, 9, 4.5, 3], (7, 1)), 9, 6), tuple("abcdefg"))
    views = [6, 0, 1, 2, 3, 4, 5]
    for view, table in zip(views, silhouettes.tables(split, views), strict=True):
        opaque = images[view, ..., 3] > silhouettes.OPAQUE
        assert table[4, 7] == opaque[:4, :7].sum()
        assert table[-1, -1] == opaque.sum()
