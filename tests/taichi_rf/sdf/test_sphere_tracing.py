"""Sphere tracing, against the closed form of a sphere and a brute-force twin."""

from typing import Any

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Vec3s
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.kernels.traverse import cell_at, marked
from taichi_rf.sdf.sphere_tracing import Surface, Tracer
from tests.arches import per_arch

BOX = np.array([[-1, -1, -1], [1, 1, 1]], np.float32)
RADIUS = 0.3  # of the unit box
BUMP = 0.03  # of the wavy ball


@ti.kernel
def _ball(n: int, wavy: float, positions: Vec3s, density: F32):
    for i in range(n):
        p = positions[i] - 0.5
        wave = ti.sin(20 * p[0]) * ti.sin(20 * p[1]) * ti.sin(20 * p[2])
        density[i] = p.norm() - RADIUS + wavy * wave


@ti.kernel
def _nothing_outside(n: int, nx: int, words: int, bits: I32, positions: Vec3s, density: F32):
    for i in range(n):
        cells = ti.Vector([nx, nx, nx])
        if not marked(cell_at(positions[i], cells), cells, words, bits):
            density[i] = 1.0


class Ball:
    """A field that is the distance of a ball, exactly, or of a wavy one, roughly."""

    def __init__(self, wavy: float = 0.0, known: Occupancy | None = None) -> None:
        self.wavy, self.known, self.asked = wavy, known, 0

    def density(self, n: int, positions: Any, density: Any) -> None:
        self.asked += n
        _ball(n, self.wavy, positions, density)
        if self.known is not None:
            _nothing_outside(n, self.known.cells[0], self.known.words, self.known.bits, positions, density)

    def twin(self, p: np.ndarray) -> np.ndarray:
        p = p - 0.5
        return np.linalg.norm(p, axis=-1) - RADIUS + self.wavy * np.sin(20 * p).prod(axis=-1)


@per_arch
def tracer() -> Tracer:
    return Tracer()


def occupancy(cells: np.ndarray | int) -> Occupancy:
    if isinstance(cells, int):
        return Occupancy((cells + 1,) * 3)
    found = Occupancy(tuple(n + 1 for n in cells.shape[::-1]))
    found.set_cells(cells)
    return found


def shell(cells: int, width: float = 1.0) -> np.ndarray:
    """The cells (z, y, x) that are within ``width`` cells' diagonals of the ball's surface."""
    centres = (np.indices((cells,) * 3)[::-1].transpose(1, 2, 3, 0) + 0.5) / cells
    return np.abs(np.linalg.norm(centres - 0.5, axis=-1) - RADIUS) < width * np.sqrt(3) / 2 / cells


def rays(count: int, seed: int = 0, aim: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    origins = 3 * unit(rng.normal(size=(count, 3)))
    directions = unit(rng.uniform(-aim, aim, (count, 3)) - origins)
    return origins.astype(np.float32), directions.astype(np.float32)


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def closed_form(origins: np.ndarray, directions: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """How close rays come to the origin, and where they enter the ball around it."""
    o, d = origins.astype(np.float64), directions.astype(np.float64)
    towards = -(o * d).sum(1)
    clearance = np.linalg.norm(o + towards[:, None] * d, axis=1)
    return clearance, towards - np.sqrt(np.maximum(radius**2 - clearance**2, 0))


def twin(field: Ball, cells: np.ndarray, origins: np.ndarray, directions: np.ndarray, step: float = 2e-4) -> np.ndarray:
    """t (n,) of the first of very many places that is inside and in an occupied cell; 0 for none. If the way leads
    out from there, and empty cells were crossed before, the last place before these."""
    result = np.zeros(len(origins))
    ts = np.arange(1.0, 5.0, step)
    for r, (o, d) in enumerate(zip(origins.astype(np.float64), directions.astype(np.float64))):
        u = (o + ts[:, None] * d + 1) / 2
        c = np.floor(u * cells.shape[0]).astype(int)
        known = ((c >= 0) & (c < cells.shape[0])).all(1)
        c = c.clip(0, cells.shape[0] - 1)
        known &= cells[c[:, 2], c[:, 1], c[:, 0]]
        values = field.twin(u)
        inside = np.flatnonzero(known & (values <= 0))
        if len(inside):
            first = inside[0]
            earlier = np.flatnonzero(known[:first])
            gap = not known[first - 1] and len(earlier) > 0
            result[r] = ts[earlier[-1] if gap and values[first + 1] > values[first] else first]
    return result


def trace(
    tracer: Tracer, field: Ball, cells: Any, origins: np.ndarray, directions: np.ndarray, **options: Any
) -> Surface:
    options = {"box": BOX, "near": 0.1, "far": 6.0} | options
    return tracer.trace(field.density, occupancy(cells), origins, directions, **options)


@pytest.mark.parametrize("cells", [1, 7, 32, "shell"])
def test_a_ball_is_met_where_the_formula_says_with_its_normal(tracer, cells):
    origins, directions = rays(3000)
    found = trace(tracer, Ball(), shell(64) if cells == "shell" else cells, origins, directions)
    clearance, t = closed_form(origins, directions, 2 * RADIUS)
    clear = np.abs(clearance - 2 * RADIUS) > 0.02
    np.testing.assert_array_equal(found.hit[clear], clearance[clear] < 2 * RADIUS)
    sure = found.hit & clear
    cell = 2 / (64 if cells == "shell" else cells)
    np.testing.assert_allclose(found.t[sure], t[sure], atol=0.02 * cell + 1e-5)
    if cells != 1:  # over a whole box the differences are no gradient
        normals = (origins + directions * t[:, None]) / (2 * RADIUS)
        np.testing.assert_allclose(found.normals[sure], normals[sure], atol=0.12 if cells == 7 else 0.03)
    np.testing.assert_allclose(np.linalg.norm(found.normals[found.hit], axis=1), 1, atol=1e-5)
    assert (found.normals[~found.hit] == 0).all()
    assert (found.t[~found.hit] == 0).all()


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_a_fitted_distance_is_met_where_the_twin_meets_it_also_where_cells_are_missing(tracer, holes):
    cells = shell(32, 3.0) & (np.random.default_rng(1).random((32, 32, 32)) >= holes)
    origins, directions = rays(400, seed=2)
    field = Ball(BUMP, occupancy(cells))
    found = trace(tracer, field, cells, origins, directions)
    expected = twin(field, cells, origins, directions)
    same = found.hit == (expected > 0)
    assert same.mean() > 0.985  # rays that graze a bump, or the corner of a cell
    both = found.hit & (expected > 0)
    assert (np.abs(found.t - expected)[both] < 3e-3).mean() > 0.98


def test_a_surface_that_slips_out_of_its_cells_leaves_no_hole(tracer):
    cells = shell(32, 0.8)
    field = Ball(0.004, occupancy(cells))  # the cells are those of the ball without its waves
    origins, directions = rays(20_000, seed=3, aim=0.3)
    found = trace(tracer, field, cells, origins, directions)
    _, t = closed_form(origins, directions, 2 * RADIUS)
    assert found.hit.all()
    assert (np.abs(found.t - t) < 2 / 32).mean() > 0.9998
    assert ((found.normals * directions).sum(1) < 0).mean() > 0.9998


def test_empty_cells_are_never_looked_at(tracer):
    origins, directions = rays(500)
    nothing, far = Ball(), Ball()
    assert not trace(tracer, nothing, np.zeros((16, 16, 16), bool), origins, directions).hit.any()
    assert nothing.asked == 0
    corner = np.zeros((32, 32, 32), bool)
    corner[0, 0, 0] = True
    found = trace(tracer, far, corner, origins, directions)
    assert not found.hit.any()
    assert far.asked == found.steps.sum()
    assert (found.steps > 0).sum() < 20


def test_few_steps_are_taken(tracer):
    origins, directions = rays(2000, aim=0.3)
    found = trace(tracer, Ball(), 64, origins, directions)
    assert found.hit.all()
    assert found.steps.mean() < 12
    assert trace(tracer, Ball(), shell(64), origins, directions).steps.mean() < 6


def test_from_inside_and_between_near_and_far(tracer):
    origins, directions = rays(200, aim=0.1)
    inside = trace(tracer, Ball(), 32, 0.1 * origins, directions)
    assert inside.hit.all()
    np.testing.assert_allclose(inside.t, 0.1, atol=1e-6)
    assert not trace(tracer, Ball(), 32, origins, directions, far=2.0).hit.any()
    late = trace(tracer, Ball(), 32, origins, directions, near=2.6)
    np.testing.assert_allclose(late.t, 2.6, atol=1e-5)


def test_a_box_anywhere_of_any_size(tracer):
    origins, directions = rays(500)
    here = trace(tracer, Ball(), 32, origins, directions)
    there = trace(tracer, Ball(), 32, 50 * origins + 7, directions, box=50 * BOX + 7, near=5.0, far=300.0)
    assert (here.hit == there.hit).mean() > 0.99
    both = here.hit & there.hit
    np.testing.assert_allclose(there.t[both], 50 * here.t[both], atol=0.02)
    assert (np.abs(there.normals - here.normals)[both] < 0.02).mean() > 0.99


def test_rays_along_the_axes_and_no_rays_at_all(tracer):
    directions = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    found = trace(tracer, Ball(), shell(32), -2 * directions, directions)
    assert found.hit.all()
    np.testing.assert_allclose(found.t, 2 - 2 * RADIUS, atol=1e-3)
    np.testing.assert_allclose(found.normals, -directions, atol=0.02)
    none = trace(tracer, Ball(), 32, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    assert none.hit.shape == (0,)
    assert none.normals.shape == (0, 3)


def test_normals_are_left_out_when_nobody_wants_them(tracer):
    origins, directions = rays(50, aim=0.1)
    found = trace(tracer, Ball(), 32, origins, directions, normals=False)
    assert found.hit.all()
    assert (found.normals == 0).all()
