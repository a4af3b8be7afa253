"""Spaces: coordinates there and back, rays against points along them, and bent rays against a slow twin."""

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.kernels.march import Marcher
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.kernels.spaces import (
    BEND,
    BOX,
    CONTRACTED_BOX,
    Contraction,
    DeviceSpace,
    curve,
    read_space,
)
from tests.arches import per_arch
from tests.twins import jitter

NODES = (21, 18, 15)
NEAR, FAR, STEP = 0.1, 200.0, 0.07


@per_arch
def marcher() -> Marcher:
    return Marcher()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def everywhere(rng: np.random.Generator, count: int) -> np.ndarray:
    """Points (count, 3) of which a third are in the inner cube and the others up to a hundred times as far away."""
    return rng.standard_normal((count, 3)) * 10.0 ** rng.uniform(-1, 2, (count, 1))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_a_contraction_leaves_the_inner_cube_alone_fills_the_outer_and_is_undone(rng):
    points, space = everywhere(rng, 3000), Contraction()
    inside = space.field_points(points)
    inner = np.abs(points).max(axis=1) <= 1
    assert 0.1 < inner.mean() < 0.9
    np.testing.assert_array_equal(inside[inner], points[inner])
    assert np.abs(inside).max() < 2
    assert np.abs(inside).max() > 1.98
    np.testing.assert_allclose(space.world_points(inside), points, rtol=1e-9)


def test_device_coordinates_are_those_of_the_paper(rng):
    space = DeviceSpace((1.5, 2.0))
    points = np.array([[0.3, -0.2, -1.0], [0.0, 0.0, -4.0], [1.0, 2.0, -10.0]])
    expected = [(-1.5 * x / z, -2.0 * y / z, 1 + 2 / z) for x, y, z in points]
    np.testing.assert_allclose(space.field_points(points), expected)
    np.testing.assert_allclose(space.world_points(space.field_points(points)), points, rtol=1e-9)


def test_a_ray_in_device_coordinates_goes_through_the_points_of_the_ray_in_the_world(rng):
    space = DeviceSpace((1.2, 1.6))
    origins = np.float32(0.3) * rng.standard_normal((200, 3)).astype(np.float32)
    directions = unit(rng.standard_normal((200, 3)) * (0.5, 0.5, 1)).astype(np.float32)
    ahead = directions[:, 2] < -0.05
    starts, along = space.rays(origins, directions)
    assert np.isnan(starts[directions[:, 2] >= 0]).any(axis=1).all(), "who looks back never enters"
    for share in (0.0, 0.3, 0.9):
        length = 2 / along[:, 2] * share
        points = starts + along * length[:, None]
        distances = space.distances(origins, directions, length.astype(np.float32))
        found = space.field_points(origins + directions * distances[:, None].astype(np.float64))
        np.testing.assert_allclose(found[ahead], points[ahead], atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(along[ahead], axis=1), 1, atol=1e-5)


def test_steps_are_even_up_to_the_bend_and_then_as_the_contraction_shrinks():
    t = np.array([0, 1, BEND, 2 * BEND, 1e9])
    np.testing.assert_allclose(curve(t), [0, 1, BEND, 1.5 * BEND, 2 * BEND])
    slope = (curve(8.001) - curve(7.999)) / 0.002
    assert slope == pytest.approx((BEND / 8) ** 2, rel=1e-4)


@pytest.mark.parametrize("seed", [None, 5])
def test_bent_rays_have_the_samples_of_their_twin(marcher, rng, seed):
    occupancy = Occupancy(NODES)
    cells = rng.random(occupancy.cells[::-1]) < 0.4
    occupancy.set_cells(cells)
    space = Contraction()
    origins = (0.7 * rng.standard_normal((60, 3))).astype(np.float32)
    directions = unit(rng.standard_normal((60, 3))).astype(np.float32)
    begin, end = space.interval(NEAR, FAR)
    shifts = np.full(60, 0.5) if seed is None else jitter(seed, 60)
    samples = marcher.march(
        origins, directions, box=CONTRACTED_BOX, near=begin, far=end, step=STEP, occupancy=occupancy, seed=seed,
        curved=True,
    )  # fmt: skip
    offsets = samples.offsets.to_numpy()[:61]
    positions, t = samples.positions.to_numpy(), samples.t.to_numpy()
    doubtful = 0
    for ray in range(60):
        u = begin + (np.arange(int((end - begin) / STEP) + 2) + shifts[ray]) * STEP
        u = u[u < end]
        expected = np.where(u <= BEND, u, BEND**2 / (2 * BEND - np.minimum(u, 2 * BEND - 1e-9)))
        places = (space.field_points(origins[ray] + directions[ray].astype(np.float64) * expected[:, None]) + 2) / 4
        index = np.minimum((places * occupancy.cells).astype(int), np.array(occupancy.cells) - 1)
        hit = cells[index[:, 2], index[:, 1], index[:, 0]]
        mine = slice(offsets[ray], offsets[ray + 1])
        if hit.sum() != offsets[ray + 1] - offsets[ray]:  # a sample on the face between two cells
            doubtful += 1
            continue
        np.testing.assert_allclose(positions[mine], places[hit], atol=1e-4)
        np.testing.assert_allclose(t[mine], expected[hit], rtol=2e-3)
    assert doubtful <= 2


def test_spaces_are_written_and_read():
    for space in (BOX, Contraction(), DeviceSpace((0.5, 0.75))):
        assert read_space(space.describe()).describe() == space.describe()
    assert read_space(None) is BOX


@pytest.mark.parametrize(
    "described",
    ["box", 3, [], {}, {"kind": "sphere"}, {"kind": "ndc"}, {"kind": "ndc", "focal": [0, 1]},
     {"kind": "ndc", "focal": [1, float("nan")]}, {"kind": "ndc", "focal": [1]}, {"kind": ["ndc"]}],
)  # fmt: skip
def test_what_describes_no_space_is_refused(described):
    with pytest.raises(UserError, match="space"):
        read_space(described)
