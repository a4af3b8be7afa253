"""Lenses against OpenCV's formulas written out a point at a time, and every ray back to its pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from taichi_rf.kernels.lenses import Lens

WIDTH, HEIGHT, FOCAL = 800, 600, 600.0
LENSES = {
    "pinhole": Lens(),
    "simple radial": Lens(radial=(-0.1, 0, 0, 0, 0, 0)),
    "opencv": Lens(radial=(-0.28, 0.07, 0, 0, 0, 0), tangential=(1e-3, -2e-3)),
    "phone": Lens(radial=(0.0578421, -0.0805099, 0, 0, 0, 0), tangential=(-0.000980296, 0.00015575)),
    "rational": Lens(radial=(0.2, -0.1, 0.01, 0.3, -0.05, 0.01), tangential=(1e-3, 5e-4)),
    "thin prism": Lens(radial=(-0.1, 0.02, 0, 0, 0, 0), prism=(1e-3, -2e-4, -2e-3, 3e-4)),
    "fisheye": Lens("fisheye", radial=(0.02, -0.01, 0.003, -0.0005, 0, 0)),
    "thin prism fisheye": Lens("fisheye", (0.02, -0.01, 0.003, 0, 0, 0), (1e-3, -1e-3), (1e-3, 0, -1e-3, 0)),
    "field of view": Lens("field_of_view", (0.9, 0, 0, 0, 0, 0)),
}


def opencv(lens: Lens, point: tuple[float, float, float]) -> tuple[float, float]:
    """Where a point comes to be, by the formulas of OpenCV's documentation (calib3d, fisheye) and of COLMAP's."""
    x, y, z = point
    k1, k2, k3, k4, k5, k6 = lens.radial
    p1, p2 = lens.tangential
    s1, s2, s3, s4 = lens.prism
    a, b = x / z, y / z
    r = math.sqrt(a * a + b * b)
    if lens.projection == "fisheye":
        theta = math.atan(r)
        a, b = (a * theta / r, b * theta / r) if r > 0 else (a, b)
        r = math.sqrt(a * a + b * b)
        scale = 1 + k1 * r**2 + k2 * r**4 + k3 * r**6 + k4 * r**8
    elif lens.projection == "field_of_view":
        distorted = math.atan(2 * r * math.tan(k1 / 2)) / k1
        return (a * distorted / r, b * distorted / r) if r > 0 else (a, b)
    else:
        scale = (1 + k1 * r**2 + k2 * r**4 + k3 * r**6) / (1 + k4 * r**2 + k5 * r**4 + k6 * r**6)
    u = a * scale + 2 * p1 * a * b + p2 * (r**2 + 2 * a**2) + s1 * r**2 + s2 * r**4
    v = b * scale + p1 * (r**2 + 2 * b**2) + 2 * p2 * a * b + s3 * r**2 + s4 * r**4
    return u, v


def corners_and_more() -> np.ndarray:
    """Places (n, 2) in the image: its corners, edges and inside, of pixels that are centres and those that are not."""
    x, y = np.meshgrid(np.linspace(0, WIDTH, 21), np.linspace(0, HEIGHT, 21))
    return np.stack([(x.ravel() - WIDTH / 2) / FOCAL, (y.ravel() - HEIGHT / 2) / FOCAL], axis=1)


@pytest.mark.parametrize("name", LENSES)
def test_what_is_seen_is_where_the_formulas_say(name):
    lens = LENSES[name]
    points = np.random.default_rng(0).uniform((-0.6, -0.5, 0.8), (0.6, 0.5, 1.2), (50, 3))
    expected = [opencv(lens, tuple(point)) for point in points]
    np.testing.assert_allclose(lens.image(points), expected, atol=1e-12)
    np.testing.assert_allclose(lens.image(7 * points), expected, atol=1e-12)  # of any length


@pytest.mark.parametrize("name", LENSES)
def test_every_ray_comes_back_to_its_pixel(name):
    lens, places = LENSES[name], corners_and_more()
    directions = lens.directions(places)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    error = FOCAL * np.abs(lens.image(directions) - places).max()
    assert error < 0.01  # pixels, as the formulas are worth; in fact next to nothing
    assert error < 1e-5
    twin = np.array([opencv(lens, tuple(direction)) for direction in directions if direction[2] > 0.1])
    np.testing.assert_allclose(FOCAL * twin, FOCAL * places[directions[:, 2] > 0.1], atol=0.01)


def test_slopes_are_those_of_finite_differences():
    for lens in LENSES.values():
        if lens.projection == "field_of_view":
            continue
        places, h = np.random.default_rng(1).uniform(-0.6, 0.6, (2, 30)), 1e-6
        xx, xy, yx, yy = lens._slope(places)
        for axis, (of_x, of_y) in enumerate(((xx, yx), (xy, yy))):
            moved = np.zeros((2, 1))
            moved[axis] = h
            found = (lens._distorted(places + moved) - lens._distorted(places - moved)) / (2 * h)
            np.testing.assert_allclose(np.stack([of_x, of_y]), found, atol=1e-8)


def test_beyond_the_fold_of_a_lens_there_is_no_ray():
    """x (1 - 0.5 r^2) grows to r = sqrt(2/3), where it is 0.544, and comes back: nothing is farther out."""
    lens = Lens(radial=(-0.5, 0, 0, 0, 0, 0))
    found = lens.directions([[0.5, 0.0], [0.54, 0.0], [0.56, 0.0], [1.0, 0.0], [0.0, -3.0]])
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2:]).all()
    # The root that is found is the one before the fold.
    assert (found[:2, 0] / found[:2, 2] < math.sqrt(2 / 3)).all()


def test_a_fisheye_sees_sideways_and_backwards_but_not_straight_behind():
    lens = Lens("fisheye")
    np.testing.assert_allclose(lens.directions([[math.pi / 2, 0.0]]), [[1, 0, 0]], atol=1e-15)
    np.testing.assert_allclose(lens.directions([[0.0, 3 * math.pi / 4]]), [[0, math.sqrt(0.5), -math.sqrt(0.5)]])
    np.testing.assert_allclose(lens.image([[0.0, 1.0, -1.0]]), [[0, 3 * math.pi / 4]])
    assert np.isnan(lens.directions([[3.3, 0.0]])).all()


def test_a_perspective_camera_sees_nothing_behind_it():
    assert np.isnan(Lens().image([[0.1, 0.2, -1.0], [0.0, 0.0, 0.0]])).all()


def test_a_lens_without_numbers_is_a_pinhole():
    assert Lens().is_pinhole
    assert not Lens("fisheye").is_pinhole
    assert not Lens(tangential=(0.0, 1e-4)).is_pinhole
