"""The VM field against its numpy twin, on the CPU and on Vulkan: lookups, adjoints, levels, and changes of the grid."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.fields.vm.layout import unit_texels
from tests.taichi_rf.fields.vm.cases import (
    COUNT,
    RANKS,
    RESOLUTION,
    arena,
    clear,
    density,
    density_gradient,
    features,
    features_gradient,
    randomise,
    row_field,
    rows,
    somewhere,
)
from tests.twin_fields import VMTwin, interpolate
from tests.twins import assert_density_along, assert_gradient


def test_the_twins_interpolation_is_exact_for_a_product_of_linear_functions(rng):
    x, y, z = (np.linspace(0, 1, n) for n in (4, 3, 6))
    values = (1 + 2 * x)[:, None, None] * (3 - y)[None, :, None] * (0.5 + z)[None, None, :]
    u, v, w = rng.random((3, 50))
    np.testing.assert_allclose(interpolate(values, u, v, w), (1 + 2 * u) * (3 - v) * (0.5 + w), rtol=1e-12)


def test_the_twin_of_one_rank_is_the_sum_of_three_outer_products_at_a_node(rng):
    twin = VMTwin(
        rng.standard_normal((2 * unit_texels((3, 4, 5)), 16)), np.zeros(3 * 16 * 27), ranks=1, resolution=(3, 4, 5)
    )
    (xy, xz, yz), (z, y, x) = twin.density_factors(1)
    expected = xy[1, 2, 0] * z[3, 0] + xz[3, 2, 0] * y[1, 0] + yz[3, 1, 0] * x[2, 0]
    assert twin.feature(np.array([[2 / 2, 1 / 3, 3 / 4]]), 1)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", [1, 5, 16, 17, 18])
def test_density_is_the_twins_at_every_level(field, rng, level):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    np.testing.assert_allclose(
        density(field, positions, level=level), twin.density(positions, level), rtol=2e-5, atol=2e-5
    )


def test_density_at_nodes_faces_and_corners_of_the_box_is_the_twins(field, rng):
    twin = randomise(field, rng)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in RESOLUTION), indexing="ij"), -1).reshape(-1, 3)
    positions = grid.astype(np.float32)
    np.testing.assert_allclose(density(field, positions), twin.density(positions, RANKS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", [5, 18])
def test_density_along_rays_is_the_twins_as_far_as_anything_is_seen(field, rng, level):
    twin = randomise(field, rng)
    assert_density_along(field, twin, somewhere(rng), 3.0, level=level)


def test_density_of_every_level_in_one_lookup_is_that_of_each_level(field, rng):
    randomise(field, rng)
    positions = somewhere(rng)
    out = empty(ti.f32, COUNT * RANKS)
    field.density_levels(COUNT, upload(positions, Vec3), out)
    at_once = out.to_numpy().reshape(COUNT, RANKS)
    for level in range(1, RANKS + 1):
        np.testing.assert_allclose(at_once[:, level - 1], density(field, positions, level=level), rtol=1e-5, atol=1e-5)


def test_relu_density_is_the_twins_and_has_no_shift(relu_field, rng):
    twin = randomise(relu_field, rng, (4, 3, 5))
    positions = somewhere(rng)
    twin.shift = 0
    expected = twin.density(positions, 2)
    assert (expected == 0).any()
    assert (expected > 0).any()
    np.testing.assert_allclose(density(relu_field, positions, relu_field.num_levels), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("level", [1, 5, 6, 17, 18])
def test_features_are_the_twins_at_every_level(field, rng, level):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    np.testing.assert_allclose(
        features(field, positions, level=level), twin.features(positions, level), rtol=1e-4, atol=1e-4
    )


def test_features_of_a_chunk_are_those_of_its_samples(field, rng):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    got = features(field, positions, first=11)
    np.testing.assert_allclose(got, twin.features(positions[11:], RANKS), rtol=1e-4, atol=1e-4)


def test_features_of_prefixes_added_up_are_those_of_each_level(field, rng):
    randomise(field, rng)
    positions = upload(somewhere(rng), Vec3)
    field.lookup(COUNT, 0, positions, RANKS)
    prefixes = [rows(field.next_features(COUNT, level), COUNT) for level in range(1, RANKS + 1)]
    for level, prefix in enumerate(prefixes, 1):
        field.lookup(COUNT, 0, positions, level)
        np.testing.assert_allclose(prefix, rows(field.features(COUNT, level), COUNT), rtol=1e-4, atol=1e-4)


def test_levels_that_are_off_contribute_nothing(field, rng):
    randomise(field, rng)
    positions = somewhere(rng)
    before = density(field, positions, level=4), features(field, positions, level=4)
    values = field.value.to_numpy()
    units = values[: field.unit * field.total_blocks].reshape(field.total_blocks, field.unit, BLOCK)
    units[0, :, 4:], units[1] = 1e3, 1e3  # density components 4..17 of two blocks
    units[2, :, 12:], units[3:] = 1e3, 1e3  # appearance components 12..53 of four
    field.value.from_numpy(values)
    np.testing.assert_array_equal(density(field, positions, level=4), before[0])
    np.testing.assert_array_equal(features(field, positions, level=4), before[1])


def test_no_samples_are_no_work(field, rng):
    randomise(field, rng)
    nothing, out = empty(Vec3, 1), empty(ti.f32, 1)
    field.density(0, nothing, out, RANKS)
    field.density_levels(0, nothing, out)
    field.lookup(0, 0, nothing, RANKS)
    field.features(0, RANKS)
    field.density_adjoint(0, nothing, out, out, RANKS)
    field.features_adjoint(0, 0, nothing, row_field(field, np.zeros((0, 27))), RANKS)
    assert out.to_numpy()[0] == 0
    assert not arena(field).any()


@pytest.mark.parametrize("level", [3, 17])
def test_density_adjoint_is_the_gradient_of_the_twin(field, rng, level):
    twin = randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    gradient = density_gradient(field, positions, weight, level=level)
    assert_gradient(
        lambda: weight @ twin.density(positions, level), twin.arena, gradient, rng, only=twin.active(level)
    )  # fmt: skip


def test_relu_density_adjoint_is_the_gradient_of_the_twin(relu_field, rng):
    twin = randomise(relu_field, rng, (4, 3, 5))
    twin.shift = 0
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    gradient = density_gradient(relu_field, positions, weight)
    # differences of 1e-7: a sample that close to the kink has odds of one in a million
    assert_gradient(lambda: weight @ twin.density(positions, 2), twin.arena, gradient, rng, only=twin.active(2))


@pytest.mark.parametrize("level", [3, 17])
def test_features_adjoint_is_the_gradient_of_the_twin(field, rng, level):
    twin = randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal((COUNT, 27)).astype(np.float32)
    factors, basis = features_gradient(field, positions, row_field(field, weight), level=level)

    def loss() -> float:
        return np.vdot(weight, twin.features(positions, level))

    assert_gradient(loss, twin.arena, factors, rng, only=twin.active(level))
    assert_gradient(loss, twin.basis, basis, rng, only=twin.active_basis(level))


def test_features_adjoint_of_a_chunk_belongs_to_its_samples(field, rng):
    twin = randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal((COUNT - 9, 27)).astype(np.float32)
    factors, basis = features_gradient(field, positions, row_field(field, weight), first=9)

    def loss() -> float:
        return np.vdot(weight, twin.features(positions[9:], RANKS))

    assert_gradient(loss, twin.arena, factors, rng, entries=6, only=twin.active(RANKS))
    assert_gradient(loss, twin.basis, basis, rng, entries=6, only=twin.active_basis(RANKS))


def test_adjoints_add_to_what_is_there(field, rng):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    once = density_gradient(field, positions, weight)
    np.testing.assert_allclose(density_gradient(field, positions, weight), 2 * once, rtol=1e-4, atol=1e-5)
    clear(field)
    d_features = row_field(field, rng.standard_normal((COUNT, 27)))
    once, basis_once = features_gradient(field, positions, d_features)
    twice, basis_twice = features_gradient(field, positions, d_features)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(basis_twice, 2 * basis_once, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", [1, 3, 16, 17])
def test_levels_that_are_off_get_no_gradient(field, rng, level):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    features(field, positions)  # as an evaluation at full rank leaves it
    density_gradient(field, positions, np.ones(COUNT, np.float32), level=level)
    factors, basis = features_gradient(
        field, positions, row_field(field, rng.standard_normal((COUNT, 27))), level=level
    )
    assert not factors[~twin.active(level)].any()
    assert not basis[~twin.active_basis(level)].any()
    # of each block that is on, every active component has one
    moved = factors.any(axis=1)
    np.testing.assert_array_equal(moved, twin.active(level)[:, 0])


@pytest.mark.parametrize("field", ["cpu"], indirect=True)
@pytest.mark.parametrize("level", [4, 18])
def test_scatter_by_owner_and_by_atomics_agree(field, rng, level):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    d_features = row_field(field, rng.standard_normal((COUNT, 27)))
    results = []
    for owner in (True, False):
        clear(field)
        field.owner, field.basis.atomic = owner, not owner
        density_part = density_gradient(field, positions, weight, level=level)
        clear(field)
        results.append((density_part, *features_gradient(field, positions, d_features, level=level)))
    field.owner, field.basis.atomic = True, False
    for by_owner, by_atomics in zip(*results):
        assert np.abs(by_owner).max() > 0.1
        np.testing.assert_allclose(by_owner, by_atomics, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("field", ["cpu"], indirect=True)
def test_gradients_on_the_cpu_are_the_same_bits_every_time(field, rng):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    d_features = row_field(field, rng.standard_normal((COUNT, 27)))
    runs = []
    for _ in range(2):
        clear(field)
        density_gradient(field, positions, weight)
        runs.append(features_gradient(field, positions, d_features))
    for first, second in zip(*runs):
        np.testing.assert_array_equal(first, second)
