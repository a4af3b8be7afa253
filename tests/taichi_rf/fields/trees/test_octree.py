"""The octree against one of sets of tuples, and against bytes that no octree packed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_rf.core.errors import UserError
from taichi_rf.fields.trees.morton import coordinates, morton, neighbourhood
from taichi_rf.fields.trees.octree import MAX_DEPTH, Octree

Place = tuple[int, int, int]


# The brute-force twin: cells are tuples (x, y, z), layers are sets of them


def code_of(place: Place) -> int:
    """Bit 3 i + a of the code is bit i of coordinate a."""
    return sum((place[axis] >> bit & 1) << (3 * bit + axis) for bit in range(10) for axis in range(3))


def in_order(places) -> list[Place]:
    return sorted(places, key=code_of)


def octant(corner: int) -> Place:
    return corner & 1, corner >> 1 & 1, corner >> 2 & 1


def sets_of(finest: set[Place], depth: int, base_depth: int) -> list[set[Place]]:
    layers = [finest]
    for _ in range(depth - base_depth):
        layers.append({(x // 2, y // 2, z // 2) for x, y, z in layers[-1]})
    return layers[::-1]


def assert_is(tree: Octree, finest: set[Place], depth: int, base_depth: int) -> None:
    """Everything that ``tree`` says, against sets."""
    expected = sets_of(finest, depth, base_depth)
    assert (tree.base_depth, tree.depth, len(tree.layers)) == (base_depth, depth, len(expected))
    for level, (layer, cells) in enumerate(zip(tree.layers, expected), start=1):
        ordered = in_order(cells)
        vertices = in_order({tuple(np.add(cell, octant(c)).tolist()) for cell in ordered for c in range(8)})
        assert layer.depth == base_depth + level - 1
        assert layer.cells.tolist() == [code_of(cell) for cell in ordered]
        assert layer.vertices.tolist() == [code_of(vertex) for vertex in vertices]
        assert [array.dtype for array in (layer.cells, layer.vertices)] == [np.uint32] * 2
        assert [array.dtype for array in (layer.corners, layer.children)] == [np.int32] * 2
        where = {vertex: index for index, vertex in enumerate(vertices)}
        corners = [[where[tuple(np.add(cell, octant(c)).tolist())] for c in range(8)] for cell in ordered]
        assert layer.corners.tolist() == corners
        finer = in_order(expected[level]) if level < len(expected) else []
        below = {cell: index for index, cell in enumerate(finer)}
        doubled = [tuple(2 * np.array(cell)) for cell in ordered]
        children = [[below.get(tuple(np.add(cell, octant(c)).tolist()), -1) for c in range(8)] for cell in doubled]
        assert layer.children.tolist() == children
        np.testing.assert_array_equal(tree.vertex_positions(level), np.array(vertices) / 2**layer.depth)
        assert tree.vertex_positions(level).dtype == np.float32
        mask = tree.mask(level)
        assert mask.shape == (2**layer.depth,) * 3
        assert set(zip(*(along.tolist() for along in np.nonzero(mask)[::-1]))) == cells


def codes(places) -> np.ndarray:
    return np.array([code_of(place) for place in places], np.uint32)


def some(depth: int, count: int, seed: int = 0) -> set[Place]:
    """Random cells that hang together in places, some of them at the faces of the box."""
    rng = np.random.default_rng(seed)
    side = 2**depth
    places = rng.integers(0, side, (count, 3))
    places[::3] = np.clip(places[0] + rng.integers(-2, 3, places[::3].shape), 0, side - 1)
    places[1::7] = np.where(rng.random(places[1::7].shape) < 0.5, 0, side - 1)
    return set(map(tuple, places.tolist()))


cell_sets = st.integers(0, 4).flatmap(
    lambda depth: st.tuples(
        st.just(depth),
        st.integers(0, depth),
        st.sets(st.tuples(*[st.integers(0, 2**depth - 1)] * 3), min_size=1, max_size=60),
    )
)


# Codes


def test_codes_interleave_the_bits_of_x_y_and_z():
    places = np.random.default_rng(0).integers(0, 1024, (300, 3))
    places[:4] = [(0, 0, 0), (1023, 1023, 1023), (1, 0, 0), (0, 512, 1)]
    assert morton(places).tolist() == [code_of(tuple(place)) for place in places.tolist()]
    assert morton(places).dtype == np.uint32
    np.testing.assert_array_equal(coordinates(morton(places)), places)
    assert coordinates(morton(places)).dtype == np.int32
    assert morton(np.zeros((0, 3), int)).shape == (0,)
    assert coordinates(np.zeros(0, np.uint32)).shape == (0, 3)


@pytest.mark.parametrize("places", [[[1024, 0, 0]], [[0, -1, 0]], [[0, 0]], [0, 0, 0]])
def test_what_has_no_code_is_refused(places):
    with pytest.raises(ValueError, match="coordinates are"):
        morton(np.array(places))


@pytest.mark.parametrize("depth", [0, 1, 3, 9])
def test_the_neighbourhood_is_all_26_neighbours_inside_the_box(depth):
    cells = some(depth, 40)
    side = 2**depth
    steps = list(itertools.product((-1, 0, 1), repeat=3))
    expected = {tuple(np.add(cell, step).tolist()) for cell in cells for step in steps}
    expected = {place for place in expected if min(place) >= 0 and max(place) < side}
    shuffled = np.random.default_rng(1).permutation(codes(cells))
    assert neighbourhood(np.concatenate([shuffled, shuffled[:1]]), depth).tolist() == codes(in_order(expected)).tolist()
    assert len(neighbourhood(np.zeros(0, np.uint32), depth)) == 0


# Trees


@pytest.mark.parametrize(("depth", "base_depth"), [(0, 0), (3, 3), (4, 2), (5, 0), (6, 5)])
def test_a_tree_of_cells_is_the_brute_force_tree(depth, base_depth):
    cells = some(depth, 120)
    given = np.random.default_rng(2).permutation(np.concatenate([codes(cells), codes(cells)[:7]]))
    assert_is(Octree.from_cells(given, depth, base_depth), cells, depth, base_depth)


def test_the_deepest_tree_reaches_the_last_lattice_point():
    last = 2**MAX_DEPTH - 1
    tree = Octree.from_cells(codes([(last, last, last), (0, last, 0)]), MAX_DEPTH, 5)
    layer = tree.layers[-1]
    np.testing.assert_array_equal(tree.vertex_positions(5)[layer.corners[-1, 7]], [1, 1, 1])
    np.testing.assert_array_equal(coordinates(layer.cells), [(0, last, 0), (last, last, last)])
    assert len(layer.vertices) == 16


def test_points_find_their_cells_and_those_outside_are_passed_over():
    points = np.random.default_rng(3).random((200, 3)).astype(np.float32)
    points[:3] = [(1, 1, 1), (0, 0, 0), (1, 0.5, 0)]  # the far faces belong to the last cells
    cells = {tuple(min(int(along * 16), 15) for along in point) for point in points.tolist()}
    outside = [(1.1, 0, 0), (0.5, -0.1, 0.5), (0.5, 0.5, np.nan), (0, np.inf, 0)]
    given = np.concatenate([points, np.array(outside, np.float32)])
    assert_is(Octree.from_points(given, 4, 2), cells, 4, 2)


def test_grown_points_have_that_many_rings_of_neighbours():
    points = np.array([(0.5, 0.5, 0.5), (0.01, 0.99, 0.5)])
    cells = {(8, 8, 8), (0, 15, 8)}
    reach = range(-2, 3)
    grown = {(x + a, y + b, z + c) for x, y, z in cells for a in reach for b in reach for c in reach}
    grown = {place for place in grown if min(place) >= 0 and max(place) < 16}
    assert_is(Octree.from_points(points, 4, 3, grow=2), grown, 4, 3)


@pytest.mark.parametrize("shape", [(16, 16, 16), (4, 8, 2), (5, 7, 3), (33, 20, 16), (1, 1, 1)])
def test_a_mask_of_any_resolution_gives_the_cells_that_overlap_it(shape):
    mask = np.random.default_rng(4).random(shape) < (1 if shape == (1, 1, 1) else 0.05)
    side = 16
    expected = set()
    for z, y, x in np.argwhere(mask).tolist():
        # Cell i spans i / 16 to (i + 1) / 16, voxel v of n spans v / n to (v + 1) / n: they overlap if both begin
        # before the other ends.
        spans = [
            [i for i in range(side) if i * n < (v + 1) * side and v * side < (i + 1) * n]
            for v, n in ((x, shape[2]), (y, shape[1]), (z, shape[0]))
        ]
        expected |= set(itertools.product(*spans))
    assert_is(Octree.from_mask(mask, 4, 2), expected, 4, 2)


def test_subdividing_adds_all_children_of_the_finest_cells_and_changes_nothing_else():
    cells = some(3, 30)
    tree = Octree.from_cells(codes(cells), 3, 2).subdivided()
    finer = {(2 * x + a, 2 * y + b, 2 * z + c) for x, y, z in cells for a, b, c in map(octant, range(8))}
    assert_is(tree, finer, 4, 2)


def test_pruning_takes_the_ancestors_that_are_left_childless():
    cells = in_order(some(4, 80))
    keep = np.random.default_rng(5).random(len(cells)) < 0.2
    left = {cell for cell, kept in zip(cells, keep) if kept}
    tree = Octree.from_cells(codes(cells), 4, 2)
    assert_is(tree.pruned(keep), left, 4, 2)
    assert_is(tree, set(cells), 4, 2)
    with pytest.raises(ValueError, match="one for each finest cell"):
        tree.pruned(keep[1:])


def test_surviving_vertices_are_found_by_where_they_lie():
    old = Octree.from_cells(codes(some(4, 60, seed=6)), 4, 2)
    new = Octree.from_cells(codes(some(4, 60, seed=6) - some(4, 20, seed=6) | some(4, 9, seed=7)), 4, 2).subdivided()
    for level in (1, 2, 3):
        before = old.layers[level - 1].vertices.tolist()
        expected = [before.index(code) if code in before else -1 for code in new.layers[level - 1].vertices.tolist()]
        survivors = new.surviving(old, level)
        assert survivors.dtype == np.int64
        assert survivors.tolist() == expected
    assert (new.surviving(old, 4) == -1).all()
    assert new.surviving(new, 4).tolist() == list(range(len(new.layers[3].vertices)))


def test_nothing_of_a_tree_can_be_written_to():
    tree = Octree.from_cells([1, 2], 2, 1)
    for layer in tree.layers:
        for array in (layer.cells, layer.vertices, layer.corners, layer.children):
            assert not array.flags.writeable


def test_the_callers_array_stays_writable():
    given = np.array([1, 2], np.uint32)
    Octree.from_cells(given, 2, 1)
    given[0] = 5


# Bytes


@settings(max_examples=60, deadline=None)
@given(cell_sets)
def test_unpacking_gives_back_what_was_packed(drawn):
    depth, base_depth, cells = drawn
    tree = Octree.from_cells(codes(cells), depth, base_depth)
    packed = [tree.pack(level) for level in range(1, len(tree.layers) + 1)]
    assert_is(Octree.unpack(packed, base_depth), cells, depth, base_depth)


@settings(max_examples=30, deadline=None)
@given(cell_sets)
def test_the_packed_bits_are_these(drawn):
    depth, base_depth, cells = drawn
    tree = Octree.from_cells(codes(cells), depth, base_depth)
    layers = sets_of(cells, depth, base_depth)
    bits = "".join("01"[place in layers[0]] for place in in_order(itertools.product(range(2**base_depth), repeat=3)))
    first = [int(bits[start : start + 8][::-1], 2) for start in range(0, len(bits), 8)]
    assert tree.pack(1).tolist() == first
    for level in range(2, len(layers) + 1):
        expected = [
            sum((tuple(np.add(octant(c), np.multiply(cell, 2)).tolist()) in layers[level - 1]) << c for c in range(8))
            for cell in in_order(layers[level - 2])
        ]
        assert tree.pack(level).dtype == np.uint8
        assert tree.pack(level).tolist() == expected


def test_the_first_arrays_alone_are_the_tree_of_the_first_levels():
    tree = Octree.from_cells(codes(some(5, 90)), 5, 2)
    part = Octree.unpack([tree.pack(level) for level in (1, 2, 3)], 2)
    assert_is(part, sets_of(some(5, 90), 5, 2)[2], 4, 2)


def test_half_a_million_cells_survive_packing():
    rng = np.random.default_rng(8)
    directions = rng.standard_normal((400_000, 3))
    points = 0.5 + 0.4 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    tree = Octree.from_points(points, 8, 5, grow=1)
    assert len(tree.layers[-1].cells) > 500_000
    again = Octree.unpack([tree.pack(level) for level in (1, 2, 3, 4)], 5)
    for before, after in zip(tree.layers, again.layers):
        for name in ("cells", "vertices", "corners", "children"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def bytes_of(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "base_depth", "says"),
    [
        ([], 1, "no level is given"),
        ([bytes_of()], 1, "level 1: 0 bytes; the cells of depth 1 are told in 1"),
        ([bytes_of(1, 0)], 1, "level 1: 2 bytes"),
        ([bytes_of(0)], 1, "no cell is left"),
        ([bytes_of(3)], 0, "bits are set beyond the last cell"),
        ([bytes_of(3), bytes_of(1)], 1, "level 2: 1 bytes of child bits; level 1 has 2 cells"),
        ([bytes_of(3), bytes_of(1, 2, 3)], 1, "level 2: 3 bytes"),
        ([bytes_of(3), bytes_of(1, 0)], 1, "level 2: cell 1 of the level before has no child"),
        ([bytes_of(0), bytes_of()], 1, "no cell is left"),
        ([bytes_of(1)] * 10, 1, "at most 9 deep"),
        ([bytes_of(1)], 10, "base depth is 0 to 9"),
        ([bytes_of(1)], -1, "base depth is 0 to 9"),
        ([bytes_of(1).astype(np.int64)], 1, "level 1: a row of bytes is expected"),
        ([bytes_of(1), bytes_of(1)[None]], 1, "level 2: a row of bytes is expected"),
    ],
)
def test_bytes_that_no_tree_packs_are_refused(arrays, base_depth, says):
    with pytest.raises(UserError, match=says):
        Octree.unpack(arrays, base_depth)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=4), st.integers(-1, 2), st.booleans())
def test_any_bytes_are_a_tree_or_refused(rows, base_depth, sized):
    arrays = [np.frombuffer(row, np.uint8) for row in rows]
    if sized and arrays:  # a base layer of the right length gets further
        arrays[0] = np.resize(arrays[0], -(-(8 ** max(base_depth, 0)) // 8)).astype(np.uint8)
    try:
        tree = Octree.unpack(arrays, base_depth)
    except UserError:
        return
    for array, level in zip(arrays, range(1, len(tree.layers) + 1)):
        np.testing.assert_array_equal(tree.pack(level), array)


# Nothing, and too much


@pytest.mark.parametrize(
    "make",
    [
        lambda: Octree.from_cells([], 5, 4),
        lambda: Octree.from_points(np.zeros((0, 3)), 5, 4),
        lambda: Octree.from_points(np.full((2, 3), 1.5), 5, 4),
        lambda: Octree.from_points(np.full((2, 3), np.nan), 5, 4, grow=1),
        lambda: Octree.from_mask(np.zeros((3, 4, 5), bool), 5, 4),
        lambda: Octree.from_mask(np.zeros((0, 0, 0), bool), 5, 4),
        lambda: Octree.from_cells([1, 2], 2, 1).pruned(np.zeros(2, bool)),
    ],
)
def test_a_tree_of_nothing_is_refused(make):
    with pytest.raises(UserError, match="no cell is left"):
        make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Octree.from_cells([1], 10, 5), "at most 9 deep"),
        (lambda: Octree.from_cells([1], 4, 5), "not less than its base depth"),
        (lambda: Octree.from_points(np.zeros((1, 3)), 3, -1), "base depth is 0 to 9"),
        (lambda: Octree.from_mask(np.ones((1, 1, 1), bool), 12, 11), "base depth is 0 to 9"),
        (lambda: Octree.from_cells([1], 9, 8).subdivided(), "at most 9 deep"),
    ],
)
def test_depths_out_of_range_are_refused(make, says):
    with pytest.raises(UserError, match=says):
        make()


@pytest.mark.parametrize("code", [-1, 64])
def test_codes_of_no_cell_are_a_bug_of_the_caller(code):
    with pytest.raises(ValueError, match="codes at depth 2 end at 63"):
        Octree.from_cells([code], 2, 1)


@pytest.mark.parametrize("level", [0, 3, -1])
def test_levels_out_of_range_are_a_bug_of_the_caller(level):
    tree = Octree.from_cells([1], 2, 1)
    for of in (tree.mask, tree.vertex_positions, tree.pack):
        with pytest.raises(ValueError, match="levels are 1 to 2"):
            of(level)
