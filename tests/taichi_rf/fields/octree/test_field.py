"""The octree field against a brute-force twin, on the CPU and on Vulkan: lookups, adjoints, levels, and other trees."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.octree.layout import MAX_LEVELS
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.trees.morton import coordinates
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.kernels.optim import Adam
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.pictures import render
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage import model_file as modelfile
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.storage.trf import truncate_trf
from tests.arches import per_arch
from tests.tiny import tiny_scene
from tests.twin_fields import OctreeTwin
from tests.twins import assert_density_along, assert_gradient

LEVELS = 3
BASE = 2  # 4, 8 and 16 cells a side
SHIFT = -1.0
ROWS = 96
COUNT = 80


def some_tree(seed: int, levels: int = LEVELS, cells: int = 60) -> Octree:
    """Random finest cells, a few of them at the faces of the box, most with few neighbours."""
    rng = np.random.default_rng(seed)
    side = 2 ** (BASE + levels - 1)
    places = rng.integers(0, side, (cells, 3))
    places[::5] = np.where(places[::5] < side // 2, 0, side - 1)
    return Octree.from_points(((places + 0.5) / side).astype(np.float32), BASE + levels - 1, BASE)


TREE = some_tree(0)
SHORT = some_tree(0, LEVELS - 1)
OTHER = some_tree(1, cells=40)
CAPACITY = 2000


def make(levels: int = LEVELS, **options) -> OctreeField:
    counts = tuple(len(layer.vertices) for layer in TREE.layers)
    return OctreeField(TREE, Uncompressed(counts, CAPACITY), levels=levels, rows=ROWS, density_shift=SHIFT, **options)


@per_arch
def field() -> OctreeField:
    made = make()
    made.from_decoder = ti.Vector.field(BLOCK, ti.f32, (ROWS, 1))  # one for all tests: kernels compile for each field
    return made


@per_arch
def signed_field() -> OctreeField:
    return make(activation="none")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def randomise(field: OctreeField, rng: np.random.Generator, tree: Octree = TREE) -> OctreeTwin:
    """Another tree if need be, and noise on all of the field's vertices and beyond; returns its twin."""
    field.replant(tree, rng)
    values = rng.standard_normal((CAPACITY, BLOCK)).astype(np.float32)
    field.quantiser.value.from_numpy(values)
    field.gradients.clear()
    for parameters in field.parameters():
        parameters.reset()
    return OctreeTwin(tree, values[: field.quantiser.vertices], shift=SHIFT, signed=field.signed)


def somewhere(rng: np.random.Generator, tree: Octree = TREE, count: int = COUNT) -> np.ndarray:
    """Half of them in finest cells, a quarter in coarsest cells, the others anywhere."""
    parts = []
    for layer, n in ((tree.layers[-1], count // 2), (tree.layers[0], count // 4)):
        chosen = coordinates(rng.choice(layer.cells, n))
        parts.append((chosen + rng.random((n, 3))) / 2**layer.depth)
    parts.append(rng.random((count - sum(map(len, parts)), 3)))
    return np.concatenate(parts).astype(np.float32)


def density(field: OctreeField, positions: np.ndarray, level: int = LEVELS) -> np.ndarray:
    out = empty(ti.f32, len(positions))
    out.fill(7)
    field.density(len(positions), upload(positions, Vec3), out, level)
    return out.to_numpy()


def features(field: OctreeField, positions: np.ndarray, first: int = 0, level: int = LEVELS) -> np.ndarray:
    n = len(positions) - first
    field.lookup(n, first, upload(positions, Vec3), level)
    return field.features(n, level).to_numpy()[:n, 0]


def row_field(field: OctreeField, values: np.ndarray):
    """Rows (n, 16) as a decoder hands them back: a field of blocks."""
    padded = np.zeros((ROWS, 1, BLOCK), np.float32)
    padded[: len(values), 0] = values
    field.from_decoder.from_numpy(padded)
    return field.from_decoder


def density_gradient(
    field: OctreeField, positions: np.ndarray, d_density: np.ndarray, level: int = LEVELS
) -> np.ndarray:
    """(vertices, 16): what density_adjoint asks of the vertices."""
    place, out = upload(positions, Vec3), empty(ti.f32, len(positions))
    field.density(len(positions), place, out, level)
    field.density_adjoint(len(positions), place, out, upload(d_density), level)
    return gradient(field)


def features_gradient(
    field: OctreeField, positions: np.ndarray, d_features, first: int = 0, level: int = LEVELS
) -> np.ndarray:
    n = len(positions) - first
    field.features_adjoint(n, first, upload(positions, Vec3), d_features, level)
    return gradient(field)


def gradient(field: OctreeField) -> np.ndarray:
    """Of all vertices' features; nothing is asked of what lies behind them."""
    asked = field.gradients.features.to_numpy()
    asked[:, 0] += field.gradients.density.to_numpy()
    assert not asked[field.quantiser.vertices :].any()
    return asked[: field.quantiser.vertices]


# The twin


def test_the_twins_interpolation_is_exact_for_a_product_of_linear_functions(rng):
    twin = OctreeTwin(TREE, np.zeros((sum(len(layer.vertices) for layer in TREE.layers), BLOCK)))
    for depth, points in zip(twin.depths, twin.vertices):
        for point, row in points.items():
            x, y, z = np.array(point) / 2**depth
            twin.rows[row] = (1 + 2 * x) * (3 - y) * (0.5 + z)
    positions = somewhere(rng)
    x, y, z = positions.T.astype(np.float64)
    levels = sum(twin.inside(positions, level).astype(int) for level in (1, 2, 3))
    assert set(levels) == {0, 1, 2, 3}
    expected = levels * (1 + 2 * x) * (3 - y) * (0.5 + z)
    np.testing.assert_allclose(twin.features(positions, 3), np.tile(expected[:, None], BLOCK), rtol=1e-6)


# Forward


@pytest.mark.parametrize("level", [1, 2, 3])
def test_density_is_the_twins_at_every_level_and_zero_outside_its_cells(field, rng, level):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    got = density(field, positions, level=level)
    np.testing.assert_allclose(got, twin.density(positions, level), rtol=2e-5, atol=2e-5)
    outside = ~twin.inside(positions, level)
    assert outside.any()
    assert not got[outside].any()
    assert got[~outside].all()


@pytest.mark.parametrize("level", [1, 3])
def test_density_along_rays_is_the_twins_as_far_as_anything_is_seen(field, rng, level):
    twin = randomise(field, rng)
    assert_density_along(field, twin, somewhere(rng), 3.0, level=level)


def test_density_at_lattice_points_and_at_the_faces_of_the_box_is_the_twins(field, rng):
    twin = randomise(field, rng)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, 17),) * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = grid[rng.permutation(len(grid))[:400]].astype(np.float32)
    assert (positions == 1).any()
    assert twin.inside(positions, 3).any()
    np.testing.assert_allclose(density(field, positions), twin.density(positions, 3), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("level", [1, 3])
def test_a_signed_distance_is_the_twins_and_1_outside_the_cells(signed_field, rng, level):
    twin = randomise(signed_field, rng)
    positions = somewhere(rng)
    expected = twin.density(positions, level)
    assert (expected == 1).any()
    assert (expected < 0).any()
    np.testing.assert_allclose(density(signed_field, positions, level=level), expected, rtol=2e-5, atol=2e-5)


def test_density_of_every_level_in_one_lookup_is_that_of_each_level(field, rng):
    randomise(field, rng)
    positions = somewhere(rng)
    out = empty(ti.f32, COUNT * LEVELS)
    field.density_levels(COUNT, upload(positions, Vec3), out)
    at_once = out.to_numpy()[: COUNT * LEVELS].reshape(COUNT, LEVELS)
    for level in range(1, LEVELS + 1):
        np.testing.assert_allclose(at_once[:, level - 1], density(field, positions, level=level), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_features_are_the_twins_at_every_level(field, rng, level):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    np.testing.assert_allclose(
        features(field, positions, level=level), twin.features(positions, level), rtol=1e-4, atol=1e-5
    )


def test_features_of_a_chunk_are_those_of_its_samples(field, rng):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    np.testing.assert_allclose(features(field, positions, first=11), twin.features(positions[11:], 3), atol=1e-5)


def test_features_of_prefixes_added_up_are_those_of_each_level(field, rng):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    field.lookup(COUNT, 0, upload(positions, Vec3), LEVELS)
    for level in range(1, LEVELS + 1):
        prefix = field.next_features(COUNT, level).to_numpy()[:COUNT, 0]
        np.testing.assert_allclose(prefix, twin.features(positions, level), rtol=1e-4, atol=1e-5)


def test_levels_that_are_off_contribute_nothing(field, rng):
    randomise(field, rng)
    positions = somewhere(rng)
    before = density(field, positions, level=2), features(field, positions, level=2)
    values = field.quantiser.value.to_numpy()
    values[field.quantiser.firsts[2] :] = 1e3
    field.quantiser.value.from_numpy(values)
    np.testing.assert_array_equal(density(field, positions, level=2), before[0])
    np.testing.assert_array_equal(features(field, positions, level=2), before[1])


def test_levels_that_are_not_grown_yet_are_the_finest_there_is(field, rng):
    twin = randomise(field, rng, SHORT)
    positions = somewhere(rng, SHORT)
    weight = rng.standard_normal(COUNT).astype(np.float32)
    assert LEVELS == 3 > field.grown == 2
    np.testing.assert_allclose(density(field, positions), twin.density(positions, 2), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(features(field, positions), twin.features(positions, 2), atol=1e-5)
    np.testing.assert_array_equal(field.occupancy(3).to_numpy(), SHORT.mask(2))
    out = empty(ti.f32, COUNT * LEVELS)
    field.density_levels(COUNT, upload(positions, Vec3), out)
    at_once = out.to_numpy()[: COUNT * LEVELS].reshape(COUNT, LEVELS)
    for level in (1, 2, 3):
        np.testing.assert_allclose(at_once[:, level - 1], twin.density(positions, min(level, 2)), rtol=2e-5, atol=2e-5)
    field.lookup(COUNT, 0, upload(positions, Vec3), LEVELS)
    for level in (1, 2, 3):
        prefix = field.next_features(COUNT, level).to_numpy()[:COUNT, 0]
        np.testing.assert_allclose(prefix, twin.features(positions, min(level, 2)), rtol=1e-4, atol=1e-5)
    found = density_gradient(field, positions, weight)
    assert_gradient(lambda: weight @ twin.density(positions, 2), twin.rows, found, rng, only=twin.active(2))


def test_no_samples_are_no_work(field, rng):
    randomise(field, rng)
    nothing, out = empty(Vec3, 1), empty(ti.f32, 1)
    field.density(0, nothing, out, LEVELS)
    field.density_levels(0, nothing, out)
    field.lookup(0, 0, nothing, LEVELS)
    field.features(0, LEVELS)
    field.density_adjoint(0, nothing, out, out, LEVELS)
    field.features_adjoint(0, 0, nothing, row_field(field, np.zeros((0, BLOCK))), LEVELS)
    field.note(0, nothing, out, out)
    assert out.to_numpy()[0] == 0
    assert not gradient(field).any()


# Adjoints


@pytest.mark.parametrize("level", [1, 3])
def test_density_adjoint_is_the_gradient_of_the_twin(field, rng, level):
    twin = randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    found = density_gradient(field, positions, weight, level=level)
    assert_gradient(lambda: weight @ twin.density(positions, level), twin.rows, found, rng, only=twin.active(level))
    assert not found[~twin.active(level)].any()
    assert not found[:, 1:].any()


def test_the_adjoint_of_a_signed_distance_is_the_gradient_of_the_twin(signed_field, rng):
    twin = randomise(signed_field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    found = density_gradient(signed_field, positions, weight)
    assert_gradient(lambda: weight @ twin.density(positions, 3), twin.rows, found, rng)


@pytest.mark.parametrize(("level", "first"), [(2, 0), (3, 9)])
def test_features_adjoint_is_the_gradient_of_the_twin_within_the_levels_cells(field, rng, level, first):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    weight = rng.standard_normal((COUNT - first, BLOCK)).astype(np.float32)
    found = features_gradient(field, positions, row_field(field, weight), first, level=level)
    inside = twin.inside(positions[first:], level)
    assert 0 < inside.sum() < len(inside)

    def loss() -> float:
        return np.vdot(weight[inside], twin.features(positions[first:][inside], level))

    assert_gradient(loss, twin.rows, found, rng, only=twin.active(level))
    assert not found[~twin.active(level)].any()


def test_the_adjoints_are_the_twins_weights_transposed(field, rng):
    """Features are linear in the vertices' rows: every entry of the gradient is known exactly."""
    twin = randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal((COUNT, BLOCK)).astype(np.float32)
    matrix = twin.weights(positions, 3) * twin.inside(positions, 3)[:, None]
    found = features_gradient(field, positions, row_field(field, weight))
    np.testing.assert_allclose(found, matrix.T @ weight, rtol=1e-4, atol=1e-5)
    field.gradients.clear()
    d = weight[:, 0] * (1 - np.exp(-twin.density(positions, 3)))
    found = density_gradient(field, positions, weight[:, 0])
    np.testing.assert_allclose(found[:, 0], matrix.T @ d, rtol=1e-4, atol=1e-5)


def test_adjoints_add_to_what_is_there(field, rng):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    once = density_gradient(field, positions, weight)
    np.testing.assert_allclose(density_gradient(field, positions, weight), 2 * once, rtol=1e-4, atol=1e-5)
    field.gradients.clear()
    d_features = row_field(field, rng.standard_normal((COUNT, BLOCK)))
    once = features_gradient(field, positions, d_features)
    np.testing.assert_allclose(features_gradient(field, positions, d_features), 2 * once, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("field", ["cpu"], indirect=True)
@pytest.mark.parametrize("level", [1, 3])
def test_scatter_by_owner_and_by_atomics_agree(field, rng, level):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    d_features = row_field(field, rng.standard_normal((COUNT, BLOCK)))
    results = []
    try:
        for owner in (True, False):
            field.owner = owner
            field.gradients.clear()
            density_part = density_gradient(field, positions, weight, level=level)
            field.gradients.clear()
            results.append((density_part, features_gradient(field, positions, d_features, level=level)))
    finally:
        field.owner = True
    for by_owner, by_atomics in zip(*results):
        assert np.abs(by_owner).max() > 0.1
        np.testing.assert_allclose(by_owner, by_atomics, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("field", ["cpu"], indirect=True)
def test_gradients_on_the_cpu_are_the_same_bits_every_time(field, rng):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    d_features = row_field(field, rng.standard_normal((COUNT, BLOCK)))
    runs = []
    for _ in range(2):
        field.gradients.clear()
        density_gradient(field, positions, weight)
        runs.append(features_gradient(field, positions, d_features))
    np.testing.assert_array_equal(*runs)


# Space


def test_the_space_of_a_level_is_its_cells(field, rng):
    twin = randomise(field, rng)
    for level in (1, 2, 3):
        side = 2 ** (BASE + level - 1)
        cells = field.occupancy(level).to_numpy()
        assert cells.shape == (side,) * 3
        z, y, x = np.nonzero(cells)
        assert set(zip(x.tolist(), y.tolist(), z.tolist())) == twin.cells[level - 1]
        assert field.occupancy(level) is field.occupancy(level)
    randomise(field, rng, OTHER)
    np.testing.assert_array_equal(field.occupancy(3).to_numpy(), OTHER.mask(3))  # not that of the tree before


def test_the_largest_weight_in_each_finest_cell_is_noted(field, rng):
    randomise(field, rng)
    positions = somewhere(rng, count=300)
    weights = (rng.random(300) - 0.3).astype(np.float32)
    cells = coordinates(TREE.layers[-1].cells)
    expected = np.zeros(len(cells), np.float32)
    where = {tuple(cell): i for i, cell in enumerate(cells.tolist())}
    for position, weight in zip(positions, weights):
        cell = where.get(tuple((position * 16).astype(int).tolist()))
        if cell is not None:
            expected[cell] = max(expected[cell], weight)
    seen = empty(ti.f32, len(cells))
    field.note(300, upload(positions, Vec3), upload(weights), seen)
    assert 0 < np.count_nonzero(expected) < len(cells)
    np.testing.assert_array_equal(seen.to_numpy()[: len(cells)], expected)


# Other trees


def test_replanting_keeps_the_features_and_moments_of_vertices_that_stay(field, rng):
    twin = randomise(field, rng)
    asked = rng.standard_normal((CAPACITY, BLOCK)).astype(np.float32)
    asked[::3] = 0
    asked[field.quantiser.vertices :] = 0
    field.gradients.features.from_numpy(asked)
    Adam().step(field.parameters(), 1.0)
    before = {name: array.to_numpy() for name, array in field.parameters()[0].arrays().items()}
    field.replant(OTHER, rng)
    after = {name: array.to_numpy() for name, array in field.parameters()[0].arrays().items()}
    other = OctreeTwin(OTHER, after["value"][: field.quantiser.vertices])
    total = sum(len(layer.vertices) for layer in OTHER.layers)
    assert field.parameters()[0].active == field.quantiser.vertices == total
    kept = 0
    for old, new in zip(twin.vertices, other.vertices):
        for point, row in new.items():
            if point in old:
                kept += 1
                for name in before:
                    np.testing.assert_array_equal(after[name][row], before[name][old[point]])
            else:
                assert np.abs(after["value"][row]).max() < 0.1  # small and random
                assert after["value"][row].any()
                assert not after["first"][row].any()
                assert not after["second"][row].any()
    assert 20 < kept < total - 20
    positions = somewhere(rng, OTHER)
    other.shift = SHIFT
    np.testing.assert_allclose(density(field, positions), other.density(positions, 3), rtol=2e-5, atol=2e-5)


def test_growing_a_level_changes_nothing_but_by_the_new_ones_noise(field, rng):
    twin = randomise(field, rng, SHORT)
    field.replant(SHORT.subdivided(), rng)
    positions = somewhere(rng, SHORT)
    np.testing.assert_allclose(features(field, positions), twin.features(positions, 2), atol=0.06)


def test_a_tree_beyond_the_room_is_refused_and_nothing_changes(field, rng):
    twin = randomise(field, rng)
    with pytest.raises(UserError, match="5,767 vertices does not fit a field made for 2,000"):
        field.replant(Octree.from_mask(np.ones((16,) * 3, bool), 4, BASE), rng)
    assert field.tree is TREE
    positions = somewhere(rng)
    np.testing.assert_allclose(density(field, positions), twin.density(positions, 3), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("base", "levels"), [(1, 3), (8, 1), (6, 5), (4, 0), (2, MAX_LEVELS + 1)])
def test_depths_that_an_octree_cannot_have_are_refused(field, base, levels):
    tree = Octree.from_cells(np.zeros(1, np.uint32), base, base)
    with pytest.raises(UserError, match="1 to 5 levels"):
        OctreeField(tree, Uncompressed((8,), 8), levels=levels, rows=1)


def test_more_layers_than_levels_are_refused(field):
    with pytest.raises(UserError, match="3 layers is too deep for 2"):
        make(levels=2)


def test_a_level_outside_the_field_is_refused(field):
    for level in (0, LEVELS + 1):
        with pytest.raises(UserError, match="LOD"):
            field.check_level(level)


# Storage


def test_packed_levels_have_the_shapes_and_bytes_they_announce(field, rng):
    for tree in (TREE, SHORT):
        randomise(field, rng, tree)
        header = field.header()
        count = len(tree.layers)
        assert header["num_levels"] == count
        field.checked_header(header, count)
        packed = [field.pack(level) for level in range(1, count + 1)]
        for level, arrays in enumerate(packed, 1):
            shapes = {name: (a.dtype.str[1:], a.shape) for name, a in arrays.items()}
            assert shapes == field.level_schema(header, level)
            assert field.bytes_at(level) == sum(a.nbytes for part in packed[:level] for a in part.values())


@pytest.mark.parametrize("field", ["cpu"], indirect=True)
def test_a_file_cut_after_any_level_looks_like_the_whole_model_at_that_level(field, rng, tmp_path, monkeypatch):
    randomise(field, rng)
    box = np.array([[-1, -1, -1], [1, 1, 1]], np.float32)
    model = RadianceModel(
        field, make_decoder("small", rows=ROWS, seed=2), box=box, near=2.0, far=6.0, distance_scale=4.0
    )
    save_model(model, tmp_path / "whole.trf")
    whole, camera = load_model(tmp_path / "whole.trf"), tiny_scene(train=0, test=1).test.cameras[0]
    pictures = [render(whole, camera, level=level) for level in (1, 2, 3)]
    monkeypatch.setattr(modelfile, "make_decoder", lambda kind, rows: whole.decoder)  # compiling costs seconds
    for level in (1, 2):
        truncate_trf(tmp_path / "whole.trf", level, tmp_path / "part.trf")
        part = load_model(tmp_path / "part.trf")
        assert part.field.num_levels == level
        part.marcher, part.renderer.compositor = whole.marcher, whole.renderer.compositor
        np.testing.assert_allclose(render(part, camera), pictures[level - 1], atol=1e-6)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(pictures[a] - pictures[b]).max() > 0.1
