"""Polygons to triangles, concave ones too.

Most polygons are fans: seen from one of their corners, the others follow one another once around. Whether that is so is
found out for all polygons of a mesh at once, from the first corner and from the most concave one. What is left has its
ears cut off one by one (Meisters 1975), each ear's triangle being free of other corners.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

FLAT = 1e-12
"""Of the square of a polygon's size: areas up to this are none."""
RESCANS = 8
"""How often corners that were no ears are looked at again; a polygon that needs more is given up."""
PART = 1 << 18
"""Polygons handled at once, and pairs of edges compared at once."""


def triangulate(
    vertices: npt.ArrayLike, corners: npt.ArrayLike, counts: npt.ArrayLike
) -> tuple[Int64Array, Int64Array]:
    """Cut polygons into triangles that turn the same way.

    A polygon of n corners becomes n - 2 triangles; some have no area where corners coincide or lie on a line. Polygons
    need not be flat: they are looked at along the coordinate axis that they face most. A hole is a polygon whose
    outline runs along a bridge to the hole and back. A polygon whose outline crosses itself has no inside that anybody
    could know of; it becomes a fan around its first corner.

    Args:
        vertices: (v, 3).
        corners: (c,) indices of vertices, polygon after polygon.
        counts: (p,) corners of each polygon, 3 or more.

    Returns:
        Triangles (c - 2 p, 3), polygon after polygon, and which polygons (k,) cross themselves, ascending.
    """
    vertices, corners = np.asarray(vertices, np.float64), np.asarray(corners, np.int64)
    counts = np.asarray(counts, np.int64)
    starts, firsts = np.cumsum(counts) - counts, np.cumsum(counts - 2) - (counts - 2)
    triangles = np.empty((int((counts - 2).sum()), 3), np.int64)
    crossing: list[int] = []
    for n in np.unique(counts):
        every = np.flatnonzero(counts == n)
        size = max(1, PART // int(n))
        for which in (every[first : first + size] for first in range(0, len(every), size)):
            places = starts[which, None] + np.arange(n)
            found, crosses = _of_one_size(vertices[corners[places]])
            rows = firsts[which, None] + np.arange(n - 2)
            triangles[rows] = np.take_along_axis(corners[places], found.reshape(len(which), -1), 1).reshape(found.shape)
            crossing += which[crosses].tolist()
    return triangles, np.array(sorted(crossing), np.int64)


def _of_one_size(points: Float64Array) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    """Triangles (p, n - 2, 3) of polygons (p, n, 3), as numbers of their corners, and which (p,) cross themselves."""
    count, n, _ = points.shape
    apex = np.zeros(count, np.int64)
    crosses = np.zeros(count, bool)
    if n == 3:
        return _fans(apex, n), crosses
    flat, scale = _flattened(points)
    bad = np.flatnonzero(~_is_fan(flat, scale, apex))
    apex[bad] = _turns(flat[bad]).argmin(axis=1)
    good = _is_fan(flat[bad], scale[bad], apex[bad])
    triangles = _fans(apex, n)
    for index in bad[~good]:
        size = float(scale[index])
        ears = None if _crosses_itself(flat[index], size) else _ears(flat[index], size)
        crosses[index] = ears is None
        triangles[index] = _fans(np.zeros(1, np.int64), n)[0] if ears is None else ears
    return triangles, crosses


def _fans(apex: Int64Array, n: int) -> Int64Array:
    """(p, n - 2, 3): the triangles around corner ``apex`` (p,) of polygons of n corners."""
    second = np.arange(1, n - 1)
    fan = np.stack([0 * second, second, second + 1], axis=1)
    return (fan + apex[:, None, None]) % n


def _flattened(points: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Polygons (p, n, 2), counter-clockwise, from (p, n, 3); and the squares of their sizes (p,)."""
    points = points - points[:, :1]
    normals = np.cross(points, np.roll(points, -1, axis=1)).sum(axis=1)
    sizes = np.ptp(points, axis=1)
    level = np.abs(normals).max(axis=1) <= FLAT * (sizes**2).sum(axis=1)  # no area: along the axis it is thinnest in
    axis = np.where(level, sizes.argmin(axis=1), np.abs(normals).argmax(axis=1))
    flat = np.take_along_axis(points, ((axis[:, None] + (1, 2)) % 3)[:, None], 2)
    backwards = np.take_along_axis(normals, axis[:, None], 1)[:, 0] < 0
    flat[backwards] = flat[backwards, :, ::-1]
    return flat, (np.ptp(flat, axis=1) ** 2).sum(axis=1)


def _cross(a: Float64Array, b: Float64Array) -> Float64Array:
    product: Float64Array = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def _turns(flat: Float64Array) -> Float64Array:
    """(p, n): the turn at each corner in radians, negative where polygons (p, n, 2) are concave."""
    sides = np.roll(flat, -1, axis=1) - flat
    before = np.roll(sides, 1, axis=1)
    turns: Float64Array = np.arctan2(_cross(before, sides), (before * sides).sum(axis=2))
    return turns


def _is_fan(flat: Float64Array, scale: Float64Array, apex: Int64Array) -> npt.NDArray[np.bool_]:
    """Whether polygons (p, n, 2), seen from corner ``apex`` (p,), go once around it, forwards only."""
    n = flat.shape[1]
    order = (apex[:, None] + np.arange(n)) % n
    seen = np.take_along_axis(flat, order[..., None], 1)
    spokes = seen[:, 1:] - seen[:, :1]
    areas, along = _cross(spokes[:, :-1], spokes[:, 1:]), (spokes[:, :-1] * spokes[:, 1:]).sum(axis=2)
    none = FLAT * scale[:, None]
    forwards = (areas > none) | ((areas >= -none) & (along >= 0))
    once = np.arctan2(areas, along).sum(axis=1) < 2 * np.pi
    result: npt.NDArray[np.bool_] = forwards.all(axis=1) & once
    return result


def _crosses_itself(flat: Float64Array, scale: float) -> bool:
    """Whether two sides of a polygon (n, 2) cross at a point inside both."""
    n, none = len(flat), FLAT * scale
    ends = np.roll(flat, -1, axis=0)
    order = np.argsort(np.minimum(flat[:, 0], ends[:, 0]))
    flat, ends = flat[order], ends[order]
    begins, stops = np.minimum(flat[:, 0], ends[:, 0]), np.maximum(flat[:, 0], ends[:, 0])
    step = max(1, PART // n)
    for first in range(0, n, step):
        some = slice(first, first + step)
        others = slice(first, int(np.searchsorted(begins, stops[some].max(), side="right")))
        a, b, c, d = flat[some, None], ends[some, None], flat[None, others], ends[None, others]
        # a side crosses another where each has its ends on both sides of the other
        here, there = _cross(b - a, c - a), _cross(b - a, d - a)
        apart = (np.minimum(here, there) < -none) & (np.maximum(here, there) > none)
        if apart.any():
            i, k = np.nonzero(apart)
            a, b, c, d = a[i, 0], b[i, 0], c[0, k], d[0, k]
            back, forth = _cross(d - c, a - c), _cross(d - c, b - c)
            if ((np.minimum(back, forth) < -none) & (np.maximum(back, forth) > none)).any():
                return True
    return False


def _ears(flat: Float64Array, scale: float) -> Int64Array | None:
    """Triangles (n - 2, 3) of a polygon (n, 2), counter-clockwise; None where no ear is left to be cut off.

    A corner that was no ear can become one only when a neighbour goes, so that each is looked at some three times:
    O(n^2) in all.
    """
    n, none, scans = len(flat), FLAT * scale, 0
    corners = _Corners(flat)
    before, after = [n - 1, *range(n - 1)], [*range(1, n), 0]
    triangles: list[tuple[int, int, int]] = []

    def area(i: int) -> float:
        here = flat[i]
        return float(_cross(here - flat[before[i]], flat[after[i]] - here))

    # what has no area, a corner on a straight line or the tip of a way there and back, goes first
    waiting = deque(sorted(range(n), key=lambda i: abs(area(i)) > none))
    while len(triangles) < n - 2:
        if not waiting:
            scans += 1
            waiting.extend(corners.left())
        if scans > RESCANS:
            return None
        i = waiting.popleft()
        if corners.gone[i]:
            continue
        a, c, size = before[i], after[i], area(i)
        if abs(size) <= none or (size > none and corners.none_in(a, i, c)):
            triangles.append((a, i, c))
            corners.remove(i)
            after[a], before[c] = c, a
            for k in (a, c):
                (waiting.appendleft if abs(area(k)) <= none else waiting.append)(k)
    return np.array(triangles, np.int64)


class _Corners:
    """The corners of a polygon that are still there, from left to right: few are near a triangle."""

    def __init__(self, flat: Float64Array) -> None:
        self._flat, self.gone = flat, [False] * len(flat)
        order = np.argsort(flat[:, 0])
        self._rank = np.argsort(order)
        self._sorted = flat[order]
        self._x = self._sorted[:, 0].tolist()

    def left(self) -> list[int]:
        return [i for i, gone in enumerate(self.gone) if not gone]

    def remove(self, i: int) -> None:
        self.gone[i] = True
        self._sorted[self._rank[i], 1] = np.nan  # nowhere

    def none_in(self, a: int, b: int, c: int) -> bool:
        """Whether no corner lies in or on the triangle of three, but for these and others in their places."""
        own = self._flat[[a, b, c]]
        low, high = own[:, 0].min(), own[:, 0].max()
        near = self._sorted[bisect_left(self._x, low) : bisect_right(self._x, high)]
        x, y = near.T
        inside = np.ones(len(near), bool)
        for (px, py), (qx, qy) in zip(own, own[[1, 2, 0]]):
            inside &= (qx - px) * (y - py) - (qy - py) * (x - px) >= 0
        return bool((near[inside][:, None] == own).all(axis=2).any(axis=1).all())
