"""An octree field takes other trees, and goes to a file and back."""

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
from tests.taichi_rf.fields.octree.cases import (
    BASE,
    CAPACITY,
    LEVELS,
    OTHER,
    ROWS,
    SHIFT,
    SHORT,
    TREE,
    density,
    features,
    make,
    randomise,
    somewhere,
)
from tests.tiny import tiny_scene
from tests.twin_fields import OctreeTwin
from tests.vertex_gradients import put_gradients


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


def test_replanting_keeps_the_features_and_moments_of_vertices_that_stay(field, rng):
    twin = randomise(field, rng)
    asked = rng.standard_normal((CAPACITY, BLOCK)).astype(np.float32)
    asked[::3] = 0
    asked[field.quantiser.vertices :] = 0
    put_gradients(field.gradients, asked)
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
