"""Cubes of the occupancy grid against a search through all of them, and their shades against shades made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.core.device import Scratch
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.rendering import occupancy_view as cubes
from taichi_rf.rendering.occupancy_view import CREASE, EDGE, FACES, shade_cubes
from tests.arches import per_arch
from tests.taichi_rf.kernels.test_march import BOX, NODES, clusters, random_rays

NEAR, FAR = 0.5, 5.0
CELLS = tuple(n - 1 for n in NODES)
SIZE = (BOX[1] - BOX[0]).astype(np.float64) / CELLS  # of a cell
COARSE_PIXELS = 10.0  # radians: no cube is large enough for edges


@per_arch
def scratch() -> Scratch:
    return Scratch()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def shade(scratch, cells, origins, directions, *, near=NEAR, far=FAR, radians=COARSE_PIXELS):
    occupancy = Occupancy(NODES)
    occupancy.set_cells(cells)
    return shade_cubes(
        scratch, np.asarray(origins, np.float32), np.asarray(directions, np.float32), box=BOX, near=near, far=far,
        occupancy=occupancy, radians=radians,
    )  # fmt: skip


def empty_cells() -> np.ndarray:
    return np.zeros(CELLS[::-1], bool)


def centre(x: float, y: float, z: float) -> np.ndarray:
    """World position of the middle of a cell."""
    return BOX[0] + (np.array([x, y, z]) + 0.5) * SIZE


class Twin:
    """All cells that a ray crosses, found by cutting it with every one of them, in float64."""

    def __init__(self, cells: np.ndarray) -> None:
        self.cells = cells
        z, y, x = np.indices(cells.shape).reshape(3, -1)
        self.places = np.stack([x, y, z], axis=1)
        self.low = BOX[0] + self.places * SIZE
        self.marked = cells.reshape(-1)

    def look(self, origin: np.ndarray, direction: np.ndarray) -> tuple[float, float, float]:
        """Distance (-1 for none) and shade of the first cube, and how far, in cells, rounding is from deciding it."""
        o, d = origin.astype(np.float64), direction.astype(np.float64)
        a, b = (self.low - o) / d, (self.low + SIZE - o) / d
        enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
        crossed = np.flatnonzero((leave > np.maximum(enter, NEAR)) & (enter < FAR))
        order = crossed[np.argsort(enter[crossed])]
        thin = (leave - np.maximum(enter, NEAR))[order] / SIZE.min()
        beside = np.abs(leave - np.maximum(enter, NEAR)) / SIZE.min()
        grazed = beside[self.marked].min(initial=np.inf)  # an occupied cube all but missed, or all but met
        margin = min(thin.min(initial=np.inf), grazed)
        among = len(order) > 0 and enter[order[0]] <= NEAR
        for cell in order:
            if not self.marked[cell]:
                among = False
            elif not among:
                t = max(enter[cell], NEAR)
                axis = int(np.argmax(np.minimum(a, b)[cell]))
                return t, self.shade(self.places[cell], axis, o + t * d, d), margin
        return -1.0, 0.0, margin

    def shade(self, cell: np.ndarray, axis: int, point: np.ndarray, direction: np.ndarray) -> float:
        padded = np.pad(self.cells, 2).transpose(2, 1, 0)  # [x, y, z]
        front = cell.copy() + 2
        front[axis] -= 1 if direction[axis] > 0 else -1
        first, second = (axis + 1) % 3, (axis + 2) % 3
        place = (point - BOX[0]) / SIZE - cell
        light = 0.0
        for i in (0, 1):
            for j in (0, 1):
                beside, above = np.eye(3, dtype=int)[first] * (2 * i - 1), np.eye(3, dtype=int)[second] * (2 * j - 1)
                walls = [bool(padded[tuple(front + step)]) for step in (beside, above, beside + above)]
                hidden = 3 if walls[0] and walls[1] else sum(walls)
                u, v = place[first], place[second]
                light += (u if i else 1 - u) * (v if j else 1 - v) * (1 - (1 - CREASE) * hidden / 3)
        return FACES[axis] * light


def test_the_first_cube_is_the_nearest_of_all_that_the_ray_crosses(scratch, rng):
    cells = clusters(rng, CELLS[::-1])
    twin = Twin(cells)
    origins, directions = random_rays(rng, 400)
    shades, distances = shade(scratch, cells, origins, directions)
    sure = hits = 0
    for r in range(len(origins)):
        distance, light, margin = twin.look(origins[r], directions[r])
        if margin < 1e-3:  # rounding may decide either way
            continue
        sure += 1
        assert distances[r] == pytest.approx(distance, abs=1e-4)
        if distance >= 0:
            hits += 1
            assert shades[r] == pytest.approx(light, abs=2e-3)
    assert sure > 300
    assert hits > 100
    assert (distances < 0).sum() > 20


def test_every_face_of_a_lone_cube_has_the_shade_of_its_axis(scratch):
    cells = empty_cells()
    cells[5, 6, 9] = True
    middle = centre(9, 6, 5)
    directions = np.concatenate([np.eye(3), -np.eye(3)])
    shades, distances = shade(scratch, cells, middle - 2 * directions, directions)
    np.testing.assert_allclose(shades, FACES * 2, atol=1e-6)
    np.testing.assert_allclose(distances, np.tile(2 - SIZE / 2, 2), atol=1e-5)
    assert len(set(FACES)) == 3


def test_a_floor_is_darker_where_a_wall_stands_on_it(scratch):
    cells = empty_cells()
    cells[2, :, :] = True
    cells[3, :, 10] = True
    above = [centre(x, 6, 6) for x in (3, 8.75, 9.25, 9.49)]
    shades, _ = shade(scratch, cells, above, np.tile([0.0, 0.0, -1.0], (4, 1)))
    # of the face at x = 9, the corners beside the wall have two of three cells around them: 1 - (1 - CREASE) 2/3
    dark = 1 - (1 - CREASE) * 2 / 3
    np.testing.assert_allclose(shades[0], 1, atol=1e-6)
    np.testing.assert_allclose(shades[1:], [0.75 + 0.25 * dark, 0.25 + 0.75 * dark, 0.01 + 0.99 * dark], atol=1e-3)


def test_edges_are_drawn_on_cubes_that_are_large_and_not_on_small_ones(scratch):
    cells = empty_cells()
    cells[5, 6, 9] = True
    from_above = centre(9, 6, 5) + [0, 0, 2]
    inside, at_edge = from_above, from_above + [0.499 * SIZE[0], 0, 0]
    down = np.tile([0.0, 0.0, -1.0], (2, 1))
    large, _ = shade(scratch, cells, [inside, at_edge], down, radians=SIZE.min() / 2 / 100)
    np.testing.assert_allclose(large, [1, EDGE], atol=0.05)
    small, _ = shade(scratch, cells, [inside, at_edge], down, radians=SIZE.min() / 2 / cubes.EDGES_FROM[0] * 1.1)
    np.testing.assert_allclose(small, 1, atol=1e-6)


def test_from_among_cubes_one_sees_those_beyond_the_next_gap(scratch):
    cells = empty_cells()
    cells[5, 6, 4:8] = True  # where one stands
    cells[5, 6, 12] = True
    _, distances = shade(scratch, cells, [centre(5, 6, 5)], [[1.0, 0.0, 0.0]], near=0.0)
    assert distances[0] == pytest.approx(6.5 * SIZE[0], abs=1e-5)


def test_near_and_far_are_kept_to(scratch):
    cells = empty_cells()
    cells[5, 6, [3, 9]] = True
    start = centre(3, 6, 5) - [1, 0, 0]
    along = np.array([[1.0, 0.0, 0.0]])
    for near, far, expected in (
        (0.1, 9, 1 - SIZE[0] / 2),
        (1 + SIZE[0], 9, 1 + 5.5 * SIZE[0]),
        (0.1, 0.9, -1),
        (1 + SIZE[0], 1.2, -1),
    ):
        _, distances = shade(scratch, cells, [start], along, near=near, far=far)
        assert distances[0] == pytest.approx(expected, abs=1e-5)


def test_rays_that_miss_the_box_or_meet_nothing_hit_nothing(scratch, rng):
    cells = np.ones(CELLS[::-1], bool)
    _, beside = shade(scratch, cells, [[-3, 5, 1], [3, 0, 1]], [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(beside, -1)
    _, nothing = shade(scratch, empty_cells(), *random_rays(rng, 50))
    np.testing.assert_array_equal(nothing, -1)
