"""The VM field against its numpy twin, on the CPU and on Vulkan: lookups, adjoints, levels, and changes of the grid."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.fields.vm.layout import unit_texels
from tests.arches import per_arch
from tests.twin_fields import VMTwin, interpolate
from tests.twins import assert_density_along, assert_gradient

RANKS = 18  # 18 density and 54 appearance components a mode: two and four blocks, the last of each partly padding
RESOLUTION = (7, 6, 5)
FINE = (13, 11, 9)
SHIFT = -1.0
ROWS = 64
COUNT = 40


@per_arch
def field() -> VMField:
    made = VMField(
        ranks=RANKS, resolution=RESOLUTION, capacity_texels=unit_texels(FINE), density_shift=SHIFT, rows=ROWS
    )  # fmt: skip
    made.from_decoder = ti.Vector.field(BLOCK, ti.f32, (ROWS, 2))  # one for all tests: kernels compile for each field
    return made


@per_arch
def relu_field() -> VMField:
    return VMField(ranks=2, resolution=(4, 3, 5), activation="relu", rows=ROWS)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def randomise(field: VMField, rng: np.random.Generator, resolution=RESOLUTION, *, scale: float = 0.6) -> VMTwin:
    """Fill the whole field, its padding too, with noise, on a grid of ``resolution``; returns its twin."""
    blocks = field.total_blocks
    unit = unit_texels(resolution)
    arena = (scale * rng.standard_normal((blocks, unit, BLOCK))).astype(np.float32)
    nx, ny, nz = resolution
    cuts = np.cumsum([nx * ny, nx * nz, ny * nz, nz, ny])
    shapes = [(ny, nx, BLOCK), (nz, nx, BLOCK), (nz, ny, BLOCK), (nz, BLOCK), (ny, BLOCK), (nx, BLOCK)]
    parts = [[p.reshape(s) for p, s in zip(np.split(block, cuts), shapes)] for block in arena]
    field.set_factors([(p[:3], p[3:]) for p in parts], resolution)
    basis = rng.standard_normal(field.basis_value.shape).astype(np.float32)
    field.basis_value.from_numpy(basis)
    field.published()
    clear(field)
    return VMTwin(
        arena.reshape(-1, BLOCK), basis, ranks=field.num_levels, resolution=resolution, shift=SHIFT, relu=field.relu
    )


def clear(field: VMField) -> None:
    field.gradient.fill(0)
    field.basis_gradient.fill(0)


def somewhere(rng: np.random.Generator, count: int = COUNT) -> np.ndarray:
    return rng.random((count, 3), dtype=np.float32)


def density(field: VMField, positions: np.ndarray, level: int = RANKS) -> np.ndarray:
    out = empty(ti.f32, len(positions))
    field.density(len(positions), upload(positions, Vec3), out, level)
    return out.to_numpy()


def features(field: VMField, positions: np.ndarray, first: int = 0, level: int = RANKS) -> np.ndarray:
    n = len(positions) - first
    field.lookup(n, first, upload(positions, Vec3), level)
    return rows(field.features(n, level), n)


def rows(blocks, n: int, width: int = 27) -> np.ndarray:
    return blocks.to_numpy()[:n].reshape(n, -1)[:, :width]


def row_field(field: VMField, values: np.ndarray):
    """Rows (n, 27) as a decoder hands them back: a field of blocks."""
    padded = np.zeros((ROWS, 2 * BLOCK), np.float32)
    padded[: len(values), : values.shape[1]] = values
    field.from_decoder.from_numpy(padded.reshape(ROWS, 2, BLOCK))
    return field.from_decoder


def density_gradient(
    field: VMField, positions: np.ndarray, d_density: np.ndarray, level: int | None = None
) -> np.ndarray:
    """What density_adjoint adds to the factors, laid out as the twin's arena."""
    place, out = upload(positions, Vec3), empty(ti.f32, len(positions))
    level = level or field.num_levels
    field.density(len(positions), place, out, level)
    field.density_adjoint(len(positions), place, out, upload(d_density), level)
    return arena(field)


def features_gradient(field: VMField, positions: np.ndarray, d_features, first: int = 0, level: int = RANKS):
    """What features_adjoint adds to factors and basis, laid out as the twin's."""
    n = len(positions) - first
    place = upload(positions, Vec3)
    field.lookup(n, first, place, level)
    field.features(n, level)
    field.features_adjoint(n, first, place, d_features, level)
    return arena(field), field.basis_gradient.to_numpy().reshape(3, -1, 27)


def arena(field: VMField) -> np.ndarray:
    return field.gradient.to_numpy()[: field.unit * field.total_blocks].reshape(field.total_blocks, field.unit, BLOCK)


# The twin


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


# Forward


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


# Adjoints


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


# Levels and the grid


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


# Storage


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
