"""Signed distances, points and rays of solids, against closed forms."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.sdf.mesh import Shape
from tests.solids import ball, box

RINGS = 96
SAG = 0.3 * (1 - np.cos(np.pi / RINGS))  # how far the triangles of the ball below lie inside it


@pytest.fixture(scope="module")
def sphere() -> Shape:
    return Shape(*ball(RINGS, 0.3, (0.5, 0.5, 0.5)))


def cube_distance(points: np.ndarray, half: float) -> np.ndarray:
    beyond = np.abs(points - 0.5) - half
    return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)


def test_the_distance_of_a_cube_is_exact_and_negative_inside():
    vertices, faces = box(0.25)
    points = np.random.default_rng(0).random((4000, 3))
    np.testing.assert_allclose(Shape(vertices + 0.5, faces).distance(points), cube_distance(points, 0.25), atol=1e-6)


def test_the_distance_of_a_sphere_is_that_of_its_triangles_to_within_their_sag(sphere):
    points = np.random.default_rng(1).random((3000, 3))
    exact = np.linalg.norm(points - 0.5, axis=1) - 0.3
    error = sphere.distance(points) - exact
    assert error.min() > -1e-6
    assert error.max() < 2 * SAG


def test_truncation_cuts_both_signs(sphere):
    points = np.random.default_rng(2).random((500, 3))
    whole, cut = sphere.distance(points), sphere.distance(points, truncation=0.05)
    np.testing.assert_allclose(cut, np.clip(whole, -0.05, 0.05), atol=1e-7)
    assert cut.min() == -np.float32(0.05)


def test_a_mesh_that_is_inside_out_is_turned_back():
    vertices, faces = box(0.25)
    points = np.random.default_rng(3).random((200, 3))
    turned = Shape(vertices + 0.5, faces[:, ::-1])
    assert turned.volume == pytest.approx(0.125)
    np.testing.assert_array_equal(turned.contains(points), Shape(vertices + 0.5, faces).contains(points))


def test_the_sign_holds_where_triangles_are_missing():
    vertices, faces = ball(RINGS, 0.3, (0.5, 0.5, 0.5))
    rng = np.random.default_rng(4)
    torn = Shape(vertices, faces[rng.random(len(faces)) > 0.02])
    points = rng.random((3000, 3))
    distance = np.linalg.norm(points - 0.5, axis=1) - 0.3
    clear = np.abs(distance) > 0.02
    assert torn.open_edges > 0
    np.testing.assert_array_equal(torn.contains(points)[clear], distance[clear] < 0)


def test_open_edges_are_those_without_a_partner(sphere):
    vertices, faces = box(0.25)
    assert sphere.open_edges == 0
    assert Shape(vertices + 0.5, faces).open_edges == 0
    assert Shape(vertices + 0.5, faces[1:]).open_edges == 3


def test_points_on_the_surface_lie_there_and_are_spread_by_area():
    vertices, faces = box(0.25)
    shape = Shape(vertices + 0.5, faces)
    points, normals = shape.surface(24000, np.random.default_rng(5))
    np.testing.assert_allclose(np.abs(points - 0.5).max(axis=1), 0.25, atol=1e-12)
    np.testing.assert_allclose(((points - 0.5) * normals).sum(1), 0.25)
    counts = [((np.abs(points[:, a] - 0.5 - s) < 1e-9).sum()) for a in range(3) for s in (-0.25, 0.25)]
    assert np.abs(np.array(counts) - 4000).max() < 5 * np.sqrt(4000)
    assert shape.area == pytest.approx(1.5)


def test_rays_meet_the_sphere_where_the_formula_says(sphere):
    rng = np.random.default_rng(6)
    origins = 0.5 + 2 * unit(rng.normal(size=(500, 3)))
    directions = unit(0.5 + rng.uniform(-0.35, 0.35, (500, 3)) - origins)
    hits = sphere.rays(origins, directions)
    towards = ((0.5 - origins) * directions).sum(1)
    clearance = np.linalg.norm(0.5 - origins - towards[:, None] * directions, axis=1)
    clear = np.abs(clearance - 0.3) > 0.01
    np.testing.assert_array_equal(hits.hit[clear], clearance[clear] < 0.3)
    sure = hits.hit & (clearance < 0.25)
    t = towards - np.sqrt(np.maximum(0.09 - clearance**2, 0))
    np.testing.assert_allclose(hits.t[sure], t[sure], atol=2e-3)
    normals = (origins + directions * t[:, None] - 0.5) / 0.3
    np.testing.assert_allclose(hits.normals[sure], normals[sure], atol=0.02)
    assert np.isinf(hits.t[~hits.hit]).all()


def test_no_ray_passes_through_a_fine_mesh():
    side = 41  # triangles of half a millionth
    x, y = np.meshgrid(*[np.linspace(0.48, 0.52, side)] * 2)
    corners = np.arange(side * side).reshape(side, side)
    a, b, c, d = (corners[at].ravel() for at in (np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, 1:], np.s_[1:, :-1]))
    sheet = Shape(
        np.stack([x.ravel(), y.ravel(), np.full(side * side, 0.5)], axis=1),
        np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]),
    )
    rng = np.random.default_rng(7)
    to = np.append(rng.uniform(0.481, 0.519, (1000, 2)), np.full((1000, 1), 0.5), axis=1)
    origins = to + rng.uniform([-0.3, -0.3, 0.1], [0.3, 0.3, 0.3], (1000, 3))
    away = np.linalg.norm(to - origins, axis=1)
    hits = sheet.rays(origins, (to - origins) / away[:, None])
    assert hits.hit.all()
    np.testing.assert_allclose(hits.t, away, rtol=1e-6)


def test_no_points_at_all_have_no_distances(sphere):
    assert sphere.distance(np.zeros((0, 3))).shape == (0,)
    assert sphere.contains(np.zeros((0, 3))).shape == (0,)
    assert sphere.unsigned(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (np.zeros((3, 2)), np.array([[0, 1, 2]])),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]])),
        (np.zeros((3, 3)), np.zeros((0, 3), int)),
        (np.zeros((3, 3)), np.array([[0, 1, 3]])),
        (np.zeros((3, 3)), np.array([[0, 1, -1]])),
    ],
)
def test_what_is_no_mesh_is_refused(vertices, faces):
    with pytest.raises(ValueError):
        Shape(vertices, faces)


def test_without_libigl_it_says_what_to_install(monkeypatch):
    found = builtins.__import__

    def missing(name, *rest):
        if name == "igl":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"pip install 'taichi-rf\[mesh\]'"):
        Shape(*ball(4, 0.3, (0.5, 0.5, 0.5)))


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def test_normals_are_smooth_over_a_ball_and_flat_up_to_the_edges_of_a_cube():
    origins = np.random.default_rng(0).normal(size=(500, 3))
    origins = 0.5 + 2 * origins / np.linalg.norm(origins, axis=1, keepdims=True)
    hits = Shape(*ball(32, 0.4, (0.5, 0.5, 0.5))).rays(origins, 0.5 - origins)
    radial = (origins - 0.5) / 2
    np.testing.assert_allclose(hits.normals, radial, atol=0.02)
    vertices, faces = box(0.3)
    hits = Shape(vertices + 0.5, faces).rays(origins, 0.5 - origins)
    side = np.abs(radial) == np.abs(radial).max(axis=1, keepdims=True)
    np.testing.assert_allclose(hits.normals, np.sign(radial) * side, atol=1e-6)
