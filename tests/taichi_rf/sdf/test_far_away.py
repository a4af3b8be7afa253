"""Rays from far away, and rays that are no rays: pictures are the same from everywhere, and no kernel runs for ever."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import taichi_rf
from taichi_rf.core.device import Scratch
from taichi_rf.kernels.march import Marcher
from taichi_rf.kernels.rays import sound
from taichi_rf.rendering.occupancy_view import shade_cubes
from taichi_rf.sdf.sphere_tracing import Tracer
from tests.arches import per_arch
from tests.taichi_rf.sdf.test_sphere_tracing import BOX, RADIUS, Ball, closed_form, occupancy, shell, unit

CELLS = shell(64)
FAR = [10.0, 300.0, 3000.0]
MEANINGLESS = [np.nan, np.inf, -np.inf, 1e30]


class Kernels:
    def __init__(self) -> None:
        self.tracer, self.marcher, self.scratch = Tracer(), Marcher(), Scratch()


@per_arch
def kernels() -> Kernels:
    return Kernels()


def view(distance: float, side: int = 60, towards: tuple = (0.3, -0.5, 0.8)) -> tuple[np.ndarray, np.ndarray]:
    """Rays of a picture that the box fills, from ``distance`` away from its middle."""
    forward = unit(np.array(towards, float))
    right = unit(np.cross(forward, [0.0, 1.0, 0.1]))
    up = np.cross(right, forward)
    x, y = (np.indices((side, side)).reshape(2, -1, 1) + 0.5) / side * 2 - 1
    origins = np.tile(-distance * forward, (side**2, 1)).astype(np.float32)
    directions = unit(distance * forward + x * right + y * up)
    return origins, directions.astype(np.float32)


def span(distance: float) -> dict[str, float]:
    return {"near": max(distance - 2, 1e-3), "far": distance + 2}


@pytest.mark.parametrize("towards", [(0.3, -0.5, 0.8), (0, 0, 1), (-1, 0, 0)])
@pytest.mark.parametrize("distance", FAR)
def test_the_outline_of_a_ball_is_what_the_formula_says_from_any_distance(kernels, distance, towards):
    origins, directions = view(distance, towards=towards)
    found = kernels.tracer.trace(Ball().density, occupancy(CELLS), origins, directions, box=BOX, **span(distance))
    clearance, t = closed_form(origins, directions, 2 * RADIUS)
    clear = np.abs(clearance - 2 * RADIUS) > 0.003
    assert clear.mean() > 0.97
    np.testing.assert_array_equal(found.hit[clear], clearance[clear] < 2 * RADIUS)
    sure = found.hit & clear
    np.testing.assert_allclose(found.t[sure], t[sure], atol=1e-3 + 1e-6 * distance)
    normals = (origins + directions.astype(np.float64) * t[:, None]) / (2 * RADIUS)
    assert (np.abs(found.normals - normals)[sure].max(axis=1) < 0.05).mean() > 0.99


@pytest.mark.parametrize("distance", [1e4, 1e6, 1e9, 1e20])
def test_from_where_single_precision_ends_rays_end_too(kernels, distance):
    origins, directions = view(distance)
    found = kernels.tracer.trace(Ball().density, occupancy(CELLS), origins, directions, box=BOX, **span(distance))
    assert np.isfinite(found.t).all()
    if distance == 1e4:
        clearance, _ = closed_form(origins, directions, 2 * RADIUS)
        clear = np.abs(clearance - 2 * RADIUS) > 0.01
        np.testing.assert_array_equal(found.hit[clear], clearance[clear] < 2 * RADIUS)
    samples = kernels.marcher.march(
        origins, directions, box=BOX, step=0.02, occupancy=occupancy(CELLS), **span(distance)
    )
    assert samples.count < len(origins) * 200
    shades, _ = shade(kernels, origins, directions, distance)
    assert np.isfinite(shades).all()


def shade(kernels: Kernels, origins: np.ndarray, directions: np.ndarray, distance: float) -> tuple:
    return shade_cubes(
        kernels.scratch, origins, directions, box=BOX, occupancy=occupancy(CELLS), radians=10.0, **span(distance)
    )


def test_samples_and_cubes_are_the_same_from_afar(kernels):
    # rays side by side: the same lines, begun farther away
    _, directions = view(10)
    middle = directions[len(directions) // 2 + 30]
    beside = np.cross(np.random.default_rng(0).normal(size=(2000, 3)), middle)
    places = {distance: (beside - distance * middle).astype(np.float32) for distance in FAR}
    ways = np.tile(middle, (len(beside), 1))
    counts, shades, depths = {}, {}, {}
    for distance, origins in places.items():
        samples = kernels.marcher.march(
            origins, ways, box=BOX, step=0.02, occupancy=occupancy(CELLS), **span(distance)
        )  # fmt: skip
        counts[distance] = np.diff(samples.offsets.to_numpy()[: len(ways) + 1])
        shades[distance], depth = shade(kernels, origins, ways, distance)
        depths[distance] = np.where(depth < 0, -1, depth - distance)
    for distance in FAR[1:]:
        assert (np.abs(counts[distance] - counts[10.0]) <= 1).mean() > 0.98
        assert (np.abs(depths[distance] - depths[10.0]) < 1e-3).mean() > 0.98
        assert (np.abs(shades[distance] - shades[10.0]) < 0.05).mean() > 0.95


@pytest.mark.parametrize("spoilt", ["origins", "directions"])
@pytest.mark.parametrize("value", MEANINGLESS)
def test_rays_that_mean_nothing_meet_nothing_and_leave_the_others_alone(kernels, spoilt, value):
    origins, directions = view(3.0, side=20)
    rays = {"origins": origins, "directions": directions}
    expected = kernels.tracer.trace(Ball().density, occupancy(CELLS), origins, directions, box=BOX, **span(3.0))
    rays[spoilt][::3, 1] = value
    found = kernels.tracer.trace(Ball().density, occupancy(CELLS), **rays, box=BOX, **span(3.0))
    assert not found.hit[::3].any()
    np.testing.assert_array_equal(found.hit[1::3], expected.hit[1::3])
    samples = kernels.marcher.march(**rays, box=BOX, step=0.02, occupancy=occupancy(CELLS), **span(3.0))
    counts = np.diff(samples.offsets.to_numpy()[: len(origins) + 1])
    assert (counts[::3] == 0).all()
    assert (counts[1::3] > 0).any()
    assert (shade(kernels, rays["origins"], rays["directions"], 3.0)[1][::3] < 0).all()


def test_rays_without_a_direction_meet_nothing_even_inside(kernels):
    origins = np.full((50, 3), 0.1, np.float32)
    directions = np.zeros((50, 3), np.float32)
    found = kernels.tracer.trace(Ball().density, occupancy(32), origins, directions, box=BOX, near=0.0, far=5.0)
    assert not found.hit.any()
    samples = kernels.marcher.march(origins, directions, box=BOX, step=0.02, occupancy=occupancy(32), near=0.0, far=5.0)
    assert samples.count == 0


def test_sound_rays_are_handed_on_as_they_are():
    origins, directions = view(3.0, side=4)
    same = sound(origins, directions, BOX)
    assert same[0] is origins
    assert same[1] is directions


# What ends each: the steps of a ray, which are bounded before memory is taken for their bits, each round one more; the
# cells along a ray, counted.
LOOPS = {("march.py", "_find"), ("traverse.py", "seek"), ("traverse.py", "stay"), ("occupancy_view.py", "first_cube")}


def test_no_kernel_has_a_loop_whose_end_nobody_looked_at():
    found = set()
    for path in Path(taichi_rf.__file__).parent.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any("ti." in ast.unparse(d) for d in function.decorator_list):
                found |= {(path.name, function.name) for node in ast.walk(function) if isinstance(node, ast.While)}
    assert found == LOOPS
