"""Polygons cut into triangles: their areas, and distances of prisms whose true distance is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from scenes.solids import meshes
from scenes.solids.polygons import triangulate

L = [(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)]
U = [(-1, -1), (1, -1), (1, 1), (0.6, 1), (0.6, -0.6), (-0.6, -0.6), (-0.6, 1), (-1, 1)]
SQUARE, HOLE = [(0, 0), (4, 0), (4, 4), (0, 4)], [(1, 1), (1, 3), (3, 3), (3, 1)]
THICKNESS = 0.4


def cut(ring: list) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Corners (n, 2), triangles and which polygons cross themselves, of one polygon in a tilted plane far away."""
    flat = np.array(ring, float)
    tilt = np.array([[0.6, 0.64, 0.48], [-0.8, 0.48, 0.36]])
    triangles, crossing = triangulate(flat @ tilt + [500, -300, 70], np.arange(len(flat)), [len(flat)])
    assert len(triangles) == len(flat) - 2
    return flat, triangles, crossing.tolist()


def shoelace(flat: np.ndarray) -> float:
    x, y = flat.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def areas(flat: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    return np.array([shoelace(flat[triangle]) for triangle in triangles])


def comb(teeth: int) -> list:
    return [(0, -1), *((i / teeth, i % 2 * 5) for i in range(2 * teeth)), (2, -1)][::-1]


def spiral(n: int) -> list:
    turn = np.linspace(0, 6 * np.pi, n)
    around = np.stack([np.cos(turn), np.sin(turn)], 1)
    return [*(around * (1 + turn)[:, None]), *(around * (0.5 + turn)[:, None])[::-1]]


def star(n: int) -> list:
    rng = np.random.default_rng(0)
    turn, radius = np.sort(rng.random(n)) * 2 * np.pi, 0.2 + rng.random(n)
    return list(np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1))


ROUNDED = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
SIMPLE = {
    "L": L, "U": U, "midpoints": ROUNDED, "comb": comb(20), "spiral": spiral(40), "star": star(60),
    "doubled corners": [p for p in U for _ in range(3)],
    "corners on sides": [q for p, r in itertools.pairwise([*U, U[0]]) for q in (p, np.add(p, r) / 2)],
    "hole over a bridge": [SQUARE[0], *HOLE, HOLE[0], *SQUARE[:1], *SQUARE[1:]],
    "two holes": [
        SQUARE[0], (1, 1), (1, 1.5), (1.5, 1.5), (1.5, 1), (1, 1), *SQUARE[:3], (3, 3), (3, 2), (2, 2), (2, 3), (3, 3),
        *SQUARE[2:],
    ],
    "a way there and back": [*U[:3], (1.5, 1.5), *U[2:]],
}  # fmt: skip


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", SIMPLE)
def test_triangles_fill_a_polygon_once_from_whatever_corner_and_in_whatever_direction(name, backwards):
    ring = SIMPLE[name][::-1] if backwards else SIMPLE[name]
    for first in range(min(len(ring), 12)):
        flat, triangles, crossing = cut([*ring[first:], *ring[:first]])
        found, whole = areas(flat, triangles), shoelace(flat)
        assert crossing == []
        assert (found * np.sign(whole)).min() > -1e-9  # all turn as the polygon does
        assert found.sum() == pytest.approx(whole)  # so that none lies over another


def test_every_side_of_a_polygon_is_the_side_of_one_triangle():
    for ring in (U, SIMPLE["corners on sides"], SIMPLE["hole over a bridge"]):
        _, triangles, _ = cut(ring)
        sides = [(int(t[k]), int(t[(k + 1) % 3])) for t in triangles for k in range(3)]
        left = {side for side in sides if side[::-1] not in sides}
        assert left == {(i, (i + 1) % len(ring)) for i in range(len(ring))}


def test_convex_polygons_stay_fans_around_their_first_corner():
    _, triangles, _ = cut([(0, 0), (2, 0), (3, 1), (2, 2), (0, 2)])
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3], [0, 3, 4]])
    saddle, _ = triangulate([[0, 0, 0], [1, 0, 1], [1, 1, 0], [0, 1, 1]], range(4), [4])
    np.testing.assert_array_equal(saddle, [[0, 1, 2], [0, 2, 3]])


def test_polygons_of_many_sizes_keep_their_order():
    vertices = np.array([(x, y, 0) for x, y in [*U, (5, 5), (6, 5), (5, 6)]], float)
    corners = [8, 9, 10, *range(8), 10, 9, 8]
    triangles, crossing = triangulate(vertices, corners, [3, 8, 3])
    np.testing.assert_array_equal(triangles[[0, -1]], [[8, 9, 10], [10, 9, 8]])
    assert triangles[1:-1].max() < 8
    assert len(crossing) == 0


def test_polygons_that_cross_themselves_are_named_and_become_fans():
    turn = np.arange(5) * 4 * np.pi / 5
    pentagram = list(np.stack([np.cos(turn), np.sin(turn)], 1))
    for ring in ([(0, 0), (1, 1), (1, 0), (0, 1)], [(0, 0), (2, 2), (2, 0), (0, 1)], pentagram):
        _, triangles, crossing = cut(ring)
        assert crossing == [0]
        assert (triangles[:, 0] == 0).all()


def test_polygons_without_area_are_no_fault():
    for ring in ([(0, 0), (1, 0), (2, 0), (1, 0)], [(1, 1)] * 5, [(0, 0), (1, 1), (2, 2), (3, 3), (1, 1)]):
        flat, triangles, crossing = cut(ring)
        assert crossing == []
        np.testing.assert_allclose(areas(flat, triangles), 0, atol=1e-12)


def test_a_polygon_of_thousands_of_corners_takes_no_more_looks_than_corners_allow():
    for ring in (comb(1000), spiral(1000), star(2000)):
        flat, triangles, crossing = cut(ring)
        assert crossing == []
        assert np.abs(areas(flat, triangles)).sum() == pytest.approx(abs(shoelace(flat)))


def prism(folder: Path, ring: list) -> Path:
    """An OBJ file of a prism over ``ring``, as exporters write it: one polygon a side."""
    n = len(ring)
    lines = [f"v {x} {y} {z}" for z in (-THICKNESS / 2, THICKNESS / 2) for x, y in ring]
    lines += ["f " + " ".join(map(str, range(n, 0, -1))), "f " + " ".join(map(str, range(n + 1, 2 * n + 1)))]
    lines += [f"f {i + 1} {(i + 1) % n + 1} {n + (i + 1) % n + 1} {n + i + 1}" for i in range(n)]
    path = folder / "prism.obj"
    path.write_text("\n".join(lines) + "\n")
    return path


def prism_distance(points: np.ndarray, ring: list) -> np.ndarray:
    """The signed distance (n,) of a prism of ``THICKNESS`` over ``ring``, of points (n, 3): closed form."""
    corners = np.array(ring, float)
    flat, nearest, inside = points[:, :2], np.full(len(points), np.inf), np.zeros(len(points), bool)
    for a, b in zip(corners, np.roll(corners, -1, axis=0)):
        along = np.clip((flat - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(flat - a - along[:, None] * (b - a), axis=1))
        if a[1] != b[1]:
            over = (flat[:, 1] < a[1]) != (flat[:, 1] < b[1])
            inside ^= over & (flat[:, 0] < a[0] + (flat[:, 1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
    beside, above = np.where(inside, -nearest, nearest), np.abs(points[:, 2]) - THICKNESS / 2
    outside = np.hypot(np.maximum(beside, 0), np.maximum(above, 0))
    return outside + np.minimum(np.maximum(beside, above), 0)


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("ring", [L, U], ids=["L", "U"])
def test_distances_of_a_concave_prism_are_those_of_the_true_solid(tmp_path, ring, first):
    first %= len(ring)
    scene = meshes.load(str(prism(tmp_path, ring[first:] + ring[:first])), downscale=100, views=1, max_test_views=0)
    assert scene.warnings == ()
    points = np.random.default_rng(0).random((5000, 3))
    truth = prism_distance((points - 0.5) / scene.scale + scene.centre, ring) * scene.scale
    found = scene.shape.distance(points)
    np.testing.assert_allclose(np.abs(found), np.abs(truth), atol=1e-6)
    sure = np.abs(truth) > 0.005  # the winding number is summed up roughly
    np.testing.assert_array_equal(found[sure] < 0, truth[sure] < 0)
