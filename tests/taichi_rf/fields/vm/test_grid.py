"""A VM field changes its grid, and goes to a file and back."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, empty
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.fields.vm.layout import unit_texels
from tests.taichi_rf.fields.vm.cases import FINE, RANKS, RESOLUTION, ROWS, density, features, randomise, somewhere
from tests.twin_fields import interpolate


def test_a_level_outside_the_field_is_refused(field):
    for level in (0, RANKS + 1):
        with pytest.raises(UserError, match="rank"):
            field.check_level(level)


def test_initial_factors_have_the_papers_spread_and_the_basis_ignores_padding(field):
    # a second field would compile its own kernels: these two only need its initial values
    fresh = VMField(ranks=5, resolution=(9, 9, 9), rows=1)
    values = fresh.value.to_numpy()[: fresh.unit * fresh.total_blocks]
    assert values.std() == pytest.approx(0.1, rel=0.03)
    assert values.mean() == pytest.approx(0, abs=0.005)
    basis = fresh.basis_value.to_numpy().reshape(3, 16, 27)
    assert not basis[:, 15:].any()
    assert basis[:, :15].all()


@pytest.mark.parametrize("bad", [{"ranks": 0}, {"ranks": 65}, {"resolution": (4, 1, 4)}, {"resolution": (20000,) * 3}])
def test_a_field_that_cannot_be_is_refused(field, bad):
    with pytest.raises(UserError):
        VMField(**{"ranks": 4, "resolution": (4, 4, 4), "rows": 1, **bad})


def test_density_at_the_nodes_is_density_there(field, rng):
    twin = randomise(field, rng)
    nx, ny, nz = RESOLUTION
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in (nz, ny, nx)), indexing="ij")
    nodes = np.stack([x, y, z], -1).reshape(-1, 3)  # x fastest
    for level in (2, RANKS):
        out = empty(ti.f32, nx * ny * nz)
        field.density_nodes(out, level)
        np.testing.assert_allclose(out.to_numpy(), twin.density(nodes, level), rtol=2e-5, atol=2e-5)


def test_no_density_inside_a_cell_exceeds_that_of_its_corners(field, rng):
    randomise(field, rng)
    nx, ny, nz = RESOLUTION
    out = empty(ti.f32, nx * ny * nz)
    field.density_nodes(out, RANKS)
    nodes = out.to_numpy().reshape(nz, ny, nx)
    positions = somewhere(rng, 2000)
    x, y, z = np.minimum((positions * (np.array(RESOLUTION) - 1)).astype(int), np.array(RESOLUTION) - 2).T
    corners = np.max([nodes[z + c, y + b, x + a] for a in (0, 1) for b in (0, 1) for c in (0, 1)], axis=0)
    assert (density(field, positions) <= corners + 1e-4).all()


def test_resampling_to_twice_the_nodes_less_one_keeps_the_function(field, rng):
    randomise(field, rng)
    nodes = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in RESOLUTION), indexing="ij"), -1).reshape(-1, 3)
    nodes = nodes[::5].astype(np.float32)[:ROWS]
    anywhere = somewhere(rng, ROWS)
    before = [(density(field, p), features(field, p)) for p in (nodes, anywhere)]
    field.resample(FINE)
    assert field.resolution == FINE
    after = [(density(field, p), features(field, p)) for p in (nodes, anywhere)]
    # every old node is a node of the finer grid, so even in between nothing but rounding can differ
    for (d0, f0), (d1, f1) in zip(before, after):
        np.testing.assert_allclose(d1, d0, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(f1, f0, rtol=1e-3, atol=2e-3)


def test_resampling_to_any_grid_interpolates_every_factor(field, rng):
    twin = randomise(field, rng)
    field.resample((9, 8, 4))
    (xy, xz, yz), (z, y, x) = field.factors()[1]
    planes, lines = twin.factors(1, 1, BLOCK)
    i, j = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 8))
    np.testing.assert_allclose(xy.reshape(-1, BLOCK), interpolate(planes[0], j.ravel(), i.ravel()), atol=1e-6)
    i, j = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 4))
    np.testing.assert_allclose(yz.reshape(-1, BLOCK), interpolate(planes[2], j.ravel(), i.ravel()), atol=1e-6)
    assert xz.shape == (4, 9, BLOCK)
    for got, line in zip((z, y, x), lines):
        np.testing.assert_allclose(got, interpolate(line, np.linspace(0, 1, len(got))), atol=1e-6)


def test_resampling_forgets_gradients_and_trains_the_new_texels_only(field, rng):
    randomise(field, rng)
    field.gradient.fill(1)
    field.resample((5, 5, 5))
    assert not field.gradient.to_numpy().any()
    assert not field.value.to_numpy()[unit_texels((5, 5, 5)) * field.total_blocks :].any()
    assert field.parameters()[0].active == unit_texels((5, 5, 5)) * field.total_blocks


def test_a_grid_beyond_the_reserved_room_is_refused_and_nothing_changes(field, rng):
    randomise(field, rng)
    before = field.value.to_numpy()
    with pytest.raises(UserError, match="does not fit"):
        field.resample((40, 40, 40))
    assert field.resolution == RESOLUTION
    np.testing.assert_array_equal(field.value.to_numpy(), before)


def test_cropping_keeps_the_function_inside(field, rng):
    randomise(field, rng)
    low, high = np.array((1, 0, 2)), np.array((5, 3, 4))
    cells = np.array(RESOLUTION) - 1
    inside = somewhere(rng, ROWS)
    before_at = ((low + inside * (high - low)) / cells).astype(np.float32)
    d0, f0 = density(field, before_at), features(field, before_at)
    field.crop(tuple(low), tuple(high))
    assert field.resolution == (5, 4, 3)
    np.testing.assert_allclose(density(field, inside), d0, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features(field, inside), f0, rtol=1e-3, atol=1e-3)


def test_cropping_keeps_the_nodes_bit_for_bit(field, rng):
    twin = randomise(field, rng)
    field.crop((1, 0, 2), (5, 3, 4))
    for b, (planes, lines) in enumerate(field.factors()):
        (xy, xz, yz), (z, y, x) = twin.factors(b, 1, BLOCK)
        for got, kept in zip(planes, (xy[0:4, 1:6], xz[2:5, 1:6], yz[2:5, 0:4])):
            np.testing.assert_array_equal(got, kept.astype(np.float32))
        for got, kept in zip(lines, (z[2:5], y[0:4], x[1:6])):
            np.testing.assert_array_equal(got, kept.astype(np.float32))


def test_a_prefix_of_packed_levels_is_the_field_at_that_level_to_half_precision(field, rng):
    twin = randomise(field, rng)
    packed = [field.pack(level) for level in range(1, 8)]
    randomise(field, rng)
    field.unpack(packed)
    positions = somewhere(rng)
    np.testing.assert_allclose(density(field, positions, level=7), twin.density(positions, 7), rtol=0.01, atol=0.01)
    np.testing.assert_allclose(features(field, positions, level=7), twin.features(positions, 7), atol=0.05)


def test_packed_levels_have_the_shapes_and_bytes_they_announce(field, rng):
    randomise(field, rng)
    for level in (1, 17):
        packed, schema = field.pack(level), field.level_schema(field.header(), level)
        assert {name: (a.dtype.str[1:], a.shape) for name, a in packed.items()} == schema
    field.checked_header(field.header(), RANKS)
    assert field.bytes_at(3) == sum(a.nbytes for level in (1, 2, 3) for a in field.pack(level).values())
