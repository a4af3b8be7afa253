"""Quantisers of a few vertices, and what is asked of them."""

import numpy as np
import pytest

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, Block
from taichi_rf.fields.quantisers.base import Gradients, Quantiser, Uncompressed
from taichi_rf.fields.quantisers.learned import LearnedCodebook, exponential, unpacked
from taichi_rf.fields.quantisers.lowrank import LowRank
from taichi_rf.fields.quantisers.registry import CODEBOOKS
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.kernels.optim import Adam
from tests.vertex_gradients import put_gradients

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


def ask(shared: Shared, rng: np.random.Generator) -> np.ndarray:
    """Gradients of some vertices, partly from densities; returns them all, (TOTAL, 16), zeros where there is none."""
    features, density = rng.standard_normal((CAPACITY, BLOCK)), rng.standard_normal(CAPACITY)
    kind = rng.integers(0, 4, CAPACITY)  # none, features, density, both
    features[(kind != 1) & (kind != 3)] = 0
    density[(kind != 2) & (kind != 3)] = 0
    features[TOTAL:], density[TOTAL:] = 0, 0
    put_gradients(shared.gradients, features, density)
    asked = features.astype(np.float32).astype(np.float64)
    asked[:, 0] += density.astype(np.float32)
    return asked[:TOTAL]


def assert_taken(shared: Shared) -> None:
    assert not shared.gradients.features.to_numpy().any()
    assert not shared.gradients.density.to_numpy().any()
    assert not shared.gradients.touched.to_numpy().any()


class CodesTwin:
    """The soft lookup in float64: logits (TOTAL, rows), of which -inf says that a vertex may not take the row, and
    books (3, rows, 16)."""

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
    """Random logits of every row, of which a vertex keeps the 16 largest."""
    quantiser = shared.get("learned", bits)
    assert isinstance(quantiser, LearnedCodebook)
    books = rng.standard_normal((3, 1 << bits, BLOCK)).astype(np.float32)
    quantiser.book.from_numpy(books.reshape(-1, BLOCK))
    given = (1.5 * rng.standard_normal((TOTAL, 1 << bits))).astype(np.float32)
    quantiser.begin(0, given)
    quantiser.published()
    if bits > 4:
        given[given < np.sort(given, axis=1)[:, -BLOCK, None]] = -np.inf
    return quantiser, CodesTwin(given, books)


def logits(quantiser: LearnedCodebook, array=None, without=-np.inf) -> np.ndarray:
    """(TOTAL, rows) of the logits, or of another array like them; ``without`` where a vertex may not take the row."""
    values = (array or quantiser.logits).to_numpy()[:TOTAL, : quantiser.choices]
    rows = unpacked(quantiser.candidates.to_numpy())[:TOTAL, : quantiser.choices]
    found = np.full((TOTAL, quantiser.rows), without, np.float32)
    np.put_along_axis(found, rows, values, axis=1)
    return found


def learn(shared: Shared, quantiser: Quantiser) -> None:
    """The step of what takes the vertices' gradients; what that hands on stays for a look at it."""
    Adam(BETA1, BETA2).step(quantiser.parameters(shared.gradients)[:1], 1.0)


@ti.kernel
def _exponentials(x: ti.types.ndarray(dtype=Block, ndim=1), result: ti.types.ndarray(dtype=Block, ndim=1)):
    for i in x:
        result[i] = exponential(x[i])


def clusters(rng: np.random.Generator, k: int = 8, n: int = 900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 16), which cluster each belongs to, and the clusters' means."""
    means = 4 * rng.standard_normal((k, BLOCK))
    label = rng.integers(0, k, n)
    return (means[label] + 0.05 * rng.standard_normal((n, BLOCK))).astype(np.float32), label, means


def random_factors(shared: Shared, rng: np.random.Generator, rank: int) -> tuple[LowRank, np.ndarray, np.ndarray]:
    quantiser = shared.get("lowrank", rank)
    assert isinstance(quantiser, LowRank)
    z, matrices = rng.standard_normal((CAPACITY, rank)), rng.standard_normal((3, rank, BLOCK))
    quantiser.value.from_numpy(z.astype(np.float32))
    quantiser.matrix.from_numpy(matrices.reshape(-1, BLOCK).astype(np.float32))
    z = quantiser.value.to_numpy()[:TOTAL].astype(np.float64)
    return quantiser, z, quantiser.matrix.to_numpy().reshape(3, rank, BLOCK).astype(np.float64)


cpu = pytest.mark.parametrize("shared", ["cpu"], indirect=True)


def small_tree(rng: np.random.Generator) -> tuple[Octree, tuple[int, ...]]:
    tree = Octree.from_points(rng.random((40, 3)).astype(np.float32), 4, 2)
    return tree, tuple(len(layer.vertices) for layer in tree.layers)
