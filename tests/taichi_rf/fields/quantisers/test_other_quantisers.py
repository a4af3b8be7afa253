"""K-means, low rank, features as they are, and quantisers made from features that were trained."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.quantisers.codebook import Codebook
from taichi_rf.fields.quantisers.kmeans import assign, distances, kmeans
from taichi_rf.fields.quantisers.learned import LearnedCodebook
from taichi_rf.fields.quantisers.lowrank import LowRank
from taichi_rf.fields.quantisers.registry import check, quantised
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.kernels.optim import Adam
from tests.taichi_rf.fields.quantisers.cases import (
    BETA1,
    BETA2,
    CAPACITY,
    COUNTS,
    LEVEL,
    RATE,
    TOTAL,
    ask,
    assert_taken,
    clusters,
    cpu,
    learn,
    random_factors,
    small_tree,
)
from tests.twin_fields import OctreeTwin
from tests.twins import assert_gradient


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
