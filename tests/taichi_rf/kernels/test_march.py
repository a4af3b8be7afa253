"""Marching and the occupancy grid: what is kept, what is skipped, and that nothing which matters is lost."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import empty, upload
from taichi_rf.fields.vm.field import VMField
from taichi_rf.kernels.march import Marcher
from taichi_rf.kernels.occupancy import COARSE, Occupancy
from taichi_rf.kernels.scan import prefix_sum
from tests.arches import per_arch
from tests.twins import jitter, march

BOX = np.array([[-1.0, -0.5, 0.25], [1.5, 1.0, 1.75]], np.float32)
NODES = (20, 12, 11)  # not cubic, and no multiple of a coarse cell
NEAR, FAR, STEP = 0.5, 5.0, 0.031


@per_arch
def marcher() -> Marcher:
    return Marcher()


@per_arch
def field() -> VMField:
    return VMField(ranks=2, resolution=NODES, rows=1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def random_rays(rng: np.random.Generator, count: int, box: np.ndarray = BOX) -> tuple[np.ndarray, np.ndarray]:
    """From around the box (and a few from inside it) to points in it."""
    centre, size = box.mean(axis=0), box[1] - box[0]
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    targets = centre + (rng.random((count, 3)) - 0.5) * size
    away = rng.uniform(0, 3, (count, 1))
    return (targets - away * directions).astype(np.float32), directions.astype(np.float32)


def clusters(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """A fifth of the cells in half of the coarse cells; the first of those is empty, the last is not."""
    blocks = rng.random([-(-n // COARSE) for n in shape]) < 0.5
    blocks.flat[0], blocks.flat[-1] = False, True
    for axis in range(3):
        blocks = blocks.repeat(COARSE, axis)
    return blocks[tuple(slice(n) for n in shape)] & (rng.random(shape) < 0.2)


def run(marcher: Marcher, occupancy: Occupancy, origins, directions, *, box=BOX, step=STEP, **kwargs):
    """(offsets, positions, t) as numpy."""
    samples = marcher.march(
        origins, directions, box=box, near=NEAR, far=FAR, step=step, occupancy=occupancy, **kwargs
    )  # fmt: skip
    assert samples.rays == len(origins)
    offsets = samples.offsets.to_numpy()[: len(origins) + 1]
    assert offsets[-1] == samples.count
    return offsets, samples.positions.to_numpy()[: samples.count], samples.t.to_numpy()[: samples.count]


# Prefix sums


@pytest.mark.parametrize("n", [0, 1, 2, 255, 256, 257, 511, 512, 513, 5000])
def test_prefix_sum_is_numpys(marcher, rng, n):
    counts = rng.integers(0, 100, n).astype(np.int32)
    offsets, sums = empty(ti.i32, n + 1), empty(ti.i32, n // 256 + 2)
    total = prefix_sum(n, upload(np.append(counts, 7), ti.i32), offsets, sums)
    assert total == counts.sum()
    np.testing.assert_array_equal(offsets.to_numpy(), np.concatenate([[0], np.cumsum(counts)]))


# The occupancy grid


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize(
    "cells",
    [(1, 1, 1), (30, 3, 2), (31, 5, 4), (32, 4, 5), (33, 3, 4), (63, 2, 3), (64, 3, 2), (65, 9, 10), (7, 40, 17)],
)
def test_a_cell_is_occupied_if_a_corner_is_dense_enough(marcher, rng, cells, grow):
    nx, ny, nz = (c + 1 for c in cells)
    scale, threshold = 0.7, 2e-3
    density = np.where(rng.random((nz, ny, nx)) < 0.02, 5 * threshold, 0.1 * threshold).astype(np.float32)
    density[0, 0, -1] = density[-1, -1, 0] = 1  # the ends of rows
    occupancy = Occupancy((nx, ny, nz))
    occupancy.update(upload(density.reshape(-1)), scale, threshold, grow=grow)

    dense = 1 - np.exp(-density.astype(np.float64) * scale) > threshold
    expected = np.zeros(cells[::-1], bool)
    for z, y, x in np.ndindex(*cells[::-1]):
        expected[z, y, x] = dense[z : z + 2, y : y + 2, x : x + 2].any()
    if grow:
        small = expected.copy()
        for z, y, x in np.ndindex(*cells[::-1]):
            expected[z, y, x] = small[max(z - 1, 0) : z + 2, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()
    np.testing.assert_array_equal(occupancy.to_numpy(), expected)
    np.testing.assert_array_equal(coarse(occupancy), coarsened(expected))


def coarse(occupancy: Occupancy) -> np.ndarray:
    return occupancy.coarse.to_numpy().reshape(occupancy.coarse_cells[::-1]).astype(bool)


def coarsened(cells: np.ndarray) -> np.ndarray:
    """Whether any cell of each 8 x 8 x 8 is occupied."""
    padded = np.pad(cells, [(0, -n % COARSE) for n in cells.shape])
    z, y, x = (n // COARSE for n in padded.shape)
    return padded.reshape(z, COARSE, y, COARSE, x, COARSE).any(axis=(1, 3, 5))


def test_alpha_at_the_threshold_decides(marcher):
    """alpha = 1 - exp(-density scale) = 0.1 at scale 2.5 and density 0.04214."""
    for density, occupied in ((0.0421, False), (0.0422, True)):
        occupancy = Occupancy((2, 2, 2))
        occupancy.update(upload(np.full(8, density)), 2.5, 0.1, grow=False)
        assert occupancy.to_numpy().item() is occupied


@pytest.mark.parametrize("cells", [(31, 2, 3), (32, 2, 3), (33, 3, 2), (64, 2, 2), (5, 3, 1), (19, 11, 10)])
def test_packed_bits_and_cells_survive_the_round_trip(marcher, rng, cells):
    expected = rng.random(cells[::-1]) < 0.3
    occupancy = Occupancy(tuple(c + 1 for c in cells))
    assert occupancy.to_numpy().all()  # starts full
    assert occupancy.to_numpy().shape == cells[::-1]
    occupancy.set_cells(expected)
    np.testing.assert_array_equal(occupancy.to_numpy(), expected)
    np.testing.assert_array_equal(coarse(occupancy), coarsened(expected))
    packed = occupancy.packed()
    assert packed.dtype == np.uint8
    assert packed.size == occupancy.packed_size() == -(-expected.size // 8)
    again = Occupancy(tuple(c + 1 for c in cells))
    again.set_packed(packed)
    np.testing.assert_array_equal(again.to_numpy(), expected)
    np.testing.assert_array_equal(coarse(again), coarsened(expected))
    again.fill()
    assert again.to_numpy().all()


# Marching


def test_jitter_is_one_number_a_ray_uniform_and_fixed_by_its_seed(marcher):
    count = 4000
    origins = np.tile(np.array([[-3, 0, 1]], np.float32), (count, 1))
    directions = np.tile(np.array([[1, 0, 0]], np.float32), (count, 1))
    occupancy = Occupancy(NODES)

    def jitters(seed):
        offsets, _, t = run(marcher, occupancy, origins, directions, step=0.5, seed=seed)
        assert (np.diff(offsets) == 5).all()
        np.testing.assert_allclose(np.diff(t.reshape(count, 5)), 0.5, atol=1e-5)  # uniform steps along each ray
        return (t.reshape(count, 5)[:, 0] - 2) / 0.5  # the box begins at t = 2

    first = jitters(9)
    np.testing.assert_array_equal(first, jitters(9))
    np.testing.assert_allclose(first, jitter(9, count), atol=2e-6)
    assert not np.allclose(first, jitters(10), atol=0.01)
    assert first.min() >= -1e-6
    assert first.max() < 1 + 1e-6
    np.testing.assert_allclose(np.histogram(first, 10, (0, 1))[0] / count, 0.1, atol=0.02)
    assert abs(np.corrcoef(first, jitters(10))[0, 1]) < 0.06
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.06


@pytest.mark.parametrize("seed", [None, 5])
def test_samples_are_those_of_every_step_looked_up_by_itself(marcher, rng, seed):
    cells = clusters(rng, tuple(n - 1 for n in NODES[::-1]))
    occupancy = Occupancy(NODES)
    occupancy.set_cells(cells)
    assert not coarse(occupancy).all()
    origins, directions = random_rays(rng, 300)
    offsets, positions, t = run(marcher, occupancy, origins, directions, seed=seed)
    jitters = np.full(300, 0.5) if seed is None else jitter(seed, 300)
    compared = sure = 0
    for r in range(300):
        steps = march(
            origins[r], directions[r], box=BOX, near=NEAR, far=FAR, step=STEP, cells=cells, jitter=jitters[r]
        )  # fmt: skip
        got = t[offsets[r] : offsets[r + 1]]
        places = positions[offsets[r] : offsets[r + 1]]
        assert (np.diff(got) > 0).all()
        for step in steps:
            found = np.flatnonzero(np.abs(got - step.t) < 0.01 * STEP)
            compared += 1
            if step.margin > 1e-3:  # of a cell, or of a step: elsewhere rounding may decide either way
                sure += 1
                assert len(found) == int(step.occupied)
            if len(found):
                np.testing.assert_allclose(places[found[0]], step.u, atol=1e-5)
        # and nothing besides: every sample is one of the steps
        assert all(np.abs(np.array([s.t for s in steps]) - one).min() < 0.01 * STEP for one in got)
    assert compared > 5000
    assert sure > 0.98 * compared


@pytest.mark.parametrize("nodes", [(32, 9, 9), (33, 20, 5), (34, 9, 17), (65, 12, 10)])
def test_skipping_empty_coarse_cells_changes_no_bit_of_the_samples(marcher, rng, nodes):
    occupancy = Occupancy(nodes)
    occupancy.set_cells(clusters(rng, tuple(n - 1 for n in nodes[::-1])))
    assert not coarse(occupancy).all()
    origins, directions = random_rays(rng, 2000)
    axes = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 300)] * rng.choice([-1, 1], (300, 1)).astype(np.float32)
    directions[:300] = axes  # parallel to the box's sides
    origins[:300] = BOX.mean(0) - 2 * axes + (1 - np.abs(axes)) * rng.uniform(-0.5, 0.5, (300, 3)).astype(np.float32)
    skipped = run(marcher, occupancy, origins, directions, seed=1)
    occupancy.coarse.fill(1)  # now every step is tested
    tested = run(marcher, occupancy, origins, directions, seed=1)
    assert len(tested[2]) > 1000
    for a, b in zip(skipped, tested):
        np.testing.assert_array_equal(a, b)


def test_rays_end_at_the_box_and_at_near_and_far(marcher):
    origins = np.array([[-9, 0, 1], [-3, 0, 1], [0, 0, 1], [-3, 9, 1], [3, 0, 1], [0, 0, 1]], np.float32)
    directions = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, -1]], np.float32)
    offsets, positions, t = run(marcher, Occupancy(NODES), origins, directions, step=0.25)
    # box x from -1 to 1.5, z from 0.25; near 0.5, far 5
    expected = [
        [],  # beyond far
        [2 + 0.25 * (k + 0.5) for k in range(10)],  # t from 2 to 4.5
        [0.5 + 0.25 * (k + 0.5) for k in range(4)],  # from inside: near to 1.5
        [],  # passes beside the box
        [],  # behind
        [0.5 + 0.125],  # near to 0.75
    ]
    np.testing.assert_array_equal(np.diff(offsets), [len(e) for e in expected])
    np.testing.assert_allclose(t, np.concatenate(expected), atol=1e-5)
    np.testing.assert_allclose(positions[0], [(0.125 / 2.5), 0.5 / 1.5, 0.5], atol=1e-5)
    assert ((positions >= 0) & (positions <= 1)).all()


@pytest.mark.parametrize("step", [0.031, 0.0999, 0.25, 1.0, 10.0])
def test_there_is_room_for_every_step_of_the_longest_rays(marcher, step):
    """From corner to corner, with any jitter: as many steps as the diagonal has, or one less."""
    count = 400
    size = BOX[1] - BOX[0]
    diagonal = float(np.linalg.norm(size))
    directions = np.tile(size / diagonal, (count, 1)).astype(np.float32)
    origins = (BOX[0] - 0.7 * directions).astype(np.float32)
    offsets, _, _ = run(marcher, Occupancy(NODES), origins, directions, step=step, seed=3)
    exact = diagonal / step - jitter(3, count)
    counts = np.diff(offsets)
    assert (counts >= np.ceil(exact - 1e-3)).all()
    assert (counts <= np.ceil(exact + 1e-3)).all()


def test_nothing_occupied_and_no_rays_give_no_samples(marcher, rng):
    occupancy = Occupancy(NODES)
    occupancy.set_cells(np.zeros(occupancy.cells[::-1], bool))
    offsets, _, _ = run(marcher, occupancy, *random_rays(rng, 50))
    assert not offsets.any()
    none = np.zeros((0, 3), np.float32)
    assert run(marcher, Occupancy(NODES), none, none)[0].tolist() == [0]


def test_counting_alone_gives_the_same_offsets(marcher, rng):
    occupancy = Occupancy(NODES)
    occupancy.set_cells(clusters(rng, occupancy.cells[::-1]))
    rays = random_rays(rng, 200)
    offsets, _, _ = run(marcher, occupancy, *rays)
    samples = marcher.march(
        *rays, box=BOX, near=NEAR, far=FAR, step=STEP, occupancy=occupancy, count_only=True
    )  # fmt: skip
    assert samples.count == offsets[-1]
    np.testing.assert_array_equal(samples.offsets.to_numpy()[:201], offsets)


@pytest.mark.parametrize("curved", [False, True])
def test_rays_that_have_each_their_occupancy_are_marched_as_if_alone(marcher, rng, curved):
    grids = []
    for nodes in (NODES, (20, 9, 14), (33, 33, 33)):
        grids.append(Occupancy(nodes))
        grids[-1].set_cells(clusters(rng, grids[-1].cells[::-1]))
    rays, counts = random_rays(rng, 200), (50, 0, 150)
    several = list(zip(grids, counts, strict=True))
    found = run(marcher, several, *rays, seed=3, curved=curved)
    for index, (first, last) in ((0, (0, 50)), (2, (50, 200))):
        # a ray's jitter goes by its number in the batch
        offsets, positions, t = run(marcher, grids[index], *rays, seed=3, curved=curved)
        mine, its = (slice(at[first], at[last]) for at in (found[0], offsets))
        assert mine.stop > mine.start
        np.testing.assert_array_equal(np.diff(found[0])[first:last], np.diff(offsets)[first:last])
        np.testing.assert_array_equal(found[1][mine], positions[its])
        np.testing.assert_array_equal(found[2][mine], t[its])


# Occupancy of a field


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize("level", [1, 2])
def test_occupancy_drops_no_sample_whose_alpha_matters(field, level, grow):
    marcher, threshold, scale = Marcher(), 2.5e-3, STEP * 25
    dropped_ever = mattered_ever = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = rng.standard_normal((*field.value.shape, 16)).astype(np.float32) * rng.choice([0.8, 1.2, 1.5])
        field.value.from_numpy(values)
        nodes = empty(ti.f32, int(np.prod(NODES)))
        field.density_nodes(nodes, level)
        occupancy, full = Occupancy(NODES), Occupancy(NODES)
        occupancy.update(nodes, scale, threshold, grow=grow)
        rays = random_rays(rng, 400)

        everything = marcher.march(*rays, box=BOX, near=NEAR, far=FAR, step=STEP, occupancy=full, seed=seed)
        density = empty(ti.f32, everything.count)
        field.density(everything.count, everything.positions, density, level)
        alpha = 1 - np.exp(-density.to_numpy().astype(np.float64) * scale)
        times = sample_ids(everything)
        kept = sample_ids(marcher.march(*rays, box=BOX, near=NEAR, far=FAR, step=STEP, occupancy=occupancy, seed=seed))
        assert np.isin(kept, times).all()
        dropped = ~np.isin(times, kept)
        dropped_ever += dropped.sum()
        assert alpha[dropped].max(initial=0) <= threshold * (1 + 1e-3)
        mattered_ever += (alpha[~dropped] > threshold).sum()
    assert dropped_ever > 1000
    assert mattered_ever > 1000


def sample_ids(samples) -> np.ndarray:
    """One number a sample: its ray and its t, exactly."""
    counts = np.diff(samples.offsets.to_numpy()[: samples.rays + 1])
    rays = np.repeat(np.arange(samples.rays, dtype=np.int64), counts)
    return (rays << 32) | samples.t.to_numpy()[: samples.count].view(np.int32).astype(np.int64)
