"""Batches whose rays are at several levels of detail: each sample is looked up, and learns, at the level of its ray."""

from typing import Any

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.kernels.march import Samples
from tests.taichi_rf.fields.octree.cases import (
    COUNT,
    SHORT,
    density_gradient,
    features_gradient,
    gradient,
    randomise,
    row_field,
    somewhere,
)
from tests.twins import weigh

SHARES = ((1, 2), (2, 3), (3, 4))
"""Rays at each level: eight of ten samples, and one, of the last level, that has none."""
LEVEL_OF = np.repeat([1, 2, 3], [20, 30, 30])
"""Of each sample."""
OFFSETS = np.array([0, 10, 20, 30, 40, 50, 60, 70, 70, 80])
SCALE, STEP = 20.0, 0.25


class Learnt:
    """A field whose density was found at the samples of a batch, and its twin."""

    def __init__(self, field: OctreeField, rng: np.random.Generator, *, by_ray: bool) -> None:
        self.field, self.twin, self.by_ray = field, randomise(field, rng), by_ray
        self.positions = rng.permutation(somewhere(rng))
        self.places = upload(self.positions, Vec3)
        samples: Any = Samples(len(OFFSETS) - 1, COUNT, upload(OFFSETS, ti.i32), self.places, None, None, STEP)
        self.found = empty(ti.f32, COUNT)
        self.found.fill(7)
        field.density_learning(samples, SHARES, SCALE, self.found)
        self.density = self.found.to_numpy()

    @property
    def expected(self) -> np.ndarray:
        return np.choose(LEVEL_OF - 1, [self.twin.density(self.positions, level) for level in (1, 2, 3)])


@pytest.fixture(params=["by ray", "by sample"])
def learnt(field, rng, request):
    before = field.owner
    try:
        field.owner = request.param == "by ray"
        return Learnt(field, rng, by_ray=field.owner)
    finally:
        field.owner = before


def test_density_is_the_twins_at_the_level_of_each_ray(learnt):
    reached = np.ones(COUNT, bool)
    if learnt.by_ray:
        reached = weigh(OFFSETS, np.zeros(COUNT), learnt.expected, STEP * SCALE).reached
        assert not reached.all()
    np.testing.assert_allclose(learnt.density, np.where(reached, learnt.expected, 0), rtol=1e-4, atol=2e-5)


def test_features_are_the_twins_at_the_level_of_each_ray(learnt):
    index = np.flatnonzero(learnt.density > 0)[3:]
    shaded = learnt.positions[index]
    before = np.concatenate([np.full(5, 10**6), index])  # what comes before the part is not looked at
    learnt.field.lookup(
        len(index), 5, upload(np.concatenate([np.zeros((5, 3)), shaded]), Vec3), 3, upload(before, ti.i32)
    )
    got = learnt.field.features(len(index), 3).to_numpy()[: len(index), 0]
    levels = [learnt.twin.features(shaded, level) for level in (1, 2, 3)]
    expected = np.choose(LEVEL_OF[index, None] - 1, levels)
    assert set(LEVEL_OF[index]) == {1, 2, 3}
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_what_a_density_learns_is_the_sum_of_what_each_level_alone_learns(learnt, rng):
    asked = rng.standard_normal(COUNT).astype(np.float32)
    asked[learnt.density == 0] = 0  # behind what is opaque nothing is asked for
    learnt.field.density_adjoint(COUNT, learnt.places, learnt.found, upload(asked), 3, learning=True)
    got = gradient(learnt.field)
    expected = np.zeros_like(got)
    for level in (1, 2, 3):
        learnt.field.gradients.clear()
        here = LEVEL_OF == level
        expected += density_gradient(learnt.field, learnt.positions[here], asked[here], level=level)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_what_features_learn_is_the_sum_of_what_each_level_alone_learns(learnt, rng):
    field, index = learnt.field, np.flatnonzero(learnt.density > 0)
    asked = rng.standard_normal((len(index), BLOCK)).astype(np.float32)
    shaded, rows = upload(learnt.positions[index], Vec3), row_field(field, asked)
    field.features_adjoint(len(index), 0, shaded, rows, 3, upload(index, ti.i32))
    got = gradient(field)
    expected = np.zeros_like(got)
    for level in (1, 2, 3):
        field.gradients.clear()
        here = LEVEL_OF[index] == level
        rows = row_field(field, asked[here])
        expected += features_gradient(field, learnt.positions[index][here], rows, level=level)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_levels_that_are_not_grown_yet_count_as_the_last_that_is(field, rng):
    twin, positions = randomise(field, rng, SHORT), somewhere(rng)
    samples: Any = Samples(1, COUNT, upload(np.array([0, COUNT]), ti.i32), upload(positions, Vec3), None, None, STEP)
    found = empty(ti.f32, COUNT)
    field.density_learning(samples, ((3, 1),), 0.0, found)
    np.testing.assert_allclose(found.to_numpy(), twin.density(positions, 2), rtol=1e-4, atol=2e-5)


def test_a_batch_without_samples_is_nothing(field):
    nothing, out = empty(Vec3, 0), empty(ti.f32, 1)
    samples: Any = Samples(2, 0, upload(np.zeros(3), ti.i32), nothing, None, None, STEP)
    field.density_learning(samples, ((1, 1), (3, 1)), SCALE, out)
    field.density_adjoint(0, nothing, out, out, 3, learning=True)
    assert not gradient(field).any()
