"""Vertices that share a few rows of features: one codebook a level, and for every vertex the index of its row.

Here the indices are fixed, and only the rows can train; "kmeans" indices were found once from uncompressed features
(the kmVQ of VQAD: Takikawa et al. 2022). Indices that follow from places are in ``hashed.py``, indices that are learnt
in ``learned.py``.
"""

from typing import Any

import numpy as np

from taichi_rf.coding.bits import aligned, pack_aligned, packed_bytes, unpack_aligned
from taichi_rf.coding.checks import indices
from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Block
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Arrays, Schema
from taichi_rf.fields.quantisers.base import PARTITIONS, Gradients, Quantiser, fresh, half
from taichi_rf.kernels.optim import Moments, Parameters

MAX_LEARNED_BITS = 8
MAX_HASH_BITS = 14


class IndexParameters(Parameters):
    """Takes the vertices' gradients, and gives the codebook its own; the indices themselves do not train."""

    def __init__(self, quantiser: Any, gradients: Gradients) -> None:
        self.quantiser, self.gradients = quantiser, gradients
        super().__init__("codes", quantiser.logits, gradients.features, quantiser.logit_rate, quantiser.vertices)

    def __post_init__(self) -> None:
        """No moments of Adam."""

    def arrays(self) -> dict[str, Any]:
        return {"index": self.quantiser.index}

    def clear(self) -> None:
        self.gradients.clear()

    def check(self, key: str, values: np.ndarray) -> None:
        super().check(key, values)
        if key == "index":
            indices(values, self.quantiser.rows, f"'{self.name}.{key}'")

    def restored(self) -> None:
        self.quantiser.restored()

    def update(self, rate: float, moments: Moments) -> None:
        self.quantiser.update(self.gradients, rate, moments)


@ti.data_oriented
class Codebook(Quantiser):
    """Rows of codebooks, 2^bits a level.

    Args:
        indices: (vertices,) rows to begin with; random where None.
        book: (levels, 2^bits, 16) to begin with; small random numbers where None.
        trains: whether there is room for gradients.

    Raises:
        UserError: no codebook of this kind has indices of so many bits.
    """

    kind = "kmeans"
    book_trains = False  # k-means comes after training
    index_bytes = 4
    logits: Any = None

    def __init__(
        self,
        counts: tuple[int, ...],
        capacity: int,
        *,
        bits: int = 6,
        rate: float = 0.02,
        logit_rate: float = 0.1,
        indices: np.ndarray | None = None,
        book: np.ndarray | None = None,
        trains: bool = True,
        seed: int | None = 0,
    ) -> None:
        check_bits(self.kind, bits)
        super().__init__(counts, capacity)
        self.bits, self.rows, self.rate, self.logit_rate = bits, 1 << bits, rate, logit_rate
        levels = len(counts)
        rng = np.random.default_rng(seed)
        self.index = ti.field(ti.i32, capacity)
        self.book = ti.Vector.field(BLOCK, ti.f32, levels * self.rows)
        if book is None:
            book = np.zeros((levels, self.rows, BLOCK)) if seed is None else fresh(levels * self.rows, BLOCK, rng)
        self.book.from_numpy(np.ascontiguousarray(book, np.float32).reshape(-1, BLOCK))
        self.trains = trains
        if trains:
            self.book_gradient = ti.Vector.field(BLOCK, ti.f32, levels * self.rows)
            self.partial = ti.Vector.field(BLOCK, ti.f32, (PARTITIONS if self.owner else 1, levels * self.rows))
        self._parameters: list[Parameters] = []
        self._choose(indices, None if seed is None else rng)
        self.published()

    def _choose(self, indices: np.ndarray | None, rng: np.random.Generator | None) -> None:
        """Give every vertex its index to begin with; ``rng`` is None where no seed was given."""
        if indices is None:
            indices = (rng or np.random.default_rng()).integers(0, self.rows, self.vertices)
        padded = np.zeros(self.capacity, np.int32)
        padded[: self.vertices] = indices
        self.index.from_numpy(padded)

    @ti.func
    def row(self, level, vertex):
        return self.book[level * self.rows + self.index[vertex]]

    @ti.func
    def density(self, level, vertex):
        return self.book[level * self.rows + self.index[vertex]][0]

    def parameters(self, gradients: Gradients) -> list[Parameters]:
        if not self.trains:
            return []
        if not self._parameters:
            rate = self.rate if self.book_trains else 0.0
            book = Parameters("codebook", self.book, self.book_gradient, rate, self.book.shape[0])
            self._parameters = [self._index_parameters(gradients), book]
        return self._parameters

    def _index_parameters(self, gradients: Gradients) -> Parameters:
        return IndexParameters(self, gradients)

    @property
    def update_bytes(self) -> float:
        return 2.0 * BLOCK * 4 + 2 * self.index_bytes  # the gradient; the index

    def update(self, gradients: Gradients, rate: float, moments: Moments) -> None:
        """Take the vertices' gradients: what the indices make of them, and the codebook's gradient."""
        for level in range(len(self.counts)):
            first, last = self.firsts[level], self.firsts[level + 1]
            if first == last:
                continue
            self._take((level, first, last, gradients), rate, moments)
            if self.owner:
                self._reduce(level)

    def _take(self, step: tuple[int, int, int, Gradients], rate: float, moments: Moments) -> None:
        (self._gather if self.owner else self._gather_side_by_side)(*step)

    @ti.func
    def collect(self, partition, level, vertex, d):
        """Row j's gradient is the sum over the vertices that took it."""
        row = level * self.rows + self.index[vertex]
        if ti.static(self.owner):
            self.partial[partition, row] = self.partial[partition, row] + d
        else:
            for k in ti.static(range(BLOCK)):
                self.book_gradient[row][k] += d[k]

    @ti.kernel
    def _gather(self, level: int, first: int, last: int, gradients: ti.template()):
        ti.loop_config(block_dim=1)
        for p in range(PARTITIONS):
            for row in range(self.rows):
                self.partial[p, level * self.rows + row] = Block(0.0)
            for v in range(first + (last - first) * p // PARTITIONS, first + (last - first) * (p + 1) // PARTITIONS):
                self._gather_one(p, level, v, gradients)

    @ti.kernel
    def _gather_side_by_side(self, level: int, first: int, last: int, gradients: ti.template()):
        for v in range(first, last):  # a GPU has threads for all of them
            self._gather_one(0, level, v, gradients)

    @ti.func
    def _gather_one(self, partition, level, v, gradients: ti.template()):
        d = gradients.take(v)
        if ti.abs(d).max() > 0.0:
            self.collect(partition, level, v, d)

    @ti.kernel
    def _reduce(self, level: int):
        for row in range(level * self.rows, (level + 1) * self.rows):
            total = Block(0.0)
            for p in range(PARTITIONS):
                total += self.partial[p, row]
            self.book_gradient[row] = self.book_gradient[row] + total

    def indices(self) -> np.ndarray:
        """(vertices,) int32: the row of each."""
        found: np.ndarray = self.index.to_numpy()[: self.vertices]
        return found

    def features(self) -> np.ndarray:
        book = self.book.to_numpy().reshape(len(self.counts), self.rows, BLOCK)
        rows = np.empty((self.vertices, BLOCK), np.float32)
        indices = self.indices()
        for level in range(len(self.counts)):
            part = slice(self.firsts[level], self.firsts[level + 1])
            rows[part] = book[level, indices[part]]
        return rows

    def restored(self) -> None:
        """Call after the parameters were put back."""

    def remap(self, counts: tuple[int, ...], sources: np.ndarray, rng: np.random.Generator) -> None:
        raise NotImplementedError("codes are made for the final octree")

    def header(self) -> dict[str, Any]:
        return {"codes": self.kind, "bits": self.bits}

    @staticmethod
    def schema(header: dict[str, Any], vertices: int) -> Schema:
        """Arrays of one level in the file: see :meth:`Quantiser.schema`."""
        return {
            "codebook": ("f2", (1 << header["bits"], BLOCK)),
            "indices": ("u1", (packed_bytes(vertices, aligned(header["bits"])),)),
        }

    def pack(self, level: int) -> Arrays:
        indices = self.indices()[self.firsts[level - 1] : self.firsts[level]]
        return {"codebook": self._rows_of(level), "indices": pack_aligned(indices, self.bits)}

    def _rows_of(self, level: int) -> np.ndarray:
        """(2^bits, 16) the rows of a level, as stored."""
        return half(self.book.to_numpy().reshape(len(self.counts), self.rows, BLOCK)[level - 1])

    def unpack(self, level: int, arrays: Arrays) -> None:
        self._put_rows_of(level, arrays["codebook"])
        indices = self.index.to_numpy()
        first, last = self.firsts[level - 1], self.firsts[level]
        indices[first:last] = unpack_aligned(arrays["indices"], last - first, self.bits)
        self.index.from_numpy(indices)
        self.published()

    def _put_rows_of(self, level: int, rows: np.ndarray) -> None:
        book = self.book.to_numpy()
        book[(level - 1) * self.rows : level * self.rows] = rows
        self.book.from_numpy(book)


def check_bits(kind: str, bits: int) -> None:
    """UserError for a width of index that ``kind`` does not have."""
    most = MAX_HASH_BITS if kind == "hash" else MAX_LEARNED_BITS
    if not 1 <= bits <= most:
        raise UserError(f"--bits {bits}: codes of kind '{kind}' have 1 to {most}")
