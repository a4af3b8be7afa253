"""What vertices' features are made of, against numpy: indices learnt straight through, k-means, hashes, low rank, and
numbers as they are."""

import numpy as np
import pytest

from taichi_rf.coding.bits import pack_bits
from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, Block, Vec3, empty, upload
from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.quantisers.base import Gradients, Quantiser, Uncompressed
from taichi_rf.fields.quantisers.codebook import MAX_HASH_BITS, Codebook
from taichi_rf.fields.quantisers.hashed import hashed
from taichi_rf.fields.quantisers.kmeans import assign, distances, kmeans
from taichi_rf.fields.quantisers.learned import LearnedCodebook, exponential
from taichi_rf.fields.quantisers.lowrank import LowRank
from taichi_rf.fields.quantisers.registry import CODEBOOKS, check, quantised
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.kernels.optim import Adam
from tests.arches import per_arch
from tests.twin_fields import OctreeTwin
from tests.twins import assert_gradient

COUNTS = (13, 7, 31)  # of three levels: less than a partition each, as much, and more
TOTAL = sum(COUNTS)
CAPACITY = TOTAL + 6
LEVEL = np.repeat(np.arange(3), COUNTS)  # of each vertex
BITS = range(1, 9)
RATE = 0.05
BETA1, BETA2 = 0.9, 0.99


def widths() -> tuple[int, ...]:
    """Bits of an index: every width on the CPU; on Vulkan, where compiling takes long, one of a block of rows and one
    of more."""
    return tuple(BITS) if current().owner_computes else (2, 6)


class Shared:
    """One set of gradients, and quantisers made when first asked for: each compiles its own kernels."""

    def __init__(self) -> None:
        self.gradients = Gradients(CAPACITY)
        self.quantisers: dict[tuple[str, int], Quantiser] = {}

    def get(self, kind: str, bits: int = 0) -> Quantiser:
        if (kind, bits) not in self.quantisers:
            if kind == "none":
                made: Quantiser = Uncompressed(COUNTS, CAPACITY, rate=RATE)
            elif kind == "lowrank":
                made = LowRank(COUNTS, CAPACITY, rank=bits, rate=RATE)
            else:
                made = CODEBOOKS[kind](COUNTS, CAPACITY, bits=bits, rate=RATE, logit_rate=RATE)
            self.quantisers[kind, bits] = made
        quantiser = self.quantisers[kind, bits]
        self.gradients.clear()
        for parameters in quantiser.parameters(self.gradients):
            parameters.reset()
            parameters.clear()
        return quantiser


@per_arch
def shared() -> Shared:
    return Shared()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(9)


def ask(shared: Shared, rng: np.random.Generator) -> np.ndarray:
    """Gradients of some vertices, partly from densities; returns them all, (TOTAL, 16), zeros where there is none."""
    features, density = rng.standard_normal((CAPACITY, BLOCK)), rng.standard_normal(CAPACITY)
    kind = rng.integers(0, 4, CAPACITY)  # none, features, density, both
    features[(kind != 1) & (kind != 3)] = 0
    density[(kind != 2) & (kind != 3)] = 0
    features[TOTAL:], density[TOTAL:] = 0, 0
    shared.gradients.features.from_numpy(features.astype(np.float32))
    shared.gradients.density.from_numpy(density.astype(np.float32))
    asked = features.astype(np.float32).astype(np.float64)
    asked[:, 0] += density.astype(np.float32)
    return asked[:TOTAL]


def assert_taken(shared: Shared) -> None:
    assert not shared.gradients.features.to_numpy().any()
    assert not shared.gradients.density.to_numpy().any()


# Indices that are learnt


class CodesTwin:
    """The soft lookup in float64: logits (TOTAL, rows), books (3, rows, 16)."""

    def __init__(self, logits: np.ndarray, books: np.ndarray) -> None:
        self.logits, self.books = logits.astype(np.float64), books.astype(np.float64)

    def soft(self) -> np.ndarray:
        e = np.exp(self.logits - self.logits.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def features(self) -> np.ndarray:
        """(TOTAL, 16), each vertex the mean of the rows by the softmax of its logits."""
        return np.einsum("vr,vrk->vk", self.soft(), self.books[LEVEL])

    def logit_gradient(self, d: np.ndarray) -> np.ndarray:
        """s_i (c_i . g - sum_j s_j c_j . g)"""
        s, dots = self.soft(), np.einsum("vk,vrk->vr", d, self.books[LEVEL])
        return s * (dots - (s * dots).sum(1, keepdims=True))


def randomised(shared: Shared, rng: np.random.Generator, bits: int) -> tuple[LearnedCodebook, CodesTwin]:
    quantiser = shared.get("learned", bits)
    assert isinstance(quantiser, LearnedCodebook)
    books = rng.standard_normal((3, 1 << bits, BLOCK)).astype(np.float32)
    quantiser.book.from_numpy(books.reshape(-1, BLOCK))
    given = (1.5 * rng.standard_normal((TOTAL, 1 << bits))).astype(np.float32)
    values = quantiser.logits.to_numpy().reshape(CAPACITY, quantiser.padded)
    values[:TOTAL, : 1 << bits] = given
    quantiser.logits.from_numpy(values.reshape(quantiser.logits.to_numpy().shape))
    quantiser.restored()
    quantiser.published()
    return quantiser, CodesTwin(given, books)


def logits(quantiser: LearnedCodebook, array=None) -> np.ndarray:
    """(TOTAL, rows) of the logits, or of another array like them."""
    values = (array or quantiser.logits).to_numpy().reshape(CAPACITY, quantiser.padded)
    return values[:TOTAL, : quantiser.rows]


def learn(shared: Shared, quantiser: Quantiser) -> None:
    """The step of what takes the vertices' gradients; what that hands on stays for a look at it."""
    Adam(BETA1, BETA2).step(quantiser.parameters(shared.gradients)[:1], 1.0)


def test_the_logits_step_along_the_straight_through_gradient(shared, rng):
    """RMSprop begins with the gradient's square as its second moment, so that one step tells the gradient."""
    for bits in widths():
        quantiser, twin = randomised(shared, rng, bits)
        d = ask(shared, rng)
        before = logits(quantiser)
        learn(shared, quantiser)
        moved = before - logits(quantiser)
        found = np.sqrt(logits(quantiser, quantiser.logit_second).astype(np.float64)) * np.sign(moved)
        expected = twin.logit_gradient(d)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())
        assert_gradient(lambda d=d, twin=twin: np.vdot(d, twin.features()), twin.logits, found, rng)
        sure = np.abs(expected) > 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(moved[sure], RATE * np.sign(expected[sure]), atol=1e-5)
        assert_taken(shared)


def test_a_rows_gradient_is_the_sum_over_the_vertices_that_took_it(shared, rng):
    for bits in widths():
        quantiser, twin = randomised(shared, rng, bits)
        d = ask(shared, rng)
        took = logits(quantiser).argmax(1)
        learn(shared, quantiser)
        expected = np.zeros((3, 1 << bits, BLOCK))
        np.add.at(expected, (LEVEL, took), d)
        found = quantiser.book_gradient.to_numpy().reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        hard = (LEVEL, took)
        assert_gradient(lambda d=d, twin=twin, hard=hard: np.vdot(d, twin.books[hard]), twin.books, found, rng)


def test_only_vertices_that_were_asked_change_and_every_index_is_its_largest_logit(shared, rng):
    for bits in widths():
        quantiser, _ = randomised(shared, rng, bits)
        changed = np.zeros(TOTAL, bool)
        for _ in range(3):
            before = [a.to_numpy().tobytes() for a in (quantiser.book, quantiser.across)]
            parts = [quantiser.logits, quantiser.logit_second, quantiser.index]
            rows = [a.to_numpy().reshape(CAPACITY, -1) for a in parts]
            asked = ask(shared, rng).any(axis=1)
            learn(shared, quantiser)
            after = [a.to_numpy().reshape(CAPACITY, -1) for a in parts]
            for old, new in zip(rows, after):
                np.testing.assert_array_equal(new[:TOTAL][~asked], old[:TOTAL][~asked])
                np.testing.assert_array_equal(new[TOTAL:], old[TOTAL:])
            for old, new in zip(rows[:2], after[:2]):
                assert (new[:TOTAL][asked] != old[:TOTAL][asked]).any(axis=1).all()
            assert [a.to_numpy().tobytes() for a in (quantiser.book, quantiser.across)] == before
            np.testing.assert_array_equal(quantiser.indices(), logits(quantiser).argmax(1))
            changed |= (after[2] != rows[2])[:TOTAL, 0]
        assert changed.any()
        padding = quantiser.logits.to_numpy().reshape(CAPACITY, -1)[:TOTAL, quantiser.rows :]
        assert (padding < -1e29).all()  # rows that do not exist are never taken


def test_steps_are_those_of_rmsprop_that_skips_what_is_not_asked(shared, rng):
    quantiser, twin = randomised(shared, rng, 6)
    second = np.zeros_like(twin.logits)
    sure = np.ones(second.shape, bool)
    for _ in range(6):
        d = ask(shared, rng)
        touched = d.any(axis=1)
        g = twin.logit_gradient(d)[touched]
        sure[touched] &= np.abs(g) > 1e-4 * np.abs(g).max(1, keepdims=True)  # of others rounding decides the sign
        first_time = second[touched] == 0
        second[touched] = np.where(first_time, g**2, BETA2 * second[touched] + (1 - BETA2) * g**2)
        twin.logits[touched] -= RATE * g / (np.sqrt(second[touched]) + 1e-15)
        learn(shared, quantiser)
    assert sure.mean() > 0.8
    np.testing.assert_allclose(logits(quantiser, quantiser.logit_second)[sure], second[sure], rtol=2e-3)
    np.testing.assert_allclose(logits(quantiser)[sure], twin.logits[sure], atol=0.02 * RATE)


@pytest.mark.parametrize("bits", [2, 6])
def test_the_codebook_learns_too_and_the_next_step_uses_it(shared, rng, bits):
    quantiser, twin = randomised(shared, rng, bits)
    d = ask(shared, rng)
    took = quantiser.indices()
    Adam(BETA1, BETA2).step(quantiser.parameters(shared.gradients), 1.0)
    quantiser.published()
    asked = np.zeros(twin.books.shape)
    np.add.at(asked, (LEVEL, took), d)
    expected = twin.books - RATE * asked / (np.abs(asked) + 1e-8)  # Adam's first step
    books = quantiser.book.to_numpy().reshape(expected.shape)
    np.testing.assert_allclose(books, expected, atol=2e-3 * RATE)  # what cancels in a sum is not known exactly
    twin = CodesTwin(logits(quantiser), books)
    for parameters in quantiser.parameters(shared.gradients):
        parameters.reset()
    d = ask(shared, rng)
    learn(shared, quantiser)
    second = logits(quantiser, quantiser.logit_second)
    np.testing.assert_allclose(np.sqrt(second), np.abs(twin.logit_gradient(d)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bits", [2, 6])
def test_what_was_restored_has_the_indices_of_its_logits(shared, rng, bits):
    quantiser, _ = randomised(shared, rng, bits)
    ask(shared, rng)
    learn(shared, quantiser)
    codes = quantiser.parameters(shared.gradients)[0]
    saved, before = codes.state(), quantiser.indices()
    randomised(shared, rng, bits)
    assert (quantiser.indices() != before).any()
    codes.restore(saved)
    np.testing.assert_array_equal(quantiser.indices(), before)
    np.testing.assert_array_equal(quantiser.indices(), logits(quantiser).argmax(1))
    for name, array in codes.state().items():
        np.testing.assert_array_equal(array, saved[name])


def test_a_vertex_learns_the_row_that_it_wants(shared, rng):
    """Each vertex wants one row, and its gradient is the difference to it: in the end it takes that row."""
    quantiser, twin = randomised(shared, rng, 6)
    wanted = rng.integers(0, 64, TOTAL)
    target = twin.books[LEVEL, wanted]
    assert (quantiser.indices() == wanted).mean() < 0.3
    for _ in range(120):
        d = np.zeros((CAPACITY, BLOCK), np.float32)
        d[:TOTAL] = quantiser.features() - target
        shared.gradients.features.from_numpy(d)
        learn(shared, quantiser)
    assert (quantiser.indices() == wanted).mean() > 0.95


@ti.kernel
def _exponentials(x: ti.types.ndarray(dtype=Block, ndim=1), result: ti.types.ndarray(dtype=Block, ndim=1)):
    for i in x:
        result[i] = exponential(x[i])


def test_exponentials_are_those_of_the_library(shared, rng):
    x = np.concatenate([np.linspace(-1, 0, 1600), np.linspace(-80, 0, 16000), [0, -1e-8, -1e-3, -np.log(2)]])
    x = np.concatenate([x, np.zeros(-len(x) % BLOCK)]).astype(np.float32).reshape(-1, BLOCK)
    result = empty(Block, len(x))
    _exponentials(upload(x, Block), result)
    expected = np.exp(x.astype(np.float64))
    error = np.abs(result.to_numpy() / expected - 1)
    assert error[x >= -8].max() < 1e-6
    assert (error / (1 + np.abs(x))).max() < 2e-7  # the argument itself is known to half a unit of its last place only
    assert result.to_numpy()[x == 0].tolist() == [1.0] * int((x == 0).sum())
    far = np.full((1, BLOCK), -1e30, np.float32)
    result = empty(Block, 1)
    _exponentials(upload(far, Block), result)
    assert (np.abs(result.to_numpy()) < 1e-37).all()


# Indices that are fixed


@pytest.mark.parametrize(("kind", "bits"), [("hash", 3), ("kmeans", 5)])
def test_fixed_indices_gather_their_rows_gradients_and_stay(shared, rng, kind, bits):
    quantiser = shared.get(kind, bits)
    d, took, books = ask(shared, rng), quantiser.indices(), quantiser.book.to_numpy()
    learn(shared, quantiser)
    expected = np.zeros((3, 1 << bits, BLOCK))
    np.add.at(expected, (LEVEL, took), d)
    found = quantiser.book_gradient.to_numpy()
    np.testing.assert_allclose(found, expected.reshape(-1, BLOCK), rtol=1e-5, atol=1e-5)
    assert_taken(shared)
    ask(shared, rng)
    Adam().step(quantiser.parameters(shared.gradients), 1.0)
    np.testing.assert_array_equal(quantiser.indices(), took)
    moved = (quantiser.book.to_numpy() != books).any()
    assert moved == (kind == "hash")  # k-means comes after training
    assert not quantiser.book_gradient.to_numpy().any()


@pytest.mark.parametrize("bits", [1, 4, 10, MAX_HASH_BITS])
def test_hashes_are_in_range_spread_out_and_depend_on_the_place_alone(rng, bits):
    places = rng.integers(0, 257, (20000, 3))
    rows = hashed(places, bits)
    assert rows.dtype == np.int32
    assert 0 <= rows.min() <= rows.max() < 1 << bits
    order = rng.permutation(len(places))
    np.testing.assert_array_equal(hashed(places[order], bits), rows[order])
    for (x, y, z), row in zip(places[:100].tolist(), rows.tolist()):
        assert row == (x ^ y * 2654435761 ^ z * 805459861) % (1 << bits)
    counts = np.bincount(rows, minlength=1 << bits)
    assert counts.std() < 2 * np.sqrt(len(places) / (1 << bits)) + 1


# k-means


def clusters(rng: np.random.Generator, k: int = 8, n: int = 900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 16), which cluster each belongs to, and the clusters' means."""
    means = 4 * rng.standard_normal((k, BLOCK))
    label = rng.integers(0, k, n)
    return (means[label] + 0.05 * rng.standard_normal((n, BLOCK))).astype(np.float32), label, means


@pytest.mark.parametrize("seed", range(5))
def test_kmeans_finds_clusters_that_lie_apart(seed):
    rng = np.random.default_rng(seed)
    points, label, centres = clusters(rng)
    means, nearest = kmeans(points, np.ones(len(points)), 8, rng)
    assert means.shape == (8, BLOCK)
    assert (means.dtype, nearest.dtype) == (np.float32, np.int32)
    order = nearest[[np.flatnonzero(label == cluster)[0] for cluster in range(8)]]
    np.testing.assert_array_equal(nearest, order[label])
    np.testing.assert_allclose(means[order], centres, atol=0.03)


def test_kmeans_weighs_its_points(rng):
    """One mean of two clusters lies where their weights are in balance; points without weight do not count."""
    points = np.concatenate([np.zeros((500, 2)), np.full((500, 2), 4.0), np.full((500, 2), 99.0)]).astype(np.float32)
    weights = np.concatenate([np.full(500, 3.0), np.full(500, 1.0), np.zeros(500)])
    means, nearest = kmeans(points, weights, 1, rng)
    np.testing.assert_allclose(means, [[1.0, 1.0]], atol=0.15)
    assert (nearest == 0).all()


def test_kmeans_of_no_weights_at_all_counts_every_point(rng):
    points, label, _ = clusters(rng, k=2)
    _, nearest = kmeans(points, np.zeros(len(points)), 2, rng)
    assert len(np.unique(nearest[label == 0])) == len(np.unique(nearest[label == 1])) == 1


@pytest.mark.parametrize("n", [1, 3])
def test_kmeans_of_fewer_points_than_means_has_each_point_for_a_mean(rng, n):
    points = rng.standard_normal((n, BLOCK)).astype(np.float32)
    means, nearest = kmeans(points, np.ones(n), 16, rng)
    assert means.shape == (16, BLOCK)
    np.testing.assert_allclose(means[nearest], points, atol=1e-6)


def test_distances_and_nearest_are_those_of_the_definition(rng):
    points, means = rng.standard_normal((70, BLOCK)), rng.standard_normal((9, BLOCK))
    expected = ((points[:, None] - means[None]) ** 2).sum(-1)
    np.testing.assert_allclose(distances(points, means), expected, rtol=1e-9)
    np.testing.assert_array_equal(assign(points, means), expected.argmin(1))
    assert (distances(means.astype(np.float32), means.astype(np.float32)) >= 0).all()


# Low rank


def random_factors(shared: Shared, rng: np.random.Generator, rank: int) -> tuple[LowRank, np.ndarray, np.ndarray]:
    quantiser = shared.get("lowrank", rank)
    assert isinstance(quantiser, LowRank)
    z, matrices = rng.standard_normal((CAPACITY, rank)), rng.standard_normal((3, rank, BLOCK))
    quantiser.value.from_numpy(z.astype(np.float32))
    quantiser.matrix.from_numpy(matrices.reshape(-1, BLOCK).astype(np.float32))
    z = quantiser.value.to_numpy()[:TOTAL].astype(np.float64)
    return quantiser, z, quantiser.matrix.to_numpy().reshape(3, rank, BLOCK).astype(np.float64)


@pytest.mark.parametrize("rank", [1, 4])
def test_low_rank_features_and_gradients_are_those_of_the_product(shared, rng, rank):
    quantiser, z, matrices = random_factors(shared, rng, rank)

    def features() -> np.ndarray:
        return np.einsum("vr,vrk->vk", z, matrices[LEVEL])

    np.testing.assert_allclose(quantiser.features(), features(), rtol=1e-4, atol=1e-5)
    d = ask(shared, rng)
    learn(shared, quantiser)
    factors = quantiser.parameters(shared.gradients)[0]
    g_z = factors.first.to_numpy()[:TOTAL].astype(np.float64)  # the first value of a moment counts whole
    np.testing.assert_allclose(g_z, np.einsum("vk,vrk->vr", d, matrices[LEVEL]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(quantiser.value.to_numpy()[:TOTAL], z - RATE * np.sign(g_z), atol=1e-5)
    g_m = quantiser.matrix_gradient.to_numpy().reshape(matrices.shape)
    assert_gradient(lambda: np.vdot(d, features()), z, g_z, rng)
    assert_gradient(lambda: np.vdot(d, features()), matrices, g_m, rng)
    assert_taken(shared)


def test_only_factors_that_were_asked_change(shared, rng):
    quantiser, _, _ = random_factors(shared, rng, 4)
    factors = quantiser.parameters(shared.gradients)[0]
    before = {name: array.to_numpy() for name, array in factors.arrays().items()}
    asked = np.append(ask(shared, rng).any(axis=1), [False] * (CAPACITY - TOTAL))
    learn(shared, quantiser)
    for name, array in factors.arrays().items():
        np.testing.assert_array_equal(array.to_numpy()[~asked], before[name][~asked])
        assert (array.to_numpy()[asked] != before[name][asked]).any(axis=1).all()


# As they are


def test_uncompressed_steps_are_those_of_adam_that_skips_what_is_not_asked(shared, rng):
    """A moment's first value counts whole, in place of a bias correction that would be wrong for late vertices."""
    quantiser = shared.get("none")
    quantiser.value.from_numpy(rng.standard_normal((CAPACITY, BLOCK)).astype(np.float32))
    x = quantiser.value.to_numpy()[:TOTAL].astype(np.float64)
    m, s = np.zeros_like(x), np.zeros_like(x)
    adam, (parameters,) = Adam(BETA1, BETA2), quantiser.parameters(shared.gradients)
    for step in range(8):
        d = ask(shared, rng)
        touched = d.any(axis=1)
        untouched = np.append(~touched, [True] * (CAPACITY - TOTAL))
        new = s == 0
        m_next = np.where(new, d, BETA1 * m + (1 - BETA1) * d)
        s_next = np.where(new, d**2, BETA2 * s + (1 - BETA2) * d**2)
        m[touched], s[touched] = m_next[touched], s_next[touched]
        factor = 0.9**step
        x[touched] -= factor * RATE * m[touched] / (np.sqrt(s[touched]) + 1e-15)
        before = {name: array.to_numpy() for name, array in parameters.arrays().items()}
        adam.step([parameters], factor)
        for name, array in parameters.arrays().items():
            np.testing.assert_array_equal(array.to_numpy()[untouched], before[name][untouched])
        np.testing.assert_allclose(quantiser.features(), x, atol=2e-5)
        assert_taken(shared)
    np.testing.assert_allclose(parameters.second.to_numpy()[:TOTAL], s, rtol=1e-3)


# In a field


@pytest.mark.parametrize(("kind", "bits"), [("learned", 6), ("lowrank", 3)])
def test_a_field_reads_its_vertices_through_the_coder(shared, rng, kind, bits):
    tree = Octree.from_points(rng.random((12, 3)).astype(np.float32), 3, 2)
    counts = tuple(len(layer.vertices) for layer in tree.layers)
    total = sum(counts)
    quantiser = quantised(
        kind, bits, rng.standard_normal((total, BLOCK)).astype(np.float32), np.ones(total), tree, rate=0.1,
        logit_rate=0.1, sharpness=1.0, seed=0,
    )  # fmt: skip
    rows = quantiser.features()
    if isinstance(quantiser, Codebook):
        book = quantiser.book.to_numpy().reshape(2, 1 << bits, BLOCK)
        np.testing.assert_array_equal(rows, book[np.repeat([0, 1], counts), quantiser.indices()])
    field = OctreeField(tree, quantiser, levels=2, rows=64)
    twin = OctreeTwin(tree, rows)
    positions = np.concatenate([rng.random((40, 3)), tree.vertex_positions(2)[:24]]).astype(np.float32)
    place, out = upload(positions, Vec3), empty(ti.f32, 64)
    field.density(64, place, out, 2)
    np.testing.assert_allclose(out.to_numpy()[:64], twin.density(positions, 2), rtol=1e-4, atol=1e-6)
    field.lookup(64, 0, place, 2)
    found = field.features(64, 2).to_numpy()[:64, 0]
    np.testing.assert_allclose(found, twin.features(positions, 2), rtol=1e-4, atol=1e-5)


# From features, and on disk

cpu = pytest.mark.parametrize("shared", ["cpu"], indirect=True)


def small_tree(rng: np.random.Generator) -> tuple[Octree, tuple[int, ...]]:
    tree = Octree.from_points(rng.random((40, 3)).astype(np.float32), 4, 2)
    return tree, tuple(len(layer.vertices) for layer in tree.layers)


@cpu
@pytest.mark.parametrize("feedback", [False, True])
def test_learned_codes_begin_at_the_nearest_means_of_what_was_trained(shared, rng, feedback):
    tree, counts = small_tree(rng)
    features = rng.standard_normal((sum(counts), BLOCK)).astype(np.float32)
    made = quantised(
        "learned", 4, features, np.ones(len(features)), tree, rate=0.1, logit_rate=0.1, sharpness=2.0, seed=0,
        feedback=feedback,
    )  # fmt: skip
    assert isinstance(made, LearnedCodebook)
    kept = np.concatenate([[0], np.cumsum(counts)])
    books = made.book.to_numpy().reshape(3, 16, BLOCK)
    values = made.logits.to_numpy().reshape(made.capacity, -1)
    lost = np.zeros((0, BLOCK))
    for level in range(3):
        part = slice(kept[level], kept[level + 1])
        wanted = features[part].astype(np.float64)
        if feedback and level:
            wanted = wanted + tree.prolonged(level + 1, lost)
        apart = ((wanted[:, None] - books[level]) ** 2).sum(-1)
        np.testing.assert_array_equal(made.indices()[part], apart.argmin(1))
        np.testing.assert_allclose(values[part], -2 * apart / apart.min(1).mean(), rtol=1e-3, atol=1e-3)
        lost = wanted - books[level][apart.argmin(1)]
    assert ((made.features() - features) ** 2).mean() < 0.9 * (features**2).mean()


@cpu
def test_low_rank_codes_begin_at_the_best_of_their_rank(shared, rng):
    """By the Eckart-Young theorem, what the best approximation leaves is the sum of the squares of what it drops."""
    tree, counts = small_tree(rng)
    features = rng.standard_normal((sum(counts), BLOCK)).astype(np.float32)
    made = quantised(
        "lowrank", 6, features, np.ones(len(features)), tree, rate=0.1, logit_rate=0.1, sharpness=1.0, seed=0
    )  # fmt: skip
    kept = np.concatenate([[0], np.cumsum(counts)])
    for first, last in zip(kept, kept[1:]):
        dropped = np.linalg.svd(features[first:last].astype(np.float64), compute_uv=False)[6:]
        left = ((made.features()[first:last] - features[first:last]) ** 2).sum()
        assert left == pytest.approx((dropped**2).sum(), rel=1e-3)


@cpu
@pytest.mark.parametrize("bits", BITS)
def test_packed_indices_come_back_for_every_width_and_odd_counts(shared, rng, bits):
    indices = rng.integers(0, 1 << bits, TOTAL)
    book = rng.standard_normal((3, 1 << bits, BLOCK)).astype(np.float32)
    options = {"bits": bits, "trains": False}
    written = Codebook(COUNTS, TOTAL, indices=indices, book=book, **options)
    read = Codebook(COUNTS, TOTAL, seed=None, **options)
    first = 0
    for level, count in enumerate(COUNTS, 1):
        arrays = written.pack(level)
        shapes = {name: (a.dtype.str[1:], a.shape) for name, a in arrays.items()}
        assert shapes == Codebook.schema(written.header(), count)
        assert len(arrays["indices"]) <= 2 * len(pack_bits(indices[first : first + count], bits)) + 1
        read.unpack(level, arrays)
        first += count
    np.testing.assert_array_equal(read.indices(), indices)
    np.testing.assert_allclose(read.features(), written.features(), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(written.features(), book[LEVEL, indices])


@pytest.mark.parametrize(
    ("kind", "bits", "says"),
    [
        ("learned", 0, "1 to 8"),
        ("learned", 9, "--bits 9: codes of kind 'learned' have 1 to 8"),
        ("kmeans", 9, "1 to 8"),
        ("hash", 15, "1 to 14"),
        ("lowrank", 16, "1 to 15"),
        ("lowrank", 0, "1 to 15"),
        ("vq", 4, "choose one of learned, none, kmeans, lowrank, hash"),
    ],
)
def test_codes_that_there_are_not_are_refused(kind, bits, says):
    with pytest.raises(UserError, match=says):
        check(kind, bits)


def test_more_vertices_than_room_are_refused(shared):
    for make in (Uncompressed, Codebook, LowRank):
        with pytest.raises(UserError, match="51 vertices does not fit a field made for 50"):
            make(COUNTS, 50)
