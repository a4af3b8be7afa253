"""Vertices that share a few rows of features: one codebook a level, and for every vertex the index of its row.

The indices of "learned" codes are learnt end to end (VQAD: Takikawa et al. 2022, section 4): every vertex has a logit
for each row; the forward pass takes the row with the largest (hard), the backward pass the gradient that the softmax of
the logits would have (soft, the straight-through estimator of Bengio et al. 2013). With row c_j, softmax s_j and
dL/d feature g:

    dL/d logit_i = s_i (c_i . g - sum_j s_j c_j . g)        dL/d c_j = the sum of g over the vertices that took row j

"kmeans" indices were found once from uncompressed features (kmVQ), "hash" indices from the vertex's place alone
(instant-ngp's, Mueller et al. 2022); for both only the rows can train.
"""

from typing import Any

import numpy as np

from taichi_rf.coding.bits import aligned, pack_aligned, packed_bytes, unpack_aligned
from taichi_rf.coding.checks import indices
from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Block
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Arrays, Schema
from taichi_rf.fields.octree.tree import coordinates
from taichi_rf.fields.quantisers.base import EPSILON, PARTITIONS, Coder, Gradients, asked, fresh, half, moment
from taichi_rf.kernels.linear import runaway
from taichi_rf.kernels.optim import Moments, Parameters

MAX_LEARNED_BITS = 8
MAX_HASH_BITS = 14
CHUNK = 1 << 15
"""Vertices whose logits are on the host at once."""

NEVER = -1e30
"""Logit of a row that does not exist: codebooks of fewer than 16 rows fill a block all the same."""

PRIMES = (1, 2654435761, 805459861)
"""Of the spatial hash (Teschner et al. 2003, as instant-ngp has it)."""


@ti.func
def exponential(x):
    """e^x of each of 16 numbers of at most 0, to 1e-7: a polynomial and shifted bits, because a call of the library's
    for each is eight times slower."""
    result = Block(0.0)
    for j in ti.static(range(BLOCK)):
        y = ti.max(x[j] * 1.4426950408889634, -126.0)
        whole = ti.floor(y + 0.5)
        f = y - whole
        p = 0.00015403530393381608 * f + 0.0013333558146428443
        p = p * f + 0.009618129107628477
        p = p * f + 0.05550410866482158
        p = p * f + 0.24022650695910072
        p = p * f + 0.6931471805599453
        p = p * f + 1.0
        result[j] = p * ti.bit_cast((ti.cast(whole, ti.i32) + 127) << 23, ti.f32)
    return result


class CodeParameters(Parameters):
    """The logits, or for fixed indices nothing: takes the vertices' gradients, and gives the codebook its own."""

    def __init__(self, coder: Any, gradients: Gradients) -> None:
        self.coder, self.gradients = coder, gradients
        super().__init__("codes", coder.logits, gradients.features, coder.logit_rate, coder.vertices)

    def __post_init__(self) -> None:
        self.second = self.coder.logit_second

    def arrays(self) -> dict[str, Any]:
        if self.coder.learns:
            return {"value": self.value, "second": self.second}
        return {"index": self.coder.index}

    def clear(self) -> None:
        self.gradients.clear()

    def check(self, key: str, values: np.ndarray) -> None:
        super().check(key, values)
        if key == "index":
            indices(values, self.coder.rows, f"'{self.name}.{key}'")
        elif key == "value":  # the index of each vertex follows from them
            logits = values.reshape(len(values), self.coder.padded)
            if not (logits[:, self.coder.rows :] <= NEVER).all() or not (logits[:, : self.coder.rows] > NEVER).all():
                raise UserError(
                    f"'{self.name}.{key}' prefers rows that the codebook of {self.coder.rows} does not have"
                )

    def restored(self) -> None:
        self.coder.restored()

    def update(self, rate: float, moments: Moments) -> None:
        self.coder.update(self.gradients, rate, moments)


@ti.data_oriented
class Codes(Coder):
    """Rows of codebooks, 2^bits a level.

    Args:
        kind: "learned", "kmeans" or "hash".
        indices: (vertices,) rows to begin with; random where None.
        book: (levels, 2^bits, 16) to begin with; small random numbers where None.
        trains: whether logits are kept at all; they begin as small random numbers, see :meth:`begin`.
    """

    def __init__(
        self,
        counts: tuple[int, ...],
        capacity: int,
        *,
        kind: str = "learned",
        bits: int = 6,
        rate: float = 0.02,
        logit_rate: float = 0.1,
        indices: np.ndarray | None = None,
        book: np.ndarray | None = None,
        trains: bool = True,
        seed: int | None = 0,
    ) -> None:
        check_bits(kind, bits)
        super().__init__(counts, capacity)
        self.index_bytes = 4
        self.kind, self.bits = kind, bits
        self.rows, self.rate, self.logit_rate = 1 << bits, rate, logit_rate
        self.learns = kind == "learned" and trains
        self.blocks = -(-self.rows // BLOCK)
        self.padded = self.blocks * BLOCK
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
        # the codebook with rows across, so that one product serves 16 rows
        self.across = ti.Vector.field(BLOCK, ti.f32, (levels, self.blocks, BLOCK))
        if self.learns:
            self.logits = ti.Vector.field(BLOCK, ti.f32, (capacity, self.blocks))
            self.logit_second = ti.Vector.field(BLOCK, ti.f32, (capacity, self.blocks))
            if seed is not None:
                for first in range(0, self.vertices, CHUNK):
                    self.begin(first, fresh(min(CHUNK, self.vertices - first), self.rows, rng))
        else:
            self.logits = self.logit_second = None
            if indices is None:
                indices = rng.integers(0, self.rows, self.vertices)
            padded = np.zeros(capacity, np.int32)
            padded[: self.vertices] = indices
            self.index.from_numpy(padded)
        self._parameters: list[Parameters] = []
        self.published()

    def begin(self, first: int, logits: np.ndarray) -> None:
        """Logits (n, 2^bits) of vertices [first, first + n): a chunk at a time, for there may be a gigabyte of them."""
        values = np.full((len(logits), self.padded), NEVER, np.float32)
        values[:, : self.rows] = logits
        self._begin(len(values), first, values, np.argmax(values, axis=1).astype(np.int32))

    @ti.kernel
    def _begin(
        self,
        n: int,
        first: int,
        logits: ti.types.ndarray(dtype=ti.f32, ndim=2),
        indices: ti.types.ndarray(dtype=ti.i32, ndim=1),
    ):
        for i, block in ti.ndrange(n, self.blocks):
            row = Block(0.0)
            for j in ti.static(range(BLOCK)):
                row[j] = logits[i, block * BLOCK + j]
            self.logits[first + i, block] = row
            if block == 0:
                self.index[first + i] = indices[i]

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
            rate = 0.0 if self.kind == "kmeans" else self.rate  # k-means comes after training
            book = Parameters("codebook", self.book, self.book_gradient, rate, self.book.shape[0])
            self._parameters = [CodeParameters(self, gradients), book]
        return self._parameters

    @property
    def update_bytes(self) -> float:
        # the gradient; the index; and for every row the logit twice and its second moment, read, and both written
        return 2.0 * BLOCK * 4 + 2 * self.index_bytes + (5 * self.padded * 4 if self.learns else 0)

    def published(self) -> None:
        if self.learns:
            self._publish()

    @ti.kernel
    def _publish(self):
        for level, block, k in ti.ndrange(ti.static(len(self.counts)), self.blocks, BLOCK):
            row = Block(0.0)
            for j in ti.static(range(BLOCK)):
                if block * BLOCK + j < self.rows:
                    row[j] = self.book[level * self.rows + block * BLOCK + j][k]
            self.across[level, block, k] = row

    def update(self, gradients: Gradients, rate: float, moments: Moments) -> None:
        """Take the vertices' gradients: the logits' step, and the codebook's gradient."""
        for level in range(len(self.counts)):
            first, last = self.firsts[level], self.firsts[level + 1]
            if first == last:
                continue
            step = (level, first, last, gradients.features, gradients.density)
            if not self.learns:
                self._gather(*step)
            else:
                self._learn(*step, rate, moments.beta2)
            if self.owner:
                self._reduce(level)

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
    def _gather(self, level: int, first: int, last: int, features: ti.template(), density: ti.template()):
        ti.loop_config(block_dim=1)
        for p in range(PARTITIONS):
            if ti.static(self.owner):
                for row in range(self.rows):
                    self.partial[p, level * self.rows + row] = Block(0.0)
            for v in range(first + (last - first) * p // PARTITIONS, first + (last - first) * (p + 1) // PARTITIONS):
                d = asked(features[v], density[v])
                if ti.abs(d).max() > 0.0:
                    self.collect(p, level, v, d)
                    features[v] = Block(0.0)
                    density[v] = 0.0

    @ti.func
    def soft(self, level, v, block, top, features: ti.template(), density):
        """Of 16 rows: e^(logit - top), and c_i . d."""
        # a loop with two exits, see linear.py: written out, half of the 256 products would be taken one at a time
        dots = density * self.across[level, block, 0]
        for k in range(BLOCK):
            x = features[v][k]
            if runaway(x):
                break
            dots += x * self.across[level, block, k]
        return exponential(self.logits[v, block] - top), dots

    @ti.func
    def step(self, v, block, e, dots, mean, total, rate, beta2, best, where):
        """The step of 16 logits; returns the largest so far, and whose it is."""
        g = e * (dots - mean) / total
        s = moment(self.logit_second[v, block], g * g, self.logit_second[v, block], beta2)
        self.logit_second[v, block] = s
        x = self.logits[v, block] - rate * g / (ti.sqrt(s) + EPSILON)
        self.logits[v, block] = x
        for j in ti.static(range(BLOCK)):
            if x[j] > best:
                best = x[j]
                where = block * BLOCK + j
        return best, where

    @ti.func
    def learn(self, level, v, features: ti.template(), density, rate, beta2):
        """One vertex's step: the straight-through gradient of its logits, scaled as RMSprop does."""
        at = self.index[v]
        top = self.logits[v, at // BLOCK][at % BLOCK]
        total = 0.0  # of e^(logit - top), and times c_i . d
        weighted = 0.0
        best = 2.0 * NEVER
        where = 0
        if ti.static(self.blocks <= 4):  # up to six bits: what is found is kept in registers
            e0, dots0 = self.soft(level, v, 0, top, features, density)
            e1, dots1 = Block(0.0), Block(0.0)
            e2, dots2 = Block(0.0), Block(0.0)
            e3, dots3 = Block(0.0), Block(0.0)
            total = e0.sum()
            weighted = (e0 * dots0).sum()
            if ti.static(self.blocks > 1):
                e1, dots1 = self.soft(level, v, 1, top, features, density)
                total += e1.sum()
                weighted += (e1 * dots1).sum()
            if ti.static(self.blocks > 2):
                e2, dots2 = self.soft(level, v, 2, top, features, density)
                e3, dots3 = self.soft(level, v, 3, top, features, density)
                total += (e2 + e3).sum()
                weighted += (e2 * dots2 + e3 * dots3).sum()
            mean = weighted / total
            best, where = self.step(v, 0, e0, dots0, mean, total, rate, beta2, best, where)
            if ti.static(self.blocks > 1):
                best, where = self.step(v, 1, e1, dots1, mean, total, rate, beta2, best, where)
            if ti.static(self.blocks > 2):
                best, where = self.step(v, 2, e2, dots2, mean, total, rate, beta2, best, where)
                best, where = self.step(v, 3, e3, dots3, mean, total, rate, beta2, best, where)
        else:
            for block in range(self.blocks):
                e, dots = self.soft(level, v, block, top, features, density)
                total += e.sum()
                weighted += (e * dots).sum()
            for block in range(self.blocks):
                e, dots = self.soft(level, v, block, top, features, density)
                best, where = self.step(v, block, e, dots, weighted / total, total, rate, beta2, best, where)
        self.index[v] = where

    @ti.kernel
    def _learn(
        self,
        level: int,
        first: int,
        last: int,
        features: ti.template(),
        density: ti.template(),
        rate: float,
        beta2: float,
    ):
        ti.loop_config(block_dim=1)
        for p in range(PARTITIONS):
            if ti.static(self.owner):
                for row in range(self.rows):
                    self.partial[p, level * self.rows + row] = Block(0.0)
            for v in range(first + (last - first) * p // PARTITIONS, first + (last - first) * (p + 1) // PARTITIONS):
                d = asked(features[v], density[v])
                if ti.abs(d).max() > 0.0:
                    self.collect(p, level, v, d)
                    self.learn(level, v, features, density[v], rate, beta2)
                    features[v] = Block(0.0)
                    density[v] = 0.0

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
        """Call after logits were put back: the indices follow from them."""
        if self.learns:
            values = self.logits.to_numpy().reshape(self.capacity, self.padded)
            self.index.from_numpy(np.argmax(values, axis=1).astype(np.int32))

    def remap(self, counts: tuple[int, ...], sources: np.ndarray, rng: np.random.Generator) -> None:
        raise NotImplementedError("codes are made for the final octree")

    def header(self) -> dict[str, Any]:
        return {"codes": self.kind, "bits": self.bits}

    @staticmethod
    def schema(header: dict[str, Any], vertices: int) -> Schema:
        schema: Schema = {"codebook": ("f2", (1 << header["bits"], BLOCK))}
        if header["codes"] != "hash":
            schema["indices"] = ("u1", (packed_bytes(vertices, aligned(header["bits"])),))
        return schema

    def pack(self, level: int) -> Arrays:
        book = self.book.to_numpy().reshape(len(self.counts), self.rows, BLOCK)[level - 1]
        arrays: Arrays = {"codebook": half(book)}
        if self.kind != "hash":
            arrays["indices"] = pack_aligned(self.indices()[self.firsts[level - 1] : self.firsts[level]], self.bits)
        return arrays

    def unpack(self, level: int, arrays: Arrays) -> None:
        book = self.book.to_numpy()
        book[(level - 1) * self.rows : level * self.rows] = arrays["codebook"]
        self.book.from_numpy(book)
        if self.kind != "hash":
            indices = self.index.to_numpy()
            first, last = self.firsts[level - 1], self.firsts[level]
            indices[first:last] = unpack_aligned(arrays["indices"], last - first, self.bits)
            self.index.from_numpy(indices)
        self.published()

    def placed(self, level: int, vertices: np.ndarray) -> None:
        if self.kind == "hash":
            indices = self.index.to_numpy()
            indices[self.firsts[level - 1] : self.firsts[level]] = hashed(coordinates(vertices), self.bits)
            self.index.from_numpy(indices)


def check_bits(kind: str, bits: int) -> None:
    """UserError for a width of index that ``kind`` does not have."""
    most = MAX_HASH_BITS if kind == "hash" else MAX_LEARNED_BITS
    if not 1 <= bits <= most:
        raise UserError(f"--bits {bits}: codes of kind '{kind}' have 1 to {most}")


def hashed(places: np.ndarray, bits: int) -> np.ndarray:
    """Rows of vertices at lattice points ``places`` (n, 3): the xor of coordinates times primes, modulo 2^bits."""
    mixed = np.zeros(len(places), np.uint64)
    for axis, prime in enumerate(PRIMES):
        mixed ^= places[:, axis].astype(np.uint64) * np.uint64(prime)
    return (mixed & np.uint64((1 << bits) - 1)).astype(np.int32)
