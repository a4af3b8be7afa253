"""IoU and chamfer distance of balls against a ball, for which both are known in closed form."""

from typing import Any

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, Vec3s
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.sdf.mesh import Shape
from taichi_rf.sdf.metrics import SEARCH, ShapeMetrics, contains, solid_cells
from tests.arches import per_arch
from tests.solids import ball

RADIUS = 0.3
CELLS = 32


@ti.kernel
def _shell(n: int, radius: float, hollow: float, positions: Vec3s, density: F32):
    for i in range(n):
        r = (positions[i] - 0.5).norm()
        density[i] = ti.max(r - radius, hollow - r)


class Ball:
    """A field that is the distance of a ball, with another cut out of its middle."""

    def __init__(self, radius: float, hollow: float = -1.0) -> None:
        self.radius, self.hollow = radius, hollow

    def density(self, n: int, positions: Any, density: Any) -> None:
        _shell(n, self.radius, self.hollow, positions, density)


@per_arch
def metrics() -> ShapeMetrics:
    shape = Shape(*ball(128, RADIUS, (0.5, 0.5, 0.5)))
    return ShapeMetrics(shape, points=1 << 18, lines=1 << 15, samples=1 << 13)


def shells(*radii: float) -> np.ndarray:
    """The cells (z, y, x) that the spheres of ``radii`` may pass through."""
    centres = (np.indices((CELLS,) * 3)[::-1].transpose(1, 2, 3, 0) + 0.5) / CELLS
    away = np.linalg.norm(centres - 0.5, axis=-1)
    return np.any([np.abs(away - radius) < np.sqrt(3) / 2 / CELLS for radius in radii], axis=0)


def occupancy(cells: np.ndarray) -> Occupancy:
    found = Occupancy((CELLS + 1,) * 3)
    found.set_cells(cells)
    return found


@pytest.mark.parametrize("change", [0.0, 0.01, -0.01])
def test_a_ball_of_another_size_scores_what_the_formulas_say(metrics, change):
    radius = RADIUS + change
    score = metrics.measure(Ball(radius).density, occupancy(shells(radius)))
    expected = (min(radius, RADIUS) / max(radius, RADIUS)) ** 3
    assert score.iou == pytest.approx(expected, abs=0.006)
    assert score.chamfer is not None
    assert score.chamfer == pytest.approx(abs(change), abs=2e-4)


@pytest.mark.parametrize("change", [0.0, 0.01, -0.01, -0.15])
def test_a_mesh_scores_what_a_field_of_the_same_solid_does(metrics, change):
    radius = RADIUS + change
    score = metrics.measure_mesh(Shape(*ball(128, radius, (0.5, 0.5, 0.5))))
    expected = (min(radius, RADIUS) / max(radius, RADIUS)) ** 3
    assert score.iou == pytest.approx(expected, abs=0.006)
    assert score.chamfer == pytest.approx(abs(change), abs=2e-4 if abs(change) < SEARCH else 2e-3)


def test_what_is_far_from_the_mesh_counts_fully(metrics):
    radius = RADIUS - 0.15  # farther than is searched along the normals
    score = metrics.measure(Ball(radius).density, occupancy(shells(radius)))
    assert score.chamfer == pytest.approx(0.15, abs=2e-3)


def test_a_model_without_a_surface_has_no_chamfer_distance(metrics):
    score = metrics.measure(Ball(-1.0).density, occupancy(np.ones((CELLS,) * 3, bool)))
    assert score.iou == 0
    assert score.chamfer is None
    empty = metrics.measure(Ball(RADIUS).density, occupancy(np.zeros((CELLS,) * 3, bool)))
    assert empty.iou == 0
    assert empty.chamfer is None


def test_cells_that_the_field_does_not_have_are_inside_where_its_surface_says_so(metrics):
    hollow = Ball(0.4, 0.2)
    cells = shells(0.4, 0.2)
    solid = solid_cells(hollow.density, cells)
    centres = (np.indices((CELLS,) * 3)[::-1].transpose(1, 2, 3, 0) + 0.5) / CELLS
    away = np.linalg.norm(centres - 0.5, axis=-1)
    np.testing.assert_array_equal(solid, (away > 0.2) & (away < 0.4) & ~cells)
    points = np.random.default_rng(0).random((5000, 3), dtype=np.float32)
    away = np.linalg.norm(points - 0.5, axis=1)
    clear = (np.abs(away - 0.2) > 1e-5) & (np.abs(away - 0.4) > 1e-5)
    np.testing.assert_array_equal(
        contains(hollow.density, occupancy(cells), points)[clear], ((away > 0.2) & (away < 0.4))[clear]
    )
